"""A volume as stacks of slices, and what a network is told of how its slices were acquired."""

from __future__ import annotations

import torch
from torch import Tensor


def told_along(told: Tensor, axis: int) -> Tensor:
    """What is told of an acquisition, in the order of the slices across ``axis``.

    Args:
        told: (..., 4): steps along i, j, k, then the noise (see physics.acquisition).
        axis: that the slices lie across: 0 sagittal, 1 coronal, 2 axial.

    Returns:
        (..., 4): steps through the slices, along their height and along their width, then the noise.
    """
    within = [other for other in range(3) if other != axis]
    return torch.stack([told[..., place] for place in (axis, *within, 3)], dim=-1)


def neighbour_stack(volume: Tensor, axis: int, count: int) -> Tensor:
    """Every slice across ``axis`` with ``count`` neighbours on each side as channels.

    Args:
        volume: (I, J, K).
        axis: that the slices lie across.
        count: neighbours on each side; the first and last slice stand in for those outside.

    Returns:
        (2 count + 1, S, H, W); channel ``count`` is the slice itself.
    """
    slices = volume.movedim(axis, 0)
    places = torch.arange(slices.shape[0], device=volume.device)
    offsets = range(-count, count + 1)
    return torch.stack([slices[(places + offset).clamp(0, slices.shape[0] - 1)] for offset in offsets])
