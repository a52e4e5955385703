"""What a Slicer that was killed left behind: scans of a patient and pages that show them."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from .dicom_delivery import DICOM
from .process import longPath
from .run import FOLDER_PREFIX

AGE_SECONDS = 86400.0  # no run takes a day, and another Slicer of this user may be at work


def removeOld(parent: str | Path, now: float | None = None, prefix: str = FOLDER_PREFIX) -> list[Path]:
    """Delete the folders of this module in which nothing has changed for a day; returns them.

    One with DICOM files stays: they could not be brought to the user's folder, and the user was told where they are.

    Args:
        parent: where they are; in a folder of the user's give the prefix of what is meant there.
        now: seconds, as time.time() has them, which is the default.
        prefix: of their names.
    """
    now = time.time() if now is None else now
    old = sorted(path for path in Path(parent).glob(f"{prefix}*") if path.is_dir())
    removed = []
    for folder in old:
        try:
            if now - _lastChange(folder) < AGE_SECONDS or (folder / "results" / DICOM).is_dir():
                continue
            shutil.rmtree(longPath(folder))
        except OSError:  # another user's, or in use
            continue
        removed.append(folder)
    return removed


def _lastChange(folder: Path) -> float:
    return max(path.stat().st_mtime for path in (folder, *folder.iterdir()))
