"""The mean of the answers for a head and for its mirror image."""

from __future__ import annotations

import torch
from torch import Tensor

from LowFieldEnhanceLib.networks.mirrored import answer, looks

TOLD = torch.tensor([[1.0, 2.0]])


def one_sided(x: Tensor, told: Tensor | None) -> Tensor:
    """Each voxel's neighbour along the first axis, plus what was told: another answer for the mirror image."""
    assert told is TOLD
    return torch.roll(x, 1, dims=2) + told[0, 1]


def test_the_mean_of_two_looks_is_that_of_both_neighbours_by_hand() -> None:
    x = torch.tensor([1.0, 2.0, 4.0, 8.0]).reshape(1, 1, 4, 1, 1)
    looked: list[int] = []
    found = answer(one_sided, x, TOLD, True, looked.append)
    assert found.flatten().tolist() == [7.0, 4.5, 7.0, 4.5]  # (8 + 2) / 2 + 2, (1 + 4) / 2 + 2, ...
    assert looked == [1, 2]


def test_two_looks_treat_left_and_right_alike_and_one_does_not() -> None:
    torch.manual_seed(1)
    x = torch.randn(2, 3, 5, 4, 6)
    for mirrored, alike in ((True, True), (False, False)):
        there = answer(one_sided, x, TOLD, mirrored, lambda _: None)
        back = answer(one_sided, x.flip(2), TOLD, mirrored, lambda _: None).flip(2)
        assert torch.allclose(there, back, atol=1e-6) is alike


def test_a_single_look_is_the_network_s_answer() -> None:
    x = torch.randn(1, 1, 4, 2, 2)
    looked: list[int] = []
    assert torch.equal(answer(one_sided, x, TOLD, False, looked.append), one_sided(x, TOLD))
    assert looked == [1]


def test_a_second_look_is_one_evaluation_more() -> None:
    assert (looks(False), looks(True)) == (1, 2)
