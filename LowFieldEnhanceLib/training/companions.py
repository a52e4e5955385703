"""Recipe of the encoder of further contrasts: what they add to the frozen bridge (networks/companions.py)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import BadInput
from ..methods.base import PRESENCE_VALUE
from ..networks.companions import CompaniedBridge, roles, told_of
from ..networks.residual_unet import ResidualUNet
from .bridged import dissimilarity
from .degradation import DegradationRange
from .latent_teacher import require
from .loop import LossFunction
from .pairs import PairSampler, inside_brain

BRIDGE = "bridged_bridge"
ARCHITECTURE = {"kind": "companion_encoder", "width": 64, "blocks": 2}
BATCH = 2
KEEP = 0.75  # of the contrasts beside the wanted one
SESSION_SHARE = 0.75  # of the heads whose contrasts lie on one grid: those of a session mostly do
SSIM_WEIGHT = 0.2


class CompanionLoss:
    """L1 and 1 - SSIM of the wanted contrast inside the brain, with at least one other contrast of the head beside it.

    Args:
        sampler: of heads that all have several contrasts.
        bridge: frozen.
        batch: patches a step.
        device: of networks and batches.
    """

    def __init__(self, sampler: PairSampler, bridge: ResidualUNet, batch: int, device: str) -> None:
        self.sampler, self.bridge, self.batch, self.device = sampler, bridge, batch, device

    def __call__(self, network: nn.Module) -> Tensor:
        """Draw a batch and return the loss."""
        pairs = [self.sampler.pair() for _ in range(self.batch)]
        targets, presence = zip(*(self._drawn(present) for _, _, present, _ in pairs), strict=True)
        told = torch.stack([told_of(pair[3], target) for pair, target in zip(pairs, targets, strict=True)])
        low, high = (torch.stack([pair[n] for pair in pairs]).to(self.device) for n in (0, 1))
        given = torch.stack(presence)[:, :, None, None, None].to(low)
        shown, wanted, others = roles(low, given, targets)
        with torch.autocast(torch.device(self.device).type, torch.bfloat16):
            x = torch.cat([shown, PRESENCE_VALUE * wanted, others], 1)
            residual = CompaniedBridge(self.bridge, network)(x, told.to(self.device)).float()
        pick = torch.arange(self.batch, device=self.device), torch.tensor(targets, device=self.device)
        low, high, residual = (image[pick][:, None] for image in (low, high, residual))
        inside = inside_brain(low, high)
        error = ((low + residual - high).abs() * inside).sum() / inside.sum().clamp_min(1)
        return error + SSIM_WEIGHT * dissimilarity(low + residual, high, inside)

    def _drawn(self, present: Tensor) -> tuple[int, Tensor]:
        """The wanted contrast, and which contrasts are given: (3,) bool, at least one beside it."""
        rng = self.sampler.rng
        there = torch.nonzero(present)[:, 0].tolist()
        target = int(rng.choice(there))
        others = [channel for channel in there if channel != target]
        kept = [channel for channel in others if rng.random() < KEEP] or [int(rng.choice(others))]
        given = torch.zeros(3, dtype=torch.bool)
        given[[target, *kept]] = True
        return target, given


def recipe(data: Path, seed: int, device: str) -> tuple[dict[str, Any], LossFunction, str]:
    """The encoder's architecture, loss and training data.

    Raises:
        BadInput: the bridge is not installed, or no head has several contrasts.
    """
    from .data import load_heads, said

    bridge = require(BRIDGE, "bridged_companions").to(device)
    heads = [head for head in load_heads(data, ("openms", "brats")) if int(head.present.sum()) > 1]
    if not heads:
        raise BadInput(f"no training head under {data} has several contrasts, which {BRIDGE}'s companions need")
    sampler = PairSampler(heads, ranges=DegradationRange(session_share=SESSION_SHARE), seed=seed)
    width = bridge.stem.out_channels
    text = said(heads, "those with several contrasts; degraded at random; frozen bridge")
    return {**ARCHITECTURE, "width": width}, CompanionLoss(sampler, bridge, BATCH, device), text
