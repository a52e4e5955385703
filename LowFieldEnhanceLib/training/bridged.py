"""Recipes of Bridged diffusion: the high-field prior and the bridge (methods/bridged.py says what they do).

Both see three contrast channels (T1w, T2w, FLAIR) and a presence mask. The bridge is shown one contrast at a time; of
the prior's, contrasts are dropped at random, so that one is enough.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..diffusion.denoiser import alpha_bar, epsilon_from_output, noise_coordinate
from ..diffusion.schedules import CosineSchedule
from ..errors import BadInput
from ..methods.base import PRESENCE_VALUE
from ..networks.companions import roles, told_of
from ..physics.acquisition import COORDINATES, LARGEST_STEP, Acquisition
from .anatomy import AnatomyLoss
from .pairs import PairSampler, inside_brain

PRIOR = {
    "kind": "residual_unet",
    "in_channels": 6,
    "out_channels": 3,
    "widths": [64, 96, 128],
    "blocks": 2,
    "embedding": 128,
    "output_scale": 0.3,
}
BRIDGE = {**PRIOR, "coordinates": 3 * COORDINATES, "output_scale": 0.1}
HIGH_FIELD = Acquisition((1.0, 1.0, 1.0), 0.0)
BRIDGE_TIMES = (250, 750)
IDENTITY_SHARE = 0.05
THICK = math.log(4.0) / math.log(LARGEST_STEP)  # as the networks are told it
KINDS = 6  # of samples whose volumes are balanced each by themselves
MAX_SNR = 100.0  # abar / (1 - abar): above it, sigma < 0.1
SCHEDULE = CosineSchedule()


def drop_contrasts(present: Tensor, sampler: PairSampler) -> Tensor:
    """Keep a random non-empty subset of the contrasts that are present: (3,) bool -> (3,) bool."""
    kept = present & torch.from_numpy(sampler.rng.random(3) < 0.6)
    if not bool(kept.any()):
        choices = torch.nonzero(present)[:, 0].numpy()
        kept = torch.zeros(3, dtype=torch.bool)
        kept[int(sampler.rng.choice(choices))] = True
    return kept


def presence_channels(kept: Tensor, shape: tuple[int, ...]) -> Tensor:
    """(B, 3) bool -> (B, 3, I, J, K) float of ones and zeros."""
    return kept.float()[:, :, None, None, None].expand(-1, -1, *shape)


def checked_weights(weights: Sequence[float]) -> tuple[float, ...]:
    """Weights of the paper's three terms of a loss.

    Raises:
        BadInput: not three, or one that is below 0 or no number.
    """
    if len(weights) != 3 or not all(math.isfinite(weight) and weight >= 0 for weight in weights):
        raise BadInput(f"the loss has 3 weights of 0 or more, not {' '.join(f'{weight:g}' for weight in weights)}")
    return tuple(weights)


class PriorLoss:
    """Noise L2 + (1 - SSIM) + Sobel term on the denoised image (equations of the paper), at t = T u^3, u uniform.

    Small t, where the refinement works, are drawn more often than by the paper's uniform t. The noise term of a sample
    is truncated at a signal-to-noise ratio of 100 (Hang et al. 2023, min-SNR). The image terms are weighted by abar_t:
    at high noise the clean estimate is a guess and its sharpness no target. ``weights`` are those of the three terms.
    """

    def __init__(
        self, sampler: PairSampler, batch: int, device: str, weights: Sequence[float] = (1.0, 1.0, 1.0)
    ) -> None:
        self.sampler, self.batch, self.device = sampler, batch, device
        self.weights = checked_weights(weights)

    def __call__(self, network: nn.Module) -> Tensor:
        """Draw a batch of high-field patches and return the loss."""
        images, kept = [], []
        for _ in range(self.batch):
            image, present, _, _ = self.sampler.high()
            keep = drop_contrasts(present, self.sampler)
            images.append(torch.where(keep[:, None, None, None], image, torch.zeros(())))
            kept.append(keep)
        clean, keep = torch.stack(images).to(self.device), torch.stack(kept).to(self.device)
        presence = presence_channels(keep, clean.shape[2:])
        t = torch.rand(self.batch, generator=self.sampler.generator) ** 3 * (SCHEDULE.steps - 1) + 1
        abar = alpha_bar(t.to(self.device), SCHEDULE)
        noise = torch.randn(clean.shape, generator=self.sampler.generator).to(self.device)
        noisy = (abar.sqrt() * clean + (1 - abar).sqrt() * noise) * presence
        coordinate = noise_coordinate(t.to(self.device), SCHEDULE)
        with torch.autocast(torch.device(self.device).type, torch.bfloat16):
            predicted = network(torch.cat([noisy, PRESENCE_VALUE * presence], 1), coordinate)
        predicted = epsilon_from_output(predicted.float(), noisy, abar)
        share = presence.sum() / presence.numel()
        trust = (MAX_SNR * (1 - abar) / abar).clamp_max(1.0)
        loss = (trust * ((predicted - noise) * presence) ** 2).mean() / share
        estimate = ((noisy - (1 - abar).sqrt() * predicted) / abar.sqrt().clamp_min(0.05)).clamp(-1.5, 2.0)
        # the image terms look at one present contrast of each head: the same gradient on average, a third of the cost
        channel = torch.multinomial(keep.float().cpu(), 1, generator=self.sampler.generator)[:, 0].to(self.device)
        pick = torch.arange(self.batch, device=self.device)
        estimate, truth = estimate[pick, channel][:, None], clean[pick, channel][:, None]
        structure, edges = 1 - ssim3d(estimate, truth), sobel_difference(estimate, truth)
        noise_weight, ssim_weight, sobel_weight = self.weights
        structure, edges = (abar * structure).mean(), (abar * edges).mean()
        return noise_weight * loss + ssim_weight * structure + sobel_weight * edges


class BridgeLoss:
    """The three losses of the bridge phi on pairs noised with the same eps at t in [250, 750], and two of ours.

    (1) x_t^LF + phi against x_t^HF; (2) the clean estimates after the known eps is taken off; (3) identity:
    phi on high-field input is 0, on its own samples. ``norm`` 1 or 2 is the power; the paper's is 2, ours 1, and the
    identity weighs 0.1: at 1 it held the network at phi = 0 (see the model card). ``weights`` are those of the three.

    Our phi = sqrt(abar_t) f(LF) sees the low-field image without noise, so that eps falls out of all three terms and
    is not drawn: given LF, the noised LF says nothing more about HF.

    One present contrast of each sample, drawn at random, is shown and restored. What the others of the same head add is
    learned by a network beside the bridge (see training.companions).

    The fourth, ours: the segmenter must see the same tissues in the estimate as in the high-field image (see
    AnatomyLoss). An L1 mean moves borders between tissues by its smoothing; this term moves them back.

    The fifth, ours: 1 - SSIM of the same contrast inside the brain, because an L1 mean is smoother than anatomy is.

    The fourth takes longer than all the rest of a step: with ``structure_every`` n both count in each n-th step only,
    with 0, as for the shipped weights, in none: they cost more than they bring (see the model card).
    """

    def __init__(
        self,
        sampler: PairSampler,
        batch: int,
        device: str,
        weights: Sequence[float] = (1.0, 1.0, 0.1),
        norm: int = 1,
        anatomy: AnatomyLoss | None = None,
        anatomy_weight: float = 0.5,
        ssim_weight: float = 0.2,
        structure_every: int = 1,
    ) -> None:
        if structure_every < 0:
            raise BadInput(f"the terms of structure count in each n-th step, or with 0 in none, not {structure_every}")
        self.sampler, self.batch, self.device = sampler, batch, device
        self.weights, self.norm, self.ssim_weight = checked_weights(weights), norm, ssim_weight
        self.anatomy, self.anatomy_weight = anatomy, anatomy_weight
        self.structure_every, self.calls = structure_every, 0

    def state_dict(self) -> dict[str, Any]:
        """What the anatomy loss knows of the volumes' biases, and which step it is."""
        balance = None if self.anatomy is None else self.anatomy.balance
        return {"calls": self.calls, **({} if balance is None else {"balance": balance.state_dict()})}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`; without biases they are measured anew."""
        self.calls = state.get("calls", 0)
        balance = None if self.anatomy is None else self.anatomy.balance
        if balance is not None and "balance" in state:
            balance.load_state_dict(state["balance"])

    def __call__(self, network: nn.Module) -> Tensor:
        """Draw a batch of pairs and return the loss."""
        lows, highs, told, targets = [], [], [], []
        for _ in range(self.batch):
            low, high, present, acquisitions = self.sampler.pair()
            target = int(self.sampler.rng.choice(torch.nonzero(present)[:, 0].numpy()))
            if self.sampler.rng.random() < IDENTITY_SHARE:
                low = high
                acquisitions = torch.tensor(HIGH_FIELD.coordinates()).expand(3, -1)
            lows.append(low)
            highs.append(high)
            told.append(told_of(acquisitions, target))
            targets.append(target)
        low, high = torch.stack(lows).to(self.device), torch.stack(highs).to(self.device)
        shown, wanted, _ = roles(low, torch.ones_like(low), targets)
        with torch.autocast(torch.device(self.device).type, torch.bfloat16):
            x = torch.cat([shown, PRESENCE_VALUE * wanted], 1)
            residual = network(x, torch.stack(told).to(self.device)).float()
        pick = torch.arange(self.batch, device=self.device), torch.tensor(targets, device=self.device)
        low, high, residual = (image[pick][:, None] for image in (low, high, residual))
        # outside the brain both images are -1 and the result is not used: those voxels count in no term
        inside = inside_brain(low, high)
        self.calls += 1
        look = residual.new_zeros(())
        if self.structure_every and self.calls % self.structure_every == 0:
            kinds = torch.tensor([kind_of(target, known) for target, known in zip(targets, told, strict=True)])
            look = self._look_at_structure(low + residual, high, inside, kinds)
        share = inside.sum() / inside.numel()
        start, end = BRIDGE_TIMES
        t = start + (end - start) * torch.rand(self.batch, generator=self.sampler.generator)
        amplitude = torch.from_numpy(SCHEDULE.alpha_bar(t.numpy()) ** 0.5).float().to(self.device)
        clean_error = high - low - residual
        noised_error = amplitude[:, None, None, None, None] * clean_error
        same = (low == high).flatten(1).all(1)[:, None, None, None, None].float()
        pairs, same = inside * (1 - same), inside * same
        terms = (noised_error * pairs, clean_error * pairs, clean_error * same)
        powers = (term.abs() if self.norm == 1 else term**2 for term in terms)
        return sum((w * p.mean() / share for w, p in zip(self.weights, powers, strict=True)), start=look)

    def _look_at_structure(self, estimate: Tensor, high: Tensor, inside: Tensor, kinds: Tensor) -> Tensor:
        """The SSIM and anatomy terms."""
        loss = self.ssim_weight * dissimilarity(estimate, high, inside)
        return loss if self.anatomy is None else loss + self.anatomy_weight * self.anatomy(estimate, high, kinds)


def kind_of(target: int, told: Tensor) -> int:
    """Of :data:`KINDS`: contrast by contrast, first those with slices of 4 mm or more, then the rest.

    Args:
        target: contrast that is restored.
        told: (12,) coordinates of the acquisitions; what is not told is not a number.
    """
    steps = told.view(3, COORDINATES)[target, :3]
    return 2 * target + int(not bool((steps >= THICK).any()))


def dissimilarity(estimate: Tensor, high: Tensor, inside: Tensor) -> Tensor:
    """Mean 1 - SSIM inside the brain; outside of it the images count as alike."""
    difference = (1 - ssim3d(torch.where(inside > 0, estimate, high), high)) * inside
    return difference.sum() / inside.sum().clamp_min(1)


def ssim3d(a: Tensor, b: Tensor, window: tuple[int, int, int] = (7, 7, 7)) -> Tensor:
    """Local SSIM of images in [-1, 1] (range 2) with a box window: (B, C, I, J, K) -> the same shape."""
    c1, c2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2

    def mean(x: Tensor) -> Tensor:
        return F.avg_pool3d(x, window, stride=1, padding=[n // 2 for n in window], count_include_pad=False)

    mean_a, mean_b = mean(a), mean(b)
    var_a, var_b = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2
    covariance = mean(a * b) - mean_a * mean_b
    numerator = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    return numerator / ((mean_a**2 + mean_b**2 + c1) * (var_a.clamp_min(0) + var_b.clamp_min(0) + c2))


def sobel_difference(a: Tensor, b: Tensor) -> Tensor:
    """(tanh |grad a| - tanh |grad b|)^2 with 3-D Sobel kernels, same shape as the input."""
    return (torch.tanh(_sobel_magnitude(a)) - torch.tanh(_sobel_magnitude(b))) ** 2


def _sobel_magnitude(x: Tensor) -> Tensor:
    total = torch.full_like(x, 1e-6)
    for axis in (2, 3, 4):
        gradient = x
        for other in (2, 3, 4):
            before, after = gradient.roll(1, other), gradient.roll(-1, other)
            gradient = (after - before) / 2 if other == axis else (before + 2 * gradient + after) / 4
        total = total + gradient**2
    return total.sqrt()
