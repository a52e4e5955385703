"""Recipe of the latent autoencoder of the distilled latent super-resolution: E1 and D.

It sees high-field slices of all three orientations and, because E1 also encodes the interpolated scan, slices that were
blurred along their edges and made noisy.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..preprocess.intensity import MODEL_MAX, MODEL_MIN
from .loop import LossFunction
from .slice_prior import SliceSampler

ARCHITECTURE = {
    "kind": "latent_autoencoder",
    "widths": [64, 96],
    "blocks": [1, 2],
    "decoder_blocks": [2, 2],
    "latent": 12,
}
EDGE, BATCH = 128, 20
BLURRED_SHARE = 0.35
STEPS = (1.0, 6.0)  # pixels, of a blurred slice along each edge
NOISE = 0.08  # standard deviation at most, model range
BACKGROUND = 0.1  # weight of a pixel outside the brain
GRADIENT_WEIGHT = 0.5
KL_WEIGHT = 1e-5


class AutoencoderLoss:
    """L1 of slice and gradient, mostly inside the brain, and a small KL term (Rombach et al. 2022)."""

    def __init__(self, sampler: SliceSampler, batch: int, device: str) -> None:
        self.sampler, self.batch, self.device = sampler, batch, device

    def __call__(self, network: nn.Module) -> Tensor:
        """Draw a batch of slices and return the loss."""
        clean, _ = self.sampler.batch(self.batch)
        shown = torch.stack([self._as_scanned(image) for image in clean]).to(self.device)
        noise = torch.randn(
            self.batch, network.latent, 1, *(n // network.multiple for n in shown.shape[3:]),
            generator=self.sampler.generator,
        ).to(self.device)  # fmt: skip
        with torch.autocast(shown.device.type, torch.bfloat16):
            mean, log_variance = network.posterior(shown)
            restored = network.decode(mean + (0.5 * log_variance).exp() * noise)
        if torch.isfinite(mean).all():
            network.track(mean.detach())
        divergence = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).mean()
        weight = torch.where(shown > MODEL_MIN, 1.0, BACKGROUND)
        return image_loss(restored, shown, weight) + KL_WEIGHT * divergence

    def _as_scanned(self, image: Tensor) -> Tensor:
        """Sometimes the slice (1, 1, H, W) sampled coarsely, with noise, and interpolated back."""
        rng = self.sampler.rng
        if rng.random() >= BLURRED_SHARE:
            return image
        size = image.shape[2:]
        coarse = [max(int(n / math.exp(rng.uniform(*np.log(STEPS)))), 4) for n in size]
        low = F.interpolate(image, coarse, mode="bicubic", antialias=True, align_corners=False)
        low = low + rng.uniform(0, NOISE) * torch.randn(low.shape, generator=self.sampler.generator)
        back = F.interpolate(low, size, mode="bicubic", align_corners=False).clamp(MODEL_MIN, MODEL_MAX)
        return torch.where(image > MODEL_MIN, back, image)


def image_loss(estimate: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Weighted L1 of slices (B, 1, S, H, W) and of their differences between neighbouring pixels."""
    error = estimate - truth
    loss = (error.abs() * weight).sum()
    for axis in (3, 4):
        last = weight.shape[axis] - 1
        pairs = torch.minimum(weight.narrow(axis, 0, last), weight.narrow(axis, 1, last))
        loss = loss + GRADIENT_WEIGHT * (error.diff(dim=axis).abs() * pairs).sum()
    return loss / weight.sum().clamp_min(1)


def recipe(data: Path, seed: int, device: str) -> tuple[dict[str, Any], LossFunction, str]:
    """The autoencoder's architecture, loss and training data."""
    from .data import load_heads, said

    heads = load_heads(data, ("oasis", "openms", "brats"))
    text = f"slices of {said(heads, 'a third of them blurred and noisy')}"
    return ARCHITECTURE, AutoencoderLoss(SliceSampler(heads, EDGE, seed), BATCH, device), text
