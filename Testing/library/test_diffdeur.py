"""DiffDeuR and its baselines IREM and DPS on a phantom: what they compute, cost, report, and how they are stopped."""

from __future__ import annotations

import json
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from method_support import cancelled_after, the_seed_alone_decides
from test_measurement import case_of
from torch import nn

from LowFieldEnhanceLib.diffusion.denoiser import SliceDenoiser, slice_class
from LowFieldEnhanceLib.errors import BadInput, Cancelled, MissingModel
from LowFieldEnhanceLib.events import Events
from LowFieldEnhanceLib.image import CONTRASTS, Image
from LowFieldEnhanceLib.methods import diffdeur, dps, irem
from LowFieldEnhanceLib.methods.base import Case, Enhancement, Method
from LowFieldEnhanceLib.methods.coordinate_fit import FitSettings
from LowFieldEnhanceLib.methods.diffdeur import SCHEDULE, DiffDeur, DiffDeurSettings
from LowFieldEnhanceLib.methods.dps import Dps, DpsSettings
from LowFieldEnhanceLib.methods.irem import Irem, IremSettings
from LowFieldEnhanceLib.methods.measurement import ForwardSettings, Measurement, intensity

FIT = FitSettings(coarsest=6.0, finest=1.5, levels=3, features=2, hidden=16, edge=12)
SHORT = DiffDeurSettings(start=300, steps=3, first_epochs=2, epochs=1, fit=replace(FIT, embedding="exact"))
METHODS = {
    "inr": DiffDeur(SHORT),
    "fitted": DiffDeur(replace(SHORT, fit=FIT)),
    "cg": DiffDeur(replace(SHORT, data_step="cg", orientations="average")),
    "irem": Irem(IremSettings(epochs=4, fit=replace(FIT, tolerance=-1.0))),
    "dps": Dps(DpsSettings(start=300, steps=3)),
}
pytestmark = pytest.mark.usefixtures("tiny_models")


def run(method: Method, case: Case, seed: int = 0, events: Events | None = None) -> Enhancement:
    return method.enhance(case, "fast", torch.Generator().manual_seed(seed), events or Events())


class Zero(nn.Module):
    """A prior that returns u = 0: the clean estimate is abar x."""

    multiple = 4

    def forward(self, x: torch.Tensor, noise: torch.Tensor, kind: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(x)


class Knows(nn.Module):
    """A prior that knows the head, in slices of every orientation: u = sqrt(abar) x_t - x_0."""

    multiple = 2

    def __init__(self, clean: torch.Tensor) -> None:
        super().__init__()
        self.clean, self.place = clean, [0, 0, 0]

    def forward(self, x: torch.Tensor, noise: torch.Tensor, kind: torch.Tensor) -> torch.Tensor:
        axis = int(kind[0]) % 3
        abar = float(SCHEDULE.alpha_bar(float(noise[0]) * SCHEDULE.steps))
        slices = self.clean.movedim(axis, 0)
        first = self.place[axis]
        self.place[axis] = (first + x.shape[2]) % len(slices)
        height, width = slices.shape[1:]
        stack = slices[first : first + x.shape[2]]
        padded = nn.functional.pad(stack, (0, x.shape[4] - width, 0, x.shape[3] - height), value=-1.0)
        return abar**0.5 * x - padded[None, None]


def knowing(monkeypatch: pytest.MonkeyPatch, network: nn.Module) -> None:
    for module in (diffdeur, dps):
        monkeypatch.setattr(module, "load_network", lambda *_: (network, None))


@pytest.mark.parametrize("shape", [(9, 13, 6), (16, 16, 16)])
@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 1, 2)])
def test_the_slice_denoiser_turns_the_networks_answer_into_the_clean_estimate(
    shape: tuple[int, int, int], axes: tuple[int, ...]
) -> None:
    clean = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    denoiser = SliceDenoiser(Knows(clean), SCHEDULE, "T2w", axes, pixels=64, bfloat16=False)
    torch.testing.assert_close(denoiser(clean + 0.7 * noise, 0.7), clean, rtol=0, atol=1e-4)


def test_the_slice_denoiser_names_contrast_and_orientation_and_checks_before_every_stack() -> None:
    kinds: list[int] = []
    checks: list[int] = []

    class Listens(Zero):
        def forward(self, x: torch.Tensor, noise: torch.Tensor, kind: torch.Tensor) -> torch.Tensor:
            kinds.append(int(kind[0]))
            return super().forward(x, noise, kind)

    denoiser = SliceDenoiser(Listens(), SCHEDULE, "FLAIR", check=lambda: checks.append(1), pixels=2 * 8 * 8)
    denoiser(torch.zeros(8, 8, 8), 0.5)
    assert kinds == [slice_class("FLAIR", axis) for axis in (0, 1, 2) for _ in range(4)]
    assert len(checks) == 12


def test_a_cancel_is_noticed_before_every_stack_of_the_backward_pass_too(tiny_models) -> None:
    """It takes three times as long as the pass before it: 10 s for a head on one core."""
    from LowFieldEnhanceLib.weights import load_network

    events, checks = Events(), []

    def check() -> None:
        checks.append(1)
        events.check()

    x = torch.randn(6, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    denoiser = SliceDenoiser(load_network("slice_prior")[0], SCHEDULE, "T1w", (0,), check, pixels=2 * 8 * 8)
    answer = denoiser(x, 0.5).square().sum()
    assert len(checks) == 3
    torch.autograd.grad(answer, x)
    assert len(checks) == 6
    answer = denoiser(x, 0.5).square().sum()
    events.cancel()
    with pytest.raises(Cancelled):
        torch.autograd.grad(answer, x)
    assert len(checks) == 10


def test_the_gradient_through_the_slice_denoiser_is_that_of_the_whole_volume(tiny_models) -> None:
    from LowFieldEnhanceLib.weights import load_network

    network, _ = load_network("slice_prior")
    x = torch.randn(6, 8, 8, generator=torch.Generator().manual_seed(0))
    weight = torch.randn(6, 8, 8, generator=torch.Generator().manual_seed(1))
    gradients = []
    for pixels in (8 * 8, 10**6):
        leaf = x.clone().requires_grad_()
        denoiser = SliceDenoiser(network, SCHEDULE, "T1w", pixels=pixels, bfloat16=False)
        (denoiser(leaf, 0.6) * weight).sum().backward()
        gradients.append(leaf.grad)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-3, atol=1e-5)
    step = 1e-2 * weight
    denoiser = SliceDenoiser(network, SCHEDULE, "T1w", bfloat16=False)
    change = ((denoiser(x + step, 0.6) - denoiser(x - step, 0.6)) * weight).sum() / 2
    assert float((gradients[0] * step).sum()) == pytest.approx(float(change), rel=0.02)


@pytest.mark.parametrize("name", METHODS)
def test_a_result_is_finite_on_the_grid_and_minus_one_outside_the_mask(name: str) -> None:
    case, _ = case_of()
    before = case.inputs["T1w"].array.copy()
    result = run(METHODS[name], case)
    assert result.array.shape == case.shape and result.array.dtype == np.float32
    assert np.isfinite(result.array).all()
    assert result.array.min() >= -1 and result.array.max() <= 1.5
    assert (result.array[~case.mask] == -1).all()
    details = json.loads(json.dumps(result.details, allow_nan=False))
    assert details["evaluations"] == METHODS[name].cost(case, "fast").evaluations
    assert details["sigma"] == pytest.approx(0.02) and details["fwhm_mm"] == pytest.approx([2, 2, 4])
    measured = Measurement(case).rms(intensity(torch.from_numpy(result.array)))
    assert details["data_residual"] == pytest.approx(measured, rel=1e-4)
    np.testing.assert_array_equal(case.inputs["T1w"].array, before)


@pytest.mark.parametrize("name", METHODS)
def test_the_seed_alone_decides(name: str) -> None:
    case, _ = case_of()
    assert METHODS[name].stochastic("fast")
    the_seed_alone_decides(lambda seed: run(METHODS[name], case, seed).array, apart=1e-4)


@pytest.mark.parametrize("name", METHODS)
def test_progress_starts_at_zero_rises_and_ends_complete(name: str) -> None:
    sent: list[dict] = []
    run(METHODS[name], case_of()[0], events=Events(sent.append))
    done = [event["done"] for event in sent]
    assert done[0] == 0 and done[-1] == sent[-1]["total"]
    assert done == sorted(set(done))


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("after", [0, 1])
def test_a_cancel_ends_the_run_at_the_next_step(name: str, after: int) -> None:
    with pytest.raises(Cancelled):
        run(METHODS[name], case_of()[0], events=cancelled_after(after))


def test_a_cancel_from_another_thread_ends_the_paper_preset() -> None:
    events = Events()
    timer = threading.Timer(0.3, events.cancel)
    timer.start()
    with pytest.raises(Cancelled):
        DiffDeur().enhance(case_of()[0], "paper", torch.Generator().manual_seed(0), events)
    timer.join()


@pytest.mark.parametrize("name", ["inr", "cg"])
def test_the_data_steps_keep_the_result_nearer_to_the_scan_than_a_prior_that_knows_nothing(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    knowing(monkeypatch, Zero())
    case, _ = case_of()
    fit = replace(FIT, embedding="exact", learning_rate=1e-2, tolerance=-1.0)
    settings = replace(METHODS[name].settings, strength=0.02, balanced=False, first_epochs=15, epochs=5, fit=fit)
    result = run(DiffDeur(settings), case)
    steps = result.details["data_steps"]
    assert len(steps) == 3
    assert steps[0]["after"] < 0.7 * steps[0]["before"]
    assert all(step["iterations"] > 0 for step in steps)
    levels = [float(SCHEDULE.sigma(t)) for t in settings.timesteps]
    assert [step["level"] for step in steps] == pytest.approx(levels)
    assert [step["rho"] for step in steps] == pytest.approx([0.02 * (2 * 0.02 / level) ** 2 for level in levels])


@pytest.mark.parametrize("name", ["inr", "cg", "dps"])
def test_a_prior_that_knows_the_head_returns_the_head(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case, values = case_of()
    clean = torch.where(torch.from_numpy(case.mask), 2 * values - 1, torch.tensor(-1.0))
    knowing(monkeypatch, Knows(clean))
    method = Dps(DpsSettings(start=300, steps=3, step_size=0.0)) if name == "dps" else METHODS[name]
    error = np.abs(run(method, case).array - clean.numpy())
    assert error.mean() < 0.02
    assert error.mean() < 0.2 * np.abs(case.inputs["T1w"].array - clean.numpy()).mean()


def test_dps_with_a_step_on_the_data_is_nearer_to_the_scan() -> None:
    case, _ = case_of()
    residuals = [
        run(Dps(DpsSettings(start=300, steps=4, step_size=size)), case).details["data_residual"] for size in (0.0, 2.0)
    ]
    assert residuals[1] < residuals[0]


def test_irem_explains_the_scan_and_stops_at_the_noise() -> None:
    case, _ = case_of(noise=0.02)
    fit = replace(FIT, tolerance=-1.0)
    result = run(Irem(IremSettings(epochs=80, target=2.0, fit=fit)), case)
    assert result.details["data_residual"] < 2.3
    blocks = len(Measurement(case).blocks(fit.edge))
    assert result.details["iterations"] < 80 * blocks


def test_the_users_forward_model_reaches_the_methods() -> None:
    forward = ForwardSettings(fwhm=(2.5, 2.5, 5.0), profile="box", sigma=0.04)
    case, _ = case_of()
    for method in (DiffDeur(replace(SHORT, forward=forward)), Dps(DpsSettings(steps=1, forward=forward)),
                   Irem(IremSettings(epochs=1, fit=FIT, forward=forward))):  # fmt: skip
        details = run(method, case).details
        assert details["fwhm_mm"] == [2.5, 2.5, 5.0]
        assert (details["profile"], details["sigma"]) == ("box", 0.04)


@pytest.mark.parametrize("wrong", [{"orientations": "coronal"}, {"data_step": "newton"}])
def test_a_setting_that_does_not_exist_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(BadInput, match=next(iter(wrong.values()))):
        DiffDeurSettings(**wrong)


@pytest.mark.parametrize("method", [DiffDeur(), Irem(), Dps()], ids=lambda m: m.name)
def test_a_method_says_what_it_is_and_what_its_presets_cost(method: Method) -> None:
    assert method.kind == ("method" if method.name == "diffdeur" else "baseline")
    assert set(method.contrasts) == set(CONTRASTS)
    small, _ = case_of()
    size = (60, 60, 60)
    large = Image(np.zeros(size), np.eye(4), "T1w")
    costs = []
    for preset in method.presets:
        cost = method.cost(small, preset)
        bigger = method.cost(Case({"T1w": large}, "T1w", np.ones(size, dtype=bool), large, 0.1), preset)
        assert 0 < cost.seconds < bigger.seconds and 0 < cost.peak_bytes < bigger.peak_bytes
        costs.append(cost.seconds)
    assert costs == sorted(costs)
    with pytest.raises(BadInput, match="no preset 'ultra'"):
        method.cost(small, "ultra")


def test_the_presets_count_their_evaluations() -> None:
    presets = diffdeur.PRESETS
    assert (presets["fast"].evaluations, presets["standard"].evaluations, presets["paper"].evaluations) == (8, 16, 300)
    assert presets["paper"].timesteps[0] == 1000 and presets["paper"].timesteps[-1] == 1
    assert presets["paper"].fit.embedding == "fitted"
    assert dps.PRESETS["paper"].timesteps == list(range(1000, 0, -1))
    assert irem.PRESETS["fast"].target == 1.0


def test_a_fast_run_of_a_head_is_announced_with_less_than_three_minutes() -> None:
    size = (160, 190, 160)
    head = Image(np.zeros(size, dtype=np.float32), np.eye(4), "T1w")
    case = Case({"T1w": head}, "T1w", np.ones(size, dtype=bool), head, 0.1)
    assert 10 < DiffDeur().cost(case, "fast").seconds <= 180


def test_without_its_weights_a_method_says_so(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("LowFieldEnhanceLib.weights._folders", lambda: [tmp_path])
    for method in (DiffDeur(SHORT), Dps(DpsSettings(steps=1))):
        with pytest.raises(MissingModel, match="slice_prior"):
            run(method, case_of()[0])
