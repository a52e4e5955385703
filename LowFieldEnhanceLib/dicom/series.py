"""The enhanced volume as a derived series of MR Image Storage, one slice a file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..image import Image, check_image
from . import attributes
from .files import check_packages, new_folder
from .geometry import Stack, decimal_strings, stack_of
from .pixels import Quantised, display_window, quantise
from .source import read_source

if TYPE_CHECKING:
    from pydicom import Dataset

MIN_LINEAR_WIDTH = 1.0  # below it the window function LINEAR is not defined (PS3.3, C.11.2.1.2)


def write_series(
    image: Image,
    folder: str | os.PathLike[str],
    provenance: Mapping[str, Any],
    source_files: Sequence[str | os.PathLike[str]] | None = None,
    patient: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Write the enhanced volume as ``0001.dcm``, ``0002.dcm`` ... into a new folder.

    Patient, study, frame of reference and the description of the measurement are kept from the source instances; the
    series and its instances have new UIDs and refer to the source. Without a source a new study is made.

    MR Image Storage stores 16-bit integers, and its module has no rescaling. Voxels that are whole numbers are stored
    as they are. Others are stored with RescaleSlope (and intercept 0), as a Standard Extended SOP Class (PS3.2, 7.3):
    scanners of all makers write MR so, ITK, Slicer and PACS viewers read it, and dciodvfy notes it as a warning, not
    as an error. Rounding to whole scanner units instead would lose images whose range is 0 to 1.

    Args:
        image: the enhanced volume, any orientation without shear; a left-handed grid is stacked from its other end.
        folder: absent or empty; its parent exists.
        provenance: of the run (method, preset, seed, weights, versions).
        source_files: the DICOM files that the input was read from; None or empty if it was not DICOM.
        patient: DICOM keyword to value for a scan that was not DICOM, such as ``{"PatientID": "17"}``.

    Returns:
        The files in the order of their instance numbers, which is that of their positions along the slice normal.

    Raises:
        BadInput: pydicom is missing, the folder cannot be made or holds something, a source file is no MR instance,
            or the patient data are malformed.
    """
    check_packages("pydicom")
    with new_folder(folder) as temporary:
        names = [path.name for path in save_series(image, temporary, provenance, source_files, patient)]
    return [Path(folder) / name for name in names]


def save_series(
    image: Image,
    folder: Path,
    provenance: Mapping[str, Any],
    source_files: Sequence[str | os.PathLike[str]] | None,
    patient: Mapping[str, Any] | None,
    own_frame: bool = False,
) -> list[Path]:
    """:func:`write_series` into a folder that exists, for callers that look after it.

    Args:
        own_frame: see :func:`attributes.patient_and_study`.
    """
    from pydicom import Dataset, dcmwrite

    check_image(image)
    source = read_source(source_files) if source_files else None
    now = datetime.now()
    shared = Dataset()
    attributes.patient_and_study(shared, source, patient or {}, own_frame)
    attributes.series_and_equipment(shared, source, provenance, image.known_contrast, now)
    attributes.measurement(shared, source)
    attributes.derivation(shared, source, provenance)
    stack = stack_of(image.array, image.affine)
    pixels = quantise(stack.slices.astype(np.float64))
    _describe_plane(shared, stack)
    _describe_pixels(shared, stack, pixels)
    files = []
    for index in range(len(stack.slices)):
        files.append(folder / f"{index + 1:04d}.dcm")
        dcmwrite(files[-1], _instance(shared, stack, pixels, index), enforce_file_format=True)
    return files


def _describe_plane(target: Dataset, stack: Stack) -> None:
    target.ImageOrientationPatient = decimal_strings([*stack.row, *stack.column])
    target.PixelSpacing = decimal_strings(stack.pixel_spacing)
    target.SliceThickness = target.SpacingBetweenSlices = decimal_strings([stack.slice_spacing])[0]


def _describe_pixels(target: Dataset, stack: Stack, pixels: Quantised) -> None:
    _, target.Rows, target.Columns = stack.slices.shape
    target.SamplesPerPixel, target.PhotometricInterpretation = 1, "MONOCHROME2"
    target.BitsAllocated, target.BitsStored, target.HighBit = 16, 16, 15
    target.PixelRepresentation = int(pixels.signed)
    if pixels.slope != "1":
        target.RescaleIntercept, target.RescaleSlope, target.RescaleType = "0", pixels.slope, "US"
    centre, width = display_window(stack.slices)
    target.WindowCenter, target.WindowWidth = f"{centre:.6g}", f"{width:.6g}"
    if width < MIN_LINEAR_WIDTH:
        target.VOILUTFunction = "LINEAR_EXACT"


def _instance(shared: Dataset, stack: Stack, pixels: Quantised, index: int) -> Dataset:
    """The data set of one slice; elements that all slices share are not copied."""
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

    stored = pixels.stored[index]
    data = Dataset()
    data.update(shared)
    data.SOPClassUID, data.SOPInstanceUID = MRImageStorage, generate_uid(prefix=None)
    data.InstanceNumber = index + 1
    data.ImagePositionPatient = decimal_strings(stack.positions[index])
    data.SliceLocation = decimal_strings([stack.positions[index] @ stack.normal])[0]
    data.add_new("SmallestImagePixelValue", "SS" if pixels.signed else "US", int(stored.min()))
    data.add_new("LargestImagePixelValue", "SS" if pixels.signed else "US", int(stored.max()))
    data.add_new("PixelData", "OW", stored.astype(stored.dtype.newbyteorder("<")).tobytes())
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return data
