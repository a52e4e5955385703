"""Reading DICOM through SimpleITK: a folder with one series, or a file that holds all frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK

from .dicom_frames import place_frames
from .errors import BadInput
from .itk import check_path, reason_of

TAGS = {
    "0008|0060": "Modality",
    "0008|103e": "SeriesDescription",
    "0018|0024": "SequenceName",
    "0018|0087": "MagneticFieldStrength",
    "0018|1030": "ProtocolName",
    "0020|000e": "SeriesInstanceUID",
    "0020|0052": "FrameOfReferenceUID",
}
NUMBER_OF_FRAMES = "0028|0008"


def is_dicom(path: Path) -> bool:
    """Whether a file has the mark of DICOM behind its preamble."""
    with path.open("rb") as stream:
        stream.seek(128)
        return stream.read(4) == b"DICM"


def read_dicom_file(path: Path) -> tuple[SimpleITK.Image, dict[str, Any]]:
    """One file, of one frame or of all; its volume and what its header says (:data:`TAGS`).

    Raises:
        BadInput: unreadable, not MR, or frames that make no volume (see dicom_frames.place_frames).
    """
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        meta: dict[str, Any] = {"file": path.name, "dicom_files": [str(path)]}
        for tag, name in TAGS.items():
            if reader.HasMetaDataKey(tag):
                meta[name] = reader.GetMetaData(tag).strip()
        _check_modality(meta.get("Modality", "MR"), path)
        source = reader.Execute()
    except RuntimeError as error:
        raise BadInput(f"{path.name} cannot be read: {reason_of(error)}") from error
    if source.GetDimension() == 3 and source.GetSize()[2] > 1:
        source = place_frames(source, path)
    return source, meta


def read_series(folder: Path) -> tuple[SimpleITK.Image, dict[str, Any]]:
    """The one series of a folder; its volume and what the header of its first file says (:data:`TAGS`).

    Raises:
        BadInput: no series, more than one, unreadable, not MR, or slices that make no volume.
    """
    reader = SimpleITK.ImageSeriesReader()
    series = reader.GetGDCMSeriesIDs(str(folder))
    if not series:
        raise BadInput(f"the folder {folder} holds no DICOM series")
    if len(series) > 1:
        raise BadInput(f"the folder {folder} holds {len(series)} DICOM series; give a folder with exactly one")
    files = reader.GetGDCMSeriesFileNames(str(folder), series[0])
    for file in files:
        check_path(file)
    if len(files) == 1:
        source, meta = read_dicom_file(Path(files[0]))
        return source, {**meta, "file": folder.name}
    reader.SetFileNames(files)
    reader.MetaDataDictionaryArrayUpdateOn()
    try:
        source = reader.Execute()
    except RuntimeError as error:
        raise BadInput(f"the DICOM series in {folder} cannot be read: {reason_of(error)}") from error
    if any(int(_text(reader, n, NUMBER_OF_FRAMES) or 1) > 1 for n in range(len(files))):
        raise BadInput(f"the DICOM series in {folder} has several multi-frame files; give one of them")
    if source.GetDimension() == 3:
        _check_slice_gaps(reader, len(files), source.GetSpacing()[2], folder)
    meta: dict[str, Any] = {"file": folder.name, "dicom_files": [str(f) for f in files]}
    for tag, name in TAGS.items():
        if reader.HasMetaDataKey(0, tag):
            meta[name] = _text(reader, 0, tag)
    _check_modality(meta.get("Modality", "MR"), folder)
    return source, meta


def _check_modality(modality: str, path: Path) -> None:
    if modality != "MR":
        raise BadInput(f"the DICOM data in {path} are {modality}, not MR")


def _text(reader: SimpleITK.ImageSeriesReader, number: int, tag: str) -> str:
    """A tag of a slice; empty if it has none."""
    return reader.GetMetaData(number, tag).strip() if reader.HasMetaDataKey(number, tag) else ""


def _check_slice_gaps(reader: SimpleITK.ImageSeriesReader, count: int, spacing: float, folder: Path) -> None:
    """Slices must be evenly spaced: a missing one would shear the anatomy."""
    positions = []
    for n in range(count):
        if not (reader.HasMetaDataKey(n, "0020|0032") and reader.HasMetaDataKey(n, "0020|0037")):
            return
        origin = np.array([float(v) for v in reader.GetMetaData(n, "0020|0032").split("\\")])
        axes = np.array([float(v) for v in reader.GetMetaData(n, "0020|0037").split("\\")]).reshape(2, 3)
        positions.append(float(origin @ np.cross(*axes)))
    gaps = np.abs(np.diff(positions))
    if gaps.size and (gaps.max() - gaps.min()) > max(0.05 * spacing, 0.02):
        raise BadInput(
            f"the slices in {folder} are {gaps.min():.2f} to {gaps.max():.2f} mm apart, so some are missing or doubled"
        )
