"""What a Slicer that was killed left in the temporary folder: scans of a patient and pages that show them."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from .dicom_delivery import DICOM
from .process import longPath
from .run import FOLDER_PREFIX

AGE_SECONDS = 86400.0  # no run takes a day, and another Slicer of this user may be at work


def removeOld(temporaryPath: str | Path, now: float | None = None) -> list[Path]:
    """Delete the folders of this module in which nothing has changed for a day; returns them.

    One with DICOM files stays: they could not be brought to the user's folder, and the user was told where they are.
    """
    now = time.time() if now is None else now
    parent = Path(temporaryPath)
    old = sorted(path for path in parent.glob(f"{FOLDER_PREFIX}*") if path.is_dir())
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
