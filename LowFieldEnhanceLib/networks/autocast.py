"""Half precision where a device's convolutions can do it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

# Apple's backend refuses 3-D transposed convolutions in half precision (pytorch issue 160332); float32 works there.
FULL_PRECISION_ONLY = ("mps",)


def half_precision(device: torch.device | str, enabled: bool = True) -> AbstractContextManager[object]:
    """bfloat16 autocast on ``device``; nothing if it is not wanted or the device cannot."""
    kind = torch.device(device).type
    if not enabled or kind in FULL_PRECISION_ONLY:
        return nullcontext()
    return torch.autocast(kind, torch.bfloat16)
