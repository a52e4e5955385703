"""Samplers: pure functions of a denoiser, a start image and noise levels.

All use x = x_0 + sigma eps (see schedules.py). A callback after each network evaluation gives progress and cancel.

A :data:`NoiseSource` stands for the generator: a batch of posterior samples has one generator a sample, so that each is
what it would be alone, and the noise is drawn on the CPU, so that a seed gives the same voxels on every device. Only
who calls the sampler knows either (see :func:`gaussian_noise`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .denoiser import Denoiser

Callback = Callable[[int, int], None]
NoiseSource = Callable[[], Tensor]
DataStep = Callable[[Tensor, float], Tensor]


def ddim(denoiser: Denoiser, x: Tensor, sigmas: Sequence[float], callback: Callback | None = None) -> Tensor:
    """Deterministic DDIM (Song et al. 2021) / first-order ODE of Karras et al. 2022 (Algorithm 1).

    Args:
        denoiser: D(x, sigma).
        x: start image at noise level sigmas[0].
        sigmas: falling noise levels; the final level 0 is implied.
        callback: called with (evaluations done, evaluations in all).

    Returns:
        The image at noise level 0.
    """
    levels = [*sigmas, 0.0]
    for n, (now, after) in enumerate(zip(levels[:-1], levels[1:], strict=True)):
        estimate = denoiser(x, now)
        x = estimate + (x - estimate) * (after / now)
        if callback is not None:
            callback(n + 1, len(sigmas))
    return x


def renoise_average(
    denoiser: Denoiser,
    estimate: Tensor,
    sigmas: Sequence[float],
    repeats: int,
    noise: NoiseSource,
    callback: Callback | None = None,
) -> Tensor:
    """The loop of Bridged diffusion (Algorithm 1): at each level, re-noise the clean estimate and denoise it again.

    For each sigma one noise image is drawn and used ``repeats`` (J) times:
    x0hat <- D(x0hat + sigma eps, sigma).

    Args:
        denoiser: D(x, sigma).
        estimate: the first clean estimate x0hat.
        sigmas: falling noise levels.
        repeats: J of the paper, >= 1.
        noise: draws one unit Gaussian image of the estimate's shape.
        callback: called with (evaluations done, evaluations in all).
    """
    total = len(sigmas) * repeats
    done = 0
    for sigma in sigmas:
        epsilon = noise()
        for _ in range(repeats):
            estimate = denoiser(estimate + sigma * epsilon, sigma)
            done += 1
            if callback is not None:
                callback(done, total)
    return estimate


def hqs(
    denoiser: Denoiser,
    estimate: Tensor,
    sigmas: Sequence[float],
    data_step: DataStep,
    noise: NoiseSource,
    fresh: float = 1.0,
    callback: Callback | None = None,
) -> Tensor:
    """Half-quadratic splitting along the reverse diffusion (DiffDeuR; DiffPIR, Zhu et al. 2023, Algorithm 1).

    At each level: re-noise the estimate, x = x0hat + sigma eps; prior step z = D(x, sigma) (Tweedie); data step
    x0hat = argmin ||y - A x||^2 + rho ||x - z||^2, with the level that sets rho.

    Args:
        denoiser: D(x, sigma).
        estimate: the first clean estimate, such as the interpolated scan.
        sigmas: falling noise levels.
        data_step: (z, sigma) -> x0hat.
        noise: draws one unit Gaussian image of the estimate's shape.
        fresh: share of the re-noising's variance that is drawn anew (zeta of DiffPIR), 0..1; the rest is the noise
            that the last estimate left in the last x. 1 is x_{t-1} = sqrt(abar) x0 + sqrt(1 - abar) eps.
        callback: called with (levels done, levels in all).

    Returns:
        The estimate after the last data step.
    """
    epsilon = noise()
    for n, sigma in enumerate(sigmas):
        x = estimate + sigma * epsilon
        estimate = data_step(denoiser(x, sigma), sigma)
        if n + 1 < len(sigmas):
            kept = (x - estimate) / sigma if fresh < 1 else torch.zeros_like(x)
            epsilon = (1 - fresh) ** 0.5 * kept + fresh**0.5 * noise() if fresh > 0 else kept
        if callback is not None:
            callback(n + 1, len(sigmas))
    return estimate


def dps(
    denoiser: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    potential: Callable[[Tensor, float], Tensor],
    step_size: Callable[[float, float], float],
    noise: NoiseSource | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """Diffusion posterior sampling (Chung et al. 2023, Algorithm 1), with the gradient through the denoiser.

    x <- (unconditional step to the next level) - step_size * grad_x potential(D(x, sigma), sigma).

    Args:
        denoiser: D(x, sigma), differentiable.
        x: start image at noise level sigmas[0].
        sigmas: falling noise levels; the final level 0 is implied.
        potential: of the clean estimate, a scalar: ||y - A x0hat|| in the paper.
        step_size: of the gradient at (level now, next level).
        noise: draws one unit Gaussian image for the ancestral step of the paper; None takes the deterministic step.
        callback: called with (evaluations done, evaluations in all).

    Returns:
        The image at noise level 0.
    """
    levels = [*sigmas, 0.0]
    for n, (now, after) in enumerate(zip(levels[:-1], levels[1:], strict=True)):
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            estimate = denoiser(x, now)
            (gradient,) = torch.autograd.grad(potential(estimate, now), x)
        x, estimate = x.detach(), estimate.detach()
        # ancestral: the variance of level n+1 given x_0 and level n (Ho et al. 2020, eq. 7, in terms of sigma)
        kept = after / now if noise is None else (after / now) ** 2
        following = estimate + (x - estimate) * kept
        if noise is not None and after > 0:
            following = following + after * (1 - (after / now) ** 2) ** 0.5 * noise()
        x = following - step_size(now, after) * gradient
        if callback is not None:
            callback(n + 1, len(sigmas))
    return x


def gaussian_noise(shape: Sequence[int], generator: torch.Generator | None, device: torch.device) -> NoiseSource:
    """A noise source that draws on the CPU (the same voxels on every device) and moves to the device."""

    def draw() -> Tensor:
        return torch.randn(tuple(shape), generator=generator).to(device)

    return draw
