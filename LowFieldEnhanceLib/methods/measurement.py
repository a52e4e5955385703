"""What a case's scan says about its volume: y = A v + n with v the intensity (0..1 is -1..+1 of the model range).

Used by the data steps of DiffDeuR, IREM and DPS. A is spatial only (physics.operator): the change of tissue contrast
between fields is not in it, so a low-field contrast stays, or is pulled at by a prior of high-field contrast.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..errors import BadInput
from ..physics.operator import ForwardOperator
from ..preprocess.grid import Grid, resample
from ..preprocess.intensity import MODEL_MAX, MODEL_MIN
from .base import Case

VISIBLE = 0.1  # a coarse voxel counts if at least this share of its profile lies inside the mask
SMALLEST_SIGMA = 1e-3  # of the intensity scale: a scan without noise would make the weight of its data infinite


@dataclass(frozen=True)
class ForwardSettings:
    """The forward model in the place of the case's (ablations and benchmarks; users give theirs in the options).

    Attributes:
        fwhm: of the point-spread function along each axis of the scan, mm; None takes the case's.
        profile: slice profile, see physics.separable; None takes the case's.
        sigma: noise of the scan divided by its intensity scale (as Case.sigma); None takes the case's.
    """

    fwhm: tuple[float, float, float] | None = None
    profile: str | None = None
    sigma: float | None = None


class Measurement:
    """The scan as data on the voxels inside the mask.

    What lies outside the mask (scalp, skull) is taken from the interpolated scan and its share in the data removed,
    so that unknowns are the masked voxels only. Coarse voxels that hardly see the mask do not count.

    Args:
        case: of the method.
        settings: overrides.

    Raises:
        BadInput: the noise level is not above 0, or no voxel of the scan sees the mask.
    """

    def __init__(self, case: Case, settings: ForwardSettings | None = None) -> None:
        settings = settings or ForwardSettings()
        self.fwhm = case.fwhm if settings.fwhm is None else settings.fwhm
        self.profile = settings.profile or case.profile
        sigma = case.sigma if settings.sigma is None else settings.sigma
        if not (sigma >= 0 and np.isfinite(sigma)) or settings.sigma == 0:
            raise BadInput(f"the noise level {sigma:g} must be above 0")
        self.sigma = max(float(sigma), SMALLEST_SIGMA)
        self.image, self.scan = case.inputs[case.target], case.measured
        self.device = case.device
        self.operator = self._operator(self.image.shape, np.zeros(3), self.scan.shape, np.zeros(3))
        self.mask = torch.from_numpy(case.mask).to(case.device)
        inside = self.mask.float()
        self.visible = self.operator(inside) > VISIBLE
        if not bool(self.visible.any()):
            raise BadInput("no voxel of the scan lies inside the brain mask, so there is no data to fit")
        around = torch.from_numpy(resample(self.scan, Grid.of(self.image), "cubic").array).to(case.device)
        scan = torch.from_numpy(self.scan.array).to(case.device)
        self.data = (scan - self.operator(around * (1 - inside))) * self.visible

    @property
    def density(self) -> float:
        """Voxels of the scan for each of the working grid, 1 at most: about the largest eigenvalue of A'A.

        A voxel of the scan is a mean over ``1 / density`` working voxels, so its row of A has that norm squared.
        """
        return min(float(np.prod(self.image.spacing) / np.prod(self.scan.spacing)), 1.0)

    def residual(self, v: Tensor) -> Tensor:
        """y - A v on the scan's grid, 0 where the scan does not see the mask; v (I, J, K)."""
        return (self.data - self.operator(v * self.mask)) * self.visible

    def rms(self, v: Tensor) -> float:
        """Root mean square of the residual in units of the noise; 1 when only noise is left."""
        return float((self.residual(v).square().sum() / self.visible.sum()).sqrt()) / self.sigma

    def adjoint(self, r: Tensor) -> Tensor:
        """A' r (scan's grid -> working grid), 0 outside the mask."""
        return self.operator.adjoint(r * self.visible) * self.mask

    def normal(self, v: Tensor, rho: float) -> Tensor:
        """(A' A + rho) v on the masked voxels."""
        return self.adjoint(self.operator(v * self.mask)) + rho * v * self.mask

    def blocks(self, edge: int = 48, reach: float = 1.25) -> list[Block]:
        """The scan cut into blocks of about ``edge`` working voxels, each with the voxels its profiles see.

        Args:
            edge: of a block, working voxels.
            reach: how far a profile is followed, in full widths at half maximum.
        """
        spacing = np.asarray(self.scan.spacing)
        size = np.maximum(np.round(edge * min(self.image.spacing) / spacing), 1).astype(int)
        to_fine = np.linalg.inv(self.image.affine) @ self.scan.affine
        found = []
        for first in np.ndindex(*(int(n) for n in -(-np.asarray(self.scan.shape) // size))):
            start = np.asarray(first) * size
            stop = np.minimum(start + size, self.scan.shape)
            place = tuple(slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))
            if not bool(self.visible[place].any()):
                continue
            halo = reach * self.operator.fwhm / spacing + 0.5
            ends = np.stack([start - halo, stop - 1 + halo])
            corners = np.array([[ends[c[0], 0], ends[c[1], 1], ends[c[2], 2], 1] for c in np.ndindex(2, 2, 2)])
            fine = corners @ to_fine[:3].T
            low = np.clip(np.floor(fine.min(axis=0)), 0, np.asarray(self.image.shape) - 1).astype(int)
            high = np.clip(np.ceil(fine.max(axis=0)) + 1, low + 1, self.image.shape).astype(int)
            box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
            operator = self._operator(high - low, low, stop - start, start)
            found.append(Block(place, box, operator))
        return found

    def _operator(self, fine_shape, fine_start, shape, start) -> ForwardOperator:  # noqa: ANN001
        """A between parts of both grids that begin at the given voxels."""
        return ForwardOperator(
            fine_shape, _moved(self.image.affine, fine_start), shape, _moved(self.scan.affine, start),
            self.fwhm, self.profile, device=self.device,
        )  # fmt: skip


@dataclass(frozen=True)
class Block:
    """A part of the scan and what it sees.

    Attributes:
        place: voxels of the scan.
        box: voxels of the working grid that their profiles reach.
        operator: A from ``box`` to ``place``.
    """

    place: tuple[slice, ...]
    box: tuple[slice, ...]
    operator: ForwardOperator


def intensity(x: Tensor) -> Tensor:
    """Model range -> the intensity that A acts on."""
    return (x + 1) / 2


def model_range(v: Tensor, mask: Tensor) -> Tensor:
    """Intensity -> model range, -1 outside the mask, clipped as the networks' inputs are."""
    return (2 * torch.where(mask, v, torch.zeros_like(v)) - 1).clamp(MODEL_MIN, MODEL_MAX)


def data_weight(sigma: float, level: float, strength: float = 1.0) -> float:
    """rho_t = lambda sigma_n^2 / sigma_t^2 (Zhu et al. 2023, DiffPIR, eq. 12) for intensities.

    Args:
        sigma: noise of the scan, intensity.
        level: noise level of the diffusion in the model range, which is twice as wide as the intensity's.
        strength: lambda.
    """
    return strength * sigma**2 / (level / 2) ** 2


def _moved(affine: np.ndarray, start: np.ndarray) -> np.ndarray:
    shift = np.eye(4)
    shift[:3, 3] = start
    return affine @ shift
