"""New folders that appear complete or not at all, and the packages that write DICOM."""

from __future__ import annotations

import importlib.util
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import BadInput
from ..safe_files import check_folder

PARTIAL = ".partial-"


def check_packages(*names: str) -> None:
    """Refuse, in one sentence, when a package that writes DICOM is not installed.

    Raises:
        BadInput: one of ``names`` (pydicom, highdicom) cannot be imported.
    """
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise BadInput(
            f"DICOM cannot be written because {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not "
            "installed; install with: pip install 'lowfield-enhance[dicom]'"
        )


def check_new_folder(path: str | os.PathLike[str], what: str = "the DICOM files") -> Path:
    """The folder as a path, if it can be made: absent or empty, below a folder that exists.

    Args:
        path: of the folder.
        what: is to be written, for the sentence of a refusal.

    Raises:
        BadInput: it is a file, holds something, or its parent does not exist.
    """
    target = Path(path)
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise BadInput(f"{target} is not a folder, so {what} cannot be written into it")
    check_folder(target if target.is_dir() else target.parent)
    if target.is_dir() and not _is_empty(target):
        raise BadInput(f"the folder {target} is not empty; {what} can only be written into a new folder")
    return target


def _is_empty(folder: Path) -> bool:
    """Whether it holds nothing, but for what a run that was killed may have left."""
    return all(entry.name.startswith(PARTIAL) for entry in folder.iterdir())


@contextmanager
def new_folder(path: str | os.PathLike[str], what: str = "the DICOM files") -> Iterator[Path]:
    """A temporary folder that becomes ``path`` on success, and is removed with all it holds on failure.

    It lies beside ``path`` and is renamed. If ``path`` is an empty folder already, it lies in there and its content
    moves up: the folder may be the current one, or a mounted disk, which cannot be renamed.

    Raises:
        BadInput: see :func:`check_new_folder`, which is asked before and after the work.
    """
    target = check_new_folder(path, what)
    exists = target.is_dir()
    temporary = (target if exists else target.parent) / f"{PARTIAL}{uuid.uuid4().hex}"
    temporary.mkdir()  # not tempfile.mkdtemp: the final folder shall have the permissions of the user's umask
    try:
        yield temporary
        check_new_folder(target, what)
        if exists:
            for entry in temporary.iterdir():
                os.replace(entry, target / entry.name)
        else:
            os.replace(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
