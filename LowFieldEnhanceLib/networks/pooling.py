"""Averages over cells of voxels."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

POOLING = ("cpu", "cuda")  # kinds of device with 3-D pooling; Apple's have it from torch 2.9 on (pytorch issue 141044)


def cell_means(x: Tensor, cell: Sequence[int]) -> Tensor:
    """The mean of every cell, as F.avg_pool3d gives it, on any device.

    Args:
        x: (B, C, I, J, K), edges multiples of the cell's.
        cell: voxels along I, J and K.

    Returns:
        (B, C, I / cell[0], J / cell[1], K / cell[2]).
    """
    if x.device.type in POOLING:
        return F.avg_pool3d(x, tuple(cell))
    edges = [part for edge, size in zip(x.shape[2:], cell, strict=True) for part in (edge // size, size)]
    return x.reshape(*x.shape[:2], *edges).mean(dim=(3, 5, 7))
