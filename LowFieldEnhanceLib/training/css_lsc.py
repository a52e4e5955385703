"""Recipe of the local structure correction (LSC) of CSS-Diff: high-field slices with broken patches, repaired.

Self-supervised: the network only ever sees high-field slices. What it makes of a slice is what the neighbourhood says
must be there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .css_terms import brain_l1
from .data import load_heads, said
from .slice_prior import SliceSampler

ARCHITECTURE = {
    "kind": "slice_unet",
    "widths": [32, 64, 128, 192],
    "blocks": 1,
    "embedding": 32,
    "classes": 12,
    "output_scale": 0.3,
}
BATCH, EDGE = 8, 128
PATCH = 8  # pixels
MASKED, TURNED = 0.2, 0.1  # shares of the patches
MASK_VALUE = 0.0  # the middle of the model range


def corrupt(
    slices: Tensor, generator: torch.Generator, masked: float = MASKED, turned: float = TURNED, patch: int = PATCH
) -> Tensor:
    """Slices with a share of their patches masked and another share turned by 90, 180 or 270 degrees.

    Args:
        slices: (B, 1, 1, H, W), edges multiples of ``patch``; differentiable.
        generator: draws the patches, on the CPU.
        masked, turned: shares.
        patch: edge of a patch in pixels.
    """
    batch, _, _, height, width = slices.shape
    rows, columns = height // patch, width // patch
    patches = slices.reshape(batch, rows, patch, columns, patch).transpose(2, 3)
    lot = torch.rand(batch, rows, columns, generator=generator).to(slices.device)
    quarter = torch.randint(1, 4, (batch, rows, columns), generator=generator).to(slices.device)
    for turns in (1, 2, 3):
        chosen = (lot > 1 - turned) & (quarter == turns)
        patches = torch.where(chosen[..., None, None], torch.rot90(patches, turns, (-2, -1)), patches)
    patches = torch.where((lot < masked)[..., None, None], torch.full((), MASK_VALUE).to(slices), patches)
    return patches.transpose(2, 3).reshape(slices.shape)


def corrected(network: nn.Module, slices: Tensor, kind: Tensor) -> Tensor:
    """What the network makes of slices (B, 1, 1, H, W) of the classes (B,), in float32."""
    unused = torch.zeros(len(slices), device=slices.device)  # the noise level: there is no noise here
    with torch.autocast(slices.device.type, torch.bfloat16):
        change = network(slices, unused, kind)
    return slices + change.float()


class CorrectionLoss:
    """L1 inside the brain between the corrected and the true slice."""

    def __init__(self, sampler: SliceSampler, device: str, batch: int = BATCH) -> None:
        self.sampler, self.device, self.batch = sampler, device, batch

    def __call__(self, network: nn.Module) -> Tensor:
        """Draw a batch of slices and return the loss."""
        clean, kind = self.sampler.batch(self.batch)
        broken = corrupt(clean, self.sampler.generator)
        clean, broken, kind = clean.to(self.device), broken.to(self.device), kind.to(self.device)
        return brain_l1(corrected(network, broken, kind), clean, clean)


def recipe(data: Path, seed: int, device: str) -> tuple[dict[str, Any], CorrectionLoss, str]:
    """See training.recipes."""
    heads = load_heads(data, ("oasis", "openms", "brats"))
    text = f"slices of {said(heads, 'high field only')}"
    return ARCHITECTURE, CorrectionLoss(SliceSampler(heads, EDGE, seed), device), text
