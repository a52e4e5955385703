"""Does the enhanced scan still explain the measurement? The residual y - A(x) in units of the noise.

The caller applies the forward operator; everything here is numpy. Small residuals do not prove that added detail is
true (A removes detail), large ones prove that something in the output contradicts the scan.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..errors import BadInput
from .checks import as_pair
from .intensity import linear_coefficients

THRESHOLD_SIGMA = 3.0
GAUSSIAN_SHARE_ABOVE_3 = math.erfc(THRESHOLD_SIGMA / math.sqrt(2.0))  # 0.0027: what noise alone gives


@dataclass(frozen=True)
class FidelitySummary:
    """The residual map in a few numbers, inside the mask.

    Attributes:
        sigma: noise standard deviation that was used, in the measurement's unit.
        rms: root mean square of the residual in units of sigma; about 1 when only noise is left, lower is closer.
        share_above_3: share of voxels with |residual| above 3 sigma, 0..1; about 0.0027 when only noise is left.
        slope, intercept: the fit that mapped A(x) to the measurement's intensity scale (1 and 0 if switched off).
    """

    sigma: float
    rms: float
    share_above_3: float
    slope: float
    intercept: float


def fidelity_residual(
    measured: np.ndarray, predicted: np.ndarray, sigma: float, mask: np.ndarray, fit: bool = True
) -> tuple[np.ndarray, FidelitySummary]:
    """Signed residual (y - (a A(x) + b)) / sigma and its summary.

    The fit (least squares inside the mask) takes up a global change of intensity scale between scan and model, which
    is no contradiction; a change of contrast or anatomy stays visible. It costs two degrees of freedom, which matters
    only for masks of a few voxels.

    Args:
        measured: y [i, j, k], the low-field scan on its own grid, any unit.
        predicted: A(x) on the same grid.
        sigma: noise standard deviation in the unit of y, above 0.
        mask: voxels that are not 0 count.
        fit: False compares the intensities as they are (a = 1, b = 0).

    Returns:
        The map (float32, same shape, in units of sigma, 0 outside the mask, positive where the scan is brighter), and
        its :class:`FidelitySummary`.

    Raises:
        BadInput: shapes differ, the mask is empty, sigma is not above 0, or a voxel is NaN or infinite.
    """
    measured, predicted, inside = as_pair(measured, predicted, mask)
    if not (sigma > 0 and math.isfinite(sigma)):
        raise BadInput(f"the noise level is {sigma:g}; the residual needs a noise level above 0")
    slope, intercept = linear_coefficients(measured, predicted, inside) if fit else (1.0, 0.0)
    residual = np.where(inside, (measured - slope * predicted - intercept) / sigma, 0.0)
    values = residual[inside]
    summary = FidelitySummary(
        sigma=float(sigma),
        rms=float(np.sqrt(np.mean(values**2))),
        share_above_3=float(np.mean(np.abs(values) > THRESHOLD_SIGMA)),
        slope=slope,
        intercept=intercept,
    )
    return residual.astype(np.float32), summary
