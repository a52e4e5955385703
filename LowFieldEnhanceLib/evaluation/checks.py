"""What every metric asks of its arrays, in one place: equal shapes, finite values, a mask that holds something."""

from __future__ import annotations

import numpy as np

from ..errors import BadInput


def check_same_shape(first: np.ndarray, second: np.ndarray, what: str) -> None:
    """Raise :class:`BadInput` with one sentence that begins with ``what`` if the shapes differ."""
    if np.shape(first) != np.shape(second):
        raise BadInput(f"{what} have the shapes {np.shape(first)} and {np.shape(second)}; they must be on one grid")


def as_mask(mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The mask as a boolean array (voxels that are not 0) of the given shape.

    Raises:
        BadInput: another shape, or no voxel inside.
    """
    inside = np.asarray(mask) != 0
    if inside.shape != tuple(shape):
        raise BadInput(f"the mask has the shape {inside.shape} and the images {tuple(shape)}; they must be on one grid")
    if not inside.any():
        raise BadInput("the mask is empty, so there is nothing to measure")
    return inside


def as_finite(array: np.ndarray, name: str) -> np.ndarray:
    """The array as float64; ``name`` appears in the error.

    Raises:
        BadInput: NaN or infinite values.
    """
    values = np.asarray(array, dtype=np.float64)
    if not np.isfinite(values).all():
        raise BadInput(f"{name} contains NaN or infinite values, so it cannot be measured")
    return values


def as_pair(reference: np.ndarray, image: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Reference and image as float64 and the mask as bool, all of one shape (any number of axes).

    Raises:
        BadInput: shapes differ, the mask is empty, or a value is NaN or infinite.
    """
    check_same_shape(reference, image, "the reference and the image")
    inside = as_mask(mask, np.shape(reference))
    return as_finite(reference, "the reference"), as_finite(image, "the image"), inside


def bounding_box(mask: np.ndarray, margin: int = 0) -> tuple[slice, ...]:
    """Slices of the smallest box around the mask, widened by ``margin`` voxels where the grid allows.

    Raises:
        BadInput: the mask is empty.
    """
    box = []
    for axis in range(mask.ndim):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        indices = np.flatnonzero(mask.any(axis=others))
        if indices.size == 0:
            raise BadInput("the mask is empty, so it has no bounding box")
        box.append(slice(max(int(indices[0]) - margin, 0), min(int(indices[-1]) + 1 + margin, mask.shape[axis])))
    return tuple(box)
