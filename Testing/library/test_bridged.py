"""Bridged diffusion: what bridge and prior are shown, and what becomes of their answers."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from method_support import constant_network, run, thick_slices

from LowFieldEnhanceLib.events import Events
from LowFieldEnhanceLib.methods.base import PRESENCE_VALUE, Case
from LowFieldEnhanceLib.methods.bridged import PRESETS, SCHEDULE, BridgedDiffusion, BridgedSettings

pytestmark = pytest.mark.usefixtures("tiny_models")


@pytest.fixture(scope="module")
def case(phantom) -> Case:
    return thick_slices(phantom)


def test_the_bridge_adds_its_residual_to_the_clean_input(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "LowFieldEnhanceLib.methods.bridged.load_network", lambda *_: (constant_network(0.125, 3), None)
    )
    expected = np.clip(case.inputs["T1w"].array + 0.125, -1, 1.5)
    np.testing.assert_allclose(run("bridged", "fast", case).array, expected, atol=1e-6)


def test_a_prior_that_knows_the_noise_leaves_the_estimate_as_it_is(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    low, presence = case.channels()

    class KnowsTheNoise(torch.nn.Module):
        multiple = 2

        def forward(self, x: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
            abar = float(SCHEDULE.alpha_bar(float(noise[0]) * SCHEDULE.steps))
            clean = low[..., : x.shape[2], : x.shape[3], : x.shape[4]]
            return abar**0.5 * x[:, :3] - clean

    monkeypatch.setattr("LowFieldEnhanceLib.methods.bridged.load_network", lambda *_: (KnowsTheNoise(), None))
    method = BridgedDiffusion(BridgedSettings(use_bridge=False, prior_time=300, steps=5, repeats=2))
    result = method.enhance(case, "standard", torch.Generator().manual_seed(0), Events())
    np.testing.assert_allclose(result.array, case.inputs["T1w"].array, atol=0.02)


def test_the_provenance_tells_the_window_that_memory_left(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    class Hungry(torch.nn.Module):
        multiple, most = 2, 10_000

        def forward(self, x: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
            if max(x.shape[2:]) > self.most:
                raise MemoryError
            return torch.zeros_like(x[:, : 1 if x.shape[1] == 1 else 3])

    for method in ("bridged", "regression"):
        monkeypatch.setattr(f"LowFieldEnhanceLib.methods.{method}.load_network", lambda *_: (Hungry(), None))
    monkeypatch.setattr("LowFieldEnhanceLib.networks.windows.MIN_WINDOW", 8)
    edge = max(case.inputs["T1w"].array.shape)
    for most, window in ((10_000, 256), (edge - 1, edge // 2)):
        Hungry.most = most
        assert run("bridged", "fast", case).details["window"] == window
        assert run("regression", "fast", case).details["window"] == window
    assert run("bridged", "standard", case).details["window"] == edge // 2


def test_without_bridge_and_prior_nothing_happens(case: Case) -> None:
    method = BridgedDiffusion(BridgedSettings(use_bridge=False, use_prior=False))
    result = method.enhance(case, "fast", torch.Generator(), Events())
    np.testing.assert_array_equal(result.array, case.inputs["T1w"].array)
    assert result.details["window"] is None
    assert method.cost(case, "fast").evaluations == 0


def test_the_presets_of_bridged_diffusion_count_their_evaluations() -> None:
    assert PRESETS["fast"].evaluations == 1
    assert PRESETS["paper"].evaluations == 1 + 400 * 3  # bridge, then J = 3 at each of K = 400 timesteps
    assert PRESETS["paper"].timesteps == list(range(400, 0, -1))
    assert (PRESETS["standard"].timesteps, PRESETS["standard"].evaluations) == ([15], 2)
    assert json.dumps(asdict(PRESETS["paper"]))


def test_a_second_contrast_changes_the_answer_of_bridged_diffusion_and_keeps_the_target(case: Case) -> None:
    other = case.inputs["T1w"].with_array(-case.inputs["T1w"].array)
    both = Case({**case.inputs, "T2w": other}, "T1w", case.mask, case.measured, case.sigma)
    alone, together = run("bridged", "fast", case).array, run("bridged", "fast", both).array
    assert together.shape == alone.shape
    assert np.abs(together - alone).max() > 1e-4
    assert np.abs(together - case.inputs["T1w"].array).mean() < np.abs(together - other.array).mean()


def test_the_bridge_sees_the_target_and_the_others_apart_and_the_prior_the_target_alone(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = case.inputs["T1w"].with_array(-case.inputs["T1w"].array)
    both = Case({**case.inputs, "T2w": other}, "T2w", case.mask, case.measured, case.sigma)
    seen: list[torch.Tensor] = []

    class Watching(torch.nn.Module):
        multiple = 4

        def forward(self, x: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
            seen.append(x)
            return torch.zeros_like(x[:, :3])

    monkeypatch.setattr("LowFieldEnhanceLib.methods.bridged.load_network", lambda *_: (Watching(), None))
    monkeypatch.setattr("LowFieldEnhanceLib.methods.bridged.CompaniedBridge", lambda bridge, encoder: bridge)
    result = run("bridged", "standard", both)
    bridge, prior = seen
    assert bridge[0, 3:6, 0, 0, 0].tolist() == pytest.approx([0, PRESENCE_VALUE, 0])
    assert not bridge[0, [0, 2]].any() and not bridge[0, [7, 8]].any()
    inside = tuple(slice(0, n) for n in both.shape)
    np.testing.assert_array_equal(bridge[0, 1][inside], other.array)
    np.testing.assert_array_equal(bridge[0, 6][inside], case.inputs["T1w"].array)
    assert prior[0, 3:, 0, 0, 0].tolist() == pytest.approx([0, PRESENCE_VALUE, 0])
    assert not prior[0, [0, 2]].any()
    assert np.corrcoef(result.array.ravel(), other.array.ravel())[0, 1] > 0.9
