"""Several results of one scan: fakes whose spread is known, the mirrored head, seeds, progress, cancel."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from LowFieldEnhanceLib.errors import BadInput, Cancelled
from LowFieldEnhanceLib.events import Events
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.methods.base import Case, Enhancement, run_batch, run_method
from LowFieldEnhanceLib.methods.classical import Interpolation
from LowFieldEnhanceLib.methods.registry import METHODS
from LowFieldEnhanceLib.preprocess.grid import Grid, canonical_grid, resample
from LowFieldEnhanceLib.preprocess.prepare import Prepared, prepare
from LowFieldEnhanceLib.samples import FLIP_AXES, Samples, flip_name, mirrored, run_samples
from LowFieldEnhanceLib.segmentation.labels import LabelMap

SD = 0.1  # in the model range


class Gaussian:
    """Mid-grey with noise of a known standard deviation, in steps that it reports."""

    title, steps = "Gaussian", 4

    def stochastic(self, preset: str) -> bool:
        return True

    def enhance(self, case: Case, preset: str, generator: torch.Generator, events: Events) -> Enhancement:
        for step in range(self.steps + 1):
            events.progress("enhance", step, self.steps)
        noise = torch.randn(case.shape, generator=generator).numpy()
        return Enhancement(SD * noise, {"evaluations": self.steps})


class Together(Gaussian):
    """The same, several samples at once; it notes how many."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def enhance_batch(
        self, case: Case, preset: str, generators: list[torch.Generator], events: Events
    ) -> list[Enhancement]:
        self.batches.append(len(generators))
        silent = Events()
        for step in range(self.steps + 1):
            events.progress("enhance", step, self.steps)
        return [self.enhance(case, preset, generator, silent) for generator in generators]


class Slanted:
    """A ramp along the array's first axis: as unlike to its mirror image as can be told by hand."""

    title = "Slanted"

    def stochastic(self, preset: str) -> bool:
        return False

    def enhance(self, case: Case, preset: str, generator: torch.Generator, events: Events) -> Enhancement:
        events.progress("enhance", 1, 1)
        ramp = np.linspace(-0.5, 0.5, case.shape[0], dtype=np.float32)[:, None, None]
        return Enhancement(np.broadcast_to(ramp, case.shape).copy())


class Threefold:
    """The mean of three volumes that are 0.1 apart."""

    title = "Threefold"

    def stochastic(self, preset: str) -> bool:
        return True

    def enhance(self, case: Case, preset: str, generator: torch.Generator, events: Events) -> Enhancement:
        events.progress("enhance", 1, 1)
        along = tuple(np.where(case.mask, np.float32(value), np.float32(-1)) for value in (0.1, 0.2, 0.3))
        return Enhancement(along[1], along=along)


class Counting:
    """A segmenter whose one structure holds 10, 20, 30 ... voxels."""

    def __init__(self) -> None:
        self.seen: list[Image] = []

    def segment(self, image: Image, events: Events) -> LabelMap:
        self.seen.append(image)
        array = np.zeros(image.shape, np.uint8)
        array.ravel()[: 10 * len(self.seen)] = 10
        return LabelMap(array, image.affine, {})


@pytest.fixture(scope="module")
def prepared(phantom) -> Prepared:
    """A thick-slice phantom scan with flipped axes on an 8 mm working grid of odd and even sizes."""
    image, labels = phantom((22, 27, 22), (8.0, 8.0, 8.0), stripped=True)
    scan = resample(image, canonical_grid(image, (8.0, 8.0, 16.0)), "linear")
    affine = scan.affine.copy()
    affine[:3, 3] += affine[:3, 1] * (scan.shape[1] - 1)
    affine[:3, 1] *= -1
    return prepare(Image(scan.array[:, ::-1], affine, "T1w"), image, labels, sigma=20)


@pytest.fixture(scope="module")
def case(prepared: Prepared) -> Case:
    return Case({"T1w": prepared.model_input}, "T1w", prepared.mask, prepared.measured, prepared.sigma / prepared.scale)


def run(method: object, case: Case, prepared: Prepared, samples: int, **settings: object) -> Samples:
    return run_samples(method, case, prepared, "fast", settings.pop("seed", 5), samples, **settings)


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


def test_flips_of_a_slanted_method_spread_by_the_ramp(case: Case, prepared: Prepared) -> None:
    result = run(Slanted(), case, prepared, 2)
    spread = result.uncertainty
    assert spread is not None
    assert (spread.kind, spread.flips, spread.seeds) == ("flips", ("none", "left-right"), ())
    assert np.array_equal(result.enhanced.array, run(Slanted(), case, prepared, 1).enhanced.array)
    cut, place = case.cropped()
    ramp = np.linspace(-0.5, 0.5, cut.shape[0])
    expected = 2 * np.abs(ramp) / np.sqrt(2) * prepared.scale / 2  # the SD of r and -r
    deviation = spread.deviation.array[place]
    core = prepared.brain[place] & (deviation > 0)
    np.testing.assert_allclose(
        deviation[core], np.broadcast_to(expected[:, None, None], cut.shape)[core], rtol=1e-3, atol=0.05
    )


def test_a_method_that_does_not_mind_orientation_does_not_spread(case: Case, prepared: Prepared) -> None:
    """Interpolation reads the acquired voxels in the world, so this fails if the mirrored scan is off by a voxel."""
    spread = run(Interpolation("linear"), case, prepared, 8).uncertainty
    assert spread is not None
    assert spread.flips == tuple(flip_name(axes) for axes in FLIP_AXES)
    assert len(set(spread.flips)) == 8
    assert spread.deviation.array.max() < 1e-3 * prepared.scale


@pytest.mark.parametrize("axes", FLIP_AXES)
def test_a_case_mirrored_twice_is_itself_and_once_it_is_the_mirrored_scan(case: Case, axes: tuple[int, ...]) -> None:
    once = mirrored(case, axes)
    grid = Grid.of(case.inputs["T1w"])
    straight = resample(case.measured, grid, "linear").array
    np.testing.assert_allclose(resample(once.measured, grid, "linear").array, np.flip(straight, axes), atol=1e-5)
    twice = mirrored(once, axes)
    assert np.array_equal(twice.inputs["T1w"].array, case.inputs["T1w"].array)
    assert np.array_equal(twice.mask, case.mask)
    np.testing.assert_allclose(twice.measured.affine, case.measured.affine, atol=1e-9)


def test_there_are_eight_ways_to_mirror_a_head_and_a_warning_beyond(case: Case, prepared: Prepared) -> None:
    seen: list[dict] = []
    spread = run(Slanted(), case, prepared, 12, events=Events(seen.append)).uncertainty
    assert spread is not None and spread.samples == 8
    assert [e["message"] for e in seen if e["event"] == "warning"][0].count("8 results") == 1


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


def test_the_case_itself_is_left_as_it_was(case: Case, prepared: Prepared) -> None:
    before = dataclasses.replace(case, mask=case.mask.copy())
    copy = case.inputs["T1w"].array.copy()
    run(Slanted(), case, prepared, 8)
    assert np.array_equal(case.mask, before.mask)
    assert np.array_equal(case.inputs["T1w"].array, copy)


def test_each_orientation_of_a_single_result_is_segmented_and_the_volumes_are_spread(
    case: Case, prepared: Prepared
) -> None:
    segmenter, sent = Counting(), []
    result = run(Threefold(), case, prepared, 1, segmenter=segmenter, events=Events(sent.append))
    spread = result.uncertainty
    assert spread is not None and (spread.kind, spread.samples, spread.seeds) == ("orientations", 3, ())
    inside = prepared.brain
    means = [image.array[inside].mean() for image in segmenter.seen]
    np.testing.assert_allclose(means, [prepared.scale / 2 * (1 + value) for value in (0.1, 0.2, 0.3)], rtol=1e-4)
    np.testing.assert_allclose(spread.deviation.array[inside], 0.1 * prepared.scale / 2, rtol=1e-4)
    assert (spread.deviation.array[~prepared.mask] == 0).all()
    found = spread.as_report(prepared.brain, prepared.sigma)["structures"]["Left Thalamus"]
    voxel = 0.512  # mL, of 8 mm
    assert found["volume_mean_ml"] == pytest.approx(20 * voxel)
    assert found["volume_sd_ml"] == pytest.approx(10 * voxel)
    assert found["volume_cv_percent"] == pytest.approx(50.0)
    stages = [(event["stage"], event["done"], event["total"]) for event in sent]
    assert stages[0] == ("enhance", 1, 1)
    assert sorted(set(stages[1:])) == [("segment the orientations", done, 3) for done in range(4)]
    assert [done for _, done, _ in stages[1:]] == sorted(done for _, done, _ in stages[1:])


def test_without_a_segmenter_the_orientations_have_a_map_alone_and_of_several_samples_none_is_labelled_apart(
    case: Case, prepared: Prepared
) -> None:
    alone = run(Threefold(), case, prepared, 1).uncertainty
    assert alone is not None and alone.volumes == () and alone.deviation.array.max() > 0
    segmenter = Counting()
    two = run(Threefold(), case, prepared, 2, segmenter=segmenter).uncertainty
    assert two is not None and two.kind == "samples" and len(segmenter.seen) == len(two.volumes) == 2
