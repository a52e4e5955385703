"""Whole slices of simulated low-field heads and of their high-field truth, for the networks of CSS-Diff."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..diffusion.denoiser import slice_class
from ..image import CHANNELS, CONTRASTS
from ..methods.slices import told_along
from .data import Head
from .degradation import DegradationRange
from .pairs import PairSampler, Place
from .slice_pairs import slices_with_brain
from .slice_prior import CLASSLESS_SHARE, sharp_axes

EDGE = 192  # of the cube that holds a whole brain, mm
SLICES_PER_HEAD = 96  # slices drawn before another head is simulated


@dataclass(frozen=True)
class SimulatedHead:
    """One head at low and at high field, its brain in the middle.

    Attributes:
        low, high: (n, n, n) in the model range, -1 outside the brain.
        told: (4,) of the low-field scan (see physics.acquisition).
        channel: of the contrast.
        slices: by axis, numbers of the slices that show a fair part of the brain; an axis along which the head's
            slices are not sharp is absent.
    """

    low: Tensor
    high: Tensor
    told: Tensor
    channel: int
    slices: dict[int, list[int]]


@dataclass(frozen=True)
class SliceGroup:
    """B slices across one axis of one head.

    Attributes:
        low: (3, B, H, W): each slice, in the middle, and its neighbours, 1 mm apart.
        high: (B, H, W): the same slices at high field.
        kind: class (see diffusion.denoiser.slice_class).
        told: (4,) in the order of the axis.
        positions: (B,) slice numbers, mm.
    """

    low: Tensor
    high: Tensor
    kind: int
    told: Tensor
    positions: Tensor


class HeadPool:
    """Draws slices from a few simulated heads; another head takes the place of the oldest one from time to time.

    Args:
        heads: training heads, of which only slices across slice_prior.sharp_axes are used.
        pool: simulated heads kept.
        edge: of their cube in voxels.
        ranges: of the degradation.
        seed: of all randomness.
        slices_per_head: slices drawn before another head is simulated.
    """

    def __init__(
        self,
        heads: Sequence[Head],
        pool: int = 6,
        edge: int = EDGE,
        ranges: DegradationRange | None = None,
        seed: int = 0,
        slices_per_head: int = SLICES_PER_HEAD,
    ) -> None:
        self.volumes = PairSampler(heads, edge, ranges, seed)
        self.rng, self.generator = self.volumes.rng, self.volumes.generator
        self.pool: deque[SimulatedHead] = deque(maxlen=pool)
        self.size, self.slices_per_head, self.drawn = pool, slices_per_head, 0

    def valid_range(self) -> dict[str, Any]:
        """Of the volumes that the slices are cut from, see pairs.PairSampler."""
        return self.volumes.valid_range()

    def head(self) -> SimulatedHead:
        """A simulated head at random."""
        while len(self.pool) < self.size:
            self.pool.append(self.simulate())
        if self.drawn >= self.slices_per_head:
            self.drawn = 0
            self.pool.append(self.simulate())
        return self.pool[int(self.rng.integers(len(self.pool)))]

    def group(self, count: int, used: int | None = None, within: int | None = None) -> SliceGroup:
        """``count`` different slices (fewer if the head has not as many) across one axis of one head.

        Only ``used`` of them (default: all) count towards the time when another head is simulated. With ``within``
        they come from so many slices in a row and from the same number at the mirrored place of the head.
        """
        head = self.head()
        self.drawn += count if used is None else used
        axis = int(self.rng.choice(sorted(head.slices)))
        numbers = head.slices[axis]
        if within is not None:
            first = int(self.rng.integers(max(len(numbers) - within, 0) + 1))
            last = len(numbers) - first
            numbers = sorted({*numbers[first : first + within], *numbers[max(last - within, 0) : last]})
        chosen = self.rng.choice(numbers, min(count, len(numbers)), replace=False)
        contrast = CHANNELS[head.channel] if self.rng.random() >= CLASSLESS_SHARE else CONTRASTS[-1]
        positions = torch.from_numpy(chosen)
        low, last = head.low.movedim(axis, 0), head.low.shape[axis] - 1
        near = torch.stack([low[(positions + offset).clamp(0, last)] for offset in (-1, 0, 1)])
        return SliceGroup(
            near,
            head.high.movedim(axis, 0)[positions],
            slice_class(contrast, axis),
            told_along(head.told, axis),
            positions,
        )

    def simulate(self) -> SimulatedHead:
        """A fresh simulated head."""
        while True:
            index = int(self.rng.integers(len(self.volumes.heads)))
            head = self.volumes.heads[index]
            channel = int(self.rng.choice(torch.nonzero(head.present)[:, 0].numpy()))
            place = Place(index, centred(head.mask, self.volumes.patch), bool(self.rng.random() < 0.5))
            low, high, _, told, _ = self.volumes.biased_pair(place, channel)
            slices = {axis: found for axis in sharp_axes(head) if (found := slices_with_brain(high[channel], axis))}
            if slices:
                return SimulatedHead(low[channel], high[channel], told[channel], channel, slices)


def centred(mask: Tensor, edge: int) -> tuple[int, int, int]:
    """First voxel of the cube around the middle of the mask's bounding box."""
    places = torch.nonzero(mask)
    middle = (places.min(0).values + places.max(0).values + 1) // 2
    i, j, k = (int(m) - edge // 2 for m in middle)
    return i, j, k
