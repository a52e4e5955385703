"""Separable linear operators on volumes: one small matrix an axis.

Any point-spread function or interpolation between two grids with parallel axes factorises over the axes, so a whole
head is blurred, down-sampled or interpolated by three small matrix products, with an exact adjoint (the transposes).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

PROFILES = ("gaussian", "box", "point")
FWHM_LIMITS_MM = (0.1, 30.0)  # of a point-spread function; no scanner's is narrower or wider
SIGMA_PER_FWHM = 1.0 / (2.0 * math.sqrt(2.0 * math.log(2.0)))


def _normal_cdf(x: np.ndarray) -> np.ndarray:
    from scipy.special import ndtr

    return ndtr(x)


def profile_matrix(centres: np.ndarray, width: float, size: int, profile: str) -> np.ndarray:
    """Rows that integrate a slice profile over unit voxels.

    Args:
        centres: (n,) centres of the coarse samples, in fine-voxel index units.
        width: full width at half maximum in fine-voxel units (for ``box`` the full width).
        size: number of fine voxels.
        profile: ``gaussian``, ``box``, or ``point`` (linear interpolation, no blur of its own).

    Returns:
        (n, size) float64; each row sums to 1. The part of a profile beyond the grid goes to the edge voxel. A sample
        whose centre lies outside the fine grid has a zero row: nothing is known there.

    Raises:
        ValueError: unknown profile or a width that is not positive.
    """
    if profile not in PROFILES:
        raise ValueError(f"unknown slice profile '{profile}'; it must be one of {', '.join(PROFILES)}")
    centres = np.asarray(centres, dtype=np.float64)
    if profile == "point" or width < 1e-6:
        if profile != "point" and width < 0:
            raise ValueError("the width of a slice profile must not be negative")
        matrix = linear_matrix(centres, size)  # the nearest voxel would move the anatomy by up to half of one
    else:
        edges = np.arange(size + 1) - 0.5
        edges[0], edges[-1] = -np.inf, np.inf
        offset = edges[None, :] - centres[:, None]
        if profile == "gaussian":
            cumulative = _normal_cdf(offset / (width * SIGMA_PER_FWHM))
        else:
            cumulative = np.clip(offset / width + 0.5, 0.0, 1.0)
        matrix = np.diff(cumulative, axis=1)
    matrix[outside_grid(centres, size)] = 0.0
    return matrix


def outside_grid(centres: np.ndarray, size: int) -> np.ndarray:
    """Whether each index coordinate lies outside all of ``size`` voxels."""
    return (centres < -0.5 - 1e-6) | (centres > size - 0.5 + 1e-6)


def nearest_matrix(centres: np.ndarray, size: int) -> np.ndarray:
    """(n, size) the nearest voxel, for labels; edge value beyond the grid."""
    matrix = np.zeros((len(centres), size))
    matrix[np.arange(len(centres)), np.clip(np.round(centres).astype(int), 0, size - 1)] = 1.0
    return matrix


def linear_matrix(centres: np.ndarray, size: int) -> np.ndarray:
    """(n, size) linear interpolation at the given index coordinates, edge value beyond the grid."""
    position = np.clip(np.asarray(centres, dtype=np.float64), 0, size - 1)
    low = np.minimum(np.floor(position).astype(int), max(size - 2, 0))
    fraction = position - low
    rows = np.arange(len(position))
    matrix = np.zeros((len(position), size))
    matrix[rows, low] += 1 - fraction
    matrix[rows, np.minimum(low + 1, size - 1)] += fraction
    return matrix


def cubic_matrix(centres: np.ndarray, size: int) -> np.ndarray:
    """(n, size) cubic convolution interpolation (Keys 1981, a = -1/2), edge value beyond the grid."""
    position = np.clip(np.asarray(centres, dtype=np.float64), 0, size - 1)
    base = np.floor(position).astype(int)
    t = position - base
    weights = (
        (-0.5 * t + t**2 - 0.5 * t**3),
        (1 - 2.5 * t**2 + 1.5 * t**3),
        (0.5 * t + 2 * t**2 - 1.5 * t**3),
        (-0.5 * t**2 + 0.5 * t**3),
    )
    rows = np.arange(len(position))
    matrix = np.zeros((len(position), size))
    for shift, weight in zip((-1, 0, 1, 2), weights, strict=True):
        np.add.at(matrix, (rows, np.clip(base + shift, 0, size - 1)), weight)
    return matrix


class SeparableOperator:
    """y[..., a, b, c] = sum_ijk M0[a, i] M1[b, j] M2[c, k] x[..., i, j, k], with its adjoint.

    Args:
        matrices: three arrays (out, in), one for each axis of the input.
        dtype, device: of the stored matrices; the input is expected to match.
    """

    def __init__(
        self,
        matrices: Sequence[np.ndarray],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.matrices = [torch.as_tensor(np.asarray(m), dtype=dtype, device=device) for m in matrices]

    def __call__(self, x: Tensor) -> Tensor:
        """(..., I, J, K) -> (..., A, B, C)."""
        return self._apply(x, self.matrices)

    def adjoint(self, y: Tensor) -> Tensor:
        """(..., A, B, C) -> (..., I, J, K)."""
        return self._apply(y, [m.T for m in self.matrices])

    @staticmethod
    def _apply(x: Tensor, matrices: list[Tensor]) -> Tensor:
        first, second, third = matrices
        x = x @ third.T
        x = torch.matmul(second, x)
        return torch.einsum("ai,...ijk->...ajk", first, x)
