"""The structural similarity formula with its window left open, so that each metric names the window it uses."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..errors import BadInput

K1, K2 = 0.01, 0.03


def structural_similarity(
    reference: np.ndarray,
    image: np.ndarray,
    data_range: float,
    local_mean: Callable[[np.ndarray], np.ndarray],
    covariance_factor: float = 1.0,
) -> np.ndarray:
    """SSIM at every voxel; -1..1, 1 where the windows are identical, higher is better.

    SSIM = (2 mr mi + C1)(2 cri + C2) / ((mr^2 + mi^2 + C1)(vr + vi + C2)), C1 = (0.01 L)^2, C2 = (0.03 L)^2.
    Source: Wang et al., Image quality assessment: from error visibility to structural similarity, IEEE TIP 2004, eq 13.

    Args:
        reference, image: float64, same shape, same intensity unit.
        data_range: L, the width of the intensity range, in the images' unit; above 0.
        local_mean: the window: an array to its weighted mean around every voxel.
        covariance_factor: multiplies variances and covariance (n / (n - 1) turns them into sample statistics).
    """
    if not data_range > 0:
        raise BadInput(f"the data range is {data_range:g}; it must be above 0")
    mean_r, mean_i = local_mean(reference), local_mean(image)
    product, squares = mean_r * mean_i, mean_r**2 + mean_i**2
    covariance = covariance_factor * (local_mean(reference * image) - product)
    variances = covariance_factor * (local_mean(reference**2 + image**2) - squares)
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    return (2 * product + c1) * (2 * covariance + c2) / ((squares + c1) * (variances + c2))
