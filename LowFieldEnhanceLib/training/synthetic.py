"""Synthetic head images of any contrast and resolution from label maps (SynthSeg, Billot et al. 2023).

Random affine and elastic deformation, random tissue means and textures, lesions, bias, slice profile and spacing,
noise, skull kept or stripped. The network never sees a real contrast twice, so it learns shape, not intensity.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import BadInput
from ..physics.bias import random_bias_field
from ..physics.separable import SeparableOperator, cubic_matrix, linear_matrix, profile_matrix
from ..segmentation.labels import mirrored_channels
from .data import load_heads
from .labelled_heads import FIRST_EXTRA, IGNORE, LabelledHead, labelled_oasis, load_label_maps
from .soft_ellipsoid import soft_ellipsoid
from .surroundings import Dresser
from .ventricular_flow import flow_artefacts

SHAPES = ((128, 160, 128), (128, 160, 128), (128, 160, 128), (160, 192, 160))  # mostly a little less than a brain
BARE_SHARE = 0.2  # of the painted heads: without skull, eyes and skin
KNOWN_ORDER = 0.8  # of the painted heads: tissues ordered as in T1w, T2w or FLAIR
LEAST_GAP = 0.08  # between two tissues of these
DRESSED_SHARE = 0.35  # of the real heads: with surroundings
FLOW_SHARE = 0.3  # of all heads: with flow artefacts in the ventricles
FAT_SHARE = 0.3  # of the painted heads: a part of what lies outside the brain is brighter than all of it
DARK_SHARE = 0.3  # of all samples: scaled as if something brighter, such as fat, were in the field of view
DARKEST = 3.0  # times the sample's own top


class HeadGenerator:
    """Draws (image, labels) training samples for the segmenter.

    Args:
        maps: label maps to paint.
        real: labelled real heads, used as they are (degraded) or painted over.
        others: real heads of any contrast with labels from elsewhere (see training.pseudo_labels), never painted over.
        shapes: edge lengths of a sample in voxels, one drawn a sample.
        real_share: probability of a real image.
        other_share: probability of one of ``others``, if there are any.
        seed: of all randomness.
        voxel: edge of a sample's voxel in mm.
    """

    def __init__(
        self,
        maps: Sequence[LabelledHead],
        real: Sequence[LabelledHead],
        shapes: Sequence[tuple[int, int, int]] = SHAPES,
        real_share: float = 0.25,
        seed: int = 0,
        voxel: float = 1.0,
        others: Sequence[LabelledHead] = (),
        other_share: float = 0.4,
    ) -> None:
        self.others, self.other_share = list(others), other_share if others else 0.0
        self.voxel = voxel
        self.maps, self.real, self.real_share = list(maps), list(real), real_share
        self.shapes = list(shapes)
        self.shape = self.shapes[0]
        self.rng = np.random.default_rng(seed)
        self.generator = torch.Generator().manual_seed(seed)
        self.dresser = Dresser(self.rng, self.generator)
        self.mirror = torch.from_numpy(mirrored_channels().astype(np.uint8))

    @classmethod
    def from_folder(cls, root: Path, seed: int = 0, others: Sequence[LabelledHead] = ()) -> HeadGenerator:
        """Label maps and oasis/train of the data folder, beside ``others``.

        Raises:
            BadInput: no label map or no labelled head.
        """
        maps, real = load_label_maps(root), labelled_oasis(load_heads(root, ("oasis",)))
        if not maps or not real:
            missing = "label map (label_maps/*.nii.gz)" if not maps else "labelled head (oasis/train/*_aseg.nii.gz)"
            raise BadInput(f"the segmenter's training needs at least one {missing} under {root}")
        return cls(maps, real, seed=seed, others=others)

    def sample(self) -> tuple[Tensor, Tensor]:
        """Image (1, *shape) float32 scaled as at inference, and labels (*shape) uint8 (255: ignore)."""
        self.shape = self.shapes[self.rng.integers(len(self.shapes))]
        use_real, pool = self._pool()
        head = pool[self.rng.integers(len(pool))]
        grid = self._grid(head)
        volumes = [head.target, head.tissue] + ([] if head.near is None else [head.near])
        target, tissue, *near = _nearest(volumes, grid)
        if use_real and head.image is not None:
            image = F.grid_sample(head.image[None, None].float(), grid, align_corners=True)[0, 0]
            image = image.clamp_min(0) ** float(np.exp(0.25 * self.rng.standard_normal()))
            if near and self.rng.random() < DRESSED_SHARE:
                image, target = self.dresser(image, target, near[0])
        else:
            image = self._paint(tissue, bare=bool(self.rng.random() < BARE_SHARE))
        if self.rng.random() < FLOW_SHARE:
            image = flow_artefacts(image, target, self.rng)
        if self.rng.random() < 0.5:
            image, target = image.flip(0), self._mirrored(target.flip(0))
        return self._acquire(image)[None], target

    def _pool(self) -> tuple[bool, list[LabelledHead]]:
        """Whether to show a real image, and the heads to choose from."""
        if self.rng.random() < self.other_share:
            return True, self.others
        use_real = bool(self.rng.random() < self.real_share)
        return use_real, self.real if use_real or self.rng.random() < 0.2 else self.maps

    def _mirrored(self, target: Tensor) -> Tensor:
        ignore = target == IGNORE
        swapped = self.mirror[torch.where(ignore, torch.zeros_like(target), target).long()]
        return torch.where(ignore, torch.full_like(swapped, IGNORE), swapped)

    def _grid(self, head: LabelledHead) -> Tensor:
        """(1, I, J, K, 3) sampling positions: crop near the brain, rotation, scale, smooth elastic displacement."""
        size = np.array(head.target.shape)
        coarse = head.target[::4, ::4, ::4]
        inside = torch.nonzero((coarse > 0) & (coarse != IGNORE)) * 4
        low, high = inside.min(0).values.numpy(), inside.max(0).values.numpy()
        slack = np.maximum((high - low - self.voxel * np.array(self.shape)) / 2 + 12, 12)
        centre = (low + high) / 2 + self.rng.uniform(-1, 1, 3) * slack
        angles = np.radians(self.rng.uniform(-12, 12, 3))
        matrix = _rotation(angles) @ np.diag(np.exp(self.rng.uniform(-0.14, 0.14, 3)))
        axes = [self.voxel * (torch.arange(n, dtype=torch.float32) - (n - 1) / 2) for n in self.shape]
        points = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1) @ torch.from_numpy(matrix.T).float()
        points = points + self._elastic() + torch.from_numpy(centre).float()
        unit = points / torch.from_numpy(size - 1).float() * 2 - 1
        return unit.flip(-1)[None]

    def _elastic(self) -> Tensor:
        knots = int(self.rng.integers(4, 9))
        strength = float(self.rng.uniform(0, 3.0))
        coarse = strength * torch.randn(3, knots, knots, knots, generator=self.generator)
        matrices = [cubic_matrix(np.linspace(0, knots - 1, n), knots) for n in self.shape]
        return SeparableOperator(matrices)(coarse).permute(1, 2, 3, 0)

    def _paint(self, tissue: Tensor, bare: bool = False) -> Tensor:
        """Random mean and spread a class; left and right alike; lesions; ``bare``: no tissue outside the brain."""
        means, spreads = self.rng.uniform(0.05, 1.0, 256), self.rng.uniform(0.0, 0.08, 256)
        means[0], spreads[0] = (0.0, 0.0) if self.rng.random() < 0.7 else (self.rng.uniform(0, 0.3), 0.02)
        if self.rng.random() < KNOWN_ORDER:
            self._mimic_contrast(means)
        mirror = self.mirror.numpy()
        for channel in range(len(mirror)):
            means[max(channel, mirror[channel])] = means[min(channel, mirror[channel])]
        if self.rng.random() < FAT_SHARE:
            fat = FIRST_EXTRA + np.nonzero(self.rng.random(256 - FIRST_EXTRA) < 0.3)[0]
            means[fat] *= self.rng.uniform(1, DARKEST)
        if bare:
            means[FIRST_EXTRA:] = means[0]
            spreads[FIRST_EXTRA:] = spreads[0]
        index = tissue.long()
        noise = torch.randn(tissue.shape, generator=self.generator)
        image = torch.from_numpy(means).float()[index] + torch.from_numpy(spreads).float()[index] * noise
        return self._lesions(image, tissue)

    def _mimic_contrast(self, means: np.ndarray) -> None:
        """Tissues in the order of T1w, T2w or FLAIR, at least :data:`LEAST_GAP` apart: real contrasts come often."""
        from ..segmentation.labels import label_table

        order = [("WM", "GM", "CSF"), ("CSF", "GM", "WM"), ("GM", "WM", "CSF")][self.rng.integers(3)]
        free = sorted(self.rng.uniform(0.05, 1.0 - 2 * LEAST_GAP, 3))
        levels = {tissue: free[2 - n] + LEAST_GAP * (2 - n) for n, tissue in enumerate(order)}
        for channel, label in enumerate(label_table(), start=1):
            means[channel] = np.clip(levels[label.tissue] + 0.04 * self.rng.standard_normal(), 0.02, 1.1)

    def _lesions(self, image: Tensor, tissue: Tensor) -> Tensor:
        """A few smooth blobs of random intensity inside the brain: pathology must not shatter the labels."""
        if self.rng.random() < 0.5:
            return image
        axes = [torch.arange(n, dtype=torch.float32) for n in self.shape]
        for _ in range(int(self.rng.integers(1, 4))):
            centre, radius = self.rng.uniform(0.2, 0.8, 3) * self.shape, self.rng.uniform(2, 14, 3)
            weight = soft_ellipsoid(axes, centre, radius) * ((tissue > 0) & (tissue < FIRST_EXTRA))
            image = image + weight * (float(self.rng.uniform(0, 1.1)) - image)
        return image

    def _acquire(self, image: Tensor) -> Tensor:
        """Bias, slice profile, spacing, noise, interpolation back to the voxel, and the scaling used at inference."""
        image = image * random_bias_field(self.shape, self.rng.uniform(0, 0.3), self.generator)
        spacing = np.ones(3)
        if self.rng.random() < 0.7:
            spacing[:] = self.rng.uniform(1.0, 2.0)
            if self.rng.random() < 0.75:
                spacing[self.rng.integers(3)] = self.rng.uniform(1.0, 6.0)
        down, up = [], []
        for step, size in zip(np.maximum(spacing / self.voxel, 1.0), self.shape, strict=True):
            first = self.rng.uniform(0, step) if step > 1 else 0.0
            centres = first + step * np.arange(int((size - 1 - first) / step) + 1)
            down.append(profile_matrix(centres, step * self.rng.uniform(0.5, 1.2), size, "gaussian"))
            interpolate = cubic_matrix if self.rng.random() < 0.7 else linear_matrix
            up.append(interpolate((np.arange(size) - centres[0]) / step, len(centres)))
        low = SeparableOperator(down)(image)
        sigma = float(self.rng.uniform(0, 0.08)) * float(low.max())
        low = torch.hypot(
            low + sigma * torch.randn(low.shape, generator=self.generator),
            sigma * torch.randn(low.shape, generator=self.generator),
        )
        image = SeparableOperator(up)(low)
        top = float(torch.quantile(image[::2, ::2, ::2].flatten(), float(self.rng.uniform(0.97, 0.999))))
        if self.rng.random() < DARK_SHARE:  # at inference the whole head is scaled at once, scalp and eyes with it
            top *= float(self.rng.uniform(1, DARKEST))
        return (image / max(top, 1e-6)).clamp(0, 1.5) * 2 - 1


def _nearest(volumes: Sequence[Tensor], grid: Tensor) -> list[Tensor]:
    """Labels of volumes of one shape at the grid's positions; 0 outside them."""
    shape = volumes[0].shape
    flat, inside = torch.zeros(grid.shape[1:4], dtype=torch.int32), torch.ones(grid.shape[1:4], dtype=torch.bool)
    for axis, size in enumerate(shape):
        index = ((grid[0, ..., 2 - axis] + 1) * ((size - 1) / 2)).round_().to(torch.int32)
        inside &= (index >= 0) & (index < size)
        flat = flat * size + index
    flat = torch.where(inside, flat, torch.zeros((), dtype=torch.int32))
    return [
        torch.where(inside, v.reshape(-1)[flat.reshape(-1)].reshape(flat.shape), torch.zeros((), dtype=v.dtype))
        for v in volumes
    ]


def _rotation(angles: np.ndarray) -> np.ndarray:
    (a, b, c), identity = angles, np.eye(3)
    x, y, z = identity.copy(), identity.copy(), identity.copy()
    x[1:, 1:] = [[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]
    y[np.ix_([0, 2], [0, 2])] = [[np.cos(b), np.sin(b)], [-np.sin(b), np.cos(b)]]
    z[:2, :2] = [[np.cos(c), -np.sin(c)], [np.sin(c), np.cos(c)]]
    return z @ y @ x
