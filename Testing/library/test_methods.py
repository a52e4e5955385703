"""Every method of the registry keeps the contract of methods.base, whatever its weights."""

from __future__ import annotations

import importlib.util
import json
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from method_support import constant_network, run, thick_slices

from LowFieldEnhanceLib.errors import BadInput, Cancelled
from LowFieldEnhanceLib.events import Events
from LowFieldEnhanceLib.image import CONTRASTS, Image
from LowFieldEnhanceLib.methods.base import Case, Cost, Enhancement, run_method
from LowFieldEnhanceLib.methods.classical import Interpolation
from LowFieldEnhanceLib.methods.registry import METHODS, get_method
from LowFieldEnhanceLib.physics.acquisition import Acquisition
from LowFieldEnhanceLib.preprocess.grid import Grid, resample

QUICK = 20  # network evaluations; longer presets are only announced and cancelled here
WITHOUT_BM4D = importlib.util.find_spec("bm4d") is None
RUNS = [(name, preset) for name, method in METHODS.items() for preset in method.presets]
pytestmark = pytest.mark.usefixtures("tiny_models")


@pytest.fixture(scope="module")
def case(phantom) -> Case:
    return thick_slices(phantom)


def quick_runs() -> list[tuple[str, str]]:
    """Presets that end soon, by their own account of any small case."""
    tiny = Image(np.zeros((8, 8, 8)), np.eye(4), "T1w")
    case = Case({"T1w": tiny}, "T1w", np.ones((8, 8, 8), dtype=bool), tiny, 0.1)
    runs = [(n, p) for n, p in RUNS if METHODS[n].cost(case, p).evaluations <= QUICK]
    return [r for r in runs if r[0] != "bm4d" or not WITHOUT_BM4D]


@pytest.mark.parametrize("name", METHODS)
def test_a_method_says_what_it_is(name: str) -> None:
    method = METHODS[name]
    assert method.name == name
    assert method.kind in ("method", "baseline")
    assert all(text.strip() for text in (method.title, method.summary, method.citation))
    assert set(method.contrasts) <= set(CONTRASTS) and method.contrasts
    assert set(method.presets) <= {"fast", "standard", "paper"} and method.presets
    if method.kind == "method":
        assert set(method.presets) == {"fast", "standard", "paper"}
        assert method.models


@pytest.mark.parametrize(("name", "preset"), RUNS)
def test_a_cost_is_positive_and_grows_with_the_volume(name: str, preset: str, case: Case) -> None:
    cost = METHODS[name].cost(case, preset)
    assert isinstance(cost, Cost)
    assert cost.evaluations >= (1 if METHODS[name].models else 0)
    assert cost.peak_bytes > 0
    assert cost.seconds > 0
    large = Image(np.zeros((60, 60, 60)), np.eye(4))
    bigger = Case({"T1w": large}, "T1w", np.ones(large.shape, dtype=bool), large, 0.1)
    assert METHODS[name].cost(bigger, preset).peak_bytes > cost.peak_bytes


def test_presets_cost_no_less_as_they_promise_more(case: Case) -> None:
    for method in METHODS.values():
        # CSS-Diff was published as a run along one orientation, which is quicker than the average of three
        published = () if method.name == "cssdiff" else ("paper",)
        order = [p for p in ("fast", "standard", *published) if p in method.presets]
        seconds = [method.cost(case, preset).seconds for preset in order]
        assert seconds == sorted(seconds)


@pytest.mark.parametrize(("name", "preset"), quick_runs())
def test_a_result_is_finite_and_on_the_working_grid_and_its_details_are_json(
    name: str, preset: str, case: Case
) -> None:
    before = {contrast: image.array.copy() for contrast, image in case.inputs.items()}
    result = run(name, preset, case)
    assert result.array.shape == case.shape
    assert result.array.dtype == np.float32
    assert np.isfinite(result.array).all()
    assert (
        json.loads(json.dumps(result.details, allow_nan=False))["evaluations"]
        == METHODS[name].cost(case, preset).evaluations
    )
    for contrast, array in before.items():
        np.testing.assert_array_equal(case.inputs[contrast].array, array)


@pytest.mark.parametrize(("name", "preset"), quick_runs())
def test_the_same_seed_gives_the_same_voxels(name: str, preset: str, case: Case) -> None:
    torch.manual_seed(1)
    first = run(name, preset, case, seed=4).array
    torch.manual_seed(2)  # the global generator must not matter
    # the library of BM4D adds up in threads, whose order the last bit of a sum depends on
    allowed = 1e-6 if name == "bm4d" else 0
    np.testing.assert_allclose(run(name, preset, case, seed=4).array, first, rtol=0, atol=allowed)


def test_another_seed_gives_another_sample_where_the_prior_draws_noise_and_only_there(case: Case) -> None:
    assert np.abs(run("bridged", "standard", case, 0).array - run("bridged", "standard", case, 1).array).max() > 1e-4
    np.testing.assert_array_equal(run("bridged", "fast", case, 0).array, run("bridged", "fast", case, 1).array)


@pytest.mark.parametrize("name", METHODS)
def test_an_unknown_preset_is_refused_by_cost_and_by_enhance(name: str, case: Case) -> None:
    with pytest.raises(BadInput, match="no preset 'ultra'"):
        METHODS[name].cost(case, "ultra")
    with pytest.raises(BadInput, match="no preset 'ultra'"):
        run(name, "ultra", case)


def test_an_unknown_method_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(BadInput, match="choose bridged"):
        get_method("magic")


@pytest.mark.parametrize(("name", "preset"), [r for r in RUNS if r[0] != "bm4d" or not WITHOUT_BM4D])
def test_a_run_that_was_cancelled_before_does_no_work(name: str, preset: str, case: Case) -> None:
    events = Events()
    events.cancel()
    with pytest.raises(Cancelled):
        run(name, preset, case, events=events)


@pytest.mark.parametrize(("name", "preset"), [r for r in RUNS if r not in quick_runs() and r[0] != "bm4d"])
def test_a_cancel_from_another_thread_stops_a_long_run_within_two_seconds(name: str, preset: str, case: Case) -> None:
    begun = threading.Event()
    events = Events(lambda event: begun.set() if event.get("done") else None)
    asked: list[float] = []

    def cancel() -> None:
        begun.wait(0.4)  # the first evaluation, or somewhere within it
        asked.append(time.monotonic())
        events.cancel()

    thread = threading.Thread(target=cancel)
    thread.start()
    with pytest.raises(Cancelled):
        run(name, preset, case, events=events)
    thread.join()
    assert time.monotonic() - asked[0] < 2.0


@pytest.mark.parametrize(("name", "preset"), quick_runs())
def test_progress_starts_at_zero_and_ends_complete(name: str, preset: str, case: Case) -> None:
    sent: list[dict] = []
    run(name, preset, case, events=Events(sent.append))
    steps = [(event["done"], event["total"]) for event in sent if event["stage"] == "enhance"]
    assert steps[0][0] == 0
    assert steps[-1][0] == steps[-1][1]
    assert [done for done, _ in steps] == sorted({done for done, _ in steps})


# what the single methods compute


def test_the_regression_adds_its_residual_to_the_input(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "LowFieldEnhanceLib.methods.regression.load_network", lambda *_: (constant_network(0.25, 1), None)
    )
    np.testing.assert_allclose(run("regression", "fast", case).array, case.inputs["T1w"].array + 0.25, atol=1e-6)


@pytest.mark.parametrize("order", ["linear", "cubic"])
def test_interpolation_is_the_measured_scan_on_the_working_grid_in_the_model_range(order: str, case: Case) -> None:
    result = Interpolation(order).enhance(case, "fast", torch.Generator(), Events())
    expected = resample(case.measured, Grid.of(case.inputs["T1w"]), order).array
    np.testing.assert_allclose((result.array + 1) / 2, expected, atol=1e-6)


@pytest.mark.parametrize("contrast", CONTRASTS)
def test_every_contrast_has_its_channel_and_marks_its_presence(contrast: str) -> None:
    image = Image(np.full((4, 4, 4), 0.5), np.eye(4), contrast)
    case = Case({contrast: image}, contrast, np.ones((4, 4, 4), dtype=bool), image, 0.1)
    volume, presence = case.channels()
    channel = {"T1w": 0, "T2w": 1, "FLAIR": 2, "other": 0}[contrast]
    expected = torch.zeros(1, 3, 4, 4, 4)
    expected[0, channel] = 1
    assert torch.equal(presence, expected)
    assert torch.equal(volume, 0.5 * expected)


def test_a_scan_of_unknown_contrast_does_not_overwrite_the_t1w() -> None:
    image = Image(np.zeros((4, 4, 4)), np.eye(4))
    case = Case({"other": image, "T1w": image}, "other", np.ones((4, 4, 4), dtype=bool), image, 0.1)
    with pytest.raises(BadInput, match="not both"):
        case.channels()


def test_networks_are_told_of_each_contrasts_acquisition_in_its_row_unless_it_cannot_be_true(case: Case) -> None:
    thick, filtered = Acquisition((1.6, 1.6, 5.0), 0.05), Acquisition((1.0, 1.0, 1.0), 0.001)
    told = replace(case, acquisitions={"FLAIR": thick, "T2w": filtered}).told()
    assert told.shape == (1, 3, 4)
    torch.testing.assert_close(told[0, 2], torch.tensor(thick.coordinates()))
    assert torch.isnan(told[0, :2]).all()


@pytest.mark.parametrize("name", ["regression", "bridged"])
def test_what_a_network_is_told_of_the_acquisition_changes_its_answer(name: str, case: Case) -> None:
    thick = replace(case, acquisitions={"T1w": Acquisition((1.6, 1.6, 5.0), 0.05)})
    assert np.abs(run(name, "fast", thick).array - run(name, "fast", case).array).max() > 1e-4


def test_a_method_sees_the_masks_box_only_and_the_rest_of_the_input_stays() -> None:
    rng = np.random.default_rng(2)
    affine = np.array([[0, -1.5, 0, 40], [1.5, 0, 0, -30], [0, 0, 1.5, 7], [0, 0, 0, 1.0]])
    image = Image(rng.random((30, 34, 28)), affine, "T1w")
    mask = np.zeros(image.shape, dtype=bool)
    mask[12:15, 10:22, 11:13] = True
    whole = Case({"T1w": image}, "T1w", mask, image, 0.05)
    inner, place = whole.cropped(margin=4)
    assert [(part.start, part.stop) for part in place] == [(8, 19), (6, 26), (7, 17)]
    assert inner.mask.sum() == mask.sum()
    index = np.array([3, 5, 2, 1])
    assert np.allclose(inner.inputs["T1w"].affine @ index, affine @ (index + [8, 6, 7, 0]))

    class Negative:
        def enhance(self, case: Case, *_: object) -> Enhancement:
            return Enhancement(-case.inputs["T1w"].array, {"evaluations": 1})

    result = run_method(Negative(), whole, "fast", torch.Generator(), Events())
    changed = result.array != image.array
    assert changed[whole.cropped()[1]].all()
    np.testing.assert_array_equal(result.array[changed], -image.array[changed])
    assert changed.sum() == np.prod([part.stop - part.start for part in whole.cropped()[1]])
