"""Noise of a low-field scan: adding it, and estimating its level from the data."""

from __future__ import annotations

from collections.abc import Sequence

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
FWHM_TO_SIGMA = 1 / (8 * np.log(2)) ** 0.5
# One voxel further along one axis raises the level of scans with white noise by 1.0 to 1.25 (1 to 3 mm, SNR up to 80:
# the anatomy shows), that of a filtered 64 mT scan by 1.4 to 1.9 along each axis, and from there by 1.1 at most.
CORRELATED = 1.3
MOST_LAG = 4  # voxels
LEAST_CALM = 500  # products of differences inside the white matter: their median is right within a tenth
ALIKE = np.linspace(0.01, 0.99, 99)  # correlations of neighbours that are told apart


def add_noise(
    y: Tensor,
    sigma: float,
    kind: str,
    generator: torch.Generator | None = None,
    filtered: Sequence[float] | None = None,
) -> Tensor:
    """A noisy magnitude image.

    Args:
        y: noise-free intensities >= 0, any shape.
        sigma: standard deviation of the noise in each of the two receiver channels, in units of y.
        kind: ``rician`` |y + n1 + i n2| (Gudbjartsson and Patz 1995), or ``gaussian`` y + n1.
        generator: source of randomness.
        filtered: full width at half maximum, in voxels along each axis of y, of the Gaussian filter that the scanner
            sent the noise through; None: white noise. The standard deviation is that after the filter.

    Raises:
        BadInput: unknown kind or negative sigma.
    """
    if kind not in NOISE_KINDS:
        raise BadInput(f"unknown noise '{kind}'; it must be one of {', '.join(NOISE_KINDS)}")
    if sigma < 0:
        raise BadInput(f"the noise level {sigma} is negative")

    def noise() -> Tensor:
        white = torch.randn(y.shape, generator=generator, dtype=y.dtype, device=y.device)
        return sigma * (white if filtered is None else filter_noise(white, filtered))

    real = y + noise()
    return real if kind == "gaussian" else torch.sqrt(real**2 + noise() ** 2)


def filter_noise(white: Tensor, widths: Sequence[float]) -> Tensor:
    """White noise through a Gaussian that wraps around (full widths at half maximum, voxels), of unit variance."""
    for axis, width in enumerate(widths):
        deviation = max(width, 1e-3) * FWHM_TO_SIGMA
        radius = min(int(np.ceil(3 * deviation)), (white.shape[axis] - 1) // 2)
        steps = np.arange(-radius, radius + 1)
        kernel = np.exp(-0.5 * (steps / deviation) ** 2)
        kernel /= np.linalg.norm(kernel)
        parts = (float(k) * white.roll(int(n), axis) for n, k in zip(steps, kernel, strict=True))
        white = sum(parts, start=torch.zeros_like(white))
    return white


def estimate_sigma(
    array: np.ndarray, mask: np.ndarray | None = None, calm: np.ndarray | None = None
) -> tuple[float, str]:
    """Noise level of a magnitude scan, in its own intensity units.

    The background (outside the head) of a magnitude image is Rayleigh distributed: sigma = median / 1.177. Where the
    background is zeroed, filtered away or absent, the level comes from the head itself, see :func:`difference_sigma`.
    It is never given below a thousandth of the mean intensity inside the mask: no scan is better than that, and an
    image without noise would make every residual infinite.

    Args:
        array: intensities [i, j, k].
        mask: True inside the head or brain; None finds a rough one.
        calm: True in the white matter, where anatomy varies least; None if it is not known.

    Returns:
        sigma, and ``background`` or ``difference``: where it was taken from.
    """
    array = np.asarray(array, dtype=np.float32)
    head = _rough_head(array)
    mask = ndimage.binary_erosion(head, iterations=2) if mask is None else np.asarray(mask, dtype=bool)
    outside = ~ndimage.binary_dilation(mask | head, iterations=4)
    border = np.zeros(array.shape, dtype=bool)
    border[1:-1, 1:-1, :] = True
    values = array[outside & border]
    floor = 1e-3 * float(array[mask].mean()) if mask.any() else 0.0
    if values.size >= 500 and np.mean(values <= 0) < 0.2 and _is_rayleigh(values):
        sigma = float(np.median(values)) / RAYLEIGH_MEDIAN
        if sigma > 0.4 * _lagged_level(array, mask, (1, 1, 1)):  # one much quieter than the head was filtered
            return max(sigma, floor), "background"
    return max(difference_sigma(array, mask, calm), floor), "difference"


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


def difference_sigma(array: np.ndarray, mask: np.ndarray, calm: np.ndarray | None = None) -> float:
    """Noise level from the anatomy itself: median absolute deviation of a product of second differences.

    (x[i-n] - 2 x[i] + x[i+n]) / sqrt(6) is taken along every axis of at least 5 voxels in turn. White noise keeps its
    standard deviation; whatever varies smoothly along even one axis vanishes, so folded cortex hardly counts, as it
    would in a difference along a single axis (Immerkaer, CVIU 1996;64:300, in 3-D and with a median).

    n is 1 where the noise is white. Scanners filter and interpolate their images; noise that they left in neighbours
    alike cancels at n = 1. So n grows along an axis as long as the level grows with it by more than CORRELATED. A scan
    that was interpolated along all axes is found too quiet even so.

    In voxels of 3 mm folds are as sharp as noise, and at an SNR of 60 they pass for correlated noise of four times the
    level. So where ``calm`` (white matter) is large enough and its noise is white, the level is taken there alone.

    Returns:
        Standard deviation in units of the array; 0 where the mask leaves nothing to measure.
    """
    if calm is not None and _second_differences(array, mask & calm, (1, 1, 1)).size >= LEAST_CALM:
        lags, level = _uncorrelated(array, mask & calm)
        if lags == [1, 1, 1]:
            return level
    return _uncorrelated(array, mask)[1]


def noise_widths(array: np.ndarray, mask: np.ndarray) -> tuple[float, float, float]:
    """How wide the filter was that the noise went through: full width at half maximum along each axis, voxels.

    At n = 1 (see :func:`difference_sigma`) the level along an axis is sqrt((3 - 4 r + r^4) / 3) of that at an n where
    neighbours are no longer alike; r is the correlation of direct neighbours behind a Gaussian filter, whose standard
    deviation is 1 / (2 sqrt(-ln r)). Found up to a third too narrow, because some likeness is left at the largest n.

    Returns:
        0 along the axes where the noise is white as far as that can be told.
    """
    lags, level = _uncorrelated(array, mask)
    widths = []
    for axis, lag in enumerate(lags):
        near = [1 if number == axis else other for number, other in enumerate(lags)]
        share = _lagged_level(array, mask, near) / level if lag > 1 and level > 0 else 1.0
        alike = float(np.interp(-(share**2), -(3 - 4 * ALIKE + ALIKE**4) / 3, ALIKE))
        widths.append(0.5 / float(np.sqrt(-np.log(alike))) / float(FWHM_TO_SIGMA) if lag > 1 else 0.0)
    return widths[0], widths[1], widths[2]


def _uncorrelated(array: np.ndarray, mask: np.ndarray) -> tuple[list[int], float]:
    """n along each axis, and the level there; see :func:`difference_sigma`."""
    lags = [1, 1, 1]
    level = _lagged_level(array, mask, lags)
    for axis in range(3):
        while lags[axis] < MOST_LAG:
            wider = [lag + (number == axis) for number, lag in enumerate(lags)]
            other = _lagged_level(array, mask, wider)
            if not other > CORRELATED * level:
                break
            lags, level = wider, other
    return lags, level


def _lagged_level(array: np.ndarray, mask: np.ndarray, lags: Sequence[int]) -> float:
    """Level of :func:`difference_sigma` at fixed n along the three axes; 0 where the mask leaves nothing."""
    values = _second_differences(array, mask, lags)
    return float(np.median(np.abs(values - np.median(values)))) * MAD_TO_SIGMA if values.size else 0.0


def _second_differences(array: np.ndarray, mask: np.ndarray, lags: Sequence[int]) -> np.ndarray:
    """(N,) products of second differences whose voxels all lie in the mask."""
    second, inner = np.asarray(array, dtype=np.float32), np.asarray(mask, dtype=bool)
    for axis, lag in enumerate(lags):
        if array.shape[axis] < max(5, 2 * lag + 1):
            continue
        moved, kept = np.moveaxis(second, axis, 0), np.moveaxis(inner, axis, 0)
        before, middle, after = slice(None, -2 * lag), slice(lag, -lag), slice(2 * lag, None)
        reduced = (moved[before] - 2 * moved[middle] + moved[after]) / np.sqrt(np.float32(6.0))
        valid = kept[before] & kept[middle] & kept[after]
        if not valid.any():
            continue
        second, inner = np.moveaxis(reduced, 0, axis), np.moveaxis(valid, 0, axis)
    return second[inner] if second.shape != array.shape else second[:0].reshape(-1)
