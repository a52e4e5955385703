"""Several samples of one scan: methods whose spread is known, seeds, batches, progress, cancel."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from samples_support import SD, Counting, Gaussian, Together, run

from LowFieldEnhanceLib.diffusion.samplers import renoise_average
from LowFieldEnhanceLib.errors import BadInput, Cancelled
from LowFieldEnhanceLib.events import Events
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.methods import bridged
from LowFieldEnhanceLib.methods.base import Case, Enhancement, run_batch, run_method
from LowFieldEnhanceLib.methods.registry import METHODS
from LowFieldEnhanceLib.preprocess.prepare import Prepared
from LowFieldEnhanceLib.segmentation.labels import LabelMap

pytest_plugins = ["samples_fixtures"]


def test_the_deviation_is_that_of_the_method_in_the_scans_unit(case: Case, prepared: Prepared) -> None:
    result = run(Gaussian(), case, prepared, 16)
    spread = result.uncertainty
    assert spread is not None
    expected = SD * prepared.scale / 2  # model -1..1 is 0..scale
    inside = prepared.brain
    assert np.sqrt((spread.deviation.array[inside] ** 2).mean()) == pytest.approx(expected, rel=0.03)
    off = result.enhanced.array[inside] - prepared.scale / 2
    assert off.std() == pytest.approx(expected / 4, rel=0.05)  # the mean of 16
    assert (spread.kind, spread.samples, spread.seeds) == ("samples", 16, tuple(range(5, 21)))


def test_mean_and_deviation_are_those_of_the_single_runs(case: Case, prepared: Prepared) -> None:
    result = run(Gaussian(), case, prepared, 3)
    single = np.stack([run(Gaussian(), case, prepared, 1, seed=seed).enhanced.array for seed in (5, 6, 7)])
    assert result.uncertainty is not None
    np.testing.assert_allclose(result.enhanced.array, single.mean(0), rtol=1e-5)
    np.testing.assert_allclose(result.uncertainty.deviation.array, single.std(0, ddof=1), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("together", "batches"), [(2, [2, 2, 1]), (None, [5])])
def test_samples_of_a_batch_are_those_drawn_one_by_one(
    together: int | None, batches: list[int], case: Case, prepared: Prepared
) -> None:
    method, seen = Together(), []
    found = run(method, case, prepared, 5, together=together, segmenter=Counting(), events=Events(seen.append))
    alone = run(Gaussian(), case, prepared, 5, segmenter=Counting())
    assert method.batches == batches
    assert np.array_equal(found.first.array, alone.first.array)
    assert np.array_equal(found.mean.array, alone.mean.array)
    assert np.array_equal(found.uncertainty.deviation.array, alone.uncertainty.deviation.array)
    assert (found.uncertainty.seeds, found.uncertainty.volumes) == (alone.uncertainty.seeds, alone.uncertainty.volumes)
    units = 5 * (Gaussian.steps + 1)
    done = [event["done"] for event in seen if event["event"] == "progress"]
    assert done == sorted(done) and (done[0], done[-1]) == (0, units)
    assert {event["total"] for event in seen if event["event"] == "progress"} == {units}


@pytest.mark.usefixtures("tiny_models")
def test_on_a_processor_the_prior_holds_one_sample_at_a_time(monkeypatch: pytest.MonkeyPatch, case: Case) -> None:
    """A batch brings nothing there, and its noise and estimates took 1.2 GB of a head's eight samples."""
    held: list[int] = []

    def counted(denoiser, estimate, *more):  # noqa: ANN001, ANN002, ANN202
        held.append(len(estimate))
        return renoise_average(denoiser, estimate, *more)

    monkeypatch.setattr(bridged, "renoise_average", counted)
    generators = [torch.Generator().manual_seed(seed) for seed in (4, 5, 6)]
    sent: list[int] = []
    run_batch(METHODS["bridged"], case, "standard", generators, Events(lambda event: sent.append(event["done"])))
    assert held == [1, 1, 1]
    assert sent == sorted(sent) and (sent[0], sent[-1]) == (0, 2)


def test_bridged_diffusion_runs_its_bridge_once_for_a_batch_and_gives_each_seeds_own_sample(case: Case) -> None:
    method, seen = METHODS["bridged"], []
    bridge = method._bridge
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(method, "_bridge", lambda *arguments: seen.append(1) or bridge(*arguments))
        generators = [torch.Generator().manual_seed(seed) for seed in (3, 4)]
        together = run_batch(method, case, "standard", generators, Events())
        assert len(seen) == 1
    for seed, sample in zip((3, 4), together, strict=True):
        alone = run_method(method, case, "standard", torch.Generator().manual_seed(seed), Events())
        np.testing.assert_allclose(sample.array, alone.array, atol=1e-6)
        assert sample.details == alone.details
    assert not np.array_equal(together[0].array, together[1].array)


def test_the_same_seed_gives_the_same_voxels_and_another_one_does_not(case: Case, prepared: Prepared) -> None:
    first, again, other = (run(Gaussian(), case, prepared, 2, seed=seed) for seed in (1, 1, 9))
    assert np.array_equal(first.enhanced.array, again.enhanced.array)
    assert np.array_equal(first.uncertainty.deviation.array, again.uncertainty.deviation.array)
    assert not np.array_equal(first.enhanced.array, other.enhanced.array)


def test_a_single_sample_has_no_uncertainty(case: Case, prepared: Prepared) -> None:
    segmenter = Counting()
    assert run(Gaussian(), case, prepared, 1, segmenter=segmenter).uncertainty is None
    assert segmenter.seen == []


def test_every_sample_is_segmented_for_the_spread_of_the_volumes(case: Case, prepared: Prepared) -> None:
    segmenter = Counting()
    spread = run(Gaussian(), case, prepared, 3, segmenter=segmenter).uncertainty
    assert spread is not None
    assert [volumes[10] for volumes in spread.volumes] == pytest.approx([5.12, 10.24, 15.36])
    row = spread.as_report(prepared.brain, prepared.sigma)["structures"]["Left Thalamus"]
    assert (row["volume_mean_ml"], row["volume_cv_percent"]) == (pytest.approx(10.24), pytest.approx(50.0))


@pytest.mark.parametrize("samples", [0, -1, 65])
def test_numbers_of_samples_without_a_meaning_are_refused(case: Case, prepared: Prepared, samples: int) -> None:
    with pytest.raises(BadInput, match="between 1 and 64"):
        run(Gaussian(), case, prepared, samples)


def test_progress_runs_once_over_all_samples_with_the_time_left_of_all(case: Case, prepared: Prepared) -> None:
    seen: list[dict] = []
    ticks = iter(range(1000))
    events = Events(seen.append, clock=lambda: float(next(ticks)))  # a second an event
    run(Gaussian(), case, prepared, 3, events=events)
    assert {(event["stage"], event["total"]) for event in seen} == {("enhance", 3 * Gaussian.steps)}
    done = [event["done"] for event in seen]
    assert done == sorted(done) and done[0] == 0 and done[-1] == 3 * Gaussian.steps
    for place, event in enumerate(seen[1:], start=1):
        left = len(seen) - 1 - place
        assert event["eta_s"] == pytest.approx(left, abs=4)


def test_the_last_segmentation_counts_as_work_that_is_left(case: Case, prepared: Prepared) -> None:
    seen: list[dict] = []

    class Watching(Counting):
        def segment(self, image: Image, events: Events) -> LabelMap:
            seen.append({"segmented": True})
            return super().segment(image, events)

    run(Gaussian(), case, prepared, 2, segmenter=Watching(), events=Events(seen.append))
    units = 2 * (Gaussian.steps + 1)
    assert "segmented" in seen[-2]
    assert (seen[-3]["done"], seen[-3]["total"]) == (units - 1, units)
    assert (seen[-1]["done"], seen[-1]["total"]) == (units, units)
    done = [event["done"] for event in seen if "done" in event]
    assert done == sorted(done)


def test_cancel_between_samples_ends_the_run(case: Case, prepared: Prepared) -> None:
    seen: list[dict] = []
    events = Events(seen.append)

    class Cancelling(Gaussian):
        def enhance(self, *arguments: object) -> Enhancement:
            outcome = super().enhance(*arguments)
            events.cancel()
            return outcome

    with pytest.raises(Cancelled):
        run(Cancelling(), case, prepared, 5, events=events)
    assert max(event["done"] for event in seen) == Gaussian.steps  # the first sample and no other


@pytest.mark.usefixtures("tiny_models")
@pytest.mark.parametrize("name", [name for name in METHODS if name != "bm4d"])
def test_a_method_says_truly_whether_it_draws(name: str, case: Case) -> None:
    method = METHODS[name]
    for preset in method.presets:
        if method.cost(case, preset).evaluations > 20:
            continue
        first, other = (
            run_method(method, case, preset, torch.Generator().manual_seed(seed), Events()).array for seed in (0, 1)
        )
        assert method.stochastic(preset) == (not np.array_equal(first, other))
