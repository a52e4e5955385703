"""DPS: diffusion posterior sampling on the forward model and the slice prior of DiffDeuR.

Chung et al., ICLR 2023, Algorithm 1: after every step of the reverse diffusion, a gradient step on ||y - A x0hat||
through the denoiser. No coordinate network joins the slices; their orientation changes from step to step.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor

from ..diffusion.denoiser import SliceDenoiser
from ..diffusion.samplers import dps, gaussian_noise
from ..diffusion.schedules import strided_timesteps
from ..events import Events
from ..image import CONTRASTS
from ..weights import load_network
from .base import Case, Configured, Cost, Enhancement, check_preset
from .diffdeur import AXES, MODEL, SCHEDULE, measurement_details, slice_prior_cost
from .measurement import ForwardSettings, Measurement, intensity, model_range

BACKWARD = 3.0  # a gradient through the denoiser: one more forward pass and a backward pass of two


@dataclass(frozen=True)
class DpsSettings:
    """One preset.

    Attributes:
        start: timestep the interpolated scan is noised to; 1000 is noise alone, as in the paper.
        steps: timesteps between ``start`` and 1.
        step_size: zeta of the paper, for x_t = sqrt(abar) x_0 + sqrt(1 - abar) eps, times Measurement.density: a voxel
            of the scan is a mean over many unknowns, so that the gradient of a norm is the shorter the larger it is.
            Hence far more than the paper's 0.3 .. 1, where every unknown has a measurement of its own size.
        forward: slice profile and noise in the place of the case's.
    """

    start: int = 100
    steps: int = 8
    step_size: float = 4.444
    forward: ForwardSettings = field(default_factory=ForwardSettings)

    @property
    def timesteps(self) -> list[int]:
        """Of the prior, falling."""
        return strided_timesteps(self.start, self.steps)


PRESETS = {"fast": DpsSettings(), "paper": DpsSettings(start=1000, steps=1000)}


class Dps(Configured[DpsSettings]):
    """See the module's text.

    Args:
        settings: overrides the presets.
    """

    name = "dps"
    title = "DPS"
    summary = "Diffusion posterior sampling with the high-field slice prior; a gradient step on the scan at each level."
    citation = "Chung et al., Diffusion Posterior Sampling for General Noisy Inverse Problems, ICLR 2023."
    kind = "baseline"
    contrasts = CONTRASTS
    presets = ("fast", "paper")
    models = (MODEL,)
    settings_of = PRESETS

    def stochastic(self, preset: str) -> bool:
        """Every step draws its noise."""
        check_preset(self, preset)
        return True

    def cost(self, case: Case, preset: str) -> Cost:
        """Evaluations of the prior; each is followed by a backward pass."""
        evaluations = len(self._settings(preset).timesteps)
        return slice_prior_cost(case, evaluations, {"prior": evaluations * (1 + BACKWARD)})

    def enhance(self, case: Case, preset: str, generator: torch.Generator, events: Events) -> Enhancement:
        """See base.Method; the generator draws the noise.

        Raises:
            BadInput: no data inside the mask, or an impossible noise level.
        """
        settings = self._settings(preset)
        total = len(settings.timesteps)
        events.progress("enhance", 0, total)
        measurement = Measurement(case, settings.forward)
        network, _ = load_network(MODEL, case.device)
        denoisers = [
            SliceDenoiser(network, SCHEDULE, case.target, (axis,), events.check, pixels=2**16)
            for axis in reversed(AXES)
        ]
        sigmas = [float(SCHEDULE.sigma(t)) for t in settings.timesteps]

        def denoise(x: Tensor, sigma: float) -> Tensor:
            return denoisers[sigmas.index(sigma) % len(denoisers)](x, sigma)

        def distance(estimate: Tensor, _: float) -> Tensor:
            # in the unit of the model range, which is twice the intensity's
            return 2 * measurement.residual(intensity(estimate)).square().sum().sqrt()

        zeta = settings.step_size / measurement.density

        def step_size(now: float, after: float) -> float:
            """zeta sqrt((1 + now^2) (1 + after^2)): the paper's step on x_t, for x = x_t / sqrt(abar_t)."""
            return zeta * ((1 + now**2) * (1 + after**2)) ** 0.5

        noise = gaussian_noise(case.shape, generator, measurement.mask.device)
        start = torch.from_numpy(case.inputs[case.target].array).to(case.device) + sigmas[0] * noise()
        estimate = dps(
            denoise, start, sigmas, distance, step_size, noise, lambda done, _: events.progress("enhance", done, total)
        )
        estimate = model_range(intensity(estimate), measurement.mask)
        details = {
            **asdict(settings),
            "timesteps": settings.timesteps,
            "evaluations": total,
            "schedule": "cosine, T=1000",
            **measurement_details(measurement, estimate),
        }
        return Enhancement(estimate.cpu().numpy(), details)
