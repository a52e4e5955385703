"""The whole way of the bundled head, with the shipped weights: geometry, intensities, honesty, improvement."""

from __future__ import annotations

import json

import numpy as np
import pytest

from LowFieldEnhanceLib import pipeline
from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.evaluation.intensity import score_images
from LowFieldEnhanceLib.events import Events
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.image_io import read_image
from LowFieldEnhanceLib.preprocess.grid import Grid, resample
from LowFieldEnhanceLib.resources import resource


@pytest.fixture(scope="module")
def scan() -> Image:
    return read_image(resource("SampleData", "colin27_64mT_T1w.nii.gz"))


@pytest.fixture(scope="module")
def reference() -> Image:
    return read_image(resource("SampleData", "colin27_reference_T1w.nii.gz"))


@pytest.fixture(scope="module")
def events_seen() -> list[dict]:
    return []


@pytest.fixture(scope="module")
def result(scan: Image, reference: Image, events_seen: list[dict]) -> pipeline.Result:
    options = pipeline.Options(preset="fast")
    return pipeline.enhance(scan, options, reference=reference, events=Events(events_seen.append))


def test_output_is_1_mm_in_the_scans_frame_of_reference(scan: Image, result: pipeline.Result) -> None:
    enhanced = result.enhanced
    assert enhanced.spacing == pytest.approx((1, 1, 1))
    centre_in = scan.affine @ [*((np.array(scan.shape) - 1) / 2), 1]
    centre_out = enhanced.affine @ [*((np.array(enhanced.shape) - 1) / 2), 1]
    assert np.allclose(centre_in, centre_out, atol=1e-6)
    extent = np.array(scan.shape) * scan.spacing
    assert np.all(np.array(enhanced.shape) >= extent - 1e-3)
    assert np.all(np.array(enhanced.shape) < extent + 1)


def test_outside_the_brain_the_interpolated_input_is_kept(result: pipeline.Result) -> None:
    from scipy import ndimage

    outside = ~ndimage.binary_dilation(result.brain, iterations=3)
    assert np.array_equal(result.enhanced.array[outside], result.before.array[outside])


def test_enhancement_is_nearer_to_the_high_field_truth_than_interpolation(
    reference: Image, result: pipeline.Result
) -> None:
    truth = resample(reference, Grid.of(result.enhanced), "cubic").array
    before = score_images(truth, result.before.array, result.brain)
    after = score_images(truth, result.enhanced.array, result.brain)
    assert after.psnr > before.psnr + 1.0
    assert after.ssim > before.ssim + 0.03


def test_brain_has_a_plausible_volume_on_both_sides(result: pipeline.Result) -> None:
    volume = result.brain.sum() * result.enhanced.voxel_volume_ml
    assert 1000 < volume < 2200
    assert result.labels_after is not None
    left, right = ((result.labels_after.array == i).sum() for i in (2, 41))
    assert 0.7 < left / right < 1.4


def test_left_labels_lie_on_the_left(result: pipeline.Result) -> None:
    assert result.labels_after is not None
    labels = result.labels_after

    def right_coordinate(label: int) -> float:
        centre = np.argwhere(labels.array == label).mean(0)
        return float((labels.affine[:3, :3] @ centre + labels.affine[:3, 3])[0])

    for left, right in ((2, 41), (3, 42), (8, 47)):
        assert right_coordinate(left) < right_coordinate(right)


def test_report_is_json_with_provenance_and_derived_mark(scan: Image, result: pipeline.Result) -> None:
    text = json.dumps(result.report, allow_nan=False)
    assert "ENHANCED - not for diagnosis" in text
    provenance = result.report["provenance"]
    assert provenance["input_sha256"] == scan.sha256()
    assert len(provenance["weights"]["bridged_bridge"]) == 64
    assert provenance["licences"]["segmenter"].startswith("CC BY-NC-SA")
    assert result.report["has_reference"]


def test_same_provenance_gives_the_same_voxels(scan: Image, result: pipeline.Result) -> None:
    again = pipeline.enhance(scan, pipeline.Options(preset="fast", segment=False))
    assert np.array_equal(again.enhanced.array, result.enhanced.array)


def test_progress_runs_through_all_stages_and_ends(result: pipeline.Result, events_seen: list[dict]) -> None:
    stages = [e["stage"] for e in events_seen if e["event"] == "progress"]
    for stage in ("segment the input", "enhance", "check fidelity", "segment the result", "done"):
        assert stage in stages


def test_scanner_flips_and_axis_order_do_not_change_the_result(scan: Image) -> None:
    """The same head stored with other axes gives the same enhanced anatomy in the world."""
    options = pipeline.Options(method="cubic", segment=False)
    straight = pipeline.enhance(scan, options)
    flipped_affine = scan.affine.copy()
    flipped_affine[:3, 3] += flipped_affine[:3, 1] * (scan.shape[1] - 1)
    flipped_affine[:3, 1] *= -1
    permuted = Image(scan.array[:, ::-1].transpose(2, 0, 1), flipped_affine[:, [2, 0, 1, 3]], "T1w")
    turned = pipeline.enhance(permuted, options)
    assert turned.enhanced.shape == straight.enhanced.shape
    assert np.allclose(turned.enhanced.affine, straight.enhanced.affine, atol=1e-6)
    assert np.allclose(turned.enhanced.array, straight.enhanced.array, atol=0.5)


def test_refuses_unknown_method_preset_device_and_spacing(scan: Image) -> None:
    for options in (
        pipeline.Options(method="magic"),
        pipeline.Options(preset="slow"),
        pipeline.Options(device="abacus"),
        pipeline.Options(spacing=0.01),
    ):
        with pytest.raises(BadInput):
            pipeline.enhance(scan, options)


def test_refuses_an_image_without_a_brain() -> None:
    noise = Image(np.random.default_rng(0).random((40, 40, 40)) * 100, np.diag([2.0, 2, 2, 1]), "T1w")
    with pytest.raises(BadInput, match="brain"):
        pipeline.enhance(noise, pipeline.Options(method="cubic"))
