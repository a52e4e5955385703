"""From a voxel grid of any orientation to a stack of DICOM slices, every voxel at its place.

DICOM's world is LPS. A slice is stored row by row: the column index runs along the first vector of
ImageOrientationPatient, the row index along the second, and their cross product is the normal along which slices are
stacked. Axes are only exchanged and reversed, never resampled.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..image import LPS_FROM_RAS

DECIMALS = 11  # of a DICOM decimal string, which holds 16 characters: -123.45678901234


@dataclass(frozen=True)
class Stack:
    """Slices and where they lie.

    Attributes:
        slices: [slice, row, column].
        row: unit vector (LPS) along which the column index grows.
        column: unit vector (LPS) along which the row index grows.
        positions: (slices, 3), LPS mm of the centre of the first voxel of each slice.
        pixel_spacing: mm between rows, mm between columns.
        slice_spacing: mm between slices.
    """

    slices: np.ndarray
    row: np.ndarray
    column: np.ndarray
    positions: np.ndarray
    pixel_spacing: tuple[float, float]
    slice_spacing: float

    @property
    def normal(self) -> np.ndarray:
        """Unit vector along which the slices are stacked; positions grow along it."""
        return np.cross(self.row, self.column)


def stack_of(array: np.ndarray, affine: np.ndarray) -> Stack:
    """Slices perpendicular to k, turned as radiologists see them, in the order of a right-handed stack.

    Transverse slices show the patient's right on the left of the screen and the front at the top, coronal ones the
    head at the top, sagittal ones the front on the left: viewers draw pixels as they are stored. A left-handed affine
    gives the slices in reverse order.

    Args:
        array: [i, j, k].
        affine: 4 x 4, index to RAS mm, without shear (see image.check_image).
    """
    lps = LPS_FROM_RAS @ np.asarray(affine, dtype=np.float64)
    through = int(np.argmax(np.abs(lps[:3, 2])))
    across, down = (axis for axis in range(3) if axis != through)
    if abs(lps[down, 0] * lps[across, 1]) > abs(lps[across, 0] * lps[down, 1]):
        array, lps = array.transpose(1, 0, 2), lps[:, [1, 0, 2, 3]]
    if lps[across, 0] < 0:  # the column index runs to the left or to the back
        array, lps = _reversed(array, lps, 0)
    if lps[down, 1] * (-1 if down == 2 else 1) < 0:  # the row index runs to the feet, on transverse slices to the back
        array, lps = _reversed(array, lps, 1)
    row, column = _right_angled(lps[:3, 0], lps[:3, 1])
    if np.cross(row, column) @ lps[:3, 2] < 0:
        array, lps = _reversed(array, lps, 2)
    count = array.shape[2]
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    return Stack(
        slices=np.ascontiguousarray(array.transpose(2, 1, 0)),
        row=row,
        column=column,
        positions=_decimal(lps[:3, 3] + np.arange(count)[:, None] * lps[:3, 2]),
        pixel_spacing=(float(spacing[1]), float(spacing[0])),
        slice_spacing=float(spacing[2]),
    )


def decimal_strings(values: np.ndarray | list[float] | tuple[float, ...]) -> list[str]:
    """Numbers as DICOM decimal strings: at most 16 characters, no exponent where none is needed."""
    from pydicom.valuerep import format_number_as_ds

    return [format_number_as_ds(float(v)) for v in _decimal(np.asarray(values, dtype=np.float64))]


def _reversed(array: np.ndarray, affine: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """The same voxels at the same places with one index counted from the other end."""
    affine = affine.copy()
    affine[:3, 3] += affine[:3, axis] * (array.shape[axis] - 1)
    affine[:3, axis] *= -1
    return np.flip(array, axis), affine


def _right_angled(row: np.ndarray, column: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors at right angles, as DICOM demands; what the header's rounding left is taken off the second."""
    row = row / np.linalg.norm(row)
    column = column - (column @ row) * row
    return row, column / np.linalg.norm(column)


def _decimal(values: np.ndarray) -> np.ndarray:
    """Rounded so that 1e-17 is 0, and never minus 0."""
    return np.round(values, DECIMALS) + 0.0
