"""The work of the distilled latent super-resolution, counted in multiply-accumulates.

Not a part of a run: the figure depends on the networks and the shape alone, and counting takes seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from itertools import chain
from typing import TypeVar

import torch
from torch import nn

from ..networks.latent_autoencoder import FACTOR, LatentAutoencoder
from ..networks.latent_unet import LatentUNet
from ..networks.macs import multiply_accumulates

N = TypeVar("N", bound=nn.Module)


def without_weights(network: N) -> N:
    """The same layers on "meta", where tensors have a shape and no values; no weight is copied."""
    held = chain(network.parameters(), network.buffers())
    empty = {id(tensor): torch.empty_like(tensor, device="meta") for tensor in held}
    for parameter in network.parameters():
        empty[id(parameter)] = nn.Parameter(empty[id(parameter)], requires_grad=False)
    return deepcopy(network, empty)


def slice_macs(autoencoder: LatentAutoencoder, network: LatentUNet, height: int, width: int) -> dict[str, int]:
    """Multiply-accumulates of one slice.

    Args:
        autoencoder, network: of any weights.
        height, width: of the slice; filled up to the network's multiple.

    Returns:
        ``encode`` (E1), ``condition`` (E2), ``step`` (one evaluation of the latent network) and ``decode`` (D).
    """
    autoencoder, network = without_weights(autoencoder), without_weights(network)
    size = [edge + -edge % network.multiple for edge in (height, width)]
    slices = torch.zeros(1, 2 * network.neighbours + 1, 1, *size, device="meta")
    latent = torch.zeros(1, network.latent, 1, *(edge // FACTOR for edge in size), device="meta")
    kind, told = torch.zeros(1, dtype=torch.long, device="meta"), torch.zeros(1, 4, device="meta")
    field = slices[:, :1]
    with torch.no_grad():
        condition = network.condition(slices, latent, kind, told, field, field)
        return {
            "encode": multiply_accumulates(lambda: autoencoder.encode(field)),
            "condition": multiply_accumulates(lambda: network.condition(slices, latent, kind, told, field, field)),
            "step": multiply_accumulates(lambda: network(latent, torch.zeros(1, device="meta"), condition)),
            "decode": multiply_accumulates(lambda: autoencoder.decode(latent)),
        }


def head_macs(
    autoencoder: LatentAutoencoder,
    network: LatentUNet,
    shape: tuple[int, int, int],
    steps: int,
    axes: Sequence[int] = (0, 1, 2),
) -> int:
    """Multiply-accumulates of all slices of a volume of ``shape`` voxels across ``axes``, with so many steps."""
    total = 0
    for axis in axes:
        height, width = (edge for number, edge in enumerate(shape) if number != axis)
        parts = slice_macs(autoencoder, network, height, width)
        total += shape[axis] * (parts["encode"] + parts["condition"] + steps * parts["step"] + parts["decode"])
    return total
