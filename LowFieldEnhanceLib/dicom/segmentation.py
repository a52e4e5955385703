"""The labels as a DICOM segmentation (SEG) that refers to the enhanced series."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import BadInput
from ..image_io import DERIVED
from ..safe_files import replaced
from ..segmentation.labels import Label, LabelMap, label_by_id
from .attributes import MANUFACTURER, SHORT_SHA256, code_item, plain, software_versions
from .files import check_packages, new_folder
from .geometry import Stack, stack_of

if TYPE_CHECKING:
    from highdicom.seg import Segmentation, SegmentDescription
    from pydicom import Dataset

FILE_NAME = "segmentation.dcm"
ALGORITHM = "LowFieldEnhance segmenter"
GRID_TOLERANCE_MM = 1e-3
CATEGORY = ("123037004", "SCT", "Anatomical Structure")
SIDES = {"left": ("7771000", "Left"), "right": ("24028007", "Right")}


def write_segmentation(
    labels: LabelMap,
    target: str | os.PathLike[str],
    series_files: Sequence[str | os.PathLike[str]],
    provenance: Mapping[str, Any],
) -> Path:
    """Write one segment for each structure that occurs, with its name, codes and colour.

    Segments are BINARY: the form that Slicer (through dcmqi) and the viewers of today read. Structures keep the order
    of their FreeSurfer ids, which stand in each segment's description.

    Args:
        labels: on the grid of the series, voxel by voxel.
        target: a ``.dcm`` file that does not exist yet, or a folder, absent or empty, that gets ``segmentation.dcm``.
        series_files: all files of the enhanced series (:func:`write_series`).
        provenance: of the run (segmenter, versions).

    Raises:
        BadInput: pydicom or highdicom is missing; the target exists; no structure or one without a name in the map;
            the files are not the series on whose grid the labels are.
    """
    check_packages("pydicom", "highdicom")
    path = Path(target)
    if path.suffix.lower() != ".dcm":
        with new_folder(path) as folder:
            save_segmentation(labels, folder / FILE_NAME, series_files, provenance)
        return path / FILE_NAME
    if path.exists():
        raise BadInput(f"the file {path} exists already; DICOM files are never overwritten")
    with replaced(path) as temporary:
        save_segmentation(labels, temporary, series_files, provenance)
    return path


def save_segmentation(
    labels: LabelMap, path: Path, series_files: Sequence[str | os.PathLike[str]], provenance: Mapping[str, Any]
) -> None:
    """:func:`write_segmentation` into one file, for callers that look after it."""
    present = [int(value) for value in np.unique(labels.array) if value != 0]
    unknown = [value for value in present if value not in label_by_id()]
    if not present:
        raise BadInput("the label map is empty, so there is no structure to write")
    if unknown:
        raise BadInput(f"the label map contains ids without a name: {', '.join(map(str, unknown))}")
    stack = stack_of(labels.array, labels.affine)
    headers = _headers_on_grid(series_files, stack)
    numbers = np.zeros(256, dtype=np.uint8)
    numbers[present] = np.arange(1, len(present) + 1)
    segments = [_describe(label_by_id()[value], n, provenance) for n, value in enumerate(present, start=1)]
    try:
        data = _segmentation(headers, numbers[stack.slices], segments, provenance)
    except (TypeError, ValueError) as error:
        raise BadInput(f"the labels cannot be written as DICOM: {error}") from error
    data.save_as(path)


def _segmentation(
    headers: list[Dataset], numbers: np.ndarray, segments: list[SegmentDescription], provenance: Mapping[str, Any]
) -> Segmentation:
    """Segment numbers [slice, row, column], slice by slice those of the headers."""
    from highdicom.seg import Segmentation
    from pydicom.uid import generate_uid

    versions = software_versions(provenance)
    data = Segmentation(
        source_images=headers,
        pixel_array=numbers,
        segmentation_type="BINARY",
        segment_descriptions=segments,
        series_instance_uid=generate_uid(prefix=None),
        series_number=int(headers[0].SeriesNumber) + 1000,
        sop_instance_uid=generate_uid(prefix=None),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MANUFACTURER,
        software_versions=versions,
        device_serial_number=versions[0],  # required, and software has no other number
        content_label="BRAIN_STRUCTURES",
        content_description=plain(f"{DERIVED}: brain structures", 64),
        series_description=plain(f"{DERIVED}: segmentation", 64),
    )
    data.BodyPartExamined = headers[0].get("BodyPartExamined", "HEAD")
    return data


def _describe(label: Label, number: int, provenance: Mapping[str, Any]) -> SegmentDescription:
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.color import CIELabColor
    from highdicom.seg import SegmentDescription
    from pydicom.sr.coding import Code

    segmenter = provenance.get("segmenter", {})
    weights = f"weights {segmenter['sha256'][:SHORT_SHA256]}" if segmenter.get("sha256") else ""
    segment = SegmentDescription(
        segment_number=number,
        segment_label=label.name,
        segmented_property_category=Code(*CATEGORY),
        segmented_property_type=Code(label.code, label.scheme, label.meaning),
        algorithm_type="AUTOMATIC",
        algorithm_identification=AlgorithmIdentificationSequence(
            name=ALGORITHM,
            family=Code("123110", "DCM", "Artificial Intelligence"),
            version=plain(f"{software_versions(provenance)[0]} {weights}", 64),
            source=MANUFACTURER,
        ),
        display_color=CIELabColor.from_rgb(*label.colour),
    )
    segment.SegmentDescription = f"FreeSurfer label {label.id}"
    if label.side:
        code, meaning = SIDES[label.side]
        kind = segment.SegmentedPropertyTypeCodeSequence[0]
        kind.SegmentedPropertyTypeModifierCodeSequence = [code_item(code, meaning, "SCT")]
    return segment


def _headers_on_grid(files: Sequence[str | os.PathLike[str]], stack: Stack) -> list[Dataset]:
    """Headers in the order of the stack.

    Raises:
        BadInput: no DICOM files, or not one for each slice of the stack at its place.
    """
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    try:
        headers = [dcmread(file, stop_before_pixels=True) for file in files]
        positions = np.array([h.ImagePositionPatient for h in headers], dtype=np.float64).reshape(-1, 3)
        order = np.argsort(positions @ stack.normal)
        corners = np.array([_corners(headers[n]) for n in order]).reshape(-1, 3, 3)
    except (InvalidDicomError, FileNotFoundError, AttributeError) as error:
        raise BadInput(f"the segmentation needs the files of a DICOM MR series: {error}") from error
    rows, columns = stack.slices.shape[1:]
    expected = np.stack(
        [
            stack.positions,
            stack.positions + stack.row * stack.pixel_spacing[1] * (columns - 1),
            stack.positions + stack.column * stack.pixel_spacing[0] * (rows - 1),
        ],
        axis=1,
    )
    sizes = {(h.Rows, h.Columns) for h in headers}
    if (
        corners.shape != expected.shape
        or sizes != {(rows, columns)}
        or np.abs(corners - expected).max() > GRID_TOLERANCE_MM
    ):
        raise BadInput("the labels are not on the grid of the DICOM series, so they cannot refer to it")
    return [headers[n] for n in order]


def _corners(header: Dataset) -> list[np.ndarray]:
    """Centres of the first pixel, the last of its row, and the last of its column, LPS mm."""
    axes = np.array(header.ImageOrientationPatient, dtype=np.float64).reshape(2, 3)
    origin = np.array(header.ImagePositionPatient, dtype=np.float64)
    between_rows, between_columns = (float(v) for v in header.PixelSpacing)
    return [
        origin,
        origin + axes[0] * between_columns * (header.Columns - 1),
        origin + axes[1] * between_rows * (header.Rows - 1),
    ]
