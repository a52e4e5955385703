"""Slices in stacks as large as memory allows: a stack for which it runs out is halved and done again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .errors import FREE_MEMORY, OutOfMemory, is_out_of_memory


class Stacks:
    """How many slices a network is given at once.

    Slices know nothing of each other, so the size of the stacks changes a result by rounding alone. When memory runs
    out it is halved, down to a single slice, and stays that small.

    Args:
        pixels: of a stack at most; a single slice may have more.
    """

    def __init__(self, pixels: int) -> None:
        self.pixels = pixels

    def run(self, evaluate: Callable[[slice], Tensor], size: Sequence[int]) -> Tensor:
        """All slices, stack by stack.

        Args:
            evaluate: places of a stack's slices -> (slices, ...). Called again with half of them when memory runs out,
                so it must draw nothing at random.
            size: number of slices, their height and width.

        Returns:
            The results of all stacks, (slices in all, ...).

        Raises:
            OutOfMemory: even for a single slice.
        """
        count, height, width = size
        parts: list[Tensor] = []
        first = 0
        while first < count:
            depth = min(max(self.pixels // (height * width), 1), count - first)
            try:
                parts.append(evaluate(slice(first, first + depth)))
                first += depth
                continue
            except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                if depth == 1:
                    raise OutOfMemory(f"memory ran out even for a single slice; {FREE_MEMORY}") from error
                self.pixels = depth // 2 * height * width
            if torch.cuda.is_initialized():  # here, because the error holds what the stack took
                torch.cuda.empty_cache()
        return torch.cat(parts)
