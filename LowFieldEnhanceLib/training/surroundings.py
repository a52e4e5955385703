"""Fluid, skull and scalp imitated around real heads that show the brain alone.

The public heads with labels are stripped; users' scans are not. Layers around the brain, of random thickness and
intensity, teach the segmenter on real texture and contrast that what lies outside is not brain. They are no anatomy:
whole heads with eyes, jaw and neck come from the label maps.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from ..physics.separable import SeparableOperator, cubic_matrix
from ..segmentation.labels import label_table
from .free_fluid import FREE_FLUID

REACH = 32  # mm off the brain that the layers fill at most; also the padding of a dressed head, in voxels of 1 mm
FLUID_MM, BONE_MM, SCALP_MM = (0.0, 4.0), (2.0, 9.0), (2.0, 10.0)  # thickness of the layers, drawn in this range
FLUID_CHANNELS = [n for n, label in enumerate(label_table(), start=1) if label.tissue == "CSF"]
SCALP_LEVEL, FAT_LEVEL, FAT_SHARE = (0.2, 1.3), (1.3, 3.5), 0.35  # times white or grey matter; the second that often
LEAST = 100  # voxels of fluid that tell its intensity


def padded(array: Tensor) -> Tensor:
    """(I, J, K) -> (I + 2 REACH, ...) with zeros around."""
    return F.pad(array, [REACH] * 6)


def nearness(brain: Tensor) -> Tensor:
    """bool (I, J, K), 1 mm -> uint8: REACH in the brain, less by one for each mm off it, 0 far away.

    Measured on voxels of 2 mm and interpolated.
    """
    even = F.pad(brain.float(), [n for size in reversed(brain.shape) for n in (0, size % 2)])
    coarse = F.avg_pool3d(even[None, None], 2)[0, 0] > 0.5
    distance = ndimage.distance_transform_edt(~coarse.numpy(), sampling=2.0)
    fine = F.interpolate(torch.from_numpy(distance)[None, None].float(), scale_factor=2, mode="trilinear")[0, 0]
    # the centres of the brain's last cells lie half a voxel deeper than those of its last voxels
    near = (REACH + 0.5 - fine[tuple(slice(0, n) for n in brain.shape)]).clamp(0, REACH - 1)
    return torch.where(brain, torch.tensor(float(REACH)), near).round().to(torch.uint8)


class Dresser:
    """Draws surroundings.

    Args:
        rng: of thickness and intensity.
        generator: of texture.
    """

    def __init__(self, rng: np.random.Generator, generator: torch.Generator) -> None:
        self.rng, self.generator = rng, generator

    def __call__(self, image: Tensor, target: Tensor, near: Tensor) -> tuple[Tensor, Tensor]:
        """Image (I, J, K) from 0 upward, channels and :func:`nearness` -> both with surroundings.

        The fluid next to the brain gets its label; everything else stays background.
        """
        brain = near == REACH
        if not bool(brain.any()):
            return image, target
        bright = float(torch.quantile(image[brain][::7], 0.9))
        fluid = image[torch.isin(target, torch.tensor(FLUID_CHANNELS, dtype=target.dtype))]
        level = float(fluid.median()) if len(fluid) > LEAST else bright * float(self.rng.uniform(0, 1.2))
        distance = REACH - near.float() + self._uneven(image.shape, 1.5)
        first = float(self.rng.uniform(*FLUID_MM))
        second = first + float(self.rng.uniform(*BONE_MM))
        third = second + float(self.rng.uniform(*SCALP_MM)) + self._below(brain)
        scalp = FAT_LEVEL if self.rng.random() < FAT_SHARE else SCALP_LEVEL
        layers = (
            (0.0, first, level),
            (first, second, bright * float(self.rng.uniform(0.0, 0.3))),
            (second, third, bright * float(self.rng.uniform(*scalp))),
        )
        dressed = torch.zeros_like(image)
        for low, high, mean in layers:  # half a voxel of partial volume on both sides
            dressed += mean * ((distance - low + 0.5).clamp(0, 1) * (high - distance + 0.5).clamp(0, 1))
        dressed *= 1 + self._uneven(image.shape, float(self.rng.uniform(0, 0.25)))
        dressed *= 1 + 0.05 * torch.randn(image.shape, generator=self.generator)
        outside = ~brain & (near > 0)
        wet = outside & (distance < first) & (target == 0)
        target = torch.where(wet, torch.tensor(FREE_FLUID, dtype=target.dtype), target)
        return torch.where(outside, dressed.clamp_min(0), image), target

    def _uneven(self, shape: torch.Size, strength: float) -> Tensor:
        """A smooth random field of mean 0 and about this standard deviation."""
        knots = int(self.rng.integers(4, 10))
        coarse = strength * torch.randn(knots, knots, knots, generator=self.generator)
        return SeparableOperator([cubic_matrix(np.linspace(0, knots - 1, n), knots) for n in shape])(coarse)

    def _below(self, brain: Tensor) -> Tensor:
        """(1, 1, K) mm more of soft tissue under the brain's middle: face and neck."""
        planes = torch.nonzero(brain.any(0).any(0))[:, 0].float()
        depth = planes.mean() - torch.arange(brain.shape[2], dtype=torch.float32)
        return depth.clamp_min(0)[None, None] * float(self.rng.uniform(0, 0.5))
