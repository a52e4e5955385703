"""Simulated low-field patches beside their high-field truth, with every property of the degradation drawn at random."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import BadInput
from ..image import CHANNELS
from ..physics.acquisition import UNKNOWN, Acquisition
from ..physics.bias import random_bias_field
from ..physics.noise import add_noise
from ..physics.separable import SeparableOperator, cubic_matrix, profile_matrix
from ..preprocess.brain import dilated
from ..preprocess.intensity import MODEL_MAX, MODEL_MIN
from ..segmentation.labels import label_table, mirrored_channels
from .data import Head
from .degradation import DegradationRange

MARGIN = 12


@dataclass(frozen=True)
class ScanGrid:
    """Where and how a scan samples a cube: the same in every contrast of a session.

    Attributes:
        spacing: mm along each axis.
        centres: of the voxels along each axis, mm from the cube's first voxel.
        widths: of the voxel profiles, mm.
        profiles: ``gaussian`` or ``box`` along each axis.
        filtered: width of the scanner's filter in voxels of the scan along each axis, or None.
    """

    spacing: tuple[float, float, float]
    centres: tuple[np.ndarray, ...]
    widths: tuple[float, ...]
    profiles: tuple[str, ...]
    filtered: np.ndarray | None


@dataclass(frozen=True)
class Place:
    """Where a patch is cut out: the head's index, the first voxel (may lie outside), and whether it is mirrored."""

    head: int
    start: tuple[int, int, int]
    mirrored: bool


class PairSampler:
    """Draws (low-field, high-field) patches.

    Args:
        heads: training heads.
        patch: edge of the cubic patch in voxels.
        ranges: of the degradation.
        seed: of all randomness.

    Raises:
        BadInput: no heads.
    """

    def __init__(
        self, heads: Sequence[Head], patch: int = 64, ranges: DegradationRange | None = None, seed: int = 0
    ) -> None:
        if not heads:
            raise BadInput("there is no training head to draw from")
        self.heads, self.patch, self.ranges = list(heads), patch, ranges or DegradationRange()
        self.rng = np.random.default_rng(seed)
        self.generator = torch.Generator().manual_seed(seed)

    def valid_range(self) -> dict[str, Any]:
        """What scans a network has seen that was trained on these pairs: ``contrasts``, ``spacing_mm`` and ``snr``."""
        present = torch.stack([head.present for head in self.heads]).any(0)
        return {
            "contrasts": [name for name, found in zip(CHANNELS, present.tolist(), strict=True) if found],
            "spacing_mm": list(self.ranges.spacings()),
            "snr": list(self.ranges.snr),
        }

    def place(self) -> Place:
        """A random patch around a voxel of a brain; half of them are mirrored."""
        index = int(self.rng.integers(len(self.heads)))
        i, j, k = (int(c) - self.patch // 2 for c in self._centre(self.heads[index]))
        return Place(index, (i, j, k), bool(self.rng.random() < 0.5))

    def high(self, margin: int = 0, place: Place | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """A high-field patch with a margin on all sides, at random or at ``place``.

        Returns:
            images (3, n, n, n) in the model range, present (3,), mask (n, n, n), labels (n, n, n) or None. The left and
            right labels of a mirrored patch are exchanged.
        """
        place = place or self.place()
        head = self.heads[place.head]
        size = self.patch + 2 * margin
        start = [first - margin for first in place.start]
        images = _crop(head.images, start, size, -1.0).float()
        mask = _crop(head.mask[None], start, size, False)[0]
        labels = None if head.labels is None else _crop(head.labels[None], start, size, 0)[0]
        if place.mirrored:
            images, mask = images.flip(1), mask.flip(0)
            labels = None if labels is None else torch.from_numpy(mirrored_channels())[labels.flip(0).long()].to(labels)
        return images, head.present, mask, labels

    def pair(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Low-field and high-field patch of one head.

        Returns:
            low, high: (3, p, p, p) in the model range; present (3,); acquisition (3, 4): what a network is told of
            each scan (see physics.acquisition), not a number where the scan is absent or nothing is told.
        """
        return self.biased_pair()[:4]

    def biased_pair(
        self, place: Place | None = None, channel: int | None = None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """:meth:`pair`, and the bias field (p, p, p) of both; at ``place`` and of one contrast alone if given."""
        images, present, mask, labels = self.high(MARGIN, place)
        if channel is not None:
            present = present & (torch.arange(3) == channel)
        inner = (slice(None), *(slice(MARGIN, MARGIN + self.patch),) * 3)
        low, high = torch.full_like(images, -1.0), torch.full_like(images, -1.0)
        seen = _grown(mask, int(self.rng.integers(self.ranges.most_grown + 1)))
        bias = random_bias_field(tuple(mask.shape), self.rng.uniform(0, self.ranges.bias), self.generator)
        told = torch.tensor([UNKNOWN] * 3)
        size, session = images.shape[-1], None
        if int(present.sum()) > 1 and self.rng.random() < self.ranges.session_share:
            session = self._grid(size)
        for n in torch.nonzero(present)[:, 0].tolist():
            received = bias * float(1 + self.ranges.gain * self.rng.standard_normal())
            values = (images[n] + 1) * 0.5
            grid = session or self._grid(size)
            low[n], acquisition = self._degrade(self._change_contrast(values, labels) * received, seen, grid)
            told[n] = torch.tensor(self._told(acquisition))
            high[n] = (values * received * 2 - 1).clamp(MODEL_MIN, MODEL_MAX)
        return low[inner], high[inner], present, told, bias[inner[1:]]

    def _told(self, acquisition: Acquisition) -> tuple[float, ...]:
        """What the network is told of an acquisition: a little wrong, sometimes nothing."""
        if self.rng.random() < self.ranges.unknown:
            return UNKNOWN
        factors = np.exp(np.array(self.ranges.misjudged)[[0, 0, 0, 1]] * self.rng.standard_normal(4))
        steps = [s * f for s, f in zip(acquisition.steps, factors, strict=False)]
        return Acquisition((steps[0], steps[1], steps[2]), acquisition.sigma * float(factors[3])).coordinates()

    def _centre(self, head: Head) -> np.ndarray:
        """A random voxel of the brain (by rejection: heads are cropped close to the brain)."""
        shape = np.array(head.mask.shape)
        while True:
            voxel = self.rng.integers(0, shape)
            if head.mask[tuple(voxel)]:
                return voxel

    def _grid(self, size: int) -> ScanGrid:
        """A random grid over a cube with ``size`` voxels along its edges."""
        spacing = self._spacing()
        filtered = None
        if self.rng.random() < self.ranges.filtered_share:
            filtered = self.rng.uniform(*self.ranges.filter_width, size=3)
        centres, widths, profiles = [], [], []
        for axis, step in enumerate(spacing):
            along = self.rng.uniform(0, step) + step * np.arange(int(np.floor((size - 1) / step)))
            centres.append(along[along <= size - 1])
            blur = 0.0 if filtered is None else float(filtered[axis])
            widths.append(step * float(np.hypot(self.rng.uniform(*self.ranges.width_factor), blur)))
            profiles.append("gaussian" if self.rng.random() < 0.7 else "box")
        return ScanGrid((spacing[0], spacing[1], spacing[2]), tuple(centres), tuple(widths), tuple(profiles), filtered)

    def _degrade(self, values: Tensor, mask: Tensor, grid: ScanGrid) -> tuple[Tensor, Acquisition]:
        """Intensities of order one through PSF, down-sampling, noise and interpolation back, in the model range."""
        size = values.shape[-1]
        down = [
            profile_matrix(centres, width, size, profile)
            for centres, width, profile in zip(grid.centres, grid.widths, grid.profiles, strict=True)
        ]
        up = [
            cubic_matrix((np.arange(size) - centres[0]) / step, len(centres))
            for centres, step in zip(grid.centres, grid.spacing, strict=True)
        ]
        low = SeparableOperator(down)(values)
        # white matter of T1w sits near 0.8 of the scale; the other contrasts' brightest tissue does too
        sigma = 0.8 / float(np.exp(self.rng.uniform(*np.log(self.ranges.snr))))
        kind = "rician" if self.rng.random() < 0.8 else "gaussian"
        low = add_noise(low, sigma, kind, self.generator, grid.filtered)
        restored = SeparableOperator(up)(low)
        restored = torch.where(mask, restored, torch.zeros(())) * 2 - 1
        return restored.clamp(MODEL_MIN, MODEL_MAX), Acquisition(grid.spacing, sigma)

    def _change_contrast(self, values: Tensor, labels: Tensor | None) -> Tensor:
        """Field-dependent contrast: random tissue factors relative to white matter where labels exist, else a gamma.

        White matter keeps its intensity, because the pipeline scales every scan by its brightest tissue.
        """
        strength = self.ranges.contrast
        if labels is None or self.rng.random() < 0.3:
            return values.clamp_min(0) ** float(np.exp(strength * self.rng.standard_normal()))
        grey, fluid = np.exp(strength * self.rng.standard_normal(2))
        tissue = {"WM": 1.0, "GM": grey, "CSF": fluid}
        table = torch.tensor([1.0, *(tissue[label.tissue] for label in label_table())], dtype=torch.float32)
        return values * table[labels.long()]

    def _spacing(self) -> list[float]:
        ranges = self.ranges
        if ranges.protocol is not None:
            return list(ranges.protocol)
        if self.rng.random() < ranges.common_share:
            spacing = [float(self.rng.uniform(*ranges.common_in_plane))] * 3
            axis = 2 if self.rng.random() < ranges.axial_share else int(self.rng.integers(2))
            spacing[axis] = float(self.rng.uniform(*ranges.common_slices))
            return spacing
        if self.rng.random() < ranges.isotropic_share:
            return [float(self.rng.uniform(*ranges.isotropic))] * 3
        in_plane = float(self.rng.uniform(*ranges.in_plane))
        spacing = [in_plane] * 3
        spacing[self.rng.integers(3)] = float(self.rng.uniform(*ranges.slices))
        return spacing


def _grown(mask: Tensor, voxels: int) -> Tensor:
    """A mask (I, J, K) grown by so many voxels along the axes."""
    return torch.from_numpy(dilated(mask.numpy(), voxels))


def inside_brain(low: Tensor, high: Tensor) -> Tensor:
    """Ones where either image is above the background of -1, zeros elsewhere (float, same shape).

    An L1 loss over the flat background drowns the brain's gradient in sign noise.
    """
    return ((low > MODEL_MIN) | (high > MODEL_MIN)).float()


def _crop(volume: Tensor, start: Sequence[int], size: int, fill: float | bool) -> Tensor:
    """(C, I, J, K) -> (C, size, size, size) from index ``start``, which may lie outside; filled with ``fill``."""
    out = torch.full((volume.shape[0], size, size, size), fill, dtype=volume.dtype)
    source, target = [slice(None)], [slice(None)]
    for first, length in zip(start, volume.shape[1:], strict=True):
        low, high = max(first, 0), min(first + size, length)
        source.append(slice(low, max(high, low)))
        target.append(slice(low - first, max(high, low) - first))
    out[tuple(target)] = volume[tuple(source)]
    return out
