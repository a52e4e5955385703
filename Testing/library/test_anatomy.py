"""The loss that looks at anatomy, with a segmenter whose answer is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from LowFieldEnhanceLib.segmentation.labels import label_table
from LowFieldEnhanceLib.training.anatomy import SCALE_RATIO, TISSUES, AnatomyLoss, tissue_of_channels

GROUPS = torch.tensor([0, 1, 1])


class Brightness(nn.Module):
    """Three classes; the two last have the score of the intensity they are shown, times a gain."""

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gain))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([torch.zeros_like(x), self.gain * x, self.gain * x], dim=1)


def tissue(value: float) -> float:
    """Probability that a voxel of this model intensity is not background."""
    shown = (value + 1) / SCALE_RATIO - 1
    return 2 * math.exp(shown) / (1 + 2 * math.exp(shown))


def test_the_loss_is_the_divergence_of_the_tissues_not_of_the_structures() -> None:
    loss = AnatomyLoss(Brightness(), groups=GROUPS, volume_weight=0)
    truth, estimate = (torch.full((1, 1, 2, 2, 2), v) for v in (0.5, -0.5))
    p, q = tissue(0.5), tissue(-0.5)
    expected = p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))
    assert float(loss(estimate, truth)) == pytest.approx(expected, rel=0.02)  # bfloat16


def test_a_second_term_is_the_change_of_the_tissues_volumes() -> None:
    parts = [AnatomyLoss(Brightness(), groups=GROUPS, volume_weight=w) for w in (0.0, 3.0)]
    truth, estimate = torch.full((1, 1, 2, 2, 2), 0.5), torch.full((1, 1, 2, 2, 2), -0.5)
    p, q = tissue(0.5), tissue(-0.5)
    without, with_volumes = (float(loss(estimate, truth)) for loss in parts)
    assert with_volumes - without == pytest.approx(3 * (p - q) / p, rel=0.02)  # bfloat16
    # as much gained in one half as is lost in the other: no change of volume
    half = torch.cat([torch.full((1, 1, 1, 2, 2), v) for v in (0.5, -0.5)], dim=2)
    without, with_volumes = (float(loss(half, half.flip(2))) for loss in parts)
    assert without > 0.05
    assert with_volumes == pytest.approx(without, rel=1e-3)


def test_background_in_the_truth_does_not_count() -> None:
    loss = AnatomyLoss(Brightness(gain=40.0), groups=GROUPS, volume_weight=0)
    truth = torch.full((1, 1, 2, 2, 4), -1.0)  # surely background
    truth[..., :2] = 0.8
    wrong = truth.clone()
    wrong[..., 2:] = 0.0
    assert float(loss(wrong, truth)) == pytest.approx(0, abs=1e-4)
    wrong = truth.clone()
    wrong[..., 0] = -0.8
    assert float(loss(wrong, truth)) > 1


def test_the_truth_has_no_loss_the_gradient_reaches_the_estimate_and_the_segmenter_stays() -> None:
    segmenter = Brightness()
    loss = AnatomyLoss(segmenter, groups=GROUPS)
    truth = torch.full((1, 1, 2, 2, 2), 0.3)
    estimate = torch.full((1, 1, 2, 2, 2), 0.1, requires_grad=True)
    loss(estimate, truth).backward()
    assert (estimate.grad < 0).all()  # brighter would be better
    assert segmenter.gain.grad is None
    assert float(loss(truth, truth)) == pytest.approx(0, abs=1e-6)


def test_every_label_has_its_tissue() -> None:
    found = tissue_of_channels()
    assert int(found[0]) == 0
    assert [TISSUES[int(g)] for g in found[1:]] == [label.tissue for label in label_table()]
