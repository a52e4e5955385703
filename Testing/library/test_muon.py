"""Muon against the singular value decomposition, torch's own for matrices, and AdamW for what is no wide kernel."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from loop_support import one_second_a_step, plan  # noqa: F401
from torch import nn

from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.training.loop import Plan, train
from LowFieldEnhanceLib.training.muon import RATE_FACTOR, Muon, Orthogonalised, choose_optimizer, orthogonal


def network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv3d(1, 32, 3), nn.Conv3d(32, 40, 3), nn.Flatten(), nn.Linear(40, 2))


def loss_of(chosen: nn.Module) -> torch.Tensor:
    x = torch.linspace(-1, 1, 2 * 125).reshape(2, 1, 5, 5, 5)
    return ((chosen(x) - torch.eye(2)) ** 2).mean()


@pytest.mark.parametrize("shape", [(32, 90), (90, 32), (40, 40)])
def test_the_result_has_the_directions_of_the_polar_factor_and_singular_values_near_one(
    shape: tuple[int, int],
) -> None:
    torch.manual_seed(1)
    matrix = 1e-4 * torch.randn(shape)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    inner = left.T @ orthogonal(matrix) @ right.T
    values = torch.diagonal(inner)
    assert ((values > 0.5) & (values < 1.3)).all() if shape[0] != shape[1] else (values[:-4] > 0.5).all()
    assert (inner - torch.diag(values)).abs().max() < 1e-3


def test_a_matrix_of_zeros_stays_one() -> None:
    assert (orthogonal(torch.zeros(32, 40)) == 0).all()


def test_of_a_matrix_a_step_is_that_of_torch_s_muon_with_the_rms_of_adamw() -> None:
    torch.manual_seed(2)
    ours, theirs = (nn.Parameter(w.clone()) for w in [torch.randn(48, 32)] * 2)
    mine = Orthogonalised([ours], 1e-3)
    reference = torch.optim.Muon([theirs], lr=1e-3 * RATE_FACTOR, weight_decay=1e-4, adjust_lr_fn="match_rms_adamw")
    for _ in range(3):
        ours.grad = theirs.grad = torch.randn(48, 32)
        before = ours.detach().clone()
        mine.step()
        reference.step()
        assert (ours - theirs).abs().max() < 0.05 * (ours - before).abs().max()  # theirs iterates in bfloat16


def test_wide_kernels_alone_are_orthogonalised_and_the_rest_moves_as_with_adamw() -> None:
    both = network(), network()
    optimizers = choose_optimizer("muon", both[0], 1e-3), choose_optimizer("adamw", both[1], 1e-3)
    for chosen, optimizer in zip(both, optimizers, strict=True):
        optimizer.zero_grad()
        loss_of(chosen).backward()
        optimizer.step()
    other = dict(both[1].named_parameters())
    found = {name: torch.equal(value, other[name]) for name, value in both[0].named_parameters()}
    assert [name for name, same in found.items() if not same] == ["1.weight"]


def test_a_kernel_in_channels_last_takes_the_same_step() -> None:
    results = []
    for memory_format in (torch.contiguous_format, torch.channels_last_3d):
        chosen = network().to(memory_format=memory_format)
        optimizer = Muon(chosen, 1e-3)
        for _ in range(2):
            optimizer.zero_grad()
            loss_of(chosen).backward()
            optimizer.step()
        results.append(chosen[1].weight.detach())
    assert (results[0] - results[1]).abs().max() < 1e-5


@pytest.mark.usefixtures("one_second_a_step")
def test_a_training_with_it_lowers_the_loss_and_a_resumed_one_ends_with_the_same_weights(tmp_path: Path) -> None:
    def planned(folder: str, **given: object) -> Plan:
        return plan(tmp_path / folder, 12, optimizer="muon", **given)

    before = float(loss_of(network()).detach())
    whole = train(network(), loss_of, planned("whole"))
    assert whole["loss"] < before
    train(network(), loss_of, planned("parts", piece_minutes=5 / 60))
    parts = train(network(), loss_of, planned("parts", resume=True))
    assert all(torch.equal(parts["weights"][key], value) for key, value in whole["weights"].items())


@pytest.mark.usefixtures("one_second_a_step")
def test_its_rate_follows_the_schedule_times_its_factor(tmp_path: Path) -> None:
    optimizer = Muon(network(), 1e-3)
    assert [group["lr"] for group in optimizer.param_groups] == [1e-3 * RATE_FACTOR, 1e-3]
    train(network(), loss_of, plan(tmp_path, 12, optimizer="muon", learning_rate=1e-3))
    kept = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["optimizer"]
    rates = {name: part["param_groups"][0]["lr"] for name, part in kept.items()}
    assert rates["kernels"] == pytest.approx(RATE_FACTOR * rates["rest"])


@pytest.mark.usefixtures("one_second_a_step")
def test_a_checkpoint_of_the_other_optimizer_is_refused(tmp_path: Path) -> None:
    train(network(), loss_of, plan(tmp_path, 12, piece_minutes=5 / 60))
    with pytest.raises(BadInput, match="not a checkpoint of this network"):
        train(network(), loss_of, plan(tmp_path, 12, optimizer="muon", resume=True))


def test_an_unknown_optimizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="adamw or muon, not 'sgd'"):
        Plan(tmp_path, 1, optimizer="sgd")
