"""The loss against volumes that are wrong in the same direction everywhere, with posteriors whose volumes are known."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from LowFieldEnhanceLib.segmentation.labels import label_table
from LowFieldEnhanceLib.training.anatomy import AnatomyLoss
from LowFieldEnhanceLib.training.bridged import BridgeLoss
from LowFieldEnhanceLib.training.checkpoint import State
from LowFieldEnhanceLib.training.loop import LearningLoss, RememberingLoss
from LowFieldEnhanceLib.training.volume_balance import DECAY, FULL, LEAST_SAMPLES, VolumeBalance, structure_of_channels

ONE = torch.tensor([0])
PAIR = torch.tensor([-1, 0, 1, 0])  # background, the left of one structure, another one, the right of the first


def posterior(*volumes: float, size: tuple[int, int, int] = (10, 10, 10)) -> Tensor:
    """(1, 4, *size) with these volumes in voxels of the three foreground channels, each voxel certain."""
    if not all(math.isfinite(volume) for volume in volumes):
        return torch.full((1, 4, *size), math.nan)
    channels = torch.zeros(math.prod(size), dtype=torch.long)
    ends = [0, *itertools.accumulate(int(volume) for volume in volumes)]
    for channel, (first, last) in enumerate(itertools.pairwise(ends), start=1):
        channels[first:last] = channel
    return torch.nn.functional.one_hot(channels, 4).float().T.reshape(1, 4, *size)


def test_left_and_right_are_one_structure_and_the_background_is_none() -> None:
    found, table = structure_of_channels(), label_table()
    assert found.shape == (1 + len(table),) and int(found[0]) == -1
    of = {label.id: int(index) for label, index in zip(table, found[1:], strict=True)}
    assert all(of[label.id] == of[label.partner] for label in table)
    assert len(set(of.values())) == len({min(label.id, label.partner) for label in table}) == int(found.max()) + 1


def test_the_bias_is_the_excess_over_the_true_volume_of_both_sides() -> None:
    balance = VolumeBalance(PAIR)
    for _ in range(3):
        balance(posterior(120, 50, 90), posterior(100, 50, 100), ONE)
        balance(posterior(100, 40, 100), posterior(100, 50, 100), ONE)
    # the second kind of patch came last: weights 1 of it and DECAY of the first, and so on
    share = 1 / (1 + DECAY)
    torch.testing.assert_close(balance.bias, torch.tensor([[(1 - share) * 10 / 200, -share * 10 / 50]]))


def test_a_resumed_run_goes_on_with_the_biases_of_the_first_piece(tmp_path: Path) -> None:
    def loss() -> BridgeLoss:
        segmenter = torch.nn.Conv3d(1, 4, 1)
        return BridgeLoss(None, 2, "cpu", anatomy=AnatomyLoss(segmenter, groups=PAIR + 1, balance=VolumeBalance(PAIR)))

    first, second, path = loss(), loss(), tmp_path / "checkpoint.pt"
    first.anatomy.balance(posterior(120, 50, 90), posterior(100, 50, 100), ONE)
    network = torch.nn.Linear(1, 1)
    assert isinstance(first, RememberingLoss) and not isinstance(first, LearningLoss)
    State(network, 1e-3, first).save(path)
    State(network, 1e-3, second).load(path, "cpu")
    torch.testing.assert_close(second.anatomy.balance.bias, first.anatomy.balance.bias)
    torch.testing.assert_close(second.anatomy.balance.samples, torch.ones(1))
    State(network, 1e-3).save(path)  # of an earlier version
    State(network, 1e-3, loss()).load(path, "cpu")


def test_a_patch_that_is_not_a_number_leaves_the_biases_as_they_were() -> None:
    balance = VolumeBalance(PAIR)
    balance(posterior(120, 50, 90), posterior(100, 50, 100), ONE)
    before = balance.bias.clone()
    balance(posterior(float("nan"), 50, 90), posterior(100, 50, 100), ONE)
    torch.testing.assert_close(balance.bias, before)
    assert balance(posterior(110, 50, 90), posterior(100, 50, 100), ONE).isfinite()


def test_every_kind_of_sample_has_its_own_bias() -> None:
    balance, wanted = VolumeBalance(PAIR, kinds=3), posterior(100, 50, 100)
    both = torch.cat([posterior(110, 50, 110), posterior(90, 50, 90)])
    for _ in range(LEAST_SAMPLES):
        balance(both, wanted.expand(2, -1, -1, -1, -1), torch.tensor([2, 0]))
    torch.testing.assert_close(balance.bias, torch.tensor([[-0.1, 0.0], [0.0, 0.0], [0.1, 0.0]]), atol=1e-5, rtol=0)
    scale = (200 * 250) ** 0.5
    for kind, value in ((2, 20 / scale), (0, -20 / scale), (1, 0.0)):
        assert float(balance(posterior(110, 50, 110), wanted, torch.tensor([kind]))) == pytest.approx(value, rel=1e-4)


def test_errors_of_both_signs_are_no_bias_and_give_no_push() -> None:
    balance = VolumeBalance(PAIR)
    for number in range(800):
        off = 10 if number % 2 else -10
        balance(posterior(100 + off, 50, 100), posterior(100, 50, 100), ONE)
    assert abs(float(balance.bias[0, 0])) < 0.0008
    found = posterior(110, 50, 100)
    assert abs(float(balance(found, posterior(100, 50, 100), ONE))) < 0.08 * 10 / (200 * 250) ** 0.5


@pytest.mark.parametrize(("excess", "push"), [(400, 1.0), (6, 0.3), (-6, -0.3), (-400, -1.0)])
def test_a_bias_is_pushed_against_in_proportion_up_to_full_strength(excess: int, push: float) -> None:
    balance, size = VolumeBalance(PAIR), (20, 20, 25)
    wanted = posterior(1000, 500, 1000, size=size)
    for _ in range(60):
        balance(posterior(1000 + excess, 500, 1000, size=size), wanted, ONE)
    assert push == pytest.approx(max(-1, min(1, excess / 2000 / FULL)))
    found = wanted.clone().requires_grad_()  # right on this batch: no value, but the push goes on
    term = balance(found, wanted, ONE)
    assert float(term.detach()) == pytest.approx(0, abs=1e-5)
    term.backward()
    per_voxel = push / (2000 * 2500) ** 0.5
    torch.testing.assert_close(found.grad[0, 1], torch.full(size, per_voxel))
    torch.testing.assert_close(found.grad[0, 3], found.grad[0, 1])
    assert (found.grad[0, 0] == 0).all()
    torch.testing.assert_close(found.grad[0, 2], torch.zeros(size), rtol=0, atol=1e-6)


def test_labels_are_counted_not_probabilities() -> None:
    balance, wanted = VolumeBalance(PAIR), posterior(100, 50, 100)
    doubtful = 0.6 * wanted + 0.4 * posterior(0, 0, 0)
    for _ in range(LEAST_SAMPLES):
        balance(doubtful, wanted, ONE)
    assert (balance.bias == 0).all()
    unsure = 0.4 * wanted + 0.6 * posterior(0, 0, 0)
    for _ in range(LEAST_SAMPLES):
        balance(unsure, wanted, ONE)
    assert float(balance.bias[0, 0]) < -0.3 and float(balance.bias[0, 1]) < -0.3
    assert float(balance(wanted, unsure, ONE)) < 0  # the push goes through the probabilities: 60 % of each volume more


def test_the_first_samples_are_only_counted() -> None:
    balance = VolumeBalance(PAIR)
    terms = [float(balance(posterior(140, 50, 100), posterior(100, 50, 100), ONE)) for _ in range(LEAST_SAMPLES + 1)]
    assert terms[:-1] == [0] * LEAST_SAMPLES
    assert terms[-1] == pytest.approx(40 / (200 * 250) ** 0.5, rel=1e-4)


def test_a_structure_that_no_patch_shows_has_no_bias() -> None:
    balance = VolumeBalance(PAIR)
    for _ in range(LEAST_SAMPLES + 1):
        term = balance(posterior(100, 0, 100), posterior(100, 0, 100), ONE)
    assert float(balance.bias[0, 1]) == 0 and float(term) == 0


def test_the_structures_lose_their_bias_under_descent() -> None:
    """Patches with errors of 10 % either way and a bias of 3 %: the learned gain takes the bias off."""
    balance, gain = VolumeBalance(PAIR), torch.nn.Parameter(torch.tensor(1.03))
    descent, generator = torch.optim.SGD([gain], lr=0.02), torch.Generator().manual_seed(0)
    place, late = torch.arange(8000).reshape(20, 20, 20) / 8000, []

    def up_to(edge: Tensor) -> Tensor:
        share = torch.sigmoid(200 * (edge - place))
        return torch.stack([1 - share, share, torch.zeros_like(share), torch.zeros_like(share)])[None]

    for number in range(600):
        off = 1 + 0.1 * torch.randn((), generator=generator)
        descent.zero_grad()
        term = balance(up_to(0.5 * gain * off), up_to(torch.tensor(0.5)), ONE)
        if term.requires_grad:
            term.backward()
            descent.step()
        late += [float(gain.detach())] if number >= 300 else []
    assert sum(late) / len(late) == pytest.approx(1, abs=0.01)
