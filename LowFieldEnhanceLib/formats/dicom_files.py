"""Whether the files of a DICOM series are all there and whole: GDCM leaves out those that it cannot read, without a
word, and fills with zeros what a slice lacks.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ..errors import BadInput
from .dicom_elements import MARK, MARK_AT, is_dicom, read_elements
from .itk import check_path

ENDINGS = (".dcm", ".dicom", ".ima")


def check_left_out(folder: Path, files: Sequence[str]) -> None:
    """Refuse a folder in which a file cannot be read that may be a slice of the series.

    Args:
        folder: of the series.
        files: those of the series that GDCM found there, at least one.

    Raises:
        BadInput: an empty file is named as DICOM, or one with the mark of DICOM cannot be read, unless it is of
            another class or another series.
    """
    known = {Path(file).name for file in files}
    slices = read_elements(Path(files[0]))
    for path in sorted(folder.iterdir()):
        if path.name in known or not path.is_file():
            continue
        if not os.access(path, os.R_OK) or path.stat().st_size < MARK_AT + len(MARK):
            if not path.name.lower().endswith(ENDINGS) or path.name.startswith("."):
                continue
        elif not _may_belong(path, slices.sop_class, slices.series):
            continue
        check_path(path)
        raise BadInput(f"{path.name} in {folder} is empty, damaged or cut off, so a slice of the scan may be missing")


def _may_belong(path: Path, sop_class: str, series: str) -> bool:
    """Whether a file is marked as DICOM and does not say that it is of another class or series."""
    if not is_dicom(path):
        return False
    found = read_elements(path)
    return found.sop_class in ("", sop_class) and found.series in ("", series)


def check_whole(files: Sequence[str], what: str) -> None:
    """Refuse slices with fewer pixels than their headers announce, or with different numbers of them.

    Args:
        files: of one series.
        what: names them in the sentence of a refusal, such as "the slices in FOLDER".

    Raises:
        BadInput: see above.
    """
    sizes = set()
    for file in files:
        found = read_elements(Path(file))
        if not (found.rows and found.columns and found.bits):
            continue
        sizes.add((found.rows, found.columns))
        if found.samples != 1 or found.pixel_bytes is None:
            continue
        announced = (found.rows * found.columns * found.frames * found.bits + 7) // 8
        if found.pixel_bytes < announced:
            raise BadInput(
                f"{Path(file).name} is damaged: it holds {found.pixel_bytes} of the {announced} bytes of pixels it "
                "announces"
            )
    if len(sizes) > 1:
        raise BadInput(f"{what} have different numbers of rows or columns, so they are no single volume")
