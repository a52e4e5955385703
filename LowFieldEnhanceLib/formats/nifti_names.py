"""``scan.nii`` beside ``scan.nii.gz``: ITK takes the header of the file named, and the voxels of the other one."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PACKED, PLAIN = ".nii.gz", ".nii"


def are_namesakes(one: Path, other: Path) -> bool:
    """Whether two NIfTI files of one folder differ by being packed or not alone, in letters of any case."""
    plain, packed = sorted((one.name.lower(), other.name.lower()), key=len)
    return one.parent == other.parent and plain.endswith(PLAIN) and packed == f"{plain}.gz"


def namesake_of(path: Path) -> Path | None:
    """The file that is there and is a namesake (see :func:`are_namesakes`); None without one."""
    if not path.parent.is_dir():
        return None
    return next((entry for entry in sorted(path.parent.iterdir()) if are_namesakes(path, entry)), None)


@contextmanager
def away_from_namesake(path: Path) -> Iterator[Path]:
    """The file where it is, or, with a namesake beside it, by a link (or a copy) in a temporary folder of its own."""
    if namesake_of(path) is None:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / ("alone" + (PACKED if path.name.lower().endswith(PACKED) else PLAIN))
        try:
            os.symlink(path.resolve(), place)
        except OSError:  # Windows permits links to few
            shutil.copyfile(path, place)
        yield place
