"""Reading DICOM through SimpleITK: a folder with one series, or a file that holds all frames."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK

from ..errors import BadInput
from .dicom_elements import frames_of
from .dicom_files import check_left_out, check_whole
from .dicom_frames import place_frames
from .field_strength import FIELD_STRENGTH
from .itk import check_path, reason_of
from .slice_positions import check_alike, slice_step

TAGS = {
    "0008|0060": "Modality",
    "0008|103e": "SeriesDescription",
    "0018|0024": "SequenceName",
    "0018|0087": FIELD_STRENGTH,
    "0018|1030": "ProtocolName",
    "0020|000e": "SeriesInstanceUID",
    "0020|0052": "FrameOfReferenceUID",
}
NUMBER_OF_FRAMES = "0028|0008"
SCALES = ("0028|1052", "0028|1053")  # RescaleIntercept and RescaleSlope
PLACES = (
    ("0020|0032", "ImagePositionPatient", 3),
    ("0020|0037", "ImageOrientationPatient", 6),
    ("0028|0030", "PixelSpacing", 2),
)


def read_dicom_file(path: Path) -> tuple[SimpleITK.Image, dict[str, Any]]:
    """One file that holds all frames; its volume and what its header says (:data:`TAGS`).

    Raises:
        BadInput: unreadable, not MR, fewer pixels than announced, a single slice, or frames that make no volume (see
            dicom_frames.place_frames).
    """
    source, meta = _read_one(path)
    if _is_slice(source):
        raise BadInput(f"{path.name} is one slice, not a volume; give the folder that holds all slices of its series")
    return place_frames(source, path), meta


def _is_slice(source: SimpleITK.Image) -> bool:
    return source.GetDimension() == 2 or source.GetSize()[2] == 1


def _read_one(path: Path) -> tuple[SimpleITK.Image, dict[str, Any]]:
    """One file, its frames in their order there."""
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        meta: dict[str, Any] = {"file": path.name, "dicom_files": [str(path)]}
        for tag, name in TAGS.items():
            if reader.HasMetaDataKey(tag):
                meta[name] = reader.GetMetaData(tag).strip()
        _check_modality(meta.get("Modality", "MR"), path)
        check_whole([str(path)], path.name)
        source = reader.Execute()
    except RuntimeError as error:
        raise BadInput(f"{path.name} cannot be read: {reason_of(error)}") from error
    return source, meta


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings of ITK."""
    shown = SimpleITK.ProcessObject.GetGlobalWarningDisplay()
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        SimpleITK.ProcessObject.SetGlobalWarningDisplay(shown)


def read_series(folder: Path) -> tuple[SimpleITK.Image, dict[str, Any]]:
    """The one series of a folder; its volume and what the header of its first file says (:data:`TAGS`).

    Raises:
        BadInput: no series, more than one, unreadable in part or as a whole, not MR, or slices that make no volume.
    """
    reader = SimpleITK.ImageSeriesReader()
    try:
        with _quiet():  # else it warns on standard error of what is said below
            series = reader.GetGDCMSeriesIDs(str(folder))
    except RuntimeError as error:  # an exception that GDCM did not foresee, which names no file
        raise BadInput(f"the folder {folder} holds a DICOM file that is damaged or no grey-scale image") from error
    if not series:
        raise BadInput(f"the folder {folder} holds no DICOM series")
    if len(series) > 1:
        raise BadInput(f"the folder {folder} holds {len(series)} DICOM series; give a folder with exactly one")
    files = reader.GetGDCMSeriesFileNames(str(folder), series[0])
    for file in files:
        check_path(file)
    check_left_out(folder, files)
    if len(files) == 1:
        source, meta = _read_one(Path(files[0]))
        if _is_slice(source):
            raise BadInput(f"the folder {folder} holds one slice alone, not a volume; give all slices of the series")
        return place_frames(source, Path(files[0])), {**meta, "file": folder.name}
    check_whole(files, f"the slices in {folder}")
    reader.SetFileNames(files)
    reader.MetaDataDictionaryArrayUpdateOn()
    try:
        with _quiet():  # of uneven gaps, which are refused below
            source = reader.Execute()
        if len({tuple(_text(reader, n, tag) for tag in SCALES) for n in range(len(files))}) > 1:
            # every slice was given the type of the first one's values, which can cut the others' fractions off
            reader.SetOutputPixelType(SimpleITK.sitkFloat32)
            source = reader.Execute()
    except RuntimeError as error:
        raise BadInput(f"the DICOM series in {folder} cannot be read: {reason_of(error)}") from error
    if any(frames_of(_text(reader, n, NUMBER_OF_FRAMES)) > 1 for n in range(len(files))):
        raise BadInput(f"the DICOM series in {folder} has several multi-frame files; give one of them")
    if source.GetDimension() == 3:
        _check_slices(reader, len(files), folder)
    meta: dict[str, Any] = {"file": folder.name, "dicom_files": [str(f) for f in files]}
    for tag, name in TAGS.items():
        if reader.HasMetaDataKey(0, tag):
            meta[name] = _text(reader, 0, tag)
    return source, meta


def _check_modality(modality: str, path: Path) -> None:
    if modality != "MR":
        raise BadInput(f"the DICOM data in {path} are {modality}, not MR")


def _text(reader: SimpleITK.ImageSeriesReader, number: int, tag: str) -> str:
    """A tag of a slice; empty if it has none."""
    return reader.GetMetaData(number, tag).strip() if reader.HasMetaDataKey(number, tag) else ""


def _check_slices(reader: SimpleITK.ImageSeriesReader, count: int, folder: Path) -> None:
    """Slices must be of one head and one grid: a missing or a foreign one would shear the anatomy."""
    what = f"the slices in {folder}"
    for n in range(count):
        _check_modality(_text(reader, n, "0008|0060") or "MR", folder)
        if _text(reader, n, "0010|0020") != _text(reader, 0, "0010|0020"):
            raise BadInput(f"{what} belong to several patients")
    found = [np.array([_numbers(reader, n, *place, folder) for n in range(count)]) for place in PLACES]
    positions, axes, spacings = found[0], found[1].reshape(-1, 2, 3), found[2]
    check_alike(axes, spacings, what)
    slice_step(positions, np.cross(*axes[0]), what)


def _numbers(
    reader: SimpleITK.ImageSeriesReader, number: int, tag: str, name: str, length: int, folder: Path
) -> list[float]:
    try:
        values = [float(v) for v in _text(reader, number, tag).split("\\")]
    except ValueError:
        values = []
    if len(values) != length or not np.isfinite(values).all():
        raise BadInput(f"a slice in {folder} has no {name}, so nothing tells where its pixels lie")
    return values
