"""Files that appear complete or not at all: under a temporary name first, then renamed."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import BadInput

PARTIAL, FORMER = ".partial-", ".former-"
CANCELS = (signal.SIGINT, signal.SIGTERM)


class Staged:
    """Files and folders under temporary names, which get their own together (see :func:`all_or_none`)."""

    def __init__(self) -> None:
        self._files: list[tuple[Path, Path]] = []
        self._folders: list[tuple[Path, Path, Callable[[], object]]] = []

    def __call__(self, path: str | os.PathLike[str]) -> Path:
        """The temporary path of a file, with the same extension; the file is there and empty.

        Raises:
            BadInput: see :func:`check_folder`.
        """
        target = Path(path)
        check_folder(target.parent)
        suffix = ".nii.gz" if target.name.lower().endswith(".nii.gz") else target.suffix
        handle, name = tempfile.mkstemp(prefix=PARTIAL, suffix=suffix, dir=target.parent)
        os.close(handle)
        temporary = target.parent / Path(name).name  # relative if the target is: mkstemp makes it absolute
        self._files.append((temporary, target))
        return temporary

    def folder(self, path: str | os.PathLike[str], check: Callable[[], object]) -> Path:
        """A temporary folder that becomes ``path``, which is absent or an empty folder.

        It lies beside ``path`` and is renamed. If ``path`` exists, it lies in there and its content moves up: the
        folder may be the current one, or a mounted disk, which cannot be renamed.

        Args:
            path: of the new folder.
            check: called before the renaming, raises if ``path`` is no longer free.
        """
        target = Path(path)
        temporary = (target if target.is_dir() else target.parent) / f"{PARTIAL}{uuid.uuid4().hex}"
        temporary.mkdir()  # not tempfile.mkdtemp: the final folder shall have the permissions of the user's umask
        self._folders.append((temporary, target, check))
        return temporary

    def commit(self) -> None:
        """Rename everything, or nothing."""
        pairs = list(self._files)
        for temporary, target, check in self._folders:
            check()
            if temporary.parent == target:
                pairs += [(entry, target / entry.name) for entry in temporary.iterdir()]
            else:
                pairs.append((temporary, target))
        for temporary, _ in self._files:
            os.chmod(temporary, 0o666 & ~_umask())
        _rename_all(pairs)

    def discard(self) -> None:
        """Remove what is still there under its temporary name."""
        for temporary, _ in self._files:
            temporary.unlink(missing_ok=True)
        for temporary, _, _ in self._folders:
            shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def all_or_none() -> Iterator[Staged]:
    """Several files that appear together: the block asks for the temporary path of each and writes there.

    When the block ends well all are renamed, over former files of the same names. When it fails, or one cannot be
    renamed, all are removed, and the former files stay as they were.
    """
    staged = Staged()
    try:
        yield staged
        staged.commit()
    finally:
        staged.discard()


def _rename_all(pairs: Sequence[tuple[Path, Path]]) -> None:
    """Rename each first path to its second. When one fails, or a cancel comes meanwhile, all is as it was before.

    A single rename replaces its target at once. Of several, the former targets are put aside first.
    """
    aside: list[tuple[Path, Path]] = []
    done: list[tuple[Path, Path]] = []
    with _cancels_held() as deliver:
        try:
            for _, target in pairs if len(pairs) > 1 else ():
                if os.path.lexists(target) and (target.is_symlink() or not target.is_dir()):
                    former = target.with_name(f"{FORMER}{uuid.uuid4().hex[:8]}-{target.name}")
                    os.replace(target, former)
                    aside.append((former, target))
            for temporary, target in pairs:
                os.replace(temporary, target)
                done.append((temporary, target))
            if len(pairs) > 1:
                deliver()
        except BaseException:
            for temporary, target in reversed(done):
                os.replace(target, temporary)
            for former, target in reversed(aside):
                os.replace(former, target)
            raise
        for former, _ in aside:
            with suppress(OSError):  # the new files are there: a former one that stays hidden does no harm
                former.unlink()


@contextmanager
def _cancels_held() -> Iterator[Callable[[], None]]:
    """Signals that cancel wait until the block asks for them, or until its end; only the main thread gets any."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    held: list[int] = []
    handlers = {number: handler for number in CANCELS if (handler := signal.getsignal(number)) is not None}

    def deliver() -> None:
        for number in [n for n in held if callable(handlers[n])]:
            held.remove(number)
            handlers[number](number, None)

    for number in handlers:
        signal.signal(number, lambda number, _: held.append(number))
    try:
        yield deliver
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number in held:
            signal.raise_signal(number)


@contextmanager
def replaced(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path beside ``path`` with the same extension, renamed to it on success, removed on failure."""
    with all_or_none() as place:
        yield place(path)


@contextmanager
def made_folder(folder: Path) -> Iterator[None]:
    """A folder with those above it; what was not there before the block is removed if it fails and left nothing in it.

    Raises:
        OSError: it cannot be made.
    """
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with suppress(OSError):  # one that holds something stays, and those above it
            for place in made:
                place.rmdir()
        raise


def check_folder(folder: Path) -> None:
    """Refuse a folder into which nothing can be written, before the work that would be lost.

    Raises:
        BadInput: it does not exist, or writing is not permitted.
    """
    if not folder.is_dir():
        raise BadInput(f"the output folder {folder} does not exist")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise BadInput(f"the output folder {folder} cannot be written into: no permission")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
