"""Whether slices make a volume: one behind another along their normal, all equally far apart."""

from __future__ import annotations

import numpy as np

from .errors import BadInput

MOST_UNEVEN, LEAST_UNEVEN_MM = 0.05, 0.02  # difference of two gaps: share of the mean gap, and mm of rounding
MOST_ASIDE_MM = 0.1  # of a slice, across the normal
LEAST_GAP_MM = 1e-3


def slice_step(positions: np.ndarray, normal: np.ndarray, what: str) -> np.ndarray:
    """The step from a slice to the next, mm, along the normal.

    Args:
        positions: (slices, 3), mm, of each slice's first voxel, in the order of the slices.
        normal: unit vector of all slices.
        what: names the slices in the sentence of a refusal, such as "the slices in FOLDER".

    Raises:
        BadInput: two lie at one place, the gaps differ, or the slices are shifted against one another.
    """
    along = positions @ normal
    gaps = np.abs(np.diff(along))
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
