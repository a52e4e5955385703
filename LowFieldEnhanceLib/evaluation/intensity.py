"""Image metrics inside a mask against a reference: PSNR, SSIM, MAE, NMSE, and the linear fit that precedes them.

Every function takes arrays [i, j, k] of one shape (reference, image) and a mask (voxels that are not 0 count), and
raises :class:`BadInput` when shapes differ, the mask is empty or a voxel is NaN or infinite. ``data_range`` is the
width L of the intensity range in the reference's unit; None means :func:`reference_range`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter

from ..errors import BadInput
from .checks import as_finite, as_mask, as_pair, bounding_box, check_same_shape
from .similarity import structural_similarity
from .ulfenc import ulf_enc_score

if TYPE_CHECKING:
    from .lpips import Lpips

RANGE_PERCENTILE = 99.9
RANGE = f"{RANGE_PERCENTILE}th percentile - minimum of the reference, inside the mask"
SSIM_SIGMA_VOXELS = 1.5
SSIM_TRUNCATE = 3.5  # with sigma 1.5 a window of 11 voxels, as in Wang et al. 2004
SSIM_RADIUS = int(SSIM_TRUNCATE * SSIM_SIGMA_VOXELS + 0.5)


@dataclass(frozen=True)
class ImageScores:
    """Scores of one image against its reference inside a mask, after a linear intensity fit.

    Attributes:
        psnr: dB, higher is better; infinite for identical images.
        ssim: -1..1, higher is better.
        mae: mean absolute error as a share of ``data_range``, lower is better.
        nmse: 0 upward, lower is better.
        lpips: 0 upward, lower is better; None if it was not asked for.
        ulf_enc: composite score of the ULF-EnC challenge, higher is better; on the image before the fit.
        data_range: the range L that psnr, ssim, mae and lpips used, in the reference's unit.
    """

    psnr: float
    ssim: float
    mae: float
    nmse: float
    lpips: float | None
    ulf_enc: float
    data_range: float


def reference_range(reference: np.ndarray, mask: np.ndarray) -> float:
    """The default data range: 99.9th percentile minus minimum of the reference inside the mask (its unit, above 0).

    The percentile instead of the maximum keeps a few bright vessel voxels from flattering the PSNR.

    Raises:
        BadInput: the reference is constant inside the mask.
    """
    values = as_finite(reference, "the reference")[as_mask(mask, np.shape(reference))]
    width = float(np.percentile(values, RANGE_PERCENTILE) - values.min())
    if not width > 0:
        raise BadInput("the reference is constant inside the mask, so it has no intensity range")
    return width


def psnr(reference: np.ndarray, image: np.ndarray, mask: np.ndarray, data_range: float | None = None) -> float:
    """Peak signal-to-noise ratio 10 log10(L^2 / mean squared error), in dB; higher is better, infinite if identical.

    Only voxels inside the mask enter, so figures are several dB below those of papers that count the empty background.
    """
    reference, image, inside = as_pair(reference, image, mask)
    width = _checked_range(reference, inside, data_range)
    mean_square = float(np.mean((reference[inside] - image[inside]) ** 2))
    return math.inf if mean_square == 0 else 10.0 * math.log10(width**2 / mean_square)


def ssim_map(reference: np.ndarray, image: np.ndarray, data_range: float) -> np.ndarray:
    """Structural similarity at every voxel (float64, same shape, -1..1, higher is better).

    Wang et al., IEEE TIP 2004: Gaussian window of sigma 1.5 voxels, 11 voxels wide, here along all axes of the volume;
    population variances; borders reflected; ``data_range`` in the images' unit.
    """
    check_same_shape(reference, image, "the reference and the image")
    window = partial(gaussian_filter, sigma=SSIM_SIGMA_VOXELS, truncate=SSIM_TRUNCATE)
    pair = as_finite(reference, "the reference"), as_finite(image, "the image")
    return structural_similarity(*pair, data_range, window)


def ssim(reference: np.ndarray, image: np.ndarray, mask: np.ndarray, data_range: float | None = None) -> float:
    """Mean of :func:`ssim_map` inside the mask; -1..1, 1 if identical, higher is better (Wang et al. 2004).

    Windows at the mask's edge reach 5 voxels beyond it: give both images the same background if it shall not count
    (:func:`score_images` does).
    """
    reference, image, inside = as_pair(reference, image, mask)
    width = _checked_range(reference, inside, data_range)
    box = bounding_box(inside, SSIM_RADIUS)  # nothing beyond the window's reach can change the result
    return float(ssim_map(reference[box], image[box], width)[inside[box]].mean())


def mae(reference: np.ndarray, image: np.ndarray, mask: np.ndarray, data_range: float | None = None) -> float:
    """Mean absolute error inside the mask as a share of the data range (0 upward, no unit); lower is better."""
    reference, image, inside = as_pair(reference, image, mask)
    return float(np.mean(np.abs(reference[inside] - image[inside])) / _checked_range(reference, inside, data_range))


def nmse(reference: np.ndarray, image: np.ndarray, mask: np.ndarray) -> float:
    """Normalised mean squared error, sum (reference - image)^2 / sum reference^2 in the mask; lower is better.

    The data range cancels out; an offset does not, so the reference must be on a scale where 0 means no signal.
    Source: Zbontar et al., fastMRI, arXiv:1811.08839, section 5.

    Raises:
        BadInput: the reference is 0 everywhere inside the mask.
    """
    reference, image, inside = as_pair(reference, image, mask)
    energy = float(np.sum(reference[inside] ** 2))
    if energy == 0:
        raise BadInput("the reference is 0 everywhere inside the mask, so the error cannot be normalised")
    return float(np.sum((reference[inside] - image[inside]) ** 2) / energy)


def linear_coefficients(reference: np.ndarray, image: np.ndarray, mask: np.ndarray) -> tuple[float, float]:
    """Slope and intercept (a, b) of the least-squares fit a image + b to the reference inside the mask.

    A constant image gives (0, mean of the reference). A negative slope means inverted contrast; it is not prevented.
    """
    reference, image, inside = as_pair(reference, image, mask)
    x, y = image[inside], reference[inside]
    mean_x, mean_y = float(x.mean()), float(y.mean())
    spread = float(np.mean((x - mean_x) ** 2))
    if np.ptp(x) == 0 or spread == 0:
        return 0.0, mean_y
    slope = float(np.mean((x - mean_x) * (y - mean_y))) / spread
    return slope, mean_y - slope * mean_x


def linear_fit(reference: np.ndarray, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The whole image mapped to a image + b (float64, reference's unit), a and b fitted inside the mask.

    No affine map of the image has a smaller squared error in the mask. Noise pulls the slope below 1, as it should.
    """
    slope, intercept = linear_coefficients(reference, image, mask)
    return slope * np.asarray(image, dtype=np.float64) + intercept


def score_images(
    reference: np.ndarray,
    image: np.ndarray,
    mask: np.ndarray,
    lpips: Lpips | None = None,
    check: Callable[[], object] | None = None,
) -> ImageScores:
    """All image scores: linear fit to the reference inside the mask first, then every metric on the fitted image.

    For SSIM both images get the reference's lowest value in the mask as background, so nothing outside the mask counts.
    The ULF-EnC score has its own normalisation of the whole volume and is taken from the image as given.

    Args:
        lpips: a loaded :class:`~.lpips.Lpips`; None leaves LPIPS out.
        check: called before every metric that takes long (raises to cancel).
    """
    may_go_on = check or (lambda: None)
    reference, image, inside = as_pair(reference, image, mask)
    width = reference_range(reference, inside)
    fitted = linear_fit(reference, image, inside)
    floor = float(reference[inside].min())
    may_go_on()
    structure = ssim(np.where(inside, reference, floor), np.where(inside, fitted, floor), inside, width)
    may_go_on()
    perceived = None if lpips is None else lpips.volume(reference, fitted, inside, width)
    may_go_on()
    return ImageScores(
        psnr=psnr(reference, fitted, inside, width),
        ssim=structure,
        mae=mae(reference, fitted, inside, width),
        nmse=nmse(reference, fitted, inside),
        lpips=perceived,
        ulf_enc=ulf_enc_score(reference, image, inside).score,
        data_range=width,
    )


def _checked_range(reference: np.ndarray, inside: np.ndarray, data_range: float | None) -> float:
    if data_range is None:
        return reference_range(reference, inside)
    if not (data_range > 0 and math.isfinite(data_range)):
        raise BadInput(f"the data range is {data_range:g}; it must be above 0")
    return float(data_range)
