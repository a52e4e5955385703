"""Samplers: pure functions of a denoiser, a start image and noise levels.

All use x = x_0 + sigma eps (see schedules.py). A callback after each network evaluation gives progress and cancel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .denoiser import Denoiser

Callback = Callable[[int, int], None]
NoiseSource = Callable[[], Tensor]


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


def gaussian_noise(shape: Sequence[int], generator: torch.Generator | None, device: torch.device) -> NoiseSource:
    """A noise source that draws on the CPU (the same voxels on every device) and moves to the device."""

    def draw() -> Tensor:
        return torch.randn(tuple(shape), generator=generator).to(device)

    return draw
