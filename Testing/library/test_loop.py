"""The training loop by a clock that we turn."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from loop_support import one_second_a_step, plan  # noqa: F401
from torch import Tensor, nn

from LowFieldEnhanceLib.errors import BadInput, Cancelled
from LowFieldEnhanceLib.events import Events
from LowFieldEnhanceLib.networks.residual_unet import ResidualUNet
from LowFieldEnhanceLib.training import checkpoint
from LowFieldEnhanceLib.training.data import Head
from LowFieldEnhanceLib.training.loop import Plan, learning_rate_at, train
from LowFieldEnhanceLib.training.pairs import PairSampler
from LowFieldEnhanceLib.training.regression import RegressionLoss

pytestmark = pytest.mark.usefixtures("one_second_a_step")


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


def test_a_training_that_only_makes_nan_ends_with_a_sentence(tmp_path: Path) -> None:
    """And a shorter spell of it, from the start or later, ends nothing, not even at the log's line."""

    def lost(steps: range) -> Callable[[nn.Module], Tensor]:
        calls = []

        def loss(net: nn.Module) -> Tensor:
            calls.append(1)
            return fit_a_line(net) * (float("nan") if len(calls) - 1 in steps else 1.0)

        return loss

    assert train(line(), lost(range(60)), plan(tmp_path / "a", 90))["steps"] == 90
    first = json.loads((tmp_path / "a" / "log.jsonl").read_text().splitlines()[0])
    assert (first["step"], first["loss"]) == (50, None)
    with pytest.raises(BadInput, match="not a number in 100 steps in a row, up to step 110"):
        train(line(), lost(range(10, 500)), plan(tmp_path / "b", 300))


@pytest.mark.parametrize(
    ("minutes", "piece"), [(0, None), (-1, None), (float("nan"), None), (float("inf"), None), (1, 0)]
)
def test_a_time_that_no_training_can_have_is_refused(tmp_path: Path, minutes: float, piece: float | None) -> None:
    with pytest.raises(BadInput, match="minutes above 0"):
        Plan(tmp_path, minutes, piece)


def test_progress_is_told_in_seconds_of_training(tmp_path: Path) -> None:
    seen: list[dict] = []
    train(line(), fit_a_line, plan(tmp_path, 10), events=Events(seen.append))
    assert [(event["done"], event["total"]) for event in seen] == [(n, 10) for n in range(1, 11)]
    train(line(), fit_a_line, plan(tmp_path / "late", 9.5), events=Events(seen.append))  # the last step ends later
    assert seen[-1]["done"] == seen[-1]["total"] == 9


@pytest.mark.parametrize("how", ["cancel", "interrupt"])
def test_a_stopped_training_leaves_a_checkpoint_and_says_so(tmp_path: Path, how: str) -> None:
    whole = train(line(), fit_a_line, plan(tmp_path / "whole", 12))
    events, calls = Events(), []

    def loss(net: nn.Module) -> Tensor:
        calls.append(1)
        if how == "interrupt" and len(calls) == 6:
            raise KeyboardInterrupt
        if how == "cancel" and len(calls) == 5:
            events.cancel()
        return fit_a_line(net)

    with pytest.raises(Cancelled, match="stopped after 5 steps; --resume"):
        train(line(), loss, plan(tmp_path / "stopped", 12), events=events)
    last = train(line(), fit_a_line, plan(tmp_path / "stopped", 12, resume=True))
    assert last["steps"] == 12 and all(torch.equal(last["weights"][k], v) for k, v in whole["weights"].items())


def test_a_full_disk_ends_the_training_with_a_sentence_and_keeps_the_earlier_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(line(), fit_a_line, plan(tmp_path, 3))
    before = (tmp_path / "checkpoint.pt").read_bytes()

    def full(_content: dict, path: Path) -> None:
        path.write_bytes(b"half")
        raise RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed")

    monkeypatch.setattr(checkpoint.torch, "save", full)
    with pytest.raises(BadInput, match="is the disk full"):
        train(line(), fit_a_line, plan(tmp_path, 5))
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
    assert not list(tmp_path.glob(".partial-*"))


def test_a_checkpoint_that_is_damaged_or_of_another_network_is_refused(tmp_path: Path) -> None:
    train(line(), fit_a_line, plan(tmp_path, 3))
    with pytest.raises(BadInput, match="not a checkpoint of this network"):
        train(nn.Linear(3, 1), fit_a_line, plan(tmp_path, 5, resume=True))
    for content in (b"", b"no checkpoint", (tmp_path / "checkpoint.pt").read_bytes()[:700]):
        (tmp_path / "checkpoint.pt").write_bytes(content)
        with pytest.raises(BadInput, match="not a checkpoint of a training run, or it is damaged"):
            train(line(), fit_a_line, plan(tmp_path, 5, resume=True))


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


def test_a_finished_run_keeps_its_loss_when_it_is_resumed(tmp_path: Path) -> None:
    done = train(line(), fit_a_line, plan(tmp_path, 5))
    again = train(line(), fit_a_line, plan(tmp_path, 5, resume=True))
    assert again["steps"] == done["steps"] and again["loss"] == done["loss"] is not None
