"""The training loop by a clock that we turn, and the losses of the recipes where the right answer is known."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.networks.registry import build_network
from LowFieldEnhanceLib.networks.residual_unet import ResidualUNet
from LowFieldEnhanceLib.training import loop, recipes
from LowFieldEnhanceLib.training.data import Head
from LowFieldEnhanceLib.training.loop import Plan, learning_rate_at, resumed_step, train
from LowFieldEnhanceLib.training.pairs import PairSampler
from LowFieldEnhanceLib.training.regression import RegressionLoss


@pytest.fixture(autouse=True)
def one_second_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop reads the clock once at its start and once a step."""
    now = iter(range(10**6))
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: float(next(now))))


def plan(out: Path, seconds: float, **options) -> Plan:
    return Plan(out, minutes=seconds / 60, **options)


def line() -> nn.Module:
    network = nn.Linear(2, 1)
    with torch.no_grad():
        network.weight.fill_(0.1)
        network.bias.zero_()
    return network


def fit_a_line(network: nn.Module) -> Tensor:
    x = torch.tensor([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    return ((network(x) - (2 * x[:, :1] - x[:, 1:])) ** 2).mean()


def test_training_lasts_as_long_as_planned(tmp_path: Path) -> None:
    result = train(line(), fit_a_line, plan(tmp_path, 12))
    assert result["steps"] == 12
    assert result["minutes"] == 0.2
    assert result["finished"]


def test_a_resumed_training_continues_the_count_and_ends_with_the_same_weights(tmp_path: Path) -> None:
    whole = train(line(), fit_a_line, plan(tmp_path / "whole", 12))
    first = train(line(), fit_a_line, plan(tmp_path / "parts", 12, piece_minutes=5 / 60))
    assert (first["steps"], first["finished"]) == (5, False)
    second = train(line(), fit_a_line, plan(tmp_path / "parts", 12, piece_minutes=4 / 60, resume=True))
    assert (second["steps"], second["finished"]) == (9, False)
    last = train(line(), fit_a_line, plan(tmp_path / "parts", 12, resume=True))
    assert (last["steps"], last["finished"]) == (12, True)
    for key, value in whole["weights"].items():
        assert torch.equal(last["weights"][key], value)


def test_a_finished_training_is_not_trained_further(tmp_path: Path) -> None:
    done = train(line(), fit_a_line, plan(tmp_path, 5))
    again = train(line(), fit_a_line, plan(tmp_path, 5, resume=True))
    assert again["steps"] == 5
    assert all(torch.equal(again["weights"][k], v) for k, v in done["weights"].items())


def test_without_resume_training_starts_afresh(tmp_path: Path) -> None:
    train(line(), fit_a_line, plan(tmp_path, 5))
    assert train(line(), fit_a_line, plan(tmp_path, 3))["steps"] == 3


def test_the_learning_rate_warms_up_and_falls_like_a_cosine_to_two_percent() -> None:
    assert learning_rate_at(0.0, 1.0) == pytest.approx(0.01)
    assert learning_rate_at(0.015, 1.0) == pytest.approx(0.5)
    assert learning_rate_at(0.03, 1.0) == pytest.approx(1.0)
    assert learning_rate_at(0.515, 1.0) == pytest.approx(0.02 + 0.98 / 2)
    assert learning_rate_at(1.0, 1.0) == pytest.approx(0.02)
    assert learning_rate_at(1.3, 1.0) == pytest.approx(0.02)


def test_the_returned_weights_are_the_moving_average(tmp_path: Path) -> None:
    network = line()
    seen: list[Tensor] = []

    def loss(net: nn.Module) -> Tensor:
        seen.append(net.weight.detach().clone())
        return fit_a_line(net)

    result = train(network, loss, plan(tmp_path, 6, ema=0.9))
    seen = [*seen[1:], network.weight.detach()]
    average = torch.full((1, 2), 0.1)
    for step, weight in enumerate(seen, start=1):
        decay = min(0.9, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * weight
    torch.testing.assert_close(result["weights"]["weight"], average)


def test_a_step_whose_gradient_is_not_finite_is_skipped(tmp_path: Path) -> None:
    calls = []

    def loss(net: nn.Module) -> Tensor:
        calls.append(1)
        return fit_a_line(net) * (float("nan") if len(calls) == 2 else 1.0)

    network = line()
    train(network, loss, plan(tmp_path, 4))
    assert all(torch.isfinite(p).all() for p in network.parameters())


def test_the_log_has_a_line_every_fifty_steps(tmp_path: Path) -> None:
    train(line(), fit_a_line, plan(tmp_path, 110))
    lines = [json.loads(text) for text in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in lines] == [50, 100]
    assert lines[1]["loss"] < lines[0]["loss"]


def smooth_heads() -> list[Head]:
    grids = np.meshgrid(*(np.linspace(-1, 1, 36),) * 3, indexing="ij")
    mask = sum(g**2 for g in grids) < 0.9
    image = np.where(mask, 0.2 + 0.6 * np.sin(3 * grids[0]) * np.sin(2.5 * grids[1]), -1)
    images = torch.from_numpy(np.stack([image, np.full_like(image, -1), -image * mask - ~mask])).half()
    return [Head("a", images, torch.tensor([True, False, True]), torch.from_numpy(mask), None)]


def test_a_tiny_network_learns_one_pair_to_half_its_error(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = ResidualUNet(widths=(16, 16), blocks=1, embedding=16, coordinates=4)
    pair = PairSampler(smooth_heads(), 16, seed=0).pair()
    loss = RegressionLoss(SimpleNamespace(rng=np.random.default_rng(0), pair=lambda: pair), 1, "cpu")

    def error() -> float:
        with torch.no_grad():
            return float(sum(loss(network) for _ in range(8)) / 8)

    before = error()
    network.load_state_dict(train(network, loss, plan(tmp_path, 150, learning_rate=3e-3, ema=0.9))["weights"])
    assert error() < 0.6 * before


# recipes


def test_a_recipe_writes_weights_and_the_record_of_its_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    architecture = {"kind": "residual_unet", "widths": [4, 4], "blocks": 1}
    x = torch.randn(1, 1, 4, 4, 4)
    made = (architecture, lambda network: (network(x) - 1).square().mean(), "one cube")
    monkeypatch.setitem(recipes.RECIPES, "tiny", lambda data, seed, device: made)
    record = recipes.run_recipe("tiny", tmp_path, plan(tmp_path / "run", 3), seed=5)
    stored = json.loads((tmp_path / "run" / "training.json").read_text())
    assert stored == record
    assert (record["steps"], record["seed"], record["training_data"]) == (3, 5, "one cube")
    from safetensors.torch import load_file

    from LowFieldEnhanceLib.weight_files import file_sha256

    assert record["sha256"] == file_sha256(tmp_path / "run" / "tiny.safetensors")
    build_network(record["architecture"]).load_state_dict(
        {k: v.float() for k, v in load_file(tmp_path / "run" / "tiny.safetensors").items()}
    )


def test_an_unknown_recipe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="unknown recipe"):
        recipes.run_recipe("magic", tmp_path, plan(tmp_path, 1))


def test_a_resumed_piece_starts_at_the_checkpoints_step_and_a_fresh_one_at_0(tmp_path: Path) -> None:
    train(line(), fit_a_line, plan(tmp_path, 30))
    assert resumed_step(Plan(tmp_path, 1.0, resume=True)) == 30
    assert resumed_step(Plan(tmp_path, 1.0)) == 0
    assert resumed_step(Plan(tmp_path / "elsewhere", 1.0, resume=True)) == 0


def test_learning_rates_belong_to_recipes() -> None:
    from LowFieldEnhanceLib.training.recipes import LEARNING_RATES, RECIPES

    assert set(LEARNING_RATES) <= set(RECIPES)
