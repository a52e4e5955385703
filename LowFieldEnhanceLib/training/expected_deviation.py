"""Recipe of the network that tells how far a result probably lies from the truth (methods/expected_deviation.py).

It listens to the registered U-Net, bridge and prior, whose results it learns to judge; it is trained on the same heads.
That is fair as long as they are not better on those than on others (Testing/benchmarks/bound.md).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..diffusion.denoiser import EpsilonDenoiser
from ..diffusion.samplers import gaussian_noise
from ..methods.base import PRESENCE_VALUE
from ..methods.bridged import PRESETS, SCHEDULE, refine
from ..methods.expected_deviation import HELD, mean_and_limit
from ..networks.companions import roles, told_of
from ..physics.acquisition import COORDINATES
from ..preprocess.intensity import MODEL_MIN
from .degradation import DegradationRange
from .latent_teacher import require
from .loop import LossFunction
from .pairs import PairSampler

ARCHITECTURE = {
    "kind": "residual_unet",
    "in_channels": 2,
    "out_channels": 2,
    "widths": [48, 64],
    "blocks": 1,
    "embedding": 32,
    "coordinates": COORDINATES,
}  # 0.6 M parameters
UNET, BRIDGE, PRIOR = JUDGED = ("regression_unet", "bridged_bridge", "bridged_prior")
SHARES = (0.35, 0.4, 0.25)  # of results of the U-Net, of the bridge, and of the bridge and the prior's step
LIMIT_WEIGHT = 1.0
SLOPES = (0.7, 1.4)  # of the fit
BATCH = 4
FRESH = 1  # of a batch; the others were drawn before, since a result takes longer than a step
KEPT = 128  # patches to draw them from


class Judged:
    """Results of the registered networks on patches: of the U-Net, of the bridge, and of the preset *standard*.

    Args:
        device: of networks and batches.

    Raises:
        BadInput: a network is not installed.
    """

    def __init__(self, device: str) -> None:
        self.networks = {name: require(name, "expected_deviation").to(device).eval() for name in JUDGED}

    @torch.no_grad()
    def result(self, low: Tensor, told: Tensor, channel: int, kind: int, generator: torch.Generator) -> Tensor:
        """A result in the model range.

        Args:
            low: (3, p, p, p), of which the contrast ``channel`` is enhanced.
            told: (3, 4) of all contrasts.
            channel: of the contrast.
            kind: index into SHARES.
            generator: of the prior's noise.

        Returns:
            (p, p, p)
        """
        if kind == 0:
            x = low[channel][None, None]
            return (x + self.networks[UNET](x, told[channel][None].to(x)).float())[0, 0]
        shown, wanted, _ = roles(low[None], torch.ones_like(low[None]), [channel])
        answer = self.networks[BRIDGE](torch.cat([shown, PRESENCE_VALUE * wanted], 1), told_of(told, channel)[None])
        estimate = ((shown + answer.float()) * wanted).clamp(-1.0, 1.5)
        if kind == 1:
            return estimate[0, channel]
        prior = EpsilonDenoiser(self.networks[PRIOR], SCHEDULE, PRESENCE_VALUE * wanted)
        draw = gaussian_noise(estimate.shape, generator, estimate.device)
        return refine(prior, estimate, wanted, PRESETS["standard"], [draw])[0, channel]


class DeviationLoss:
    """Likelihood of |result - truth| under an exponential distribution, and the pinball loss of its limit.

    The result is fitted to the truth by a slope and an offset in each patch: another gain shifts whole tissues, and
    would drown what the network is to find. Both terms count inside the true brain: log m + |e| / m for the mean m, and
    for the limit q, over the batch's mean of |e|, 0.95 (|e| - q) where |e| is above q, 0.05 (q - |e|) elsewhere.
    """

    def __init__(self, sampler: PairSampler, judged: Judged, batch: int, device: str) -> None:
        self.sampler, self.judged, self.batch, self.device = sampler, judged, batch, device
        self._kept: list[tuple[Tensor, Tensor, Tensor]] = []

    def __call__(self, network: nn.Module) -> Tensor:
        """Draw a batch and return the loss."""
        x, truth, told = (torch.stack(parts) for parts in zip(*self._draw(), strict=True))
        with torch.autocast(torch.device(self.device).type, torch.bfloat16):
            answer = network(x, told).float()
        inside = truth > MODEL_MIN
        mean, limit = (values[inside] for values in mean_and_limit(answer))
        off = torch.cat([_distance(*parts) for parts in zip(x[:, 1:], truth, inside, strict=True)])
        if not off.numel():
            return answer.sum() * 0
        above = off - limit
        pinball = torch.maximum(HELD * above, (HELD - 1) * above).mean() / off.mean()
        return (mean.log() + off / mean).mean() + LIMIT_WEIGHT * pinball

    def _draw(self) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Scan and result (2, p, p, p), truth (1, p, p, p) and what is told (4,): some fresh, some drawn before."""
        fresh = [self._fresh() for _ in range(FRESH if len(self._kept) >= self.batch else self.batch)]
        others = self.sampler.rng.choice(max(len(self._kept), 1), self.batch - len(fresh), replace=False)
        batch = [*fresh, *(self._kept[n] for n in others)]
        self._kept = [*self._kept, *fresh][-KEPT:]
        return batch

    def _fresh(self) -> tuple[Tensor, Tensor, Tensor]:
        rng, place = self.sampler.rng, self.sampler.place()
        channel = int(rng.choice(torch.nonzero(self.sampler.heads[place.head].present)[:, 0].numpy()))
        low, high, _, told, _ = self.sampler.biased_pair(place, channel)
        low, kind = low.to(self.device), int(rng.choice(len(SHARES), p=SHARES))
        with torch.autocast(torch.device(self.device).type, torch.bfloat16):
            result = self.judged.result(low, told, channel, kind, self.sampler.generator).float()
        truth = high[channel : channel + 1].to(self.device)
        return torch.stack([low[channel], result]), truth, told[channel].to(self.device)


def _distance(result: Tensor, truth: Tensor, inside: Tensor) -> Tensor:
    """|result - truth| of one patch inside a mask, (n,), in the result's unit after a linear fit to the truth."""
    result, truth = result[inside], truth[inside]
    if not result.numel():
        return result
    centred = result - result.mean()
    slope = (centred * (truth - truth.mean())).sum() / centred.square().sum().clamp_min(1e-6)
    slope = slope.clamp(*SLOPES)
    return (centred - (truth - truth.mean()) / slope).abs()


def recipe(data: Path, seed: int, device: str) -> tuple[dict[str, Any], LossFunction, str]:
    """Architecture, loss and training data.

    Raises:
        BadInput: a network to be judged is not installed.
    """
    from .data import load_heads, said

    # the deviation from a high-field scan of the same contrast: the scan's own contrast is not wrong
    heads, ranges = load_heads(data, ("oasis", "openms", "brats")), DegradationRange(contrast=0.0)
    what = "degraded at random but for their contrast; results of U-Net, bridge, and bridge with the prior's step"
    sampler = PairSampler(heads, ranges=ranges, seed=seed)
    return ARCHITECTURE, DeviationLoss(sampler, Judged(device), BATCH, device), said(heads, what)
