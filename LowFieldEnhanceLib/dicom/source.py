"""The DICOM instances a scan was read from: what is kept of them in everything derived."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import BadInput
from .files import check_packages

if TYPE_CHECKING:
    from pydicom import Dataset


@dataclass(frozen=True)
class Source:
    """One MR series.

    Attributes:
        header: data set of its first instance without pixels: patient, study, scanner, sequence.
        references: SOP class UID and SOP instance UID of all instances.
    """

    header: Dataset
    references: tuple[tuple[str, str], ...]


def find_source_files(path: str | os.PathLike[str]) -> list[Path]:
    """The DICOM image files of an input: of a folder all images, of a file itself; none of a NIfTI or NRRD file.

    Raises:
        BadInput: it does not exist, or is a folder that holds no DICOM image, or more than one series.
    """
    check_packages("pydicom")
    path = Path(path)
    if not path.exists():
        raise BadInput(f"the DICOM source {path} does not exist")
    if not path.is_dir():
        return [path] if _series_of(path) is not None else []
    series = {file: uid for file in sorted(path.iterdir()) if file.is_file() and (uid := _series_of(file)) is not None}
    if not series:
        raise BadInput(f"the folder {path} holds no DICOM series")
    if len(set(series.values())) > 1:
        raise BadInput(
            f"the folder {path} holds {len(set(series.values()))} DICOM series; give a folder with exactly one"
        )
    return list(series)


def read_source(files: Sequence[str | os.PathLike[str]]) -> Source:
    """Headers of the instances of one series.

    Raises:
        BadInput: a file is no DICOM image or not MR, lacks its UIDs, or the files are of several patients, studies or
            frames of reference.
    """
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    headers = []
    for file in files:
        try:
            headers.append(dcmread(file, stop_before_pixels=True))
        except (InvalidDicomError, FileNotFoundError) as error:
            raise BadInput(f"{Path(file).name} is not a DICOM file, so it cannot be the source of the scan") from error
    for file, header in zip(files, headers, strict=True):
        absent = [n for n in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID") if not header.get(n)]
        if absent:
            raise BadInput(f"{Path(file).name} has no {absent[0]}, so it cannot be the source of a DICOM series")
        if header.get("Modality") != "MR":
            raise BadInput(f"{Path(file).name} is not an MR image, so it cannot be the source of the scan")
    for keyword, what in (
        ("PatientID", "patients"),
        ("StudyInstanceUID", "studies"),
        ("FrameOfReferenceUID", "frames of reference"),
    ):
        if len({str(header.get(keyword, "")) for header in headers}) > 1:
            raise BadInput(f"the DICOM files the scan comes from belong to several {what}")
    headers[0].decode()  # nested texts too, which would else be copied as bytes in the character set of the source
    return Source(headers[0], tuple((str(h.SOPClassUID), str(h.SOPInstanceUID)) for h in headers))


def _series_of(file: Path) -> str | None:
    """Series UID of a DICOM image; None for any other file."""
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    try:
        header = dcmread(file, stop_before_pixels=True, specific_tags=["SeriesInstanceUID", "Rows"])
    except InvalidDicomError:
        return None
    return str(header.SeriesInstanceUID) if "Rows" in header and "SeriesInstanceUID" in header else None
