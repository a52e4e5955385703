"""Low-field slices beside their high-field truth, cut out of volumes that were degraded in three dimensions."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..diffusion.denoiser import slice_class
from ..image import CHANNELS
from ..methods.slices import neighbour_stack, told_along
from .data import Head
from .degradation import DegradationRange
from .pairs import PairSampler, Place
from .slice_prior import sharp_axes

LEAST_BRAIN = 0.05  # share of a slice's pixels


@dataclass(frozen=True)
class SlicePairs:
    """A batch of B slices.

    Attributes:
        low: (B, 2n+1, 1, H, W) low-field slice, in the middle, and its n neighbours on each side, 1 mm apart; model
            range, -1 outside the brain.
        high: (B, 1, 1, H, W) the same slice at high field.
        bias: (B, 1, 1, H, W) logarithm of the simulated receive field that multiplies both.
        kind: (B,) class (contrast and orientation, see diffusion.denoiser.slice_class).
        told: (B, 4) steps through the slices, along H and along W, and the noise, as networks are told them.
        axis: (B,) that the slices lie across: 0 sagittal, 1 coronal, 2 axial.
        head: (B,) index of the head.
        position: (B,) slice number in the head, mm.
    """

    low: Tensor
    high: Tensor
    bias: Tensor
    kind: Tensor
    told: Tensor
    axis: Tensor
    head: Tensor
    position: Tensor


@dataclass(frozen=True)
class _Volume:
    """One degraded cube with what its slices need to know."""

    low: Tensor
    high: Tensor
    bias: Tensor
    told: Tensor
    place: Place
    channel: int
    slices: tuple[tuple[int, int], ...]


class SlicePairSampler:
    """Draws slices from a small pool of degraded cubes; now and then a fresh cube replaces the oldest one.

    Args:
        heads: training heads, of which only slices across slice_prior.sharp_axes are used.
        edge: of the square slices in pixels.
        neighbours: slices shown on each side.
        pool: cubes.
        hold: batches drawn for each fresh cube (degrading one takes as long as a training step).
        ranges: of the degradation.
        seed: of all randomness.
    """

    def __init__(
        self,
        heads: Sequence[Head],
        edge: int = 128,
        neighbours: int = 1,
        pool: int = 6,
        hold: int = 2,
        ranges: DegradationRange | None = None,
        seed: int = 0,
    ) -> None:
        self.volumes = PairSampler(heads, edge, ranges, seed)
        self.neighbours, self.hold, self.drawn = neighbours, hold, 0
        self.pool: deque[_Volume] = deque(maxlen=pool)

    @property
    def rng(self):  # noqa: ANN201
        """numpy's generator of all choices."""
        return self.volumes.rng

    @property
    def generator(self) -> torch.Generator:
        """torch's generator of all noise."""
        return self.volumes.generator

    def valid_range(self) -> dict[str, Any]:
        """Of the volumes that the slices are cut from, see pairs.PairSampler."""
        return self.volumes.valid_range()

    def batch(self, size: int) -> SlicePairs:
        """``size`` slices at random."""
        if self.drawn % self.hold == 0:
            self.pool.append(self._volume())
        self.drawn += 1
        while len(self.pool) < self.pool.maxlen:  # type: ignore[operator]
            self.pool.append(self._volume())
        rows = [self._slice(self.pool[int(self.rng.integers(len(self.pool)))]) for _ in range(size)]
        return SlicePairs(*(torch.stack(column) for column in zip(*rows, strict=True)))

    def _volume(self) -> _Volume:
        while True:
            place = self.volumes.place()
            head = self.volumes.heads[place.head]
            channel = int(self.rng.choice(torch.nonzero(head.present)[:, 0].numpy()))
            low, high, _, told, bias = self.volumes.biased_pair(place, channel)
            slices = tuple((axis, n) for axis in sharp_axes(head) for n in slices_with_brain(high[channel], axis))
            if slices:
                return _Volume(low[channel], high[channel], bias, told[channel], place, channel, slices)

    def _slice(self, volume: _Volume) -> tuple[Tensor, ...]:
        axis, n = volume.slices[int(self.rng.integers(len(volume.slices)))]
        count, size = self.neighbours, volume.low.shape[axis]
        first = max(n - count, 0)
        near = volume.low.narrow(axis, first, min(n + count + 1, size) - first)
        low = neighbour_stack(near, axis, count)[:, n - first]
        mirrored = volume.place.mirrored and axis == 0
        position = volume.place.start[axis] + (size - 1 - n if mirrored else n)
        return (
            low[:, None], volume.high.select(axis, n)[None, None], volume.bias.select(axis, n).log()[None, None],
            torch.tensor(slice_class(CHANNELS[volume.channel], axis)), told_along(volume.told, axis),
            torch.tensor(axis), torch.tensor(volume.place.head), torch.tensor(position),
        )  # fmt: skip


def slices_with_brain(image: Tensor, axis: int) -> list[int]:
    """Numbers of the slices across ``axis`` that show a fair part of the brain."""
    share = (image > -1).float().mean(dim=[other for other in range(3) if other != axis])
    return torch.nonzero(share > LEAST_BRAIN)[:, 0].tolist()
