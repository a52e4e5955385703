"""The training loop by a clock that we turn, and the losses of the recipes where the right answer is known."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.ndimage import uniform_filter
from torch import Tensor, nn

from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.networks.registry import build_network
from LowFieldEnhanceLib.networks.residual_unet import ResidualUNet
from LowFieldEnhanceLib.training import loop, recipes
from LowFieldEnhanceLib.training.bridged import (
    BRIDGE_TIMES,
    SCHEDULE,
    BridgeLoss,
    PriorLoss,
    drop_contrasts,
    sobel_difference,
    ssim3d,
)
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
    network = ResidualUNet(widths=(16, 16), blocks=1)
    pair = PairSampler(smooth_heads(), 16, seed=0).pair()
    loss = RegressionLoss(SimpleNamespace(rng=np.random.default_rng(0), pair=lambda: pair), 1, "cpu")

    def error() -> float:
        with torch.no_grad():
            return float(sum(loss(network) for _ in range(8)) / 8)

    before = error()
    network.load_state_dict(train(network, loss, plan(tmp_path, 150, learning_rate=3e-3, ema=0.9))["weights"])
    assert error() < 0.6 * before


# the losses


def still_pair(seed: int = 0, same: bool = False) -> SimpleNamespace:
    """A sampler that always gives one pair, with the random sources of the real one."""
    generator = torch.Generator().manual_seed(seed)
    low, high = torch.randn(2, 3, 8, 8, 8, generator=generator) * 0.3
    present = torch.tensor([True, True, False])
    low[2] = high[2] = -1
    pair = (high if same else low, high, present)
    return SimpleNamespace(
        rng=np.random.default_rng(seed),
        generator=torch.Generator().manual_seed(seed),
        pair=lambda: pair,
        high=lambda: (high, present, torch.ones(8, 8, 8, dtype=torch.bool), None),
    )


class Answer(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        return self.function(x.float(), noise)


def test_a_bridge_that_answers_the_difference_has_no_loss() -> None:
    sampler = still_pair()
    low, high, _ = sampler.pair()

    def difference(x: Tensor, _noise: Tensor) -> Tensor:
        shown, presence = x[:, 3:6], x[:, 6:]
        is_high = torch.tensor([torch.equal(s, high * p) for s, p in zip(shown, presence, strict=True)])
        return torch.where(is_high[:, None, None, None, None], torch.zeros(()), (high - low)[None])

    assert max(float(BridgeLoss(sampler, 2, "cpu")(Answer(difference))) for _ in range(8)) < 1e-6


@pytest.mark.parametrize("norm", [1, 2])
def test_the_bridge_loss_of_no_answer_is_the_distance_of_the_pair(norm: int) -> None:
    sampler = still_pair()
    sampler.rng = SimpleNamespace(random=lambda *size: np.full(size, 0.5) if size else 0.5)  # keep all, no identity
    low, high, present = sampler.pair()
    shown = {}

    def silent(x: Tensor, noise: Tensor) -> Tensor:
        shown["x"], shown["t"] = x, noise * SCHEDULE.steps
        return torch.zeros(x.shape[0], 3, *x.shape[2:])

    loss = float(BridgeLoss(sampler, 1, "cpu", norm=norm)(Answer(silent)))
    t = float(shown["t"])
    assert BRIDGE_TIMES[0] <= t <= BRIDGE_TIMES[1]
    distance = float(((high - low)[present].abs() ** norm).mean())
    abar = float(SCHEDULE.alpha_bar(t))
    assert loss == pytest.approx((abar ** (norm / 2) + 1) * distance, rel=1e-4)
    noisy, clean, presence = shown["x"][0, :3], shown["x"][0, 3:6], shown["x"][0, 6:]
    torch.testing.assert_close(clean[present], low[present])
    assert not noisy[2].any() and not clean[2].any() and not presence[2].any()
    noise = (noisy[present] - math.sqrt(abar) * low[present]) / math.sqrt(1 - abar)
    assert float(noise.std()) == pytest.approx(1.0, abs=0.1)


def test_the_bridge_is_asked_to_leave_high_field_alone() -> None:
    """On identical pairs every answer is an error, three times over: noised, clean, identity."""
    sampler = still_pair(same=True)
    ones = Answer(lambda x, noise: torch.ones(x.shape[0], 3, *x.shape[2:]))
    one_term = float(BridgeLoss(still_pair(same=True), 2, "cpu", weights=(0, 1, 0))(ones))
    identity = float(BridgeLoss(sampler, 2, "cpu", weights=(0, 0, 1))(ones))
    assert one_term == pytest.approx(1.0, rel=1e-4)
    assert identity == pytest.approx(1.0, rel=1e-4)


def test_a_prior_that_answers_the_noise_has_no_loss_and_silence_costs_its_variance() -> None:
    sampler = still_pair()
    high = sampler.high()[0]

    def true_noise(x: Tensor, noise: Tensor) -> Tensor:
        t = (noise * SCHEDULE.steps).double().numpy()
        abar = torch.from_numpy(SCHEDULE.alpha_bar(t))[:, None, None, None, None]
        clean = high * x[:, 3:]
        epsilon = (x[:, :3] - abar.sqrt() * clean) / (1 - abar).sqrt()
        return (abar.sqrt() * epsilon - (1 - abar).sqrt() * clean).float()

    def silence(x: Tensor, noise: Tensor) -> Tensor:
        """What makes eps 0: the v that takes the skip away again."""
        abar = torch.from_numpy(SCHEDULE.alpha_bar((noise * SCHEDULE.steps).double().numpy()))
        return (-((1 - abar) / abar).sqrt()[:, None, None, None, None] * x[:, :3]).float()

    assert max(float(PriorLoss(sampler, 2, "cpu")(Answer(true_noise))) for _ in range(6)) < 0.01
    silent = np.mean([float(PriorLoss(sampler, 2, "cpu", weights=(0.0, 0.0))(Answer(silence))) for _ in range(20)])
    assert silent == pytest.approx(1.0, rel=0.05)


def test_contrasts_are_dropped_down_to_one_but_never_to_none() -> None:
    sampler = still_pair()
    present = torch.tensor([True, False, True])
    kept = {tuple(drop_contrasts(present, sampler).tolist()) for _ in range(200)}
    assert kept == {(True, False, True), (True, False, False), (False, False, True)}


def test_ssim_is_one_of_equal_images_and_the_textbook_formula_inside() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.rand(2, 1, 1, 15, 14, 13, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(ssim3d(a, a), torch.ones_like(a))
    x, y = a[0, 0].numpy(), b[0, 0].numpy()
    mx, my = uniform_filter(x, 7), uniform_filter(y, 7)
    vx, vy = uniform_filter(x * x, 7) - mx**2, uniform_filter(y * y, 7) - my**2
    vxy = uniform_filter(x * y, 7) - mx * my
    c1, c2 = 0.02**2, 0.06**2
    expected = (2 * mx * my + c1) * (2 * vxy + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    inner = (slice(3, -3),) * 3
    np.testing.assert_allclose(ssim3d(a, b)[0, 0].numpy()[inner], expected[inner], rtol=1e-8)


def test_the_sobel_term_compares_gradient_magnitudes() -> None:
    ramp = torch.linspace(0, 1.5, 16, dtype=torch.float64)[None, None, :, None, None].expand(1, 1, 16, 8, 8)
    flat = torch.zeros_like(ramp)
    inner = sobel_difference(ramp, flat)[:, :, 1:-1]
    # a magnitude is never below 1e-3, so that its gradient exists
    expected = (math.tanh(math.hypot(0.1, 1e-3)) - math.tanh(1e-3)) ** 2
    torch.testing.assert_close(inner, torch.full_like(inner, expected), rtol=1e-5, atol=0)
    assert not sobel_difference(ramp, ramp).any()
    torch.testing.assert_close(sobel_difference(ramp, flat), sobel_difference(-ramp, flat))


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

    from LowFieldEnhanceLib.weights import file_sha256

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
