"""Diffusion of what an interpolated slice's latent lacks, conditional on the low-field slices.

The residual r = (z_HF - z_LF) / scale has a standard deviation of about 1. Networks return the velocity
v = sqrt(abar) eps - sqrt(1 - abar) r (Salimans and Ho 2022), which is of order one at every noise level.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..autocast import half_precision
from . import denoiser
from .denoiser import noise_coordinate
from .schedules import CosineSchedule

SCHEDULE = CosineSchedule()


def even_timesteps(count: int) -> list[float]:
    """``count`` timesteps from T down, evenly spaced, with 0 as the one that would follow."""
    return [float(t) for t in np.linspace(SCHEDULE.steps, 0, count + 1)[:-1]]


def alpha_bar(t: Tensor) -> Tensor:
    """denoiser.alpha_bar on this schedule."""
    return denoiser.alpha_bar(t, SCHEDULE)


def clean_from_velocity(velocity: Tensor, noisy: Tensor, abar: Tensor | float) -> Tensor:
    """r = sqrt(abar) x_t - sqrt(1 - abar) v."""
    return abar**0.5 * noisy - (1 - abar) ** 0.5 * velocity


def predict(network: nn.Module, noisy: Tensor, t: Tensor, condition: Any) -> Tensor:
    """The clean residual that the network sees in x_t (B, latent, S, h, w) at timesteps t (B,); float32."""
    velocity = network(noisy, noise_coordinate(t, SCHEDULE), condition)
    return clean_from_velocity(velocity.float(), noisy, alpha_bar(t))


class LatentDenoiser:
    """D(x, sigma) of the residual with x = r + sigma eps, for the samplers.

    Args:
        network: teacher or student (networks.latent_unet).
        condition: what it knows of the slices, as it made it.
        inside: (B, 1, S, h, w) bool: elsewhere the residual is 0.
        bfloat16: autocast.
    """

    def __init__(self, network: nn.Module, condition: Any, inside: Tensor, bfloat16: bool = True) -> None:
        self.network, self.condition, self.inside, self.bfloat16 = network, condition, inside, bfloat16

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        """(B, latent, S, h, w) at noise level sigma -> (B, latent, S, h, w)."""
        t = torch.full((x.shape[0],), float(SCHEDULE.timestep(sigma)), device=x.device)
        with half_precision(x.device, self.bfloat16):
            clean = predict(self.network, x / (1 + sigma**2) ** 0.5, t, self.condition)
        return clean * self.inside
