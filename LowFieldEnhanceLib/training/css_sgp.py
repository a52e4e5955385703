"""Recipe of the slice-wise gap perception (SGP) of CSS-Diff, and its use: finding the pairs of shuffled slices."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from torch.nn import functional as F

from ..networks.gap_perception import GapPerception
from ..preprocess.intensity import MODEL_MIN
from .css_slices import HeadPool
from .data import load_heads, said

ARCHITECTURE = {
    "kind": "gap_perception",
    "edge": 192,
    "patch": 16,
    "width": 128,
    "layers": 4,
    "heads": 4,
    "embedding": 1152,
}
GROUPS, SLICES = 2, 24  # heads a batch, and slices of each
CLOSE = 16  # mm in which half of the slices of every second group lie
SLICES_PER_HEAD = 384
NEAR = 1.0  # mm, standard deviation of the position within which another slice counts as the same
SHIFT, TURN = 8.0, 6.0  # pixels and degrees by which two scans of a head may lie apart in a slice, in either direction


class GapLoss:
    """Contrastive loss (CLIP) over slices of few heads, so that most negatives are other slices of the same head.

    Slices 1 mm apart are all but the same, and a low-field slice is several millimetres thick: the target is not one
    slice but a Gaussian of ``NEAR`` around it. Every second group comes from ``CLOSE`` millimetres of a head and
    from as many at the mirrored place: slices drawn from a whole head lie 6 mm apart, and a network that has seen only
    those takes a neighbour, or the other side's slice of the same outline.
    """

    def __init__(self, pool: HeadPool, device: str, groups: int = GROUPS, slices: int = SLICES) -> None:
        self.sampler, self.device, self.groups, self.slices = pool, device, groups, slices

    def __call__(self, network: nn.Module) -> Tensor:
        """Draw a batch and return the loss."""
        low, high, positions, group = [], [], [], []
        for number in range(self.groups):
            drawn = self.sampler.group(self.slices, within=CLOSE if number % 2 else None)
            down, right, turn = self.sampler.rng.uniform(-1, 1, 3) * (SHIFT, SHIFT, TURN)
            low.append(drawn.low[1])
            high.append(displaced(drawn.high, (float(down), float(right)), float(turn)))
            positions.append(drawn.positions.float())
            group.append(torch.full((len(drawn.positions),), number))
        target = soft_target(torch.cat(positions), torch.cat(group)).to(self.device)
        with torch.autocast(torch.device(self.device).type, torch.bfloat16):
            logits = network(torch.cat(low).to(self.device), torch.cat(high).to(self.device))
        logits = logits.float()
        return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def displaced(slices: Tensor, shift: tuple[float, float], turn: float) -> Tensor:
    """Slices (B, H, W) in the model range, turned by ``turn`` degrees about their middle and then moved.

    Args:
        slices: background -1, which also comes in from outside.
        shift: pixels along H and W.
        turn: from the axis of H towards that of W.
    """
    height, width = slices.shape[-2:]
    c, s = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    # affine_grid asks where each pixel comes from, as (W, H) in halves of the edges
    back = torch.tensor([[c, -s * height / width], [s * width / height, c]])
    move = torch.tensor([2 * shift[1] / width, 2 * shift[0] / height])
    matrix = torch.cat([back, -(back @ move)[:, None]], dim=1).expand(len(slices), 2, 3)
    grid = F.affine_grid(matrix, [len(slices), 1, height, width], align_corners=False)
    above = slices[:, None] - MODEL_MIN
    return F.grid_sample(above, grid, "bilinear", "zeros", align_corners=False)[:, 0] + MODEL_MIN


def soft_target(positions: Tensor, group: Tensor) -> Tensor:
    """(B,) positions in mm and groups -> (B, B) probabilities: which slice shows what another one shows."""
    distance = positions[:, None] - positions[None]
    weight = torch.exp(-0.5 * (distance / NEAR) ** 2) * (group[:, None] == group[None])
    return weight / weight.sum(1, keepdim=True)


def repair(low: Tensor, high: Tensor) -> Tensor:
    """The high-field slice of every low-field slice: the assignment of the largest sum of cosine similarities.

    Args:
        low: (B, E) embeddings of length one.
        high: (C, E), C >= B.

    Returns:
        (B,) indices into ``high``, each once at most (the Hungarian method).
    """
    rows, columns = linear_sum_assignment((low @ high.T).cpu().double().numpy(), maximize=True)
    found = torch.empty(len(low), dtype=torch.long)
    found[torch.from_numpy(rows)] = torch.from_numpy(columns)
    return found


@torch.no_grad()
def embed(network: GapPerception, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Embeddings (B, E) and (C, E) of low-field slices (B, H, W) and high-field slices (C, H, W)."""
    return network.low(low), network.high(high)


def recipe(data: Path, seed: int, device: str) -> tuple[dict[str, Any], GapLoss, str]:
    """See training.recipes."""
    heads = load_heads(data, ("oasis", "openms", "brats"))
    text = f"slices of {said(heads, 'degraded at random')}"
    return ARCHITECTURE, GapLoss(HeadPool(heads, seed=seed, slices_per_head=SLICES_PER_HEAD), device), text
