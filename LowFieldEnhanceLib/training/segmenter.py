"""Recipe of the segmenter: cross-entropy and soft Dice on synthetic and degraded real heads."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ..networks.coarse_to_fine_unet import FEATURE_STRIDE, CoarseToFineUNet
from .labelled_heads import IGNORE
from .synthetic import HeadGenerator

ARCHITECTURE = {
    "kind": "coarse_to_fine_unet",
    "in_channels": 1,
    "out_channels": 1 + 32,
    "widths": [64, 96, 112, 112],
    "blocks": 2,
    "fine_blocks": 2,
}
FINE_PART = 80  # voxels: the edge of the part of a sample on which the fine level is trained
EVERY = 2  # planes along k in the losses: half of them are enough for the gradient


class SegmenterLoss:
    """Draws heads; returns cross-entropy + (1 - mean soft Dice over the labels that occur) of both resolutions."""

    def __init__(self, generator: HeadGenerator, batch: int, device: str, part: int = FINE_PART) -> None:
        self.generator, self.batch, self.device, self.part = generator, batch, device, part

    def __call__(self, network: CoarseToFineUNet) -> Tensor:
        """Draw a batch and return the loss."""
        images, targets = zip(*(self.generator.sample() for _ in range(self.batch)), strict=True)
        x, target = torch.stack(images).to(self.device), torch.stack(targets).to(self.device).long()
        rng = self.generator.rng
        place = [4 * int(rng.integers(0, (n - self.part) // 4 + 1)) for n in target.shape[1:]]
        fine, middle, deep = (tuple(slice(p // s, (p + self.part) // s) for p in place) for s in (1, 2, FEATURE_STRIDE))
        with torch.autocast(torch.device(self.device).type, torch.bfloat16):
            features, scores = network.coarse_pass(x)
            logits = network.fine_pass(x[(..., *fine)], features[(..., *deep)], scores[(..., *middle)])
        first = int(rng.integers(EVERY))
        loss = segmentation_loss(logits[..., first::EVERY], target[(..., *fine)][..., first::EVERY])
        # a coarse voxel holds eight labels; one of them at random teaches it their shares
        i, j, k = (int(n) for n in rng.integers(0, 2, 3))
        coarse = target[:, i::2, j::2, k::2]
        return loss + segmentation_loss(scores[..., first::EVERY], coarse[..., first::EVERY])


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
