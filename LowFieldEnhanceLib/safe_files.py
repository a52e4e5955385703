"""Files that appear complete or not at all: under a temporary name first, then renamed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import BadInput


@contextmanager
def all_or_none() -> Iterator[Callable[[str | os.PathLike[str]], Path]]:
    """Several files that appear together: the block asks for the temporary path of each and writes there.

    When the block ends well all are renamed, over former files of the same names. When it fails all are removed, and
    the former files stay as they were.
    """
    staged: list[tuple[Path, Path]] = []

    def place(path: str | os.PathLike[str]) -> Path:
        target = Path(path)
        check_folder(target.parent)
        suffix = ".nii.gz" if target.name.lower().endswith(".nii.gz") else target.suffix
        handle, name = tempfile.mkstemp(prefix=".partial-", suffix=suffix, dir=target.parent)
        os.close(handle)
        temporary = target.parent / Path(name).name  # relative if the target is: mkstemp makes it absolute
        staged.append((temporary, target))
        return temporary

    try:
        yield place
        for temporary, target in staged:
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, target)
    finally:
        for temporary, _ in staged:
            temporary.unlink(missing_ok=True)


@contextmanager
def replaced(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path beside ``path`` with the same extension, renamed to it on success, removed on failure."""
    with all_or_none() as place:
        yield place(path)


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
