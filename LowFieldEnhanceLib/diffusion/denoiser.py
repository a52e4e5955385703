"""Denoisers: D(x, sigma) -> estimate of x_0, the only contract between a network and a sampler."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .schedules import CosineSchedule

Denoiser = Callable[[Tensor, float], Tensor]


def noise_coordinate(t: Tensor, schedule: CosineSchedule) -> Tensor:
    """Timestep -> (0, 1], what the networks' noise embeddings are fed."""
    return t.float() / schedule.steps


def epsilon_from_output(output: Tensor, noisy: Tensor, abar: Tensor | float) -> Tensor:
    """Network output u -> eps, where the clean estimate is sqrt(abar) x_t - u.

    So eps = (x_t - sqrt(abar) x0hat) / sqrt(1 - abar). u is on the scale of the image at every noise level: the noise
    itself at small t, -x0 at large t. A network that returns eps (or v) directly must amplify its input by 1 / sigma.
    """
    return (1 - abar) ** 0.5 * noisy + (abar / (1 - abar)) ** 0.5 * output


class EpsilonDenoiser:
    """Preconditioning of an eps-predicting DDPM network (Ho et al. 2020).

    With x = x_0 + sigma eps: the network sees x_t = sqrt(abar) x, :func:`epsilon_from_output` turns what it returns
    into eps, and D = x - sigma eps.

    Args:
        network: called as network(cat([x_t, condition], 1), noise coordinate).
        schedule: maps sigma to the network's timestep.
        condition: (B, C', I, J, K) extra channels (such as the presence mask), or None.
    """

    def __init__(self, network: nn.Module, schedule: CosineSchedule, condition: Tensor | None = None) -> None:
        self.network, self.schedule, self.condition = network, schedule, condition

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        """(B, C, I, J, K) at noise level sigma -> (B, C, I, J, K)."""
        t = torch.full((x.shape[0],), float(self.schedule.timestep(sigma)), device=x.device)
        scaled = x / (1 + sigma**2) ** 0.5
        if self.condition is not None:
            scaled = torch.cat([scaled, self.condition.expand(x.shape[0], -1, -1, -1, -1)], dim=1)
        abar = 1 / (1 + sigma**2)
        noisy = scaled[:, : x.shape[1]]
        output = self.network(scaled, noise_coordinate(t, self.schedule)).to(x.dtype)
        return x - sigma * epsilon_from_output(output, noisy, abar)
