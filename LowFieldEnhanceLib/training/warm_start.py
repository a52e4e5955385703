"""Starting one network from another: the regression U-Net of one contrast becomes a bridge of three."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ..errors import BadInput

EMBEDDING = "embed.layers.0.weight"
SUBVOXELS = 8  # of the 2 x 2 x 2 patchify stem and of the pixel shuffle


def widen_contrasts(tensors: dict[str, Tensor], contrasts: int = 3) -> dict[str, Tensor]:
    """Weights of a one-contrast residual U-Net -> the same for several contrasts beside a presence mask.

    Every contrast gets the stem's and the head's weights and those of its acquisition; the mask starts at 0. With one
    contrast present (the others are 0) the wide network answers in that channel exactly as the narrow one did.

    Args:
        tensors: state dictionary with ``stem.weight`` (W, 8, 3, 3, 3) and ``head.weight`` (8, W, k, k, k).
        contrasts: number of image channels.

    Raises:
        BadInput: the tensors are not those of a one-contrast network.
    """
    stem, head = tensors["stem.weight"], tensors["head.weight"]
    if stem.shape[1] != SUBVOXELS or head.shape[0] != SUBVOXELS:
        raise BadInput("a warm start needs a network of one contrast in and one out")
    wide = {name: tensor.float().clone() for name, tensor in tensors.items()}
    wide["stem.weight"] = torch.cat([stem.float()] * contrasts + [torch.zeros_like(stem).float()] * contrasts, dim=1)
    wide["head.weight"] = torch.cat([head.float()] * contrasts, dim=0)
    wide["head.bias"] = torch.cat([tensors["head.bias"].float()] * contrasts, dim=0)
    if EMBEDDING in wide:
        wide[EMBEDDING] = torch.cat([wide[EMBEDDING]] * contrasts, dim=1)
    return wide


def warm_start(network: nn.Module, run: Path) -> str:
    """Load the finished regression run in ``run`` into ``network``; returns a sentence for the training record.

    Raises:
        BadInput: the run has no weights, or they do not fit.
    """
    path = run / "regression_unet.safetensors"
    if not path.is_file():
        raise BadInput(f"the warm start {path} does not exist")
    try:
        network.load_state_dict(widen_contrasts(load_file(path)))
    except RuntimeError as error:
        raise BadInput(f"the warm start {path} does not fit the network") from error
    return "warm start from regression_unet, its weights copied to every contrast"
