"""The mean of a network's answers for a head and for its mirror image.

A head seen in a mirror is a head: the training showed both alike. Where the two answers differ, neither is known to be
right, and their mean has less error; it also treats left and right alike, which a single answer does not quite.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

ALONG = 2  # of (B, C, I, J, K): from left to right

Answer = Callable[[Tensor, Tensor | None], Tensor]


def looks(mirrored: bool) -> int:
    """How often the network runs."""
    return 2 if mirrored else 1


def answer(network: Answer, x: Tensor, told: Tensor | None, mirrored: bool, looked: Callable[[int], None]) -> Tensor:
    """The network's answer, or the mean of two.

    Args:
        network: called with an image (B, C, I, J, K) and with what it is told, which has no side.
        x: the image; its first spatial axis runs from left to right or back.
        told: handed on.
        mirrored: also look at the mirror image.
        looked: called after each look with their number so far.

    Returns:
        (B, C', I, J, K), on the grid of ``x``.
    """
    result = network(x, told)
    looked(1)
    if mirrored:
        result = (result + network(x.flip(ALONG), told).flip(ALONG)) / 2
        looked(2)
    return result
