"""Distilled latent super-resolution on a phantom: what it computes, is told and reports, and how it stops."""

from __future__ import annotations

import json
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from method_support import cancelled_after, the_seed_alone_decides
from test_measurement import case_of
from torch import Tensor, nn

from LowFieldEnhanceLib.diffusion.denoiser import slice_class
from LowFieldEnhanceLib.diffusion.latent import SCHEDULE, alpha_bar
from LowFieldEnhanceLib.errors import BadInput, Cancelled, MissingModel
from LowFieldEnhanceLib.events import Events
from LowFieldEnhanceLib.image import CONTRASTS, Image
from LowFieldEnhanceLib.methods import latent
from LowFieldEnhanceLib.methods.base import Case, Enhancement, run_method, spread_of
from LowFieldEnhanceLib.methods.latent import DistilledLatent, LatentSettings, log_bias_field
from LowFieldEnhanceLib.methods.slices import told_along
from LowFieldEnhanceLib.networks.latent_autoencoder import LatentAutoencoder
from LowFieldEnhanceLib.physics.acquisition import Acquisition
from LowFieldEnhanceLib.preprocess.bias_correction import n4_bias_field
from LowFieldEnhanceLib.samples import mirrored, run_samples

SETTINGS = {
    "one step": LatentSettings(),
    "four steps": LatentSettings(steps=4, temperature=0.5),
    "teacher": LatentSettings("teacher", 3, temperature=1.0),
    "one axis": LatentSettings(axes=(2,), bias=False, temperature=1.0),
}
pytestmark = pytest.mark.usefixtures("tiny_models")


def run(settings: LatentSettings, case: Case, seed: int = 0, events: Events | None = None) -> Enhancement:
    return DistilledLatent(settings).enhance(case, "fast", torch.Generator().manual_seed(seed), events or Events())


class Linear(nn.Module):
    """A network that knows that the high-field image is ``factor`` x the low-field image + ``shift``.

    The autoencoder beside it is the cosine transform, so the residual follows from the latent of the scan.
    """

    multiple, latent, neighbours, residual_scale = 16, 16, 1, 0.5

    def __init__(self, factor: float = 1.0, shift: float = 0.0) -> None:
        super().__init__()
        self.factor, self.shift, self.calls = factor, shift, []

    def condition(
        self, low: Tensor, start: Tensor, kind: Tensor, told: Tensor, bias: Tensor | None, gain: Tensor | None
    ) -> Tensor:
        self.calls.append((low, kind, told, bias, gain))
        residual = (self.factor - 1) * start
        residual[:, 0] += 4 * self.shift
        return residual / self.residual_scale

    def forward(self, noisy: Tensor, level: Tensor, clean: Tensor) -> Tensor:
        abar = alpha_bar(level * SCHEDULE.steps)
        return (abar.sqrt() * noisy - clean) / (1 - abar).sqrt()


def knowing(monkeypatch: pytest.MonkeyPatch, network: nn.Module) -> None:
    torch.manual_seed(0)
    exact = LatentAutoencoder((8, 8), 1, 1, 16).eval()
    monkeypatch.setattr(latent, "load_network", lambda name, _: (exact if "auto" in name else network, None))


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 1, 2)])
def test_a_network_that_knows_the_head_returns_it_whatever_the_axis(
    axes: tuple[int, ...], steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    knowing(monkeypatch, Linear(0.8, 0.1))
    case, _ = case_of((19, 18, 21))
    result = run(LatentSettings(steps=steps, axes=axes, bias=False), case)
    wanted = np.where(case.mask, 0.8 * case.inputs["T1w"].array + 0.1, -1)
    np.testing.assert_allclose(result.array, wanted, atol=0.03)  # bfloat16
    assert (spread_of(result.along) is None) == (len(axes) == 1)
    assert spread_of(result.along) is None or spread_of(result.along).max() < 0.03
    assert len(result.along) == (len(axes) if len(axes) > 1 else 0)
    for volume in result.along:
        np.testing.assert_allclose(volume, wanted, atol=0.03)


def test_what_the_network_is_shown_and_told_follows_the_axis(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Linear()
    knowing(monkeypatch, network)
    case, _ = case_of((16, 32, 16))
    jacobian = np.random.default_rng(0).normal(0, 0.1, case.shape).astype(np.float32)
    told = Acquisition((2.0, 2.5, 4.0), 0.03)
    case = replace(case, acquisitions={"T1w": told}, log_jacobian=jacobian)
    run(LatentSettings(bias=True), case)
    coordinates = torch.tensor(told.coordinates())
    volume = torch.from_numpy(case.inputs["T1w"].array)
    assert len(network.calls) == 3
    for axis, (low, kind, said, bias, gain) in enumerate(network.calls):
        slices = volume.movedim(axis, 0)
        torch.testing.assert_close(low[0, 1], slices)
        torch.testing.assert_close(low[0, 0, 1:], slices[:-1])
        torch.testing.assert_close(low[0, 2, :-1], slices[1:])
        torch.testing.assert_close(gain[0, 0], torch.from_numpy(jacobian).movedim(axis, 0))
        assert bias.shape == gain.shape
        assert int(kind[0]) == slice_class("T1w", axis)
        torch.testing.assert_close(said[0], told_along(coordinates, axis))


def test_the_bias_field_told_is_that_of_the_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = (40, 40, 40)
    case, _ = case_of(shape)
    slope = np.linspace(-0.3, 0.3, shape[0])[:, None, None]
    even = np.where(case.mask, 0.6 * np.exp(slope), 0).astype(np.float32)
    image = case.inputs["T1w"]
    case = replace(case, inputs={"T1w": image.with_array(2 * even - 1)})
    network = Linear()
    knowing(monkeypatch, network)
    run(LatentSettings(axes=(0,)), case)
    bias = torch.cat([call[3][0, 0] for call in network.calls]).numpy()[: shape[0], : shape[1], : shape[2]]
    found, wanted = bias[case.mask], np.broadcast_to(slope, shape)[case.mask]
    assert np.corrcoef(found, wanted)[0, 1] > 0.95
    told = replace(case, log_jacobian=np.broadcast_to(-slope, shape).astype(np.float32))  # all of it is the unwarping's
    left = log_bias_field(told, Events())[case.mask]
    assert np.abs(left).max() < 0.2 * np.abs(found).max()


def test_stacks_of_few_slices_are_one_volume_and_checked_each(monkeypatch: pytest.MonkeyPatch) -> None:
    knowing(monkeypatch, Linear(0.8, 0.1))
    case, _ = case_of((16, 16, 16))
    settings = LatentSettings(steps=2, axes=(1,), bias=False)
    whole = run(settings, case).array
    monkeypatch.setattr(latent, "PIXELS", 5 * 16 * 16)
    sent: list[dict] = []
    np.testing.assert_allclose(run(settings, case, events=Events(sent.append)).array, whole, atol=1e-3)
    assert [event["done"] for event in sent] == [0, 5, 10, 15, 20, 25, 30, 31, 32]  # slices, each of them twice
    assert {event["total"] for event in sent} == {32}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_result_is_finite_on_the_grid_and_minus_one_outside_the_mask(name: str) -> None:
    case, _ = case_of()
    before = case.inputs["T1w"].array.copy()
    result = run(SETTINGS[name], case)
    assert result.array.shape == case.shape and result.array.dtype == np.float32
    assert np.isfinite(result.array).all() and result.array.min() >= -1 and result.array.max() <= 1.5
    assert (result.array[~case.mask] == -1).all()
    details = json.loads(json.dumps(result.details, allow_nan=False))
    assert details["evaluations"] == DistilledLatent(SETTINGS[name]).cost(case, "fast").evaluations
    assert details["bias_field"] == ("none" if name == "one axis" else "N4 of the input")
    assert details["gradient_nonlinearity"]["source"].startswith("identity")
    np.testing.assert_array_equal(case.inputs["T1w"].array, before)


@pytest.mark.parametrize("name", [name for name, settings in SETTINGS.items() if settings.temperature])
def test_the_seed_alone_decides(name: str) -> None:
    case, _ = case_of()
    the_seed_alone_decides(lambda seed: run(SETTINGS[name], case, seed).array, apart=1e-5)


@pytest.mark.parametrize("steps", [1, 3])
def test_without_a_temperature_nothing_is_drawn_and_the_start_is_the_middle_of_what_would_be(steps: int) -> None:
    case, _ = case_of()
    cold, other = (run(LatentSettings(steps=steps), case, seed).array for seed in (1, 2))
    np.testing.assert_array_equal(cold, other)
    apart = [np.abs(run(LatentSettings(steps=steps, temperature=t), case, 1).array - cold).max() for t in (0.01, 1.0)]
    assert 0 < apart[0] < 0.3 * apart[1]
    drawn = {preset: DistilledLatent().stochastic(preset) for preset in latent.PRESETS}
    assert drawn == {preset: settings.temperature > 0 for preset, settings in latent.PRESETS.items()}
    assert drawn["paper"] and not drawn["fast"]


@pytest.mark.parametrize("contrast", CONTRASTS)
@pytest.mark.parametrize("shape", [(9, 30, 17), (16, 16, 16)])
def test_every_contrast_and_any_shape_can_be_enhanced(contrast: str, shape: tuple[int, int, int]) -> None:
    case, _ = case_of(shape)
    image = Image(case.inputs["T1w"].array, case.inputs["T1w"].affine, contrast)
    other = replace(case, inputs={contrast: image}, target=contrast)
    assert run(LatentSettings(bias=False), other).array.shape == shape


def test_a_displacement_field_changes_the_result_and_its_determinant_stands_in_the_provenance() -> None:
    case, _ = case_of()
    spread = replace(case, log_jacobian=np.full(case.shape, np.log(1.2), dtype=np.float32))
    plain, told = run(SETTINGS["teacher"], case), run(SETTINGS["teacher"], spread)
    assert np.abs(plain.array - told.array).max() > 1e-5
    gain = told.details["gradient_nonlinearity"]
    assert gain["source"].startswith("Jacobian") and gain["from"] == pytest.approx(1.2) == gain["to"]


def test_the_jacobian_is_cropped_and_mirrored_with_the_scan() -> None:
    case, _ = case_of((30, 18, 16))
    jacobian = np.random.default_rng(0).normal(size=case.shape).astype(np.float32)
    case = replace(case, log_jacobian=jacobian, mask=case.mask & (np.arange(30) > 20)[:, None, None])
    inner, place = case.cropped(2)
    np.testing.assert_array_equal(inner.log_jacobian, jacobian[place])
    np.testing.assert_array_equal(mirrored(case, (0, 2)).log_jacobian, jacobian[::-1, :, ::-1])


def test_a_single_result_comes_with_the_spread_of_its_orientations(phantom) -> None:
    from LowFieldEnhanceLib.preprocess.prepare import prepare

    image, labels = phantom((22, 26, 22), (8.0, 8.0, 8.0), stripped=True)
    prepared = prepare(image, image, labels, sigma=20)
    case = Case.of(prepared)
    found = run_samples(DistilledLatent(), case, prepared, "fast", seed=0)
    single = run_method(DistilledLatent(), case, "fast", torch.Generator().manual_seed(0), Events())
    assert found.uncertainty is not None and found.drawn(0) == {"samples": 1, "seeds": [0], "flips": []}
    deviation = found.uncertainty.deviation.array
    inside = prepared.brain
    np.testing.assert_allclose(deviation[inside], (spread_of(single.along) * prepared.scale / 2)[inside], rtol=1e-5)
    assert (deviation[~prepared.mask] == 0).all() and deviation[inside].mean() > 0
    block = found.uncertainty.as_report(prepared.brain, prepared.sigma)
    assert block["kind"] == "orientations" and block["samples"] == 3 and "3 volumes" in block["text"]
    assert run_samples(DistilledLatent(), case, prepared, "fast", seed=0, samples=2).uncertainty.kind == "flips"


@pytest.mark.parametrize("steps", [0, 1])
def test_a_cancel_ends_the_run_at_the_next_stack(steps: int) -> None:
    case, _ = case_of()
    with pytest.raises(Cancelled):
        run(SETTINGS["four steps"], case, events=cancelled_after(steps * case.shape[0]))


def test_a_cancel_ends_the_fit_of_the_bias_field(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes 3 s of one core for a head."""
    events, through = Events(), []

    def fit(*arguments, **named):  # noqa: ANN002, ANN003
        events.cancel()
        through.append(n4_bias_field(*arguments, **named))
        return through[0]

    monkeypatch.setattr(latent, "n4_bias_field", fit)
    with pytest.raises(Cancelled):
        run(SETTINGS["one step"], case_of()[0], events=events)
    assert not through


def test_a_cancel_from_another_thread_ends_the_paper_preset() -> None:
    events = Events()
    timer = threading.Timer(0.2, events.cancel)
    timer.start()
    with pytest.raises(Cancelled):
        DistilledLatent().enhance(case_of()[0], "paper", torch.Generator().manual_seed(0), events)
    timer.join()


def test_the_presets_are_one_four_and_fifty_steps() -> None:
    case, _ = case_of()
    costs = [DistilledLatent().cost(case, preset) for preset in ("fast", "standard", "paper")]
    assert [cost.evaluations for cost in costs] == [3, 12, 150]
    assert costs[0].seconds < costs[1].seconds < costs[2].seconds
    assert latent.PRESETS["paper"].network == "teacher" and latent.PRESETS["standard"].network == "student"


@pytest.mark.parametrize(
    "wrong", [{"network": "pupil"}, {"steps": 0}, {"axes": ()}, {"axes": (3,)}, {"temperature": 1.5}]
)
def test_settings_that_cannot_be_are_refused(wrong: dict) -> None:
    with pytest.raises(BadInput):
        LatentSettings(**wrong)


def test_without_its_weights_the_method_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr(latent, "STUDENT", "no_such_network")
    with pytest.raises(MissingModel):
        run(LatentSettings(), case_of()[0])


def test_a_run_does_not_stop_to_count_its_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def counts(*_: object) -> None:
        raise AssertionError("a run counted its work")

    monkeypatch.setattr("LowFieldEnhanceLib.networks.macs.FlopCounterMode", counts)
    assert "macs" not in run(SETTINGS["one step"], case_of()[0]).details
