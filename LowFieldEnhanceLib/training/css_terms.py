"""Terms that the losses of CSS-Diff share."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ..preprocess.intensity import MODEL_MIN
from .bridged import ssim3d
from .pairs import inside_brain

WINDOW = (1, 7, 7)  # of SSIM: within the slice


def brain_l1(estimate: Tensor, truth: Tensor, brain: Tensor) -> Tensor:
    """Mean absolute difference where the image ``brain`` is not background."""
    inside = inside_brain(brain, brain)
    return (F.l1_loss(estimate, truth, reduction="none") * inside).sum() / inside.sum().clamp_min(1)


def settle(estimate: Tensor, brain: Tensor) -> Tensor:
    """Background outside the brain: discriminators and LSC are not asked to judge noise around it."""
    return torch.where(brain > MODEL_MIN, estimate, torch.full((), MODEL_MIN).to(estimate))


def dissimilarity(estimate: Tensor, truth: Tensor, brain: Tensor) -> Tensor:
    """1 - SSIM of slices (B, 1, S, H, W), mean inside the brain."""
    inside = inside_brain(brain, brain)
    return ((1 - ssim3d(estimate, truth, WINDOW)) * inside).sum() / inside.sum().clamp_min(1)
