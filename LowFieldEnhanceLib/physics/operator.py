"""The spatial forward model A: slice profile (point-spread function), then down-sampling to the low-field grid.

y = A x, with x on a fine (high-field) grid and y on a coarse grid that may be anisotropic, flipped, permuted or
oblique to it. Parallel axes give a purely separable operator; oblique ones interpolate x linearly onto a fine grid
along the coarse axes first. Both are differentiable and have an exact adjoint (used by the data steps of the
plug-and-play methods; y = PSF(L_k(x)) + n in DiffDeuR).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..errors import BadInput
from .separable import FWHM_LIMITS_MM, PROFILES, SeparableOperator, profile_matrix

PARALLEL_TOLERANCE = 1e-4


def check_profile(fwhm: Sequence[float] | None, profile: str) -> None:
    """Refuse a point-spread function that no scan has.

    Args:
        fwhm: full width at half maximum along each axis of the scan, mm; None stands for its spacing.
        profile: ``gaussian``, ``box`` or ``point``.

    Raises:
        BadInput: an unknown profile, not three widths of 0.1 to 30 mm, or widths of a point, which has none.
    """
    if profile not in PROFILES:
        raise BadInput(f"unknown slice profile '{profile}'; it must be one of {', '.join(PROFILES)}")
    if fwhm is None:
        return
    low, high = FWHM_LIMITS_MM
    if len(fwhm) != 3 or not all(low <= width <= high for width in fwhm):
        said = " ".join(f"{width:g}" for width in fwhm)
        raise BadInput(f"the widths of the point-spread function ({said}) must be three of {low:g} to {high:g} mm")
    if profile == "point":
        raise BadInput("the slice profile 'point' has no width, so no widths of the point-spread function can be given")


class ForwardOperator:
    """A = PSF then down-sampling between two grids.

    Args:
        fine_shape, fine_affine: grid of x (voxels; RAS mm).
        coarse_shape, coarse_affine: grid of y.
        fwhm: full width at half maximum of the PSF along each axis of the coarse grid, mm. Default: its spacing.
        profile: ``gaussian``, ``box`` or ``point``, one for all axes or one an axis of the coarse grid.
        dtype, device: of the operator; x and y must match.

    Raises:
        BadInput: a singular affine, or an unknown profile.
    """

    def __init__(
        self,
        fine_shape: Sequence[int],
        fine_affine: np.ndarray,
        coarse_shape: Sequence[int],
        coarse_affine: np.ndarray,
        fwhm: Sequence[float] | None = None,
        profile: str | Sequence[str] = "gaussian",
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.fine_shape = tuple(int(n) for n in fine_shape)
        self.coarse_shape = tuple(int(n) for n in coarse_shape)
        for affine in (fine_affine, coarse_affine):
            if not abs(np.linalg.det(np.asarray(affine, dtype=np.float64)[:3, :3])) > 1e-12:
                raise BadInput("the forward model needs an invertible affine, this one is singular")
        spacing = np.linalg.norm(np.asarray(coarse_affine)[:3, :3], axis=0)
        self.fwhm = np.asarray(spacing if fwhm is None else fwhm, dtype=np.float64)
        self.profile = [profile] * 3 if isinstance(profile, str) else list(profile)
        index = np.linalg.inv(np.asarray(fine_affine, dtype=np.float64)) @ np.asarray(coarse_affine, np.float64)
        fine_spacing = np.linalg.norm(np.asarray(fine_affine)[:3, :3], axis=0)
        parallel = parallel_axes(index[:3, :3], fine_spacing, spacing)
        self._sampler: _TrilinearSampler | None = None
        try:
            if parallel is None:
                self._build_oblique(index, fine_spacing, spacing, dtype, device)
            else:
                self._build_parallel(index, parallel, fine_spacing, dtype, device)
        except ValueError as error:
            raise BadInput(str(error)) from error

    def __call__(self, x: Tensor) -> Tensor:
        """A x: (..., *fine_shape) -> (..., *coarse_shape)."""
        if self._sampler is not None:
            x = self._sampler(x)
        y = self._separable(x)
        return y.permute(*range(y.ndim - 3), *(y.ndim - 3 + axis for axis in self._order))

    def adjoint(self, y: Tensor) -> Tensor:
        """A' y: (..., *coarse_shape) -> (..., *fine_shape), so that <A x, y> = <x, A' y>."""
        inverse = [self._order.index(axis) for axis in range(3)]
        y = y.permute(*range(y.ndim - 3), *(y.ndim - 3 + axis for axis in inverse))
        x = self._separable.adjoint(y)
        return x if self._sampler is None else self._sampler.adjoint(x)

    def factors(self) -> list[Tensor] | None:
        """Matrices (coarse, fine), one an axis of the coarse grid, whose Kronecker product is A; None if oblique."""
        return None if self._sampler is not None else [self._separable.matrices[axis] for axis in self._order]

    def _build_parallel(self, index, axes, fine_spacing, dtype, device) -> None:  # noqa: ANN001
        """axes[a] is the fine axis that coarse axis a runs along."""
        matrices: list[np.ndarray] = [np.empty(0)] * 3
        for a, p in enumerate(axes):
            centres = index[p, 3] + index[p, a] * np.arange(self.coarse_shape[a])
            width = self.fwhm[a] / fine_spacing[p]
            matrices[p] = profile_matrix(centres, width, self.fine_shape[p], self.profile[a])
        self._order = list(axes)
        self._separable = SeparableOperator(matrices, dtype, device)

    def _build_oblique(self, index, fine_spacing, spacing, dtype, device) -> None:  # noqa: ANN001
        step = float(fine_spacing.min())
        factor = np.maximum(np.ceil(spacing / step).astype(int), 1)
        pad = np.ceil(1.5 * self.fwhm / (spacing / factor)).astype(int)
        shape = np.array(self.coarse_shape) * factor + 2 * pad
        # centre of intermediate voxel m along axis a, in coarse index units: (m - pad + 1/2) / factor - 1/2
        to_coarse = np.diag([*(1.0 / factor), 1.0])
        to_coarse[:3, 3] = (0.5 - pad) / factor - 0.5
        self._sampler = _TrilinearSampler(
            self.fine_shape, tuple(int(n) for n in shape), index @ to_coarse, dtype, device
        )
        matrices = []
        for a in range(3):
            centres = (np.arange(self.coarse_shape[a]) + 0.5) * factor[a] - 0.5 + pad[a]
            width = self.fwhm[a] / (spacing[a] / factor[a])
            matrices.append(profile_matrix(centres, width, int(shape[a]), self.profile[a]))
        self._order = [0, 1, 2]
        self._separable = SeparableOperator(matrices, dtype, device)


def parallel_axes(rotation: np.ndarray, fine_spacing: np.ndarray, spacing: np.ndarray) -> list[int] | None:
    """The fine axis each coarse axis runs along, or None if the grids are oblique to each other."""
    cosines = np.abs(fine_spacing[:, None] * rotation / spacing[None, :])
    axes = [int(a) for a in cosines.argmax(axis=0)]
    aligned = np.zeros((3, 3))
    aligned[axes, range(3)] = 1.0
    if len(set(axes)) == 3 and np.abs(cosines - aligned).max() < PARALLEL_TOLERANCE:
        return axes
    return None


class _TrilinearSampler:
    """Linear interpolation of a fine volume at the voxel centres of another grid; zero outside the fine grid."""

    def __init__(self, fine_shape, shape, index, dtype, device) -> None:  # noqa: ANN001
        self.fine_shape, self.shape = fine_shape, shape
        grid = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1).reshape(-1, 3)
        points = grid @ index[:3, :3].T + index[:3, 3]
        limit = np.array(fine_shape) - 1
        inside = np.all((points > -0.5) & (points < limit + 0.5), axis=1)
        points = np.clip(points, 0, limit)
        low = np.minimum(np.floor(points).astype(np.int64), np.maximum(limit - 1, 0))
        fraction = points - low
        stride = np.array([fine_shape[1] * fine_shape[2], fine_shape[2], 1])
        self._indices, self._weights = [], []
        for corner in np.ndindex(2, 2, 2):
            voxel = np.minimum(low + corner, limit)
            weight = np.prod(np.where(np.array(corner), fraction, 1 - fraction), axis=1) * inside
            self._indices.append(torch.as_tensor(voxel @ stride, device=device))
            self._weights.append(torch.as_tensor(weight, dtype=dtype, device=device))

    def __call__(self, x: Tensor) -> Tensor:
        flat = x.reshape(*x.shape[:-3], -1)
        total = flat[..., self._indices[0]] * self._weights[0]
        for index, weight in zip(self._indices[1:], self._weights[1:], strict=True):
            total = total + flat[..., index] * weight
        return total.reshape(*x.shape[:-3], *self.shape)

    def adjoint(self, y: Tensor) -> Tensor:
        flat = y.reshape(*y.shape[:-3], -1)
        size = int(np.prod(self.fine_shape))
        x = torch.zeros(*flat.shape[:-1], size, dtype=y.dtype, device=y.device)
        for index, weight in zip(self._indices, self._weights, strict=True):
            x.index_add_(-1, index, flat * weight)
        return x.reshape(*y.shape[:-3], *self.fine_shape)
