"""Dice overlap of masks and of label maps."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from ..errors import BadInput
from .checks import check_same_shape


def dice(a_mask: np.ndarray, b_mask: np.ndarray) -> float:
    """Dice coefficient 2 |A and B| / (|A| + |B|) of two masks (voxels that are not 0); 0..1, higher is better.

    NaN if both are empty, 0 if one is. Source: Dice, Ecology 1945.

    Raises:
        BadInput: the shapes differ.
    """
    check_same_shape(a_mask, b_mask, "the two masks")
    a, b = np.asarray(a_mask) != 0, np.asarray(b_mask) != 0
    return _ratio(int(np.count_nonzero(a & b)), int(np.count_nonzero(a)), int(np.count_nonzero(b)))


def dice_per_label(a: np.ndarray, b: np.ndarray, labels: Iterable[int] | None = None) -> dict[int, float]:
    """Dice of every label in one pass over two label arrays of one shape.

    Args:
        a, b: integer arrays, 0 is background.
        labels: the ids to report; None means all ids above 0 found in either array, ascending.

    Returns:
        id to Dice (0..1, higher is better; NaN for an id in neither array).

    Raises:
        BadInput: the shapes differ, or the arrays are not whole numbers of at least 0.
    """
    check_same_shape(a, b, "the two label maps")
    a, b = np.asarray(a), np.asarray(b)
    in_a, in_b, in_both = label_counts(a), label_counts(b), label_counts(a[a == b])
    ids = sorted(({*in_a, *in_b}) - {0}) if labels is None else [int(label) for label in labels]
    return {label: _ratio(in_both.get(label, 0), in_a.get(label, 0), in_b.get(label, 0)) for label in ids}


def label_counts(labels: np.ndarray) -> dict[int, int]:
    """Voxels per id that occurs in an integer array, background 0 included.

    Raises:
        BadInput: the array is not of whole numbers, or one is negative.
    """
    labels = np.asarray(labels)
    if not (np.issubdtype(labels.dtype, np.integer) or labels.dtype == bool):
        raise BadInput(f"a label map must hold whole numbers, not {labels.dtype}")
    if labels.size == 0:
        return {}
    if labels.min() < 0:
        raise BadInput("a label map must not hold negative ids")
    counts = np.bincount(labels.ravel())
    return {int(label): int(counts[label]) for label in np.flatnonzero(counts)}


def _ratio(both: int, in_a: int, in_b: int) -> float:
    return math.nan if in_a + in_b == 0 else 2.0 * both / (in_a + in_b)
