"""Whether slices make a volume: alike, one behind another along their normal, all equally far apart."""

from __future__ import annotations

import numpy as np

from ..errors import BadInput

MOST_UNEVEN, LEAST_UNEVEN_MM = 0.05, 0.02  # difference of two gaps: share of the mean gap, and mm of rounding
MOST_ASIDE_MM = 0.1  # of a slice, across the normal
LEAST_GAP_MM = 1e-3
SAME_DIRECTION = 1e-3  # difference of two cosines
LEAST_LENGTH = 0.5  # of a unit vector
SAME_SPACING = 1e-3  # share of the spacing


def check_alike(axes: np.ndarray, spacings: np.ndarray, what: str) -> None:
    """Refuse slices of several orientations or pixel sizes, or without them.

    Args:
        axes: (slices, 2, 3), unit vectors along a row and along a column, as the headers give them.
        spacings: (slices, 2), mm between rows and between columns, as the headers give them.
        what: names the slices in the sentence of a refusal, such as "the slices in FOLDER".

    Raises:
        BadInput: see above.
    """
    if not (np.linalg.norm(axes, axis=2) > LEAST_LENGTH).all():
        raise BadInput(f"{what} have an ImageOrientationPatient without direction, so their position is unknown")
    if not (spacings > 0).all():
        raise BadInput(f"{what} have a PixelSpacing that is not above 0, so the size of the anatomy is unknown")
    if np.abs(axes - axes[0]).max() > SAME_DIRECTION:
        raise BadInput(f"{what} are differently oriented, so they are no single volume")
    if np.abs(spacings / spacings[0] - 1).max() > SAME_SPACING:
        raise BadInput(f"{what} have pixels of different sizes, so they are no single volume")


def slice_step(positions: np.ndarray, normal: np.ndarray, what: str) -> np.ndarray:
    """The step from a slice to the next, mm, along the normal.

    Args:
        positions: (slices, 3), mm, of each slice's first voxel, in the order of the slices.
        normal: unit vector of all slices.
        what: see :func:`check_alike`.

    Raises:
        BadInput: two lie at one place, the gaps differ, or the slices are shifted against one another.
    """
    along = positions @ normal
    gaps = np.diff(along) * (1 if along[-1] > along[0] else -1)
    if gaps.size == 0:
        return normal
    if gaps.min() < LEAST_GAP_MM:
        raise BadInput(f"two of {what} lie at the same place, so they are of several echoes, contrasts or times")
    if gaps.max() - gaps.min() > max(MOST_UNEVEN * gaps.mean(), LEAST_UNEVEN_MM):
        raise BadInput(f"{what} are {gaps.min():.2f} to {gaps.max():.2f} mm apart, so some are missing or doubled")
    aside = positions - positions[0] - np.outer(along - along[0], normal)
    apart = float(np.linalg.norm(aside, axis=1).max())
    if apart > MOST_ASIDE_MM:
        raise BadInput(f"{what} are shifted against one another by up to {apart:.1f} mm, which no scanner grid is")
    return normal * (along[-1] - along[0]) / gaps.size
