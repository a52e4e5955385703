"""Recipe of the teacher of the distilled latent super-resolution: conditional latent diffusion with E2, b and g.

The frozen autoencoder turns high-field and interpolated slices into latents; the network learns the diffusion of their
difference. b is the simulated receive field, a little misjudged, as N4 would find it. g is simulated too: in a part of
the samples the scan's intensities are those of an unwarping without intensity correction.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..diffusion.latent import SCHEDULE, alpha_bar, clean_from_velocity
from ..errors import BadInput
from ..networks.latent_autoencoder import FACTOR, LatentAutoencoder
from ..networks.latent_unet import Condition, LatentUNet
from ..physics.bias import random_bias_field
from ..preprocess.intensity import MODEL_MAX, MODEL_MIN
from ..weights import is_installed, load_network
from .latent_autoencoder import image_loss
from .loop import LossFunction
from .slice_pairs import SlicePairSampler

AUTOENCODER = "latent_autoencoder"
ARCHITECTURE = {
    "kind": "latent_unet",
    "widths": [128, 192, 256],
    "blocks": 2,
    "embedding": 128,
    "condition_widths": [64, 96],
    "condition_blocks": [1, 2],
    "condition": 32,
    "latent": 12,
    "neighbours": 1,
    "classes": 12,
    "residual_scale": 1.0,
}
EDGE, BATCH, HOLD = 128, 8, 3
BACKGROUND = 0.1  # weight of a latent outside the brain
CALIBRATION_BATCHES = 6
IMAGE_EVERY, IMAGE_BATCH, IMAGE_WEIGHT = 2, 3, 2.0
GAIN_SHARE, GAIN = 0.3, 0.2  # samples with a gradient nonlinearity, and log of its determinant at most (at knots)
BIAS_HIDDEN = 0.2  # samples whose bias field is not known
BIAS_MISJUDGED, BIAS_ERROR = (0.6, 1.2), 0.03


@dataclass(frozen=True)
class LatentBatch:
    """Slices and their latents.

    Attributes:
        low: (B, 2n+1, 1, H, W) and high: (B, 1, 1, H, W), model range.
        start: (B, latent, 1, h, w) latent of the interpolated slice, in the autoencoder's units.
        residual: latent of the high-field slice less ``start``, in the same units.
        weight: (B, 1, 1, H, W): 1 inside the brain, BACKGROUND outside.
        bias, gain: (B, 1, 1, H, W) as the network is told them.
        kind, told: see SlicePairs.
    """

    low: Tensor
    high: Tensor
    start: Tensor
    residual: Tensor
    weight: Tensor
    bias: Tensor
    gain: Tensor
    kind: Tensor
    told: Tensor

    @property
    def latent_weight(self) -> Tensor:
        """``weight`` of the latents, (B, 1, 1, h, w)."""
        return F.max_pool3d(self.weight, (1, FACTOR, FACTOR))

    def part(self, count: int) -> LatentBatch:
        """The first ``count`` slices."""
        return LatentBatch(*(getattr(self, name)[:count] for name in self.__dataclass_fields__))

    def condition(self, network: LatentUNet, autoencoder: LatentAutoencoder) -> Condition:
        """What the network knows of the slices."""
        return network.condition(
            self.low, autoencoder.normalised(self.start), self.kind, self.told, self.bias, self.gain
        )


class LatentSampler:
    """Draws slices, encodes them, and adds the maps b and g.

    Args:
        sampler: of slices with their degradation.
        autoencoder: frozen.
        device: of networks and batches.
    """

    def __init__(self, sampler: SlicePairSampler, autoencoder: LatentAutoencoder, device: str) -> None:
        self.sampler, self.autoencoder, self.device = sampler, autoencoder, device

    def valid_range(self) -> dict[str, Any]:
        """See pairs.PairSampler."""
        return self.sampler.valid_range()

    @torch.no_grad()
    def batch(self, size: int) -> LatentBatch:
        """``size`` slices."""
        pairs = self.sampler.batch(size)
        gain = torch.stack([self._gain(pairs.high.shape[2:]) for _ in range(size)])
        brain = torch.maximum(pairs.low[:, self.sampler.neighbours, None], pairs.high) > MODEL_MIN
        low = torch.where(pairs.low > MODEL_MIN, (pairs.low + 1) * torch.exp(-gain) - 1, pairs.low)
        low = low.clamp(MODEL_MIN, MODEL_MAX).to(self.device)
        bias = torch.stack([self._told_bias(field) for field in pairs.bias])
        high = pairs.high.to(self.device)
        with torch.autocast(high.device.type, torch.bfloat16):
            middle = low[:, self.sampler.neighbours, None]
            start, target = self.autoencoder.encode(torch.cat([middle, high])).chunk(2)
        weight = torch.where(brain, 1.0, BACKGROUND).to(self.device)
        return LatentBatch(
            low, high, start, target - start, weight, bias.to(self.device), gain.to(self.device),
            pairs.kind.to(self.device), pairs.told.to(self.device),
        )  # fmt: skip

    def scale(self) -> float:
        """Root mean square of the residual inside the brain."""
        squares = weights = 0.0
        for _ in range(CALIBRATION_BATCHES):
            batch = self.batch(BATCH)
            inside = (batch.latent_weight == 1).float()
            squares += float((batch.residual**2 * inside).mean())
            weights += float(inside.mean())
        return round((squares / weights) ** 0.5, 4)

    def _gain(self, shape: torch.Size) -> Tensor:
        """Log of a smooth Jacobian determinant (1, S, H, W), mostly 0."""
        if self.sampler.rng.random() >= GAIN_SHARE:
            return torch.zeros(1, *shape)
        strength = float(self.sampler.rng.uniform(0, GAIN))
        return random_bias_field(tuple(shape), strength, self.sampler.generator).log()[None]

    def _told_bias(self, field: Tensor) -> Tensor:
        """The log bias field (1, S, H, W) as a bias correction would find it, or nothing."""
        if self.sampler.rng.random() < BIAS_HIDDEN:
            return torch.zeros_like(field)
        error = random_bias_field(tuple(field.shape[1:]), BIAS_ERROR, self.sampler.generator).log()
        return field * float(self.sampler.rng.uniform(*BIAS_MISJUDGED)) + error


class TeacherLoss:
    """Squared error of the velocity at uniform t, and now and then the L1 of the decoded clean estimate."""

    def __init__(self, sampler: LatentSampler, batch: int) -> None:
        self.sampler, self.batch, self.calls = sampler, batch, 0

    def __call__(self, network: nn.Module) -> Tensor:
        """Draw a batch and return the loss."""
        if not int(network.trained):
            network.start_from(self.sampler.autoencoder)
        batch = self.sampler.batch(self.batch)
        generator, device = self.sampler.sampler.generator, self.sampler.device
        # one draw from each of B equal parts of 1..T, so that every batch sees all noise levels
        parts = torch.randperm(self.batch, generator=generator) + torch.rand(self.batch, generator=generator)
        t = (1 + parts / self.batch * (SCHEDULE.steps - 1)).to(device)
        noise = torch.randn(batch.residual.shape, generator=generator).to(device)
        abar = alpha_bar(t)
        clean = batch.residual / network.residual_scale
        noisy = abar.sqrt() * clean + (1 - abar).sqrt() * noise
        with torch.autocast(torch.device(device).type, torch.bfloat16):
            velocity = network(noisy, t / SCHEDULE.steps, batch.condition(network, self.sampler.autoencoder)).float()
        network.trained += 1
        weight = batch.latent_weight
        error = (velocity - (abar.sqrt() * noise - (1 - abar).sqrt() * clean)) ** 2
        loss = (error * weight).mean() / weight.mean()
        self.calls += 1
        if self.calls % IMAGE_EVERY == 0:
            estimate = clean_from_velocity(velocity, noisy, abar)[:IMAGE_BATCH] * network.residual_scale
            loss = loss + IMAGE_WEIGHT * decoded_loss(self.sampler.autoencoder, batch.part(IMAGE_BATCH), estimate)
        return loss


def decoded_loss(autoencoder: LatentAutoencoder, batch: LatentBatch, residual: Tensor) -> Tensor:
    """L1 of the slices that latents ``start + residual`` are decoded to, and of their gradients."""
    with torch.autocast(residual.device.type, torch.bfloat16):
        decoded = autoencoder.decode(batch.start + residual)
    return image_loss(decoded.float(), batch.high, batch.weight)


def require(name: str, recipe: str) -> nn.Module:
    """A registered network that a recipe builds upon.

    Raises:
        BadInput: it is not installed.
    """
    if not is_installed(name):
        raise BadInput(f"the recipe {recipe} needs the network '{name}': train and register it first")
    return load_network(name)[0]


def latent_sampler(data: Path, seed: int, device: str, recipe: str) -> tuple[LatentSampler, str]:
    """Sampler of encoded slices of all training heads, and a sentence on the data.

    Raises:
        BadInput: the autoencoder is not installed.
    """
    from .data import load_heads, said

    autoencoder = require(AUTOENCODER, recipe).to(device)
    heads = load_heads(data, ("oasis", "openms", "brats"))
    text = f"slices of {said(heads, 'degraded at random')}"
    return LatentSampler(SlicePairSampler(heads, EDGE, hold=HOLD, seed=seed), autoencoder, device), text


def recipe(data: Path, seed: int, device: str) -> tuple[dict[str, Any], LossFunction, str]:
    """The teacher's architecture, loss and training data."""
    sampler, text = latent_sampler(data, seed, device, "latent_teacher")
    same = SlicePairSampler(sampler.sampler.volumes.heads, EDGE, hold=1, seed=0)  # for every piece of a training
    scale = LatentSampler(same, sampler.autoencoder, device).scale()
    architecture = {**ARCHITECTURE, "latent": sampler.autoencoder.latent, "residual_scale": scale}
    return architecture, TeacherLoss(sampler, BATCH), text
