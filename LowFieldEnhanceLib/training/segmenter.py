"""Recipe of the segmenter: cross-entropy and soft Dice on synthetic and degraded real heads."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..segmentation.labels import label_table
from .synthetic import IGNORE, HeadGenerator

ARCHITECTURE = {
    "kind": "residual_unet",
    "in_channels": 1,
    "out_channels": 1 + 32,
    "widths": [64, 96, 112, 112],
    "blocks": 2,
    "head_kernel": 1,
    "output_scale": 1.0,
}


class SegmenterLoss:
    """Draws heads and returns cross-entropy + (1 - mean soft Dice over the labels that occur)."""

    def __init__(self, generator: HeadGenerator, batch: int, device: str) -> None:
        self.generator, self.batch, self.device = generator, batch, device
        self.channels = 1 + len(label_table())

    def __call__(self, network: nn.Module) -> Tensor:
        """Draw a batch and return the loss."""
        images, targets = zip(*(self.generator.sample() for _ in range(self.batch)), strict=True)
        x, target = torch.stack(images).to(self.device), torch.stack(targets).to(self.device).long()
        with torch.autocast(torch.device(self.device).type, torch.bfloat16):
            logits = network(x)
        # every third voxel along k is enough for the gradient and saves a third of the step
        first = int(self.generator.rng.integers(3))
        return segmentation_loss(logits[..., first::3], target[..., first::3])


def segmentation_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy plus soft Dice (Milletari et al. 2016); voxels labelled 255 count in neither.

    Args:
        logits: (B, C, I, J, K).
        target: (B, I, J, K) int64 channels or 255.
    """
    channels = logits.shape[1]
    known = (target != IGNORE).reshape(-1)
    flat = logits.permute(0, 2, 3, 4, 1).reshape(-1, channels)
    labels = target.reshape(-1)
    entropy = F.cross_entropy(flat.float(), labels, ignore_index=IGNORE)
    probability = torch.softmax(flat.float(), dim=1) * known[:, None]
    labels = torch.where(known, labels, torch.zeros_like(labels))
    own = probability.gather(1, labels[:, None])[:, 0]
    zeros = torch.zeros(channels, device=logits.device)
    overlap = zeros.index_add(0, labels, own)
    size = zeros.index_add(0, labels, known.float())
    dice = (2 * overlap + 1) / (probability.sum(0) + size + 1)
    present = size[1:] > 20
    if not bool(present.any()):
        return entropy
    return entropy + 1 - dice[1:][present].mean()
