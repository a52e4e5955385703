"""Robust intensity scaling between a scanner's arbitrary units and the networks' range."""

from __future__ import annotations

import numpy as np

from ..errors import BadInput

REFERENCE_PERCENTILE = 90.0
HEADROOM = 1.25
MODEL_MIN, MODEL_MAX = -1.0, 1.5


def brightest(array: np.ndarray, mask: np.ndarray) -> float:
    """The signal of the brain's brightest tissue, white matter in T1w: the 90th percentile inside the mask.

    It is little moved by noise, bright vessels or fluid, unlike the maximum. The networks' noise was drawn in units of
    it, whatever the contrast.

    Raises:
        BadInput: the mask is empty.
    """
    values = array[mask]
    if values.size == 0:
        raise BadInput("no brain was found in the image, so its intensities cannot be scaled")
    return float(np.percentile(values, REFERENCE_PERCENTILE))


def intensity_scale(array: np.ndarray, mask: np.ndarray) -> float:
    """The intensity that maps to model value +1: 1.25 times the 90th percentile inside the mask.

    Raises:
        BadInput: the mask is empty or the brain has no positive intensities.
    """
    scale = HEADROOM * brightest(array, mask)
    if not scale > 0:
        raise BadInput("the intensities inside the brain are not positive, so they cannot be those of a magnitude scan")
    return scale


def to_model(array: np.ndarray, scale: float) -> np.ndarray:
    """Scanner intensity -> model range: 0 maps to -1, ``scale`` to +1, clipped to [-1, 1.5]."""
    return np.clip(2.0 * array / scale - 1.0, MODEL_MIN, MODEL_MAX).astype(np.float32)


def from_model(array: np.ndarray, scale: float) -> np.ndarray:
    """Model range -> scanner intensity, never below 0."""
    return np.maximum((array + 1.0) * 0.5 * scale, 0.0).astype(np.float32)
