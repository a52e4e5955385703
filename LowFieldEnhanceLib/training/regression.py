"""Recipe of the plain regression U-Net: the row every method is measured against.

One contrast in, and how it was acquired; the same contrast out; L1 to the high-field patch. Same network size, data
and degradations as the bridge of Bridged diffusion, so that the comparison is about the method.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..physics.acquisition import COORDINATES
from .pairs import PairSampler, inside_brain

ARCHITECTURE = {
    "kind": "residual_unet",
    "in_channels": 1,
    "out_channels": 1,
    "widths": [64, 96, 128],
    "blocks": 2,
    "embedding": 128,
    "coordinates": COORDINATES,
}  # 5 M parameters, the size of the bridge


class RegressionLoss:
    """Draws a batch of pairs and returns mean |x + f(x) - HF| inside the brain."""

    def __init__(self, sampler: PairSampler, batch: int, device: str) -> None:
        self.sampler, self.batch, self.device = sampler, batch, device

    def __call__(self, network: nn.Module) -> Tensor:
        """Draw a batch and return the loss."""
        low, high, told = [], [], []
        for _ in range(self.batch):
            x, y, present, acquisitions = self.sampler.pair()
            channel = int(self.sampler.rng.choice(torch.nonzero(present)[:, 0].numpy()))
            low.append(x[channel : channel + 1])
            high.append(y[channel : channel + 1])
            told.append(acquisitions[channel])
        x, y = torch.stack(low).to(self.device), torch.stack(high).to(self.device)
        with torch.autocast(torch.device(self.device).type, torch.bfloat16):
            residual = network(x, torch.stack(told).to(self.device))
        inside = inside_brain(x, y)
        return ((x + residual.float() - y).abs() * inside).sum() / inside.sum().clamp_min(1)
