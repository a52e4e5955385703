"""``scan.nii`` beside ``scan.nii.gz``: ITK takes the header of the file named, and the voxels of the other one."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PACKED, PLAIN = ".nii.gz", ".nii"


def namesake_of(path: Path) -> Path | None:
    """The file that differs from a NIfTI file by being packed or not, in letters of any case; None without one."""
    name = path.name.lower()
    ending = next((e for e in (PACKED, PLAIN) if name.endswith(e)), None)
    if ending is None or not path.parent.is_dir():
        return None
    other = name[: -len(ending)] + (PLAIN if ending == PACKED else PACKED)
    return next((entry for entry in sorted(path.parent.iterdir()) if entry.name.lower() == other), None)


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
