"""Noise of a low-field scan: adding it, and estimating its level from the data."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from ..errors import BadInput

NOISE_KINDS = ("rician", "gaussian")
RAYLEIGH_MEDIAN = 1.1774100225154747  # median of a Rayleigh variable with sigma = 1: sqrt(2 ln 2)
RAYLEIGH_QUARTER = 0.6442340  # 25th percentile over median: sqrt(ln(4/3) / ln 2)
RAYLEIGH_NINETY = 1.8226157  # 90th percentile over median: sqrt(ln 10 / ln 2)
MAD_TO_SIGMA = 1.482602218505602


def add_noise(y: Tensor, sigma: float, kind: str, generator: torch.Generator | None = None) -> Tensor:
    """A noisy magnitude image.

    Args:
        y: noise-free intensities >= 0, any shape.
        sigma: standard deviation of the noise in each of the two receiver channels, in units of y.
        kind: ``rician`` |y + n1 + i n2| (Gudbjartsson and Patz 1995), or ``gaussian`` y + n1.
        generator: source of randomness.

    Raises:
        BadInput: unknown kind or negative sigma.
    """
    if kind not in NOISE_KINDS:
        raise BadInput(f"unknown noise '{kind}'; it must be one of {', '.join(NOISE_KINDS)}")
    if sigma < 0:
        raise BadInput(f"the noise level {sigma} is negative")
    real = y + sigma * torch.randn(y.shape, generator=generator, dtype=y.dtype, device=y.device)
    if kind == "gaussian":
        return real
    imaginary = sigma * torch.randn(y.shape, generator=generator, dtype=y.dtype, device=y.device)
    return torch.sqrt(real**2 + imaginary**2)


def estimate_sigma(array: np.ndarray, mask: np.ndarray | None = None) -> tuple[float, str]:
    """Noise level of a magnitude scan, in its own intensity units.

    The background (outside the head) of a magnitude image is Rayleigh distributed: sigma = median / 1.177. Where the
    background is zeroed, filtered away or absent, the level comes from the head itself, see :func:`difference_sigma`.
    It is never given below a thousandth of the mean intensity inside the mask: no scan is better than that, and an
    image without noise would make every residual infinite.

    Args:
        array: intensities [i, j, k].
        mask: True inside the head or brain; None finds a rough one.

    Returns:
        sigma, and ``background`` or ``difference``: where it was taken from.
    """
    array = np.asarray(array, dtype=np.float32)
    head = _rough_head(array)
    mask = ndimage.binary_erosion(head, iterations=2) if mask is None else np.asarray(mask, dtype=bool)
    inside = difference_sigma(array, mask)
    outside = ~ndimage.binary_dilation(mask | head, iterations=4)
    border = np.zeros(array.shape, dtype=bool)
    border[1:-1, 1:-1, :] = True
    values = array[outside & border]
    floor = 1e-3 * float(array[mask].mean()) if mask.any() else 0.0
    if values.size >= 500 and np.mean(values <= 0) < 0.2 and _is_rayleigh(values):
        sigma = float(np.median(values)) / RAYLEIGH_MEDIAN
        if sigma > 0.4 * inside:  # a background much quieter than the head was filtered
            return max(sigma, floor), "background"
    return max(inside, floor), "difference"


def _rough_head(array: np.ndarray) -> np.ndarray:
    """Voxels clearly above the background after smoothing, whatever the noise floor of the background is."""
    smooth = ndimage.gaussian_filter(array, 2.0)
    low, high = np.percentile(smooth, [5, 98])
    return smooth > low + 0.15 * (high - low)


def _is_rayleigh(values: np.ndarray) -> bool:
    """Whether quartile and 90th percentile over median fit a Rayleigh law; ghosts, filters or a scalp change them."""
    quarter, half, ninety = np.percentile(values, [25, 50, 90])
    if half <= 0:
        return False
    return abs(quarter / half / RAYLEIGH_QUARTER - 1) < 0.2 and abs(ninety / half / RAYLEIGH_NINETY - 1) < 0.2


def difference_sigma(array: np.ndarray, mask: np.ndarray) -> float:
    """Noise level from the anatomy itself: median absolute deviation of a product of second differences.

    (x[i-1] - 2 x[i] + x[i+1]) / sqrt(6) is taken along every axis of at least 5 voxels in turn. White noise keeps its
    standard deviation; whatever varies smoothly along even one axis vanishes, so folded cortex hardly counts, as it
    would in a difference along a single axis (Immerkaer, CVIU 1996;64:300, in 3-D and with a median).

    The noise is taken as white: a scan that was interpolated or filtered after acquisition gives too low a value.
    """
    second, inner = np.asarray(array, dtype=np.float32), np.asarray(mask, dtype=bool)
    for axis in range(3):
        if array.shape[axis] < 5:
            continue
        moved, kept = np.moveaxis(second, axis, 0), np.moveaxis(inner, axis, 0)
        reduced = (moved[:-2] - 2 * moved[1:-1] + moved[2:]) / np.sqrt(np.float32(6.0))
        valid = kept[:-2] & kept[1:-1] & kept[2:]
        if not valid.any():
            continue
        second, inner = np.moveaxis(reduced, 0, axis), np.moveaxis(valid, 0, axis)
    if second.shape == array.shape:
        return 0.0
    values = second[inner]
    return float(np.median(np.abs(values - np.median(values)))) * MAD_TO_SIGMA
