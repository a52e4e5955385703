"""Half precision where a device is quick at it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch


def half_precision(device: torch.device | str, enabled: bool = True) -> AbstractContextManager[object]:
    """bfloat16 autocast on ``device``; nothing if it is not wanted or :func:`has_bfloat16` says no."""
    kind = torch.device(device).type
    return torch.autocast(kind, torch.bfloat16) if enabled and has_bfloat16(kind) else nullcontext()


def has_bfloat16(kind: str) -> bool:
    """Whether convolutions in bfloat16 are quicker than in float32 on a kind of device (``cpu``, ``cuda``, ``mps``).

    A processor without AVX-512 computes them 10 to 80 times slower, a graphics card before NVIDIA's Ampere emulates
    them, and Apple's backend refuses 3-D transposed ones (pytorch issue 160332).
    """
    if kind == "cpu":
        supported = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)  # torch for Apple has no oneDNN
        return supported is not None and bool(supported())
    if kind == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return False
