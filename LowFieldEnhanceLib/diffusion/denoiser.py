"""Denoisers: D(x, sigma) -> estimate of x_0, the only contract between a network and a sampler."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from ..autocast import half_precision
from ..image import CONTRASTS
from ..stacks import Stacks
from .schedules import CosineSchedule

Denoiser = Callable[[Tensor, float], Tensor]


def slice_class(contrast: str, axis: int) -> int:
    """Class of the slice prior: contrast (T1w, T2w, FLAIR, other) x orientation (0 sagittal, 1 coronal, 2 axial)."""
    return CONTRASTS.index(contrast) * 3 + axis


def noise_coordinate(t: Tensor, schedule: CosineSchedule) -> Tensor:
    """Timestep -> (0, 1], what the networks' noise embeddings are fed."""
    return t.float() / schedule.steps


def alpha_bar(t: Tensor, schedule: CosineSchedule) -> Tensor:
    """abar of timesteps (B,) as (B, 1, 1, 1, 1) float32, on their device."""
    values = torch.from_numpy(schedule.alpha_bar(t.detach().cpu().numpy()))
    return values.float().to(t.device)[:, None, None, None, None]


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


class SliceDenoiser:
    """A volume denoised slice by slice by a class-conditional 2-D prior (networks.slice_unet).

    The output of the network is that of :class:`EpsilonDenoiser`, so D = sqrt(abar) x_t - u. Where the input requires
    a gradient, stacks are recomputed in the backward pass, so that memory is that of one stack (DPS). A stack is halved
    when memory runs out, in either pass.

    Args:
        network: called as network(stack (1, 1, S, H, W), noise coordinate (1,), class (1,)); attribute ``multiple``.
        schedule: maps sigma to the network's timestep.
        contrast: of the volume.
        axes: orientations to denoise along and average: 0 sagittal, 1 coronal, 2 axial slices.
        check: called before every stack, and again in the backward pass (raises to cancel).
        pixels: of a stack at most.
        bfloat16: autocast.
    """

    def __init__(
        self,
        network: nn.Module,
        schedule: CosineSchedule,
        contrast: str,
        axes: Sequence[int] = (0, 1, 2),
        check: Callable[[], None] | None = None,
        pixels: int = 2**18,
        bfloat16: bool = True,
    ) -> None:
        self.network, self.schedule, self.contrast, self.axes = network, schedule, contrast, tuple(axes)
        self.check, self.stacks, self.bfloat16 = check, Stacks(pixels), bfloat16

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        """(I, J, K) at noise level sigma -> (I, J, K).

        Raises:
            OutOfMemory: even for a single slice.
        """
        total = self._along(x, sigma, self.axes[0])
        for axis in self.axes[1:]:
            total = total + self._along(x, sigma, axis)
        return total / len(self.axes)

    def _along(self, x: Tensor, sigma: float, axis: int) -> Tensor:
        abar = 1 / (1 + sigma**2)
        t = torch.full((1,), float(self.schedule.timestep(sigma)), device=x.device)
        noise = noise_coordinate(t, self.schedule)
        kind = torch.tensor([slice_class(self.contrast, axis)], device=x.device)
        slices = x.movedim(axis, 0)
        height, width = slices.shape[1:]
        multiple = int(self.network.multiple)
        pad = (0, -width % multiple, 0, -height % multiple)
        fits = pad[1] < width and pad[3] < height
        padded = F.pad(slices[:, None], pad, mode="reflect" if fits else "replicate")[:, 0]

        def evaluate(stack: Tensor) -> Tensor:
            if self.check is not None:
                self.check()
            with half_precision(x.device, self.bfloat16):
                output = self.network(abar**0.5 * stack[None, None], noise, kind)[0, 0]
            return abar * stack - output.to(stack.dtype)

        return _InStacks.apply(padded, evaluate, self.stacks)[:, :height, :width].movedim(0, axis)


class _InStacks(torch.autograd.Function):
    """``evaluate`` of slices (S, H, W), stack by stack; the backward pass evaluates each stack again for its gradient.

    Of the slices alone: a network's parameters get none.
    """

    @staticmethod
    def forward(ctx: Any, slices: Tensor, evaluate: Callable[[Tensor], Tensor], stacks: Stacks) -> Tensor:
        ctx.save_for_backward(slices)
        ctx.evaluate, ctx.stacks = evaluate, stacks
        return stacks.run(lambda place: evaluate(slices[place]), slices.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (slices,) = ctx.saved_tensors

        def pulled_back(place: slice) -> Tensor:
            stack = slices[place].detach().requires_grad_()
            with torch.enable_grad():
                return torch.autograd.grad(ctx.evaluate(stack), stack, gradient[place])[0]

        return ctx.stacks.run(pulled_back, slices.shape), None, None
