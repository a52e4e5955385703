"""Files of network weights: half precision, or 8 bits a weight with one scale for each output channel."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import BadInput
from .safe_files import replaced

if TYPE_CHECKING:
    from torch import Tensor

SCALE = "#scale"  # ends the name of the scales of a tensor in 8 bits; no parameter of a network can have it
LEVELS = 127


def save_weights(tensors: dict[str, Tensor], path: Path, bits: int = 16) -> str:
    """Write tensors (temporary file, then rename); returns the file's SHA-256.

    Args:
        tensors: state dictionary; what is not of floating point is kept as it is.
        path: of the file; its folder is made.
        bits: 16, half precision; 32; or 8: tensors of two and more dimensions as whole numbers from -127 to 127 with
            one scale for each index of the first dimension, an error of at most 1/254 of the largest weight there.
            Vectors (biases, norms) stay in half precision.

    Raises:
        BadInput: the file cannot be written.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    stored: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            stored[name] = tensor
        elif bits == 8 and tensor.ndim > 1:
            rows = tensor.float().contiguous()
            most = rows.flatten(1).abs().amax(1).clamp_min(torch.finfo(torch.float32).tiny)
            scale = (most / LEVELS).reshape(-1, *(1,) * (rows.ndim - 1))
            stored[name] = (rows / scale).round().to(torch.int8)
            stored[name + SCALE] = scale
        else:
            stored[name] = (tensor.float() if bits == 32 else tensor.half()).contiguous()
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced(path) as temporary:
        try:
            save_file(stored, temporary)
        except SafetensorError as error:
            raise BadInput(f"the weights {path} cannot be written; is the disk full?") from error
    return file_sha256(path)


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors that :func:`save_weights` wrote, of floating point in float32.

    Raises:
        OSError: the file cannot be read.
        safetensors.SafetensorError: it is no file of tensors.
    """
    from safetensors.torch import load_file

    stored = load_file(path)
    tensors = {}
    for name, tensor in stored.items():
        if name + SCALE in stored:
            tensors[name] = tensor.float() * stored[name + SCALE]
        elif not name.endswith(SCALE):
            tensors[name] = tensor.float() if tensor.is_floating_point() else tensor
    return tensors


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()
