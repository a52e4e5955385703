"""Running a network over a whole volume: in one piece where memory allows, else in overlapping blended windows.

Blending happens inside one network evaluation, so every step of a sampler sees one consistent volume (no seams).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..autocast import half_precision
from ..errors import FREE_MEMORY, OutOfMemory, is_out_of_memory
from .residual_unet import ResidualBlock

MIN_WINDOW = 48


class WindowedNetwork:
    """A network callable on any volume size.

    Args:
        network: with attribute ``multiple``; called as network(x) or network(x, noise).
        window: largest edge handed to the network; a larger volume is split. None never splits.
        overlap: share of a window that its neighbour repeats.
        check: called before every window and every residual block (raises to cancel).
        bfloat16: autocast.

    On out-of-memory the window is halved, down to 48 voxels, and the evaluation repeated.
    """

    def __init__(
        self,
        network: nn.Module,
        window: int | None = 256,
        overlap: float = 0.25,
        check: Callable[[], None] | None = None,
        bfloat16: bool = True,
    ) -> None:
        self.network, self.window, self.overlap = network, window, overlap
        self.check, self.bfloat16 = check, bfloat16

    def __call__(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """(B, C, I, J, K) -> (B, C', I, J, K) float32.

        Raises:
            OutOfMemory: even with windows of 48 voxels.
        """
        while True:
            try:
                return self._run(x, noise)
            except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                edge = max(x.shape[2:]) if self.window is None else min(self.window, max(x.shape[2:]))
                if edge // 2 < MIN_WINDOW:
                    raise OutOfMemory(f"memory ran out even with the smallest window; {FREE_MEMORY}") from error
                self.window = edge // 2
                if x.is_cuda:
                    torch.cuda.empty_cache()

    def _run(self, x: Tensor, noise: Tensor | None) -> Tensor:
        multiple = int(self.network.multiple)
        original = x.shape[2:]
        target = [-(-n // multiple) * multiple for n in original]
        pad = [v for n, t in zip(reversed(original), reversed(target), strict=True) for v in (0, t - n)]
        x = F.pad(x, pad, mode="replicate") if any(pad) else x
        windows = list(self._starts(tuple(target)))
        with torch.no_grad(), checked(self.network, self.check):
            if len(windows) == 1:
                out = self._evaluate(x, noise)
            else:
                out = self._blend(x, noise, windows)
        return out[..., : original[0], : original[1], : original[2]]

    def _evaluate(self, x: Tensor, noise: Tensor | None) -> Tensor:
        if self.check is not None:
            self.check()
        arguments = (x,) if noise is None else (x, noise)
        with half_precision(x.device, self.bfloat16):
            return self.network(*arguments).float()

    def _blend(self, x: Tensor, noise: Tensor | None, windows: list[tuple[slice, ...]]) -> Tensor:
        total, weight = None, x.new_zeros(x.shape[2:])
        for place in windows:
            part = self._evaluate(x[(..., *place)], noise)
            ramp = _ramp(part.shape[2:], self.overlap).to(part)
            if total is None:
                total = part.new_zeros((*part.shape[:2], *x.shape[2:]))
            total[(..., *place)] += part * ramp
            weight[place] += ramp
        assert total is not None
        return total / weight

    def _starts(self, shape: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
        multiple = int(self.network.multiple)
        axes = []
        for size in shape:
            size = -(-size // multiple) * multiple
            edge = size if self.window is None else min(size, max(self.window // multiple, 1) * multiple)
            step = max(int(edge * (1 - self.overlap)) // multiple * multiple, multiple)
            starts = list(range(0, max(size - edge, 0), step)) + [size - edge]
            axes.append([slice(s, s + edge) for s in sorted(set(starts))])
        yield from itertools.product(*axes)


def _ramp(shape: torch.Size, overlap: float) -> Tensor:
    """Weight of a window: 1 in the middle, falling linearly towards its borders over the overlap."""
    axes = []
    for size in shape:
        distance = torch.minimum(torch.arange(size) + 1, size - torch.arange(size)).float()
        axes.append((distance / max(size * overlap, 1)).clamp(max=1.0))
    return axes[0][:, None, None] * axes[1][None, :, None] * axes[2][None, None, :]


@contextmanager
def checked(network: nn.Module, check: Callable[[], None] | None) -> Iterator[None]:
    """Call ``check`` before every residual block, so that a cancel takes effect within a fraction of a second."""
    if check is None:
        yield
        return
    handles = [
        module.register_forward_pre_hook(lambda _module, _inputs: check())
        for module in network.modules()
        if isinstance(module, ResidualBlock)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
