"""The conditional denoiser of CSS-Diff: a slice network that sees the image it starts from, at every noise level."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..autocast import half_precision
from .denoiser import Denoiser, noise_coordinate
from .samplers import Callback, ddim
from .schedules import CosineSchedule, LinearSchedule

SCHEDULE = LinearSchedule()
# The generators start from the slice prior, whose embedding was trained with the timesteps of this schedule: a noise
# level goes by the same number in both.
EMBEDDED = CosineSchedule()


class ConditionalDenoiser:
    """D(x, sigma) of stacks of slices under a condition; D = sqrt(abar) x_t - u as in diffusion.denoiser.

    Args:
        network: called as network(cat([x_t, condition], 1), noise coordinate, kind, told, context), a SliceUNet.
        condition: (B, C, S, H, W), in the model range.
        kind: (B,) class.
        told: (B, 4) of the low-field acquisition, or None.
        context: (B, E) or (B, S, E), or None.
        checkpointing: recompute the evaluation in the backward pass, so that memory is that of one evaluation.
        bfloat16: autocast.
    """

    def __init__(
        self,
        network: nn.Module,
        condition: Tensor,
        kind: Tensor,
        told: Tensor | None = None,
        context: Tensor | None = None,
        checkpointing: bool = False,
        bfloat16: bool = True,
    ) -> None:
        self.network, self.condition, self.kind = network, condition, kind
        self.told, self.context = told, context
        self.checkpointing, self.bfloat16 = checkpointing, bfloat16

    def __call__(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        """(B, 1, S, H, W) at noise level sigma, one for all or (B,) -> the same shape, float32."""
        if self.checkpointing and torch.is_grad_enabled():
            return checkpoint(self._evaluate, x, sigma, use_reentrant=False)
        return self._evaluate(x, sigma)

    def _evaluate(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        levels = torch.as_tensor(sigma, dtype=torch.float64).cpu().expand(x.shape[0])
        t = torch.from_numpy(np.asarray(EMBEDDED.timestep(levels.numpy()))).to(x)
        abar = (1 / (1 + levels**2)).to(x)[:, None, None, None, None]
        with half_precision(x.device, self.bfloat16):
            seen = torch.cat([abar.sqrt() * x, self.condition], 1)
            output = self.network(seen, noise_coordinate(t, EMBEDDED), self.kind, self.told, self.context)
        return abar * x - output.to(x.dtype)


def translate(denoiser: Denoiser, start: Tensor, noise: Tensor, steps: int, callback: Callback | None = None) -> Tensor:
    """Noise an image to the schedule's end and sample from there (DDIM, eta 0); differentiable.

    Args:
        denoiser: under its condition.
        start: the image of the other field strength, of any shape that the denoiser takes.
        noise: unit Gaussian of the same shape.
        steps: evaluations.
        callback: called with (evaluations done, evaluations in all).
    """
    sigmas = SCHEDULE.sigmas(steps)
    return ddim(denoiser, start + sigmas[0] * noise, sigmas, callback)
