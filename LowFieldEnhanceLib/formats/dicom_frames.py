"""A multi-frame DICOM file (Enhanced MR): every frame at the place that its functional groups give it.

The frames may be stored in any order. ITK takes them one behind another as they come, with 1 mm voxels where their
places do not fit that; so their geometry is read with pydicom (PS3.3, C.7.6.16.2).
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK

from ..errors import BadInput
from .slice_positions import check_alike, slice_step

if TYPE_CHECKING:
    from pydicom import Dataset

MACROS = {
    "PlanePositionSequence": ("ImagePositionPatient", 3),
    "PlaneOrientationSequence": ("ImageOrientationPatient", 6),
    "PixelMeasuresSequence": ("PixelSpacing", 2),
}


@dataclass(frozen=True)
class _Frames:
    """Of each frame as it is stored: position (LPS mm), both axes, and spacing between rows and between columns."""

    positions: np.ndarray
    axes: np.ndarray
    spacings: np.ndarray


def place_frames(source: SimpleITK.Image, path: Path) -> SimpleITK.Image:
    """The frames sorted along their normal, with the geometry that the file gives them.

    Args:
        source: as ITK read it: frames in the order of the file.
        path: of the file.

    Raises:
        BadInput: pydicom is missing, the file does not say where its frames lie, they differ in orientation, spacing
            or rescaling, two lie at one place, or they are unevenly spaced.
    """
    frames = _read_frames(path)
    if len(frames.positions) != source.GetSize()[2]:
        raise BadInput(f"{path.name} says where {len(frames.positions)} of its {source.GetSize()[2]} frames lie")
    what = f"the frames of {path.name}"
    check_alike(frames.axes, frames.spacings, what)
    row, column = frames.axes[0] / np.linalg.norm(frames.axes[0], axis=1, keepdims=True)
    normal = np.cross(row, column)
    order = np.argsort(frames.positions @ normal, kind="stable")
    step = slice_step(frames.positions[order], normal, what)
    placed = SimpleITK.GetImageFromArray(SimpleITK.GetArrayFromImage(source)[order])
    placed.SetSpacing([float(frames.spacings[0, 1]), float(frames.spacings[0, 0]), float(np.linalg.norm(step))])
    placed.SetDirection(np.column_stack([row, column, normal]).ravel().tolist())
    placed.SetOrigin(frames.positions[order[0]].tolist())
    return placed


def _read_frames(path: Path) -> _Frames:
    if importlib.util.find_spec("pydicom") is None:
        raise BadInput(
            f"{path.name} is a multi-frame DICOM file, whose frames cannot be placed because pydicom is not installed; "
            "install with: pip install 'lowfield-enhance[dicom]'"
        )
    from pydicom import dcmread

    try:
        header = dcmread(path, stop_before_pixels=True)
        shared = header.SharedFunctionalGroupsSequence[0] if header.get("SharedFunctionalGroupsSequence") else None
        frames = header.PerFrameFunctionalGroupsSequence
        found = {macro: np.array([_numbers(macro, frame, shared) for frame in frames]) for macro in MACROS}
        scales = {_rescaling(frame, shared) for frame in frames}
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, OSError) as error:
        raise BadInput(f"the multi-frame DICOM file {path.name} does not say where its frames lie") from error
    if len(scales) > 1:
        raise BadInput(f"the frames of {path.name} have different rescale slopes, so their intensities do not compare")
    axes = found["PlaneOrientationSequence"].reshape(-1, 2, 3)
    return _Frames(found["PlanePositionSequence"], axes, found["PixelMeasuresSequence"])


def _numbers(macro: str, frame: Dataset, shared: Dataset | None) -> list[float]:
    """The value of a functional group, of the frame itself or shared by all; finite and as many as there must be."""
    keyword, count = MACROS[macro]
    values = [float(v) for v in _group(macro, frame, shared)[keyword].value]
    if len(values) != count or not np.isfinite(values).all() or (count == 2 and min(values) <= 0):
        raise ValueError(keyword)
    if count == 6 and min(np.linalg.norm(values[:3]), np.linalg.norm(values[3:])) < 0.5:
        raise ValueError(keyword)
    return values


def _rescaling(frame: Dataset, shared: Dataset | None) -> tuple[float, float]:
    try:
        group = _group("PixelValueTransformationSequence", frame, shared)
    except KeyError:
        return 1.0, 0.0
    return float(group.get("RescaleSlope", 1)), float(group.get("RescaleIntercept", 0))


def _group(macro: str, frame: Dataset, shared: Dataset | None) -> Dataset:
    holder = frame if macro in frame or shared is None else shared
    return holder[macro].value[0]
