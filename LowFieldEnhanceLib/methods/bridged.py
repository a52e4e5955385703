"""Bridged diffusion: a bridge from noised low field to noised high field, then a high-field diffusion prior.

Algorithm 1 of Bridged Denoising Diffusion (ULF-EnC challenge), with the departures that the model card lists: the
bridge sees the low-field image without noise, and the timesteps are strided.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import nn

from ..diffusion.denoiser import Denoiser, EpsilonDenoiser
from ..diffusion.samplers import Callback, NoiseSource, gaussian_noise, renoise_average
from ..diffusion.schedules import CosineSchedule, strided_timesteps
from ..events import Events
from ..image import CONTRASTS
from ..networks.companions import CompaniedBridge, roles, told_of
from ..networks.windows import WindowedNetwork
from ..weights import load_network
from .base import PRESENCE_VALUE, Case, Configured, Cost, Enhancement, network_cost

SCHEDULE = CosineSchedule()


@dataclass(frozen=True)
class BridgedSettings:
    """One preset.

    Attributes:
        prior_time: K, the timestep from which the prior refines what the bridge gave.
        steps: timesteps of the prior between ``prior_time`` and 1.
        repeats: J, denoisings with the same noise at a timestep.
        use_bridge, use_prior: the rows of the ablation.
        overlap: of the sliding windows, if the volume needs them.
    """

    prior_time: int = 400
    steps: int = 0
    repeats: int = 1
    use_bridge: bool = True
    use_prior: bool = True
    overlap: float = 0.25

    @property
    def timesteps(self) -> list[int]:
        """The prior's timesteps."""
        return strided_timesteps(self.prior_time, self.steps) if self.use_prior and self.steps else []

    @property
    def evaluations(self) -> int:
        """Network evaluations of the whole volume."""
        return int(self.use_bridge) + len(self.timesteps) * self.repeats


PRESETS = {
    "fast": BridgedSettings(use_prior=False),
    "standard": BridgedSettings(prior_time=15, steps=1),
    "paper": BridgedSettings(prior_time=400, steps=400, repeats=3, overlap=0.7),
}


class BridgedDiffusion(Configured[BridgedSettings]):
    """See the module's text.

    Args:
        settings: overrides the presets (ablations and benchmarks).
    """

    name = "bridged"
    title = "Bridged diffusion"
    summary = "A learned bridge from low to high field, refined by a diffusion model of high-field brains."
    citation = "Bridged Denoising Diffusion, Ultra-Low-Field MRI Enhancement Challenge (ULF-EnC), MICCAI 2025."
    kind = "method"
    contrasts = CONTRASTS
    presets = ("fast", "standard", "paper")
    models = ("bridged_bridge", "bridged_companions", "bridged_prior")
    settings_of = PRESETS
    companions = True  # listens to further contrasts
    expects = ("fast", "standard")  # presets whose results methods.expected_deviation knows

    def stochastic(self, preset: str) -> bool:
        """The prior draws; the bridge alone does not."""
        return bool(self._settings(preset).timesteps)

    def models_of(self, preset: str, companions: bool) -> tuple[str, ...]:
        """The encoder only with further contrasts, the prior only where it takes a step."""
        settings = self._settings(preset)
        used = (settings.use_bridge, settings.use_bridge and companions, bool(settings.timesteps))
        return tuple(name for name, needed in zip(self.models, used, strict=True) if needed)

    def cost(self, case: Case, preset: str) -> Cost:
        """Evaluations of bridge and prior together."""
        return network_cost(case, self._settings(preset).evaluations)

    def enhance(self, case: Case, preset: str, generator: torch.Generator, events: Events) -> Enhancement:
        """See base.Method; the generator draws the noise of every timestep."""
        return self.enhance_batch(case, preset, [generator], events)[0]

    def enhance_batch(
        self, case: Case, preset: str, generators: Sequence[torch.Generator], events: Events
    ) -> list[Enhancement]:
        """Several samples: the bridge, which draws nothing, runs once; the prior on all of them, on a GPU as a batch.

        A CPU gains nothing from a batch, which would take its memory.
        """
        settings = self._settings(preset)
        given, presence = case.channels()
        channel = case.channel_of(case.target)
        low, target, others = roles(given, presence, [channel])
        draws = [gaussian_noise(low.shape, generator, low.device) for generator in generators]
        estimate = low
        total = settings.evaluations
        networks: list[WindowedNetwork] = []

        def windowed(network: nn.Module) -> WindowedNetwork:
            networks.append(WindowedNetwork(network, overlap=settings.overlap, check=events.check))
            return networks[-1]

        if settings.use_bridge:
            events.progress("enhance", 0, total)
            estimate = self._bridge(low, target, others if len(case.inputs) > 1 else None, case, windowed)
            events.progress("enhance", 1, total)
        if settings.timesteps:
            groups = [draws] if low.is_cuda else [[draw] for draw in draws]
            first, count = int(settings.use_bridge), len(groups)
            prior = self._prior(target, case.device, windowed)
            parts = []
            for number, group in enumerate(groups):
                refined = refine(
                    prior, (estimate * target).expand(len(group), -1, -1, -1, -1), target, settings, group,
                    lambda done, of, n=number: events.progress("enhance", first + (n * of + done) // count, total),
                )  # fmt: skip
                parts.append(refined[:, channel].cpu())
            voxels = torch.cat(parts)
        else:
            voxels = estimate[:, channel].expand(len(draws), -1, -1, -1).cpu()
        details = {
            **asdict(settings),
            "timesteps": settings.timesteps,
            "evaluations": total,
            "schedule": "cosine, T=1000",
            "window": min((network.window for network in networks if network.window), default=None),
        }
        return [Enhancement(sample, details) for sample in voxels.numpy()]

    def _bridge(self, low, target, others, case, windowed) -> torch.Tensor:  # noqa: ANN001
        """x_K^HF = x_K^LF + phi with phi = sqrt(abar_K) f(LF): with eps taken off, the clean estimate is LF + f(LF).

        In the target's channel; what the network answers in the others was never trained.
        """
        network, _ = load_network(self.models[0], case.device)
        parts = [low, PRESENCE_VALUE * target]
        if others is not None:
            encoder, _ = load_network(self.models[1], case.device)
            network = CompaniedBridge(network, encoder)
            parts.append(others)
        told = told_of(case.told()[0], case.channel_of(case.target))[None]
        return (low + windowed(network)(torch.cat(parts, 1), told)).clamp(-1.0, 1.5)

    def _prior(self, presence, device, windowed) -> EpsilonDenoiser:  # noqa: ANN001
        network, _ = load_network(self.models[2], device)
        return EpsilonDenoiser(windowed(network), SCHEDULE, PRESENCE_VALUE * presence)


def refine(
    prior: Denoiser,
    estimate: torch.Tensor,
    presence: torch.Tensor,
    settings: BridgedSettings,
    draws: Sequence[NoiseSource],
    callback: Callback | None = None,
) -> torch.Tensor:
    """Re-noise and denoise with the prior along the timesteps: (B, 3, I, J, K), one sample for each draw."""

    def denoise(x: torch.Tensor, sigma: float) -> torch.Tensor:
        return (prior(x * presence, sigma) * presence).clamp(-1.0, 1.5)

    def noise() -> torch.Tensor:
        return torch.cat([draw() for draw in draws])

    sigmas = [float(SCHEDULE.sigma(t)) for t in settings.timesteps]
    return renoise_average(denoise, estimate, sigmas, settings.repeats, noise, callback)
