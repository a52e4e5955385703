"""Starting a network from its own earlier weights, or a bridge of three contrasts from the regression U-Net of one."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from ..errors import BadInput
from ..weight_files import file_sha256, read_weights

REGRESSION, BRIDGE = "regression_unet", "bridged_bridge"
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


def warm_start(network: nn.Module, folder: Path, name: str) -> str:
    """Load finished weights in ``folder`` into ``network``; returns a sentence for the training record.

    Args:
        network: of the recipe ``name``.
        folder: holds ``<name>.safetensors``, to go on from, or, for the bridge, that of the regression U-Net.
        name: of the recipe.

    Raises:
        BadInput: the folder has no weights, or they do not fit.
    """
    same, regression = folder / f"{name}.safetensors", folder / f"{REGRESSION}.safetensors"
    widened = name == BRIDGE and not same.is_file() and regression.is_file()
    path = regression if widened else same
    if not path.is_file():
        raise BadInput(f"the start {path} does not exist")
    try:
        tensors = read_weights(path)
        network.load_state_dict(widen_contrasts(tensors) if widened else tensors)
    except (RuntimeError, OSError, SafetensorError) as error:
        raise BadInput(f"the start {path} does not fit the network") from error
    if widened:
        return f"warm start from {REGRESSION}, its weights copied to every contrast"
    return f"start from {name} with SHA-256 {file_sha256(path)[:12]}"
