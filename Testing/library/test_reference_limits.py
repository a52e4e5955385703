"""Where a reference, a further contrast or a lesion map says nothing, nothing is claimed, and a sentence says so."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from judging_support import LESION_MM, OPTIONS, ball
from phantoms import phantom_head
from scipy import ndimage

from LowFieldEnhanceLib import pipeline
from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.evaluation.intensity import score_images
from LowFieldEnhanceLib.events import Events
from LowFieldEnhanceLib.image import ASSUMED, Image
from LowFieldEnhanceLib.segmentation.labels import LabelMap, from_channels, to_channels

pytest_plugins = ["judging_fixtures"]
pytestmark = pytest.mark.usefixtures("quick_pipeline")


def check(report: dict, name: str) -> dict:
    return next(found for found in report["input_checks"] if found["name"] == name)


def warnings_of(seen: list[dict]) -> str:
    return " ".join(event["message"] for event in seen if event["event"] == "warning")


# the reference's field of view


def cut(high: Image, planes: int) -> Image:
    """Without its lowest planes."""
    affine = high.affine.copy()
    affine[:3, 3] += affine[:3, 2] * planes
    return Image(high.array[:, :, planes:], affine, high.contrast, high.meta)


def test_a_reference_counts_only_where_it_was_measured(low: Image, high: Image) -> None:
    planes = next(n for n in range(high.shape[2]) if (high.array[:, :, n] > 0).any()) + 6
    short = cut(high, planes)
    report = pipeline.assess(low, high, "cpu", reference=short, spacing=4.0).report
    whole = pipeline.assess(low, high, "cpu", reference=high, spacing=4.0).report
    assert whole["images"]["mask"] == "brain"
    assert report["images"]["mask"] == "brain inside the reference's field of view"
    # the truth itself is the enhanced volume; scored over the whole brain, both would be as far from an empty reference
    scores = report["images"]
    assert scores["enhanced"]["psnr"] - scores["input"]["psnr"] > 5.0
    cut_off = [row for row in report["structures"] if row["note"] and "not wholly in the reference" in row["note"]]
    assert cut_off and all(row["error_enhanced_percent"] is None and row["dice_enhanced"] is None for row in cut_off)
    kept = [row for row in report["structures"] if row not in cut_off]
    assert kept and all(row["dice_enhanced"] is not None for row in kept)
    assert report["summary"]["structures"] < whole["summary"]["structures"]


def test_the_scores_before_the_projection_count_there_alone_too(low: Image, high: Image) -> None:
    planes = next(n for n in range(high.shape[2]) if (high.array[:, :, n] > 0).any()) + 6
    short = cut(high, planes)
    options = replace(OPTIONS, sigma=2.0)  # so little noise that interpolation does not explain the scan
    plain = pipeline.enhance(low, options, reference=short)
    block = pipeline.enhance(low, replace(options, data_consistency=True), reference=short).report["data_consistency"]
    assert block["applied"]
    assert block["images_before"]["psnr"] == pytest.approx(plain.report["images"]["enhanced"]["psnr"], rel=1e-6)


# a reference of another contrast


def test_a_reference_of_another_contrast_has_structures_and_no_image_scores(low: Image, high: Image) -> None:
    seen: list[dict] = []
    head = high.array > 0
    inverted = high.with_array(np.where(head, high.array.max() * 1.1 - high.array, 0).astype(np.float32))
    lesions = LabelMap(ball(high, LESION_MM, 9.0).astype(np.uint8), high.affine, {})
    named = Image(high.array, high.affine, "T2w", high.meta)
    for other, why in ((inverted, "what is bright in one is dark in the other"), (named, "it is T2w and the scan T1w")):
        report = pipeline.assess(
            low, high, "cpu", reference=other, lesions=lesions, spacing=4.0, events=Events(seen.append)
        ).report
        assert report["images"] is None
        assert report["registration"]["images_left_out"].startswith(why)
        assert not check(report, "reference")["ok"] and why in check(report, "reference")["text"]
        assert report["summary"]["mean_absolute_error_enhanced_percent"] is not None
        (row,) = report["lesions"]["regions"]
        assert "reference" not in row and row["survives"] is True
        assert why in warnings_of(seen)
        seen.clear()


def test_a_contrast_that_was_assumed_is_not_held_against_the_reference(low: Image, high: Image) -> None:
    assumed = Image(low.array, low.affine, "T1w", {ASSUMED: True})
    named = Image(high.array, high.affine, "T2w", high.meta)
    report = pipeline.assess(assumed, high, "cpu", reference=named, spacing=4.0).report
    assert report["images"] is not None


# a reference elsewhere


def test_a_reference_that_lies_elsewhere_has_no_tick_and_no_confident_verdict(low: Image, high: Image) -> None:
    away = high.affine.copy()
    away[0, 3] += 40
    elsewhere, labels = (
        Image(high.array, away, "T1w", high.meta),
        LabelMap(phantom_head()[1].array, away, {}),
    )
    report = pipeline.assess(low, high, "cpu", reference=elsewhere, reference_labels=labels, spacing=4.0).report
    found = check(report, "reference")
    assert not found["ok"] and "overlap poorly (Dice" in found["text"]
    assert report["verdict"].startswith("The brain of the reference and that of the scan overlap poorly")


def test_a_reference_that_shows_nothing_of_the_brain_is_refused_in_its_own_name(low: Image, high: Image) -> None:
    away = high.affine.copy()
    away[0, 3] += 400
    with pytest.raises(BadInput, match="the reference shows nothing of the brain .*--register"):
        pipeline.assess(low, high, "cpu", reference=Image(high.array, away, "T1w"), spacing=4.0)


def test_a_reference_whose_white_matter_lies_elsewhere_has_no_tick_although_the_brains_overlap(
    low: Image, high: Image
) -> None:
    # the same brain as a whole, with white matter of half the size in it: another person's head
    labels = phantom_head()[1].array
    white = np.isin(labels, (2, 41))
    depth = ndimage.distance_transform_edt(white)
    other = LabelMap(np.where(white & (depth < 4), labels + 1, labels), high.affine, {})  # 3 and 42: cortex
    seen: list[dict] = []
    result = pipeline.assess(
        low, high, "cpu", reference=high, reference_labels=other, spacing=4.0, events=Events(seen.append)
    )
    report = result.report
    assert report["registration"]["brain_overlap_dice"] > 0.9
    assert report["registration"]["white_matter_dice"] < 0.7
    assert "white matter" in warnings_of(seen) and not check(report, "reference")["ok"]
    assert report["verdict"].startswith(
        "The white matter of the reference and that of the scan overlap poorly (Dice 0."
    )
    right = pipeline.assess(low, high, "cpu", reference=high, spacing=4.0).report
    assert right["registration"]["white_matter_dice"] > 0.8 and check(right, "reference")["ok"]


# labels of a few structures


def test_structures_that_the_users_labels_lack_are_not_compared(low: Image, high: Image) -> None:
    labels = phantom_head()[1]
    ids = np.unique(labels.array[labels.array > 0])
    one = int(ids[-1])
    few = LabelMap(np.where(labels.array == one, one, 0).astype(np.uint8), labels.affine, {})
    seen: list[dict] = []
    report = pipeline.assess(
        low,
        high,
        "cpu",
        reference=high,
        reference_labels=few,
        spacing=4.0,
        events=Events(seen.append),
    ).report
    rows = {row["label_id"]: row for row in report["structures"]}
    assert rows[one]["dice_enhanced"] is not None
    for label, row in rows.items():
        if label != one:
            assert row["dice_enhanced"] is None and row["note"].startswith("not in the reference's labels")
    assert report["summary"]["structures"] == 1
    assert report["registration"]["brain_overlap_dice"] > 0.9 and "overlap" not in warnings_of(seen)


# lesions outside the mask


def test_marked_regions_outside_the_brain_are_named(low: Image, high: Image) -> None:
    marks = ball(high, LESION_MM, 9.0) | ball(high, (0.0, 0.0, 80.0), 6.0)
    seen: list[dict] = []
    lesions = LabelMap(marks.astype(np.uint8), high.affine, {})
    result = pipeline.assess(low, high, "cpu", lesions=lesions, spacing=4.0, events=Events(seen.append))
    section = result.report["lesions"]
    assert section["outside_brain"]["regions"] == 1 and section["outside_brain"]["volume_mm3"] > 0
    assert "1 marked region lies wholly or partly outside the brain mask" in result.report["verdict"]
    assert "a brain mask of your own" in warnings_of(seen)
    inside = LabelMap(ball(high, LESION_MM, 9.0).astype(np.uint8), high.affine, {})
    whole = pipeline.assess(low, high, "cpu", lesions=inside, spacing=4.0).report
    assert whole["lesions"]["outside_brain"]["regions"] == 0 and "outside" not in whole["verdict"]


# further contrasts


def test_a_further_contrast_that_shows_little_of_the_brain_is_refused_or_named(low: Image, high: Image) -> None:
    def moved(by: float) -> Image:
        affine = high.affine.copy()
        affine[2, 3] += by
        return Image(high.array, affine, "T2w", high.meta)

    options = replace(OPTIONS, method="bridged", preset="fast")
    with pytest.raises(BadInput, match=r"the T2w scan shows \d+% of the brain.*same head"):
        pipeline.subject_of(low, options, {"T2w": moved(150.0)})
    seen: list[dict] = []
    pipeline.subject_of(low, options, {"T2w": moved(60.0)}, events=Events(seen.append))
    assert "of the brain that is in the scan to be enhanced" in warnings_of(seen)
    seen.clear()
    pipeline.subject_of(low, options, {"T2w": moved(0.0)}, events=Events(seen.append))
    assert warnings_of(seen) == ""


def test_a_method_that_ignores_further_contrasts_says_so(low: Image, high: Image) -> None:
    second = {"T2w": Image(high.array, high.affine, "T2w", high.meta)}
    for method, said in (("cubic", True), ("bridged", False)):
        seen: list[dict] = []
        pipeline.enhance(
            low, replace(OPTIONS, method=method, preset="fast"), contrasts=second, events=Events(seen.append)
        )
        assert ("uses the scan alone: what was given as T2w is not used" in warnings_of(seen)) is said


# what made the result


def test_the_provenance_holds_what_the_voxels_depend_on(low: Image, high: Image) -> None:
    second = Image(high.array, high.affine, "T2w", high.meta)
    mask = high.with_array((phantom_head()[1].array > 0).astype(np.float32))
    options = replace(OPTIONS, method="bridged", preset="fast", sigma=20.0, brain_only=True)
    made = pipeline.enhance(low, options, contrasts={"T2w": second}, brain=mask).report["provenance"]
    assert (made["contrast"], made["spacing"], made["n4"], made["sigma"]) == ("T1w", 4.0, False, 20.0)
    assert made["further_contrasts_sha256"] == {"T2w": second.sha256()}
    assert made["brain_mask_sha256"] == mask.sha256() and made["brain_only"] is True
    plain = pipeline.enhance(low, replace(OPTIONS, method="bridged", preset="fast")).report["provenance"]
    assert plain["further_contrasts_sha256"] == {} and plain["brain_mask_sha256"] is None
    json.dumps(made)


def test_without_plausible_noise_nothing_is_projected_and_nothing_told_in_its_units(low: Image, high: Image) -> None:
    from LowFieldEnhanceLib.compare import compare

    smooth = pipeline.subject_of(high, OPTIONS).prepared.on_grid  # no noise at all
    quiet = Image(smooth.array, smooth.affine, "T1w", {})
    seen: list[dict] = []
    options = replace(OPTIONS, data_consistency=True)
    report = pipeline.enhance(quiet, options, events=Events(seen.append)).report
    assert report["fidelity"]["noise_plausible"] is False
    assert report["data_consistency"] is None and "projection onto the scan was left out" in warnings_of(seen)
    found = compare(quiet, [("cubic", "fast"), ("linear", "fast")], OPTIONS)
    assert all(row.get("residual_rms") is None and row.get("share_above_3") is None for row in found.rows)
    assert "times the scan's noise" not in found.disagreement.summary["text"]
    assert pipeline.enhance(low, options).report["data_consistency"] is not None


# FreeSurfer's own label maps


@pytest.mark.parametrize("part", [192, 251, 252, 253, 254, 255])
def test_the_corpus_callosum_is_white_matter_of_the_nearer_side(part: int) -> None:
    array = np.zeros((9, 4, 4), np.int32)
    array[:3], array[6:], array[3:6] = 2, 41, part
    found = from_channels(to_channels(array))
    assert (found[:4] == 2).all() and (found[5:] == 41).all() and np.isin(found, (2, 41)).all()
    array[array == 41] = 0
    assert (from_channels(to_channels(array))[3:6] == 2).all()
    assert from_channels(to_channels(np.array([[[78, 79, 29, 61]]]))).ravel().tolist() == [2, 41, 2, 41]


def test_the_scores_inside_the_field_of_view_are_those_of_the_same_voxels(low: Image, high: Image) -> None:
    planes = next(n for n in range(high.shape[2]) if (high.array[:, :, n] > 0).any()) + 6
    result = pipeline.assess(low, high, "cpu", reference=cut(high, planes), spacing=4.0)
    subject = pipeline.subject_of(low, OPTIONS, reference=cut(high, planes))
    seen = result.brain & subject.reference.field_of_view
    assert 0 < seen.sum() < result.brain.sum()
    expected = score_images(result.reference.array, result.before.array, seen)
    assert result.report["images"]["input"]["psnr"] == pytest.approx(expected.psnr)


@pytest.mark.parametrize("shift", [0.0, 300.0])
def test_labels_that_mark_nothing_of_the_brain_are_refused(low: Image, high: Image, shift: float) -> None:
    labels = phantom_head()[1]
    affine = labels.affine.copy()
    affine[0, 3] += shift
    elsewhere = LabelMap(labels.array * np.uint8(shift > 0), affine, {})
    with pytest.raises(BadInput, match="labels mark nothing of the brain"):
        pipeline.assess(low, high, "cpu", reference=high, reference_labels=elsewhere, spacing=4.0)
