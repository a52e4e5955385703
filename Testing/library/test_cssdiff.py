"""CSS-Diff at work: where sampling starts, what the slices share, what is averaged, and how a run is stopped."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from method_support import the_seed_alone_decides
from test_css_diffusion import Answers, generator, middle, tiny
from test_measurement import case_of

from LowFieldEnhanceLib.diffusion.conditional import SCHEDULE
from LowFieldEnhanceLib.diffusion.denoiser import slice_class
from LowFieldEnhanceLib.errors import BadInput, Cancelled, MissingModel
from LowFieldEnhanceLib.events import Events
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.methods import cssdiff
from LowFieldEnhanceLib.methods.base import Case, Enhancement, spread_of
from LowFieldEnhanceLib.methods.cssdiff import CssDiff, CssDiffSettings, draw_noise, enhance_slices
from LowFieldEnhanceLib.methods.slices import neighbour_stack
from LowFieldEnhanceLib.physics.acquisition import Acquisition


def run(case: Case, settings: CssDiffSettings | None = None, seed: int = 0, **options) -> Enhancement:
    method = CssDiff(settings, options.get("network"))
    return method.enhance(case, "fast", generator(seed), options.get("events") or Events())


def test_equal_slices_with_shared_noise_give_equal_results_and_without_it_do_not() -> None:
    one = torch.rand(8, 12, generator=generator())
    slices = one.expand(5, -1, -1)
    condition = slices.expand(3, -1, -1, -1)
    results = []
    for shared in (True, False):
        noise = draw_noise(slices, shared, generator(1))
        results.append(enhance_slices(tiny(), slices, condition, 2, None, None, noise, 2))
    for n in range(1, 5):
        torch.testing.assert_close(results[0][n], results[0][0], rtol=0, atol=1e-5)
    assert float((results[1][1] - results[1][0]).abs().max()) > 1e-3


def test_the_result_does_not_depend_on_the_stacks_that_memory_allows() -> None:
    volume = torch.rand(7, 9, 10, generator=generator())
    noise = draw_noise(volume, True, generator(1))
    context = torch.rand(7, 6, generator=generator(2))
    told = torch.tensor([0.5, 0.2, float("nan"), 0.1])
    results = [
        enhance_slices(
            tiny(), volume, neighbour_stack(volume, 0, 1), 3, told, context, noise, 2, pixels=pixels
        )
        for pixels in (1, 3 * 12 * 12, 10**6)
    ]  # fmt: skip
    for result in results[:2]:
        assert result.shape == volume.shape
        torch.testing.assert_close(result, results[2], rtol=0, atol=0.02)  # bfloat16


def test_the_generator_sees_the_slice_its_neighbours_and_where_it_is(tiny_models) -> None:
    case, _ = case_of()
    case = replace(case, acquisitions={"T1w": Acquisition((1.6, 2.0, 5.0), 0.05)})
    network = Answers(middle)
    run(case, CssDiffSettings(steps=1), network=network)
    coordinates = case.acquisitions["T1w"].coordinates()
    assert len(network.calls) == 3
    for axis, (shape, _, kind, told, context) in enumerate(network.calls):
        assert shape[:3] == (1, 4, case.shape[axis])
        assert int(kind[0]) == slice_class("T1w", axis)
        within = [other for other in range(3) if other != axis]
        expected = [coordinates[axis], *(coordinates[w] for w in within), coordinates[3]]
        assert told[0].tolist() == pytest.approx(expected)
        assert context.shape[:2] == (1, case.shape[axis])
        torch.testing.assert_close(context.norm(dim=2), torch.ones(1, case.shape[axis]))
    run(case, CssDiffSettings(steps=1, perception=False), network=network)
    assert network.calls[-1][4] is None


@pytest.mark.usefixtures("tiny_models")
def test_the_three_orientations_are_averaged() -> None:
    case, _ = case_of()
    shift = {0: 0.1, 1: -0.4, 2: 0.6}
    network = Answers(lambda condition, kind: condition[:, 1:2] + shift[int(kind[0]) % 3])
    scan = torch.from_numpy(case.inputs["T1w"].array)
    for axes in ((0, 1, 2), (2,), (0, 1)):
        result = run(case, CssDiffSettings(steps=2, axes=axes), network=network).array
        expected = (scan + sum(shift[axis] for axis in axes) / len(axes)).clamp(-1, 1.5).numpy()
        np.testing.assert_allclose(result[case.mask], expected[case.mask], atol=1e-4)
        assert (result[~case.mask] == -1).all()


@pytest.mark.usefixtures("tiny_models")
def test_the_result_of_each_orientation_comes_with_their_mean() -> None:
    case, _ = case_of()
    shift = {0: 0.1, 1: -0.4, 2: 0.6}
    network = Answers(lambda condition, kind: condition[:, 1:2] + shift[int(kind[0]) % 3])
    scan = case.inputs["T1w"].array
    found = run(case, CssDiffSettings(steps=2), network=network)
    assert len(found.along) == 3
    for axis, volume in enumerate(found.along):
        expected = np.where(case.mask, (scan + shift[axis]).clip(-1, 1.5), -1)
        np.testing.assert_allclose(volume, expected, atol=1e-4)
    spread = spread_of(found.along)
    assert spread is not None and spread.shape == case.shape and (spread[~case.mask] == 0).all()
    free = case.mask & (scan > -0.55) & (scan < 0.85)  # no orientation is cut off at an end of the range
    np.testing.assert_allclose(spread[free], np.std([0.1, -0.4, 0.6], ddof=1), atol=1e-4)
    alone = run(case, CssDiffSettings(steps=2, axes=(2,)), network=network)
    assert alone.along == () and spread_of(alone.along) is None


def test_the_presets_that_are_said_to_spread_are_those_with_several_orientations() -> None:
    assert CssDiff.spreads == tuple(name for name, found in CssDiff.settings_of.items() if len(found.axes) > 1)


@pytest.mark.usefixtures("tiny_models")
def test_the_seed_alone_decides() -> None:
    case, _ = case_of()
    the_seed_alone_decides(lambda seed: run(case, seed=seed).array, 1e-4)


@pytest.mark.usefixtures("tiny_models")
def test_the_record_says_how_it_was_sampled() -> None:
    details = json.loads(json.dumps(run(case_of()[0]).details, allow_nan=False))
    assert details["evaluations"] == 6 and details["axes"] == [0, 1, 2]
    assert details["sigmas"] == pytest.approx(SCHEDULE.sigmas(2))
    assert details["told"] == [None] * 4


def test_single_slices_stand_in_for_their_neighbours(tiny_models) -> None:
    slices = torch.full((3, 16, 14), -1.0)
    slices[:, 3:12, 4:10] = torch.rand(3, 9, 6, generator=generator())
    network = Answers(lambda condition, kind: condition[:, :1] / 2 + condition[:, 2:] / 2 + 0.25)
    method = CssDiff(network=network)
    result = method.enhance_alone(slices, "FLAIR", "fast", generator(), Events())
    inside = slices > -1
    torch.testing.assert_close(result[inside], (slices[inside] + 0.25).clamp(-1, 1.5), rtol=0, atol=1e-4)
    assert (result[~inside] == -1).all()
    assert {int(kind[0]) for _, _, kind, _, _ in network.calls} == {slice_class("FLAIR", 2)}
    assert all(told is None for _, _, _, told, _ in network.calls)


@pytest.mark.usefixtures("tiny_models")
def test_progress_counts_the_steps_of_all_orientations() -> None:
    sent: list[dict] = []
    run(case_of()[0], events=Events(sent.append))
    assert [event["done"] for event in sent] == list(range(7))
    assert {event["total"] for event in sent} == {6}


def test_a_cancel_is_noticed_before_every_stack() -> None:
    volume = torch.zeros(6, 8, 8)
    network = Answers(middle)
    checks = []

    def check() -> None:
        checks.append(1)
        if len(checks) == 4:
            raise Cancelled("stop")

    with pytest.raises(Cancelled):
        enhance_slices(network, volume, volume.expand(3, -1, -1, -1), 0, None, None, volume, 5, check, pixels=2 * 8 * 8)
    assert len(network.calls) == 3


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"axes": ()}, {"axes": (3,)}, {"axes": (1, 1)}])
def test_settings_that_make_no_sense_are_refused(wrong: dict) -> None:
    with pytest.raises(BadInput):
        CssDiffSettings(**wrong)


def test_the_presets_count_their_evaluations_and_a_fast_run_of_a_head_takes_a_minute_at_most() -> None:
    presets = cssdiff.PRESETS
    assert [presets[name].evaluations for name in ("fast", "standard", "paper")] == [6, 15, 5]
    size = (160, 190, 160)
    head = Image(np.zeros(size, dtype=np.float32), np.eye(4), "T1w")
    case = Case({"T1w": head}, "T1w", np.ones(size, dtype=bool), head, 0.1)
    assert 10 < CssDiff().cost(case, "fast").seconds <= 60


def test_without_its_weights_it_says_so(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("LowFieldEnhanceLib.weights._folders", lambda: [tmp_path])
    with pytest.raises(MissingModel, match="css_generator"):
        run(case_of()[0])
