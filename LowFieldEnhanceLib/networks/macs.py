"""The work of a network in multiply-accumulates, counted by torch."""

from __future__ import annotations

from collections.abc import Callable

from torch.utils.flop_counter import FlopCounterMode


def multiply_accumulates(work: Callable[[], object]) -> int:
    """Multiply-accumulates of the convolutions and matrix products in ``work``; tensors on "meta" cost no time."""
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops() // 2
