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
# Differences across two voxels along one axis have 0.92 to 1.06 times the level of those across one if the noise is
# white: in white matter (1.5 to 3 mm, SNR 8 to 40). In the whole brain, where folds count, it is up to 1.25 (SNR 80).
# A filtered 64 mT scan has 1.2 to 1.4.
FILTERED_CALM, FILTERED = 1.08, 1.3
WIDEST = 3.0  # voxels, full width at half maximum: behind a wider filter next to nothing of the noise is left at n = 1
# Products of differences in the white matter, and of those across two voxels: medians right within a tenth and a fifth
LEAST_CALM, LEAST_WIDE = 500, 200
LAGS = ((1, 1, 1), (2, 1, 1), (1, 2, 1), (1, 1, 2))  # n along the axes: 1, then 2 along each of them alone
ALIKE = np.linspace(0.001, 0.99, 990)  # correlations of neighbours that are told apart


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
        if sigma > 0.4 * _spread(
            _second_differences(array, mask, LAGS[0])
        ):  # one much quieter than the head was filtered
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

    (x[i-n] - 2 x[i] + x[i+n]) / sqrt(6) with n = 1 is taken along every axis of at least 5 voxels in turn. White noise
    keeps its standard deviation; whatever varies smoothly along even one axis vanishes, so folded cortex hardly counts,
    as it would in a difference along a single axis (Immerkaer, CVIU 1996;64:300, in 3-D and with a median).

    Scanners filter and interpolate their images; noise that they left in neighbours alike cancels. Behind a Gaussian
    filter the level falls by f(1) along each axis, f(n)^2 = (3 - 4 r^(n^2) + r^(4 n^2)) / 3 with r the correlation of
    direct neighbours. The level with n = 2 along one axis alone over that with n = 1 is f(2) / f(1) and shows r; the
    differences along the other axes keep the anatomy out of it. Each axis' f(1) is divided out.

    In voxels of 3 mm folds are as sharp as noise, and at an SNR of 60 they pass for filtered noise of four times the
    level. So where ``calm`` (white matter) is large enough, the level is taken there alone: right within a quarter for
    filters of up to 3 voxels (SNR 8 to 40); those of 1 voxel and more are seen. In the whole mask they are seen from
    1.3 voxels on; behind a narrower one the level found is down to half of the true one
    (Testing/benchmarks/noise_level.py). A scan that was interpolated along all axes is found too quiet even so.

    Returns:
        Standard deviation in units of the array; 0 where the mask leaves nothing to measure.
    """
    level, likeness = _level_and_likeness(array, mask, calm)
    return level / float(np.prod(_loss(likeness, 1)))


def noise_widths(array: np.ndarray, mask: np.ndarray, calm: np.ndarray | None = None) -> tuple[float, float, float]:
    """How wide the filter was that the noise went through: full width at half maximum along each axis, voxels.

    That of the Gaussian filter whose neighbours have the correlation r (see :func:`difference_sigma`): its standard
    deviation is 1 / (2 sqrt(-ln r)).

    Returns:
        0 along the axes where the noise is white as far as that can be told; :data:`WIDEST` at most.
    """
    widths = [float(_width(r)) if r > 0 else 0.0 for r in _level_and_likeness(array, mask, calm)[1]]
    return widths[0], widths[1], widths[2]


def _level_and_likeness(array: np.ndarray, mask: np.ndarray, calm: np.ndarray | None) -> tuple[float, np.ndarray]:
    """The level with n = 1, and (3,) the correlation r of direct neighbours along each axis, 0 where none is seen.

    In the white matter ``calm``; in the whole mask where that is not known or too small.
    """
    least, enough = FILTERED_CALM, False
    if calm is not None:
        found = [_second_differences(array, mask & calm, lags) for lags in LAGS]
        enough = found[0].size >= LEAST_CALM and min(values.size for values in found[1:]) >= LEAST_WIDE
    if not enough:
        least, found = FILTERED, [_second_differences(array, mask, lags) for lags in LAGS]
    level, *wider = (_spread(values) for values in found)
    ratios = np.array(wider) / level if level > 0 else np.ones(3)
    known = ALIKE[_width(ALIKE) <= WIDEST]
    likeness = np.interp(ratios, _loss(known, 2) / _loss(known, 1), known)
    return level, np.where(ratios > least, likeness, 0.0)


def _loss(r: np.ndarray, lag: int) -> np.ndarray:
    """f(n) of :func:`difference_sigma`."""
    return np.sqrt((3 - 4 * r ** (lag * lag) + r ** (4 * lag * lag)) / 3)


def _width(r: np.ndarray) -> np.ndarray:
    """Full width at half maximum, in voxels, of the Gaussian filter behind which neighbours have the correlation r."""
    return 0.5 / np.sqrt(-np.log(r)) / float(FWHM_TO_SIGMA)


def _spread(values: np.ndarray) -> float:
    """Standard deviation of (N,) normal values, from their median absolute deviation; 0 of none."""
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
