"""The mirrored head, in place of samples of a method that draws none, and results of several orientations in one."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from samples_support import Counting, Slanted, Threefold, run

from LowFieldEnhanceLib.events import Events
from LowFieldEnhanceLib.methods.base import Case
from LowFieldEnhanceLib.methods.classical import Interpolation
from LowFieldEnhanceLib.preprocess.grid import Grid, resample
from LowFieldEnhanceLib.preprocess.prepare import Prepared
from LowFieldEnhanceLib.samples import FLIP_AXES, flip_name, mirrored

pytest_plugins = ["samples_fixtures"]


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
