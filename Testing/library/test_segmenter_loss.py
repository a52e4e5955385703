"""The segmenter's loss against brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from LowFieldEnhanceLib.segmentation.labels import from_channels, label_table
from LowFieldEnhanceLib.training.segmenter import segmentation_loss

CHANNELS = 1 + len(label_table())


def brute_force_loss(logits: np.ndarray, target: np.ndarray) -> float:
    """Voxel by voxel: cross-entropy, and 1 - the mean over labels of (2 sum p g + 1) / (sum p + sum g + 1)."""
    batch, channels = logits.shape[:2]
    entropy: list[float] = []
    overlap, soft, size = np.zeros(channels), np.zeros(channels), np.zeros(channels)
    for b in range(batch):
        for place in np.ndindex(*target.shape[1:]):
            label = target[(b, *place)]
            if label == 255:
                continue
            values = np.exp(logits[(b, slice(None), *place)])
            probability = values / values.sum()
            entropy.append(-math.log(probability[label]))
            soft += probability
            overlap[label] += probability[label]
            size[label] += 1
    dice = [(2 * overlap[c] + 1) / (soft[c] + size[c] + 1) for c in range(1, channels) if size[c] > 20]
    return float(np.mean(entropy) + (1 - np.mean(dice) if dice else 0))


def loss_case(labels: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    generator = np.random.default_rng(0)
    target = generator.choice(labels, (2, 5, 4, 6))
    target[0, :, 0] = 1 if 1 in labels else labels[0]
    return torch.from_numpy(generator.normal(size=(2, 5, 5, 4, 6))).float(), torch.from_numpy(target)


@pytest.mark.parametrize("labels", [(0, 1, 2, 3), (0, 1, 2, 255), (0, 255), (1, 2, 255)])
def test_the_loss_is_cross_entropy_and_soft_dice_of_the_labels_that_occur(labels: tuple[int, ...]) -> None:
    logits, target = loss_case(labels)
    found = float(segmentation_loss(logits, target))
    assert found == pytest.approx(brute_force_loss(logits.numpy(), target.numpy()), rel=1e-4)


def test_a_label_with_a_handful_of_voxels_has_no_dice() -> None:
    logits, target = loss_case((0, 1))
    target[0, 0, 0, :3] = 4
    found = float(segmentation_loss(logits, target))
    assert found == pytest.approx(brute_force_loss(logits.numpy(), target.numpy()), rel=1e-4)


def test_ignored_voxels_have_no_gradient_and_a_perfect_answer_has_no_loss() -> None:
    logits, target = loss_case((0, 1, 2, 255))
    logits.requires_grad_()
    segmentation_loss(logits, target).backward()
    ignored = (target == 255)[:, None].expand_as(logits)
    assert not logits.grad[ignored].any()
    assert logits.grad[~ignored].abs().min() > 0
    perfect = 50 * nn.functional.one_hot(target.clamp_max(4), 5).permute(0, 4, 1, 2, 3).float()
    assert float(segmentation_loss(perfect, target)) < 1e-3


def test_the_recipe_has_a_channel_for_every_label() -> None:
    from LowFieldEnhanceLib.training.segmenter import ARCHITECTURE

    assert ARCHITECTURE["out_channels"] == CHANNELS
    assert from_channels(np.array([CHANNELS - 1]))[0] == label_table()[-1].id
