"""Recipe of the high-field prior of DiffDeuR: 2-D slices of all three orientations, contrast and orientation as class.

No low-field image is ever seen. T2w and FLAIR heads are few, so T1w heads with labels are also painted with the
contrast of T2w or FLAIR, and with contrasts of no name, by a curve through the intensities of their tissues.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..diffusion.denoiser import alpha_bar, epsilon_from_output, noise_coordinate, slice_class
from ..diffusion.schedules import CosineSchedule
from ..image import CHANNELS
from ..preprocess.intensity import MODEL_MAX, MODEL_MIN
from ..segmentation.labels import label_table
from .bridged import MAX_SNR
from .data import Head

ARCHITECTURE = {
    "kind": "slice_unet",
    "widths": [64, 128, 192, 256],
    "blocks": 2,
    "embedding": 128,
    "classes": 12,
    "output_scale": 0.3,
}
EDM = {**ARCHITECTURE, "kind": "edm_slice_unet", "deviation": 0.6, "output_scale": 1.0}
EDM_NOISE = (-1.2, 1.2)  # mean and standard deviation of ln sigma
SCHEDULE = CosineSchedule()
EDGE, BATCH = 128, 8
CLASSLESS_SHARE = 0.1  # samples shown without their contrast's name, so that "other" is a mixture of all
PAINTED_SHARE = 0.25
AXIAL = 2
# Intensities (0..1 of the model's scale) of CSF, grey and white matter to paint: low and high end of a uniform draw.
PAINTS = {
    "T2w": ((0.85, 1.15), (0.50, 0.70), (0.35, 0.50)),
    "FLAIR": ((0.05, 0.25), (0.65, 0.85), (0.45, 0.65)),
    "other": ((0.10, 1.00), (0.10, 1.00), (0.10, 1.00)),
}
CONTRAST_SHARES = {"T1w": 0.6, "T2w": 0.2, "FLAIR": 0.2}


@dataclass(frozen=True)
class _Source:
    """One contrast of one head, and the orientations in which its slices are as sharp as its voxels."""

    head: Head
    channel: int
    axes: tuple[int, ...]


def tissue_levels(head: Head) -> tuple[float, float, float] | None:
    """Median T1w intensity (0..1 of the model's scale) of CSF, grey and white matter; None without labels."""
    if head.labels is None or not bool(head.present[0]):
        return None
    names = np.array(["", *(label.tissue for label in label_table())])[head.labels.numpy()]
    values = (head.images[0].float().numpy() + 1) / 2
    levels = tuple(float(np.median(values[names == tissue])) for tissue in ("CSF", "GM", "WM"))
    return levels if levels[0] < levels[1] < levels[2] else None


def sharp_axes(head: Head) -> tuple[int, ...]:
    """The axes across which a head's slices are as sharp as its voxels.

    Of the data set ``brats`` the axial ones alone: most of its scans were interpolated between thick axial slices, and
    a network that saw them across would take blur for anatomy.
    """
    return (AXIAL,) if head.name.startswith("brats") else (0, 1, 2)


class SliceSampler:
    """Draws crops of high-field slices with their class.

    Args:
        heads: training heads, of which only slices across :func:`sharp_axes` are used.
        edge: of the square crop in pixels.
        seed: of all randomness.
    """

    def __init__(self, heads: Sequence[Head], edge: int = EDGE, seed: int = 0) -> None:
        self.edge = edge
        self.rng = np.random.default_rng(seed)
        self.generator = torch.Generator().manual_seed(seed)
        self.sources: dict[str, list[_Source]] = {contrast: [] for contrast in CHANNELS}
        for head in heads:
            for channel, contrast in enumerate(CHANNELS):
                if head.present[channel]:
                    self.sources[contrast].append(_Source(head, channel, sharp_axes(head)))
        self.levels = {h.name: levels for h in heads if (levels := tissue_levels(h)) is not None}
        self.extents = {h.name: [_extent(h.mask, axis) for axis in range(3)] for h in heads}
        present = [contrast for contrast in CHANNELS if self.sources[contrast]]
        shares = np.array([CONTRAST_SHARES[contrast] for contrast in present])
        self.contrasts, self.shares = present, shares / shares.sum()

    def valid_range(self) -> dict[str, Any]:
        """``contrasts`` that a network has seen which was trained on these slices, painted ones among them."""
        painted = PAINTS if self.levels else ()
        return {"contrasts": [name for name in CHANNELS if name in self.contrasts or name in painted]}

    def sample(self) -> tuple[Tensor, int]:
        """A crop (edge, edge) in the model range, -1 outside the brain, and its class."""
        paint = str(self.rng.choice(list(PAINTS))) if self.levels and self.rng.random() < PAINTED_SHARE else None
        contrast = str(self.rng.choice(self.contrasts, p=self.shares)) if paint is None else "T1w"
        pool = self.sources[contrast]
        if paint is not None:
            pool = [source for source in pool if source.head.name in self.levels]
        axis = int(self.rng.choice(sorted({axis for source in pool for axis in source.axes})))
        pool = [source for source in pool if axis in source.axes]
        source = pool[self.rng.integers(len(pool))]
        first, last = self.extents[source.head.name][axis]
        number = int(self.rng.integers(first, last + 1))
        image = source.head.images[source.channel].select(axis, number).float()
        brain = source.head.mask.select(axis, number)
        image, brain = self._crop(image, brain)
        values = (image + 1) / 2
        if paint is not None:
            values = self._painted(values, self.levels[source.head.name], paint)
            contrast = paint
        elif self.rng.random() < 0.5:  # another scanner's or sequence's contrast
            values = values.clamp_min(0) ** float(np.exp(0.08 * self.rng.standard_normal()))
        values = values * float(1 + 0.04 * self.rng.standard_normal())
        image = torch.where(brain, values * 2 - 1, torch.full((), MODEL_MIN)).clamp(MODEL_MIN, MODEL_MAX)
        if axis != 0 and self.rng.random() < 0.5:  # the first axis of a coronal or axial slice is left to right
            image = image.flip(0)
        if self.rng.random() < CLASSLESS_SHARE:
            contrast = "other"
        return image, slice_class(contrast, axis)

    def _crop(self, image: Tensor, brain: Tensor) -> tuple[Tensor, Tensor]:
        """The same random square of both, filled up outside the head."""
        places = []
        for size in image.shape:
            spare = size - self.edge
            low, high = min(spare, 0), max(spare, 0)
            places.append(int(self.rng.integers(low, high + 1)))
        whole = torch.full((self.edge, self.edge), MODEL_MIN)
        inside = torch.zeros(self.edge, self.edge, dtype=torch.bool)
        source, target = [], []
        for place, size in zip(places, image.shape, strict=True):
            start, stop = max(place, 0), min(place + self.edge, size)
            source.append(slice(start, stop))
            target.append(slice(start - place, stop - place))
        whole[tuple(target)] = image[tuple(source)]
        inside[tuple(target)] = brain[tuple(source)]
        return whole, inside

    def _painted(self, values: Tensor, levels: tuple[float, float, float], paint: str) -> Tensor:
        """T1w intensities through a curve that sends each tissue's level to a random one of the painted contrast."""
        wanted = [float(self.rng.uniform(*ends)) for ends in PAINTS[paint]]
        slope = (wanted[2] - wanted[1]) / (levels[2] - levels[1])
        ends = (wanted[0], max(wanted[2] + slope * (1.3 - levels[2]), 0.02))
        curve = np.interp(values.numpy(), [0.0, *levels, 1.3], [ends[0], *wanted, ends[1]])
        return torch.from_numpy(curve).float()

    def batch(self, size: int) -> tuple[Tensor, Tensor]:
        """Crops (size, 1, 1, edge, edge) as stacks of one slice, and their classes (size,)."""
        images, kinds = zip(*(self.sample() for _ in range(size)), strict=True)
        return torch.stack(images)[:, None, None], torch.tensor(kinds)


class SlicePriorLoss:
    """Noise L2 (Ho et al. 2020) at t = T u^2, u uniform, truncated at a signal-to-noise ratio of 100.

    Low noise levels, where the data steps leave little to do, are drawn more often than by uniform t (see
    training.bridged.PriorLoss).

    With ``edm``, the loss of Karras et al. 2022 (table 1) instead: ln sigma normal, and the error of the clean estimate
    weighted by (sigma^2 + s^2) / (sigma s)^2, s the standard deviation of the data.
    """

    def __init__(self, sampler: SliceSampler, batch: int, device: str, edm: bool = False) -> None:
        self.sampler, self.batch, self.device, self.edm = sampler, batch, device, edm

    def __call__(self, network: nn.Module) -> Tensor:
        """Draw a batch of slices and return the loss."""
        clean, kind = self.sampler.batch(self.batch)
        clean, kind = clean.to(self.device), kind.to(self.device)
        t = self._times()
        noise = torch.randn(clean.shape, generator=self.sampler.generator).to(self.device)
        predicted = _predict(network, clean, noise, t, kind)
        abar = alpha_bar(t.to(self.device), SCHEDULE)
        variance = (1 - abar) / abar
        trust = 1 + variance / EDM["deviation"] ** 2 if self.edm else (MAX_SNR * variance).clamp_max(1.0)
        return (trust * (predicted - noise) ** 2).mean()

    def _times(self) -> Tensor:
        """Timesteps (batch,) between 1 and T."""
        generator = self.sampler.generator
        if not self.edm:
            return torch.rand(self.batch, generator=generator) ** 2 * (SCHEDULE.steps - 1) + 1
        mean, deviation = EDM_NOISE
        sigma = (mean + deviation * torch.randn(self.batch, generator=generator)).exp()
        return torch.from_numpy(SCHEDULE.timestep(sigma.numpy())).float().clamp(1, SCHEDULE.steps)


def _predict(network: nn.Module, clean: Tensor, noise: Tensor, t: Tensor, kind: Tensor) -> Tensor:
    """The noise that the network finds in sqrt(abar) clean + sqrt(1 - abar) noise, at timesteps t (B,)."""
    abar = alpha_bar(t.to(clean.device), SCHEDULE)
    noisy = abar.sqrt() * clean + (1 - abar).sqrt() * noise
    with torch.autocast(clean.device.type, torch.bfloat16):
        output = network(noisy, noise_coordinate(t.to(clean.device), SCHEDULE), kind)
    return epsilon_from_output(output.float(), noisy, abar)


@torch.no_grad()
def denoising_error(network: nn.Module, clean: Tensor, kind: Tensor, sigma: float, seed: int = 0) -> float:
    """Root mean square error of the clean estimate, in the model range, of slices (B, 1, 1, H, W) at one noise level.

    The measure of a prior on slices that it was not trained on; compare it with sigma (doing nothing) and with the
    slices' own standard deviation (knowing nothing).
    """
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed)).to(clean.device)
    t = torch.full((clean.shape[0],), float(SCHEDULE.timestep(sigma)))
    predicted = _predict(network, clean, noise, t, kind)
    return float((sigma * (predicted - noise)).square().mean().sqrt())


def _extent(mask: Tensor, axis: int) -> tuple[int, int]:
    """First and last slice across ``axis`` that shows a fair part of the brain (2 % of the largest area)."""
    area = mask.sum(dim=tuple(a for a in range(3) if a != axis))
    found = torch.nonzero(area > 0.02 * area.max())[:, 0]
    return int(found[0]), int(found[-1])
