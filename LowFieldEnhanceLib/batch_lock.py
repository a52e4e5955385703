"""One batch at a time in a folder: a lock that the operating system takes back when its process ends in any way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from .errors import BadInput

LOCK = ".batch.lock"  # hidden, so that it is neither input nor a result


@contextmanager
def only_batch_in(folder: Path) -> Iterator[None]:
    """No other batch works in the folder while the block runs; it does not wait for one that does.

    The lock is on the open file, not the file itself: one that a killed run left behind hinders nobody and is removed
    by the next.

    Args:
        folder: of the results; it exists.

    Raises:
        BadInput: another run is at work there; nothing was written. OSError: the lock's file cannot be made.
    """
    path = folder / LOCK
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise BadInput(
            f"another run is at work in the output folder {folder}; wait for its end or choose another folder"
        ) from None
    try:
        yield
    finally:
        with suppress(OSError):  # Windows keeps the file while it is open, and filelock removes it there
            path.unlink()  # while still locked: a run that opened it before sees that it is gone
        lock.release()
