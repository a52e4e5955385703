"""New folders that appear complete or not at all, and the packages that write DICOM."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import BadInput
from ..safe_files import PARTIAL, Staged, all_or_none, check_folder


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

    Raises:
        BadInput: see :func:`check_new_folder`, which is asked before and after the work.
    """
    with all_or_none() as place:
        yield staged_folder(path, place, what)


def staged_folder(path: str | os.PathLike[str], place: Staged, what: str = "the DICOM files") -> Path:
    """A temporary folder that becomes ``path`` together with everything else in ``place``.

    Raises:
        BadInput: see :func:`check_new_folder`, which is asked again before the renaming.
    """
    target = check_new_folder(path, what)
    return place.folder(target, lambda: check_new_folder(target, what))
