"""Recipe of CSS-Diff: two conditional diffusion generators under cycle consistency, with gradients through the sampler.

G_A turns low-field slices into high-field ones, G_B the reverse; each starts from the noised image of the other side
(diffusion.conditional). First both learn to denoise under their condition (not without pairs); then the samplers run
and their results are held against the cycle, two discriminators, the frozen LSC, and the pairs where there are any.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..diffusion.conditional import SCHEDULE, ConditionalDenoiser, translate
from ..errors import BadInput
from ..networks.patch_discriminator import PatchDiscriminator
from ..networks.registry import build_network
from ..weights import load_network
from .checkpoint import CHECKPOINT, read_checkpoint
from .css_lsc import corrected, corrupt
from .css_networks import ARCHITECTURE, BACKWARD, for_gap, from_prior
from .css_pairs import CycleBatch, CycleSampler
from .css_settings import CycleSettings
from .css_slices import HeadPool
from .css_terms import brain_l1, dissimilarity, settle
from .data import load_heads, said
from .loop import step_if_finite
from .muon import adamw
from .warm_start import warm_start

NAME = "css_generator"
CRITIC_RATE = 2e-4
FROM_TARGET = 0.3  # share of the warm-up's samples that are noised slices of the side that the generator leads to


class CycleLoss:
    """The losses of both generators; trains G_B and the discriminators itself (see loop.LearningLoss).

    Args:
        sampler: of slices.
        settings: parts and weights.
        device: torch device.
        correction: the frozen LSC; None only without it.
        seed: of the noise.
        architecture: of G_B.

    Attributes:
        terms: the last step's losses by name, unweighted.
    """

    def __init__(
        self,
        sampler: CycleSampler,
        settings: CycleSettings,
        device: str = "cpu",
        correction: nn.Module | None = None,
        seed: int = 0,
        architecture: dict[str, Any] = BACKWARD,
    ) -> None:
        self.sampler, self.settings, self.device, self.correction = sampler, settings, device, correction
        self.generator = torch.Generator().manual_seed(seed)
        self.back = build_network(architecture).to(device).to(memory_format=torch.channels_last_3d)
        self.critics = nn.ModuleDict({"high": PatchDiscriminator(), "low": PatchDiscriminator()}).to(device)
        self.optimizer = adamw(list(self.back.parameters()), 1e-3)  # begin() sets the rate
        self.critic_optimizer = torch.optim.AdamW(self.critics.parameters(), CRITIC_RATE, betas=(0.5, 0.99))
        self.progress = 0.0
        self.terms: dict[str, float] = {}
        self._shown: dict[str, tuple[Tensor, ...]] = {}

    def prepare(self, network: nn.Module, start: Path | None) -> str:
        """First weights: the slice prior's, or the networks of another run of this recipe.

        A folder with the finished weights alone, such as that of the shipped models, has no G_B: it starts from the
        slice prior.

        Raises:
            BadInput: ``start`` holds neither a checkpoint of this recipe nor its weights.
            MissingModel: the slice prior is needed and not installed.
        """
        path = None if start is None else start / CHECKPOINT
        if path is None or not path.is_file():
            said = "warm start" if start is None else f"{warm_start(network, start, NAME)}, G_B"
            prior = load_network("slice_prior")[0].state_dict()
            for generator in (network, self.back) if start is None else (self.back,):
                from_prior(generator, prior)
            return f"{said} from slice_prior"
        try:
            content = read_checkpoint(path, self.device)
            states = (network, content["average"]), (self.back, content["loss"]["back"])
            for generator, state in states:
                fitting, new_gap = for_gap(generator, state)
                generator.load_state_dict(fitting)
            self.critics.load_state_dict(content["loss"]["critics"])
        except (KeyError, RuntimeError) as error:
            raise BadInput(f"{path} is not a checkpoint of {NAME}") from error
        heard = ", which had listened to another SGP" if new_gap else ""
        return f"start from {content['step']} steps of {NAME}{heard}"

    def begin(self, progress: float, rate: float) -> None:
        """See loop.LearningLoss."""
        self.progress = progress
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        self.critics.requires_grad_(False)
        self._shown = {}

    def step(self) -> None:
        """G_B's step, and that of the discriminators on what the generators just made (LSGAN, Mao et al. 2017)."""
        step_if_finite(self.optimizer, self.back.parameters(), 1.0)
        if not self._shown:
            return
        self.critics.requires_grad_(True)
        self.critic_optimizer.zero_grad(set_to_none=True)
        loss = torch.zeros((), device=self.device)
        for side, (real, real_kind, fake, fake_kind) in self._shown.items():
            loss = loss + 0.5 * ((self._judge(side, real, real_kind) - 1) ** 2).mean()
            loss = loss + 0.5 * (self._judge(side, fake, fake_kind) ** 2).mean()
        loss.backward()
        step_if_finite(self.critic_optimizer, self.critics.parameters(), math.inf)
        self.terms["critics"] = float(loss.detach())

    def state_dict(self) -> dict[str, Any]:
        """G_B, the discriminators, both optimisers, and the state of the noise."""
        return {
            "back": self.back.state_dict(),
            "critics": self.critics.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "critic_optimizer": self.critic_optimizer.state_dict(),
            "noise": self.generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.back.load_state_dict(state["back"])
        self.critics.load_state_dict(state["critics"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.critic_optimizer.load_state_dict(state["critic_optimizer"])
        self.generator.set_state(state["noise"].cpu())

    def __call__(self, network: nn.Module) -> Tensor:
        """Draw a batch and return the loss of both generators."""
        settings = self.settings
        warm = self.progress < settings.warm_up and self.sampler.pairing != "none"
        batch = self.sampler.batch(settings.warm_batch if warm else settings.batch).to(self.device)
        self.terms = {}
        losses = self._denoising(network, batch) if warm else self._cyclic(network, batch)
        self.terms |= {name: float(loss.detach()) for name, loss in losses.items()}
        return sum((getattr(settings, name) * loss for name, loss in losses.items()), start=batch.low.new_zeros(()))

    def _denoising(self, network: nn.Module, batch: CycleBatch) -> dict[str, Tensor]:
        """One evaluation at a random noise level, from noised slices of either side."""
        high, low = batch.high, batch.middle
        forward = self._one_level(self._forward(network, batch), high, low)
        count = max(len(low) // 4, 1)  # G_B is only needed to train G_A: a quarter of the work
        part = CycleBatch(*(None if v is None else v[:count] for v in vars(batch).values()))
        backward = self._one_level(self._backward(part, part.high), part.middle, part.high)
        l1 = brain_l1(forward, high, low) + 0.5 * brain_l1(backward, part.middle, part.high)
        return {"l1": l1, "ssim": dissimilarity(settle(forward, low), high, low)}

    def _one_level(self, denoiser: ConditionalDenoiser, target: Tensor, start: Tensor) -> Tensor:
        """From the noised ``start``, where the sampler begins, or the noised ``target``, where it gets to."""
        count = len(start)
        # the first step decides most: it starts from the other side's slice at the highest level
        t = 1 + torch.rand(count, 2, generator=self.generator).amax(1) * (SCHEDULE.steps - 1)
        sigma = torch.from_numpy(SCHEDULE.sigma(t.numpy())).to(start)
        from_target = torch.rand(count, generator=self.generator).to(start.device) < FROM_TARGET
        source = torch.where(from_target[:, None, None, None, None], target, start)
        return denoiser(source + sigma[:, None, None, None, None] * self._noise(start), sigma)

    def _cyclic(self, network: nn.Module, batch: CycleBatch) -> dict[str, Tensor]:
        """The samplers in both directions and back."""
        settings, low, high = self.settings, batch.middle, batch.high
        fake_high = self._sample(self._forward(network, batch), low)
        fake_low = self._sample(self._backward(batch, high), high)
        losses = {"identity": self._identity(network, batch)}
        if "cycle" not in settings.without:
            back_low = self._sample(self._backward(batch, fake_high, swapped=True), fake_high)
            again = fake_low.expand(-1, 3, -1, -1, -1)
            back_high = self._sample(self._forward(network, batch, again), fake_low)
            losses["cycle"] = brain_l1(back_low, low, low) + brain_l1(back_high, high, high)
        if "adversarial" not in settings.without:
            self._shown = {
                "high": (high, batch.kind_high, fake_high.detach(), batch.kind_low),
                "low": (low, batch.kind_low, fake_low.detach(), batch.kind_high),
            }
            judged = (self._judge("high", fake_high, batch.kind_low), self._judge("low", fake_low, batch.kind_high))
            losses["adversarial"] = sum((((j - 1) ** 2).mean() for j in judged), start=low.new_zeros(()))
        trusted = bool(batch.trusted.all())
        if trusted:
            losses["l1"] = brain_l1(fake_high, high, low) + 0.5 * brain_l1(fake_low, low, high)
            losses["ssim"] = dissimilarity(fake_high, high, low)
        if self.correction is not None and "lsc" not in settings.without:
            repaired = corrected(self.correction, corrupt(fake_high, self.generator, turned=0.0), batch.kind_low)
            losses["lsc"] = brain_l1(repaired, high if trusted else fake_high, low)
        return losses

    def _identity(self, network: nn.Module, batch: CycleBatch) -> Tensor:
        """A slice of the side that a generator leads to stays what it is; one evaluation."""
        high, low = batch.high, batch.middle
        forward = self._forward(network, batch, high.expand(-1, 3, -1, -1, -1), swapped=True, told=False)
        same_high = translate(forward, high, self._noise(high), 1)
        same_low = translate(self._backward(batch, low, swapped=True), low, self._noise(low), 1)
        return brain_l1(same_high, high, high) + brain_l1(same_low, low, low)

    def _forward(
        self,
        network: nn.Module,
        batch: CycleBatch,
        condition: Tensor | None = None,
        swapped: bool | None = None,
        told: bool = True,
    ) -> ConditionalDenoiser:
        """G_A: on the low-field slices, or on others that show what the high-field slices show."""
        other = condition is not None if swapped is None else swapped
        kind, context = (batch.kind_high, batch.context_high) if other else (batch.kind_low, batch.context_low)
        shown = batch.low if condition is None else condition
        facts = batch.told if told else None
        return ConditionalDenoiser(network, shown, kind, facts, context, self.settings.checkpointing)

    def _backward(self, batch: CycleBatch, condition: Tensor, swapped: bool = False) -> ConditionalDenoiser:
        """G_B: on the high-field slices, or (``swapped``) on others that show what the low-field slices show."""
        kind, context = (batch.kind_low, batch.context_low) if swapped else (batch.kind_high, batch.context_high)
        return ConditionalDenoiser(self.back, condition, kind, batch.told, context, self.settings.checkpointing)

    def _sample(self, denoiser: ConditionalDenoiser, start: Tensor) -> Tensor:
        """The other side's image of ``start``, background where that is background."""
        return settle(translate(denoiser, start, self._noise(start), self.settings.steps), start)

    def _judge(self, side: str, slices: Tensor, kind: Tensor) -> Tensor:
        with torch.autocast(slices.device.type, torch.bfloat16):
            return self.critics[side](slices, kind).float()

    def _noise(self, like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=self.generator).to(like)


def recipe(
    data: Path,
    seed: int,
    device: str,
    pairing: str = "full",
    without: Collection[str] = (),
    warm_up: float | None = None,
    checkpointing: bool | None = None,
) -> tuple[dict[str, Any], CycleLoss, str]:
    """See training.recipes.

    Args:
        data, seed, device: as every recipe's.
        pairing: see css_pairs.CycleSampler.
        without: parts left out.
        warm_up: share of the time.
        checkpointing: see CycleSettings; default: on a graphics card, whose memory is the scarcer.
    """
    recompute = torch.device(device).type != "cpu" if checkpointing is None else checkpointing
    chosen = {} if warm_up is None else {"warm_up": warm_up}
    settings = CycleSettings(frozenset(without), checkpointing=recompute, **chosen)
    gap = None if "sgp" in settings.without else load_network("css_sgp")[0]
    correction = None if "lsc" in settings.without else load_network("css_lsc", device)[0]
    heads = load_heads(data, ("oasis", "openms", "brats"))
    low = HeadPool(heads[::2] if pairing == "none" else heads, seed=seed)
    high = HeadPool(heads[1::2], seed=seed + 1) if pairing == "none" else low
    loss = CycleLoss(CycleSampler(low, high, pairing, gap), settings, device, correction, seed)
    text = f"slices of {said(heads, f'pairing {pairing}')}"
    if settings.without:
        text += f"; without {', '.join(sorted(settings.without))}"
    return ARCHITECTURE, loss, text
