"""Added detail, lesions and a reference in another position along the whole way of a scan and on the command line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_support import run_json
from judging_support import LESION_MM, OPTIONS, ball
from phantoms import phantom_head

from LowFieldEnhanceLib import pipeline
from LowFieldEnhanceLib.compare import compare
from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.events import Events
from LowFieldEnhanceLib.formats.field_strength import FIELD_STRENGTH
from LowFieldEnhanceLib.image import ORIENTATION_DOUBT, Image
from LowFieldEnhanceLib.image_io import read_image, write_image, write_labels
from LowFieldEnhanceLib.segmentation.labels import LabelMap

pytest_plugins = ["judging_fixtures"]
pytestmark = pytest.mark.usefixtures("quick_pipeline")
SHIFT = np.array([9.0, -7.0, 5.0])


@pytest.fixture(scope="module")
def lesions(high: Image) -> LabelMap:
    return LabelMap(ball(high, LESION_MM, 9.0).astype(np.uint8), high.affine, {})


@pytest.fixture(scope="module")
def judged(quick_pipeline: None, low: Image, high: Image, lesions: LabelMap) -> pipeline.Result:
    """The truth itself stands for the enhanced volume."""
    return pipeline.assess(low, high, "cpu", lesions=lesions, spacing=4.0)


def test_a_lesion_that_is_still_there_survives_and_the_verdict_says_so(judged: pipeline.Result) -> None:
    (row,) = judged.report["lesions"]["regions"]
    assert row["survives"] is True
    assert np.linalg.norm(np.subtract(row["centre_ras_mm"], LESION_MM)) < 2.0
    assert "1 of 1 marked regions that the input shows survive" in judged.report["verdict"]


def test_a_lesion_that_was_removed_does_not_survive_and_is_a_bright_spot_of_added_detail(
    low: Image, lesions: LabelMap
) -> None:
    healthy = phantom_head()[0]
    report = pipeline.assess(low, healthy, "cpu", lesions=lesions, spacing=4.0).report
    assert report["lesions"]["regions"][0]["survives"] is False
    spot = report["added_detail"]["spots"][0]
    assert spot["sign"] == "brighter"
    assert np.linalg.norm(np.subtract(spot["centre_ras_mm"], LESION_MM)) < 4.0


def test_a_volume_of_the_brain_alone_is_judged_as_if_the_head_were_around_it(low: Image) -> None:
    whole, alone = (pipeline.enhance(low, replace(OPTIONS, brain_only=only)) for only in (False, True))
    for block in ("verdict", "fidelity", "added_detail", "structures"):
        assert alone.report[block] == whole.report[block]
    far = whole.enhanced.array.copy()
    far[alone.enhanced.array > 0] = 0
    assert far.max() > 100 and alone.enhanced.array[alone.brain].min() > 0  # scalp there, none here
    rms = whole.report["fidelity"]["rms"]
    others = whole.enhanced.with_array(np.where(whole.brain, whole.enhanced.array, 0))  # somebody else's mask
    for volume, made_by in ((alone.enhanced, alone.report["provenance"]), (others, None)):
        said: list[dict[str, Any]] = []
        judged = pipeline.assess(low, volume, "cpu", spacing=4.0, made_by=made_by, events=Events(said.append))
        assert judged.report["fidelity"]["rms"] == pytest.approx(rms, rel=0.02)
        assert any("shows the brain alone, the scan the whole head" in e.get("message", "") for e in said)
        np.testing.assert_array_equal(judged.enhanced.array, volume.array)


def test_added_detail_is_a_map_on_the_results_grid_and_can_be_left_out(low: Image, judged: pipeline.Result) -> None:
    assert judged.added_detail is not None
    assert np.allclose(judged.added_detail.affine, judged.enhanced.affine)
    assert not judged.added_detail.array[~judged.brain].any()
    without = pipeline.enhance(low, replace(OPTIONS, added_detail=False))
    assert without.added_detail is None
    assert without.report["added_detail"] is None
    assert without.report["lesions"] is None


def test_without_a_reference_nothing_says_error(judged: pipeline.Result) -> None:
    assert "error" not in json.dumps(judged.report).lower()


def test_lesions_elsewhere_are_refused_before_the_method_runs(low: Image, lesions: LabelMap) -> None:
    away = LabelMap(lesions.array, lesions.affine + np.array([[0, 0, 0, 900.0], *[[0] * 4] * 3]), {})
    seen: list[dict] = []
    with pytest.raises(BadInput, match="marks nothing inside the brain"):
        pipeline.enhance(low, OPTIONS, lesions=away, events=Events(seen.append))
    assert "enhance" not in [e.get("stage") for e in seen]


def moved(image: Image) -> Image:
    """The same head as if it had lain elsewhere."""
    affine = image.affine.copy()
    affine[:3, 3] += SHIFT
    return Image(image.array, affine, image.contrast)


def test_a_reference_in_another_position_is_moved_onto_the_scan_with_its_labels(low: Image, high: Image) -> None:
    labels = phantom_head()[1]
    there = LabelMap(labels.array, moved(high).affine, {})
    result = pipeline.enhance(
        low, replace(OPTIONS, register_reference=True), reference=moved(high), reference_labels=there
    )
    block = result.report["registration"]
    assert block["registered"] and block["brain_overlap_dice"] > 0.9
    found = np.array(block["rigid"]["matrix_fixed_to_moving_ras"])
    assert np.linalg.norm(found[:3, 3] - SHIFT) < 1.5
    aligned = pipeline.enhance(low, OPTIONS, reference=high, reference_labels=labels).report
    assert result.report["images"]["enhanced"]["psnr"] > aligned["images"]["enhanced"]["psnr"] - 2.0
    thalamus = [r for r in result.report["structures"] if r["label_id"] == 10][0]
    assert thalamus["dice_enhanced"] > 0.6
    (check,) = [c for c in result.report["input_checks"] if c["name"] == "reference"]
    assert check["text"].endswith("it was registered to the scan")


def test_a_reference_that_lies_elsewhere_raises_a_warning_that_names_the_option(low: Image, high: Image) -> None:
    seen: list[dict[str, Any]] = []
    far = Image(high.array, high.affine + np.array([[0, 0, 0, 40.0], *[[0] * 4] * 3]), "T1w")
    labels = LabelMap(phantom_head()[1].array, far.affine, {})
    result = pipeline.enhance(low, OPTIONS, reference=far, reference_labels=labels, events=Events(seen.append))
    assert any(e["event"] == "warning" and "--register" in e["message"] for e in seen)
    assert result.report["registration"]["brain_overlap_dice"] < 0.8
    seen.clear()
    pipeline.enhance(low, OPTIONS, reference=high, events=Events(seen.append))
    assert not [e for e in seen if e["event"] == "warning"]


def warnings_of(seen: list[dict[str, Any]]) -> list[str]:
    return [event["message"] for event in seen if event["event"] == "warning"]


def test_a_scan_that_the_networks_do_not_know_is_told_of_once(low: Image, high: Image) -> None:
    """What the report puts into a banner reaches those who never open it."""
    seen: list[dict[str, Any]] = []
    strong = Image(low.array, low.affine, "T1w", {**low.meta, FIELD_STRENGTH: "3"})
    result = pipeline.enhance(strong, OPTIONS, events=Events(seen.append))
    (check,) = [c for c in result.report["input_checks"] if c["name"] == "field strength"]
    told = f"this scan is outside the range that the models were trained in: {check['text']}"
    assert not check["ok"] and warnings_of(seen) == [told]
    seen.clear()
    pipeline.assess(strong, result.enhanced, "cpu", spacing=OPTIONS.spacing, events=Events(seen.append))
    assert warnings_of(seen).count(told) == 1
    seen.clear()
    compare(strong, [("cubic", "fast"), ("linear", "fast")], OPTIONS, events=Events(seen.append))
    assert warnings_of(seen) == [told]


def test_doubts_that_were_told_before_the_work_are_not_told_again(low: Image, high: Image) -> None:
    unknown = Image(low.array, low.affine, "other", {**low.meta, ORIENTATION_DOUBT: "the header gives no directions"})
    far = Image(high.array, high.affine + np.array([[0, 0, 0, 40.0], *[[0] * 4] * 3]), "T1w")
    labels, seen = LabelMap(phantom_head()[1].array, far.affine, {}), []
    result = pipeline.enhance(unknown, OPTIONS, reference=far, reference_labels=labels, events=Events(seen.append))
    failed = {check["name"] for check in result.report["input_checks"] if not check["ok"]}
    assert {"contrast", "orientation", "reference"} <= failed
    told = warnings_of(seen)
    for part in ("unknown; it is taken for T1w", "left and right cannot be trusted", "comparisons with it mean little"):
        assert sum(part in message for message in told) == 1, told
    assert not any("was treated as T1w" in message for message in told)


def test_the_image_scores_do_not_depend_on_the_references_intensity_scale(low: Image, high: Image) -> None:
    plain = pipeline.enhance(low, OPTIONS, reference=high).report["images"]
    scaled = pipeline.enhance(low, OPTIONS, reference=high.with_array(7.0 * high.array)).report["images"]
    assert scaled["enhanced"]["psnr"] == pytest.approx(plain["enhanced"]["psnr"], abs=1e-3)
    assert scaled["enhanced"]["ssim"] == pytest.approx(plain["enhanced"]["ssim"], abs=1e-3)


def test_the_command_line_writes_the_map_and_the_lesions(
    low: Image, lesions: LabelMap, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_image(low, tmp_path / "scan_T1w.nii.gz")
    write_labels(lesions, tmp_path / "lesions.nii.gz")
    code, events = run_json(
        capsys, "enhance", str(tmp_path / "scan_T1w.nii.gz"), "-m", "cubic", "--spacing", "4",
        "-o", str(tmp_path / "e.nii.gz"), "--lesions", str(tmp_path / "lesions.nii.gz"),
        "--added-detail", str(tmp_path / "detail.nii.gz"), "--report", str(tmp_path / "r.json"),
    )  # fmt: skip
    assert code == 0, events[-1]
    assert events[-1]["added_detail"] == str(tmp_path / "detail.nii.gz")
    assert read_image(tmp_path / "detail.nii.gz").shape == read_image(tmp_path / "e.nii.gz").shape
    made = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert made["lesions"]["judged"] == 1
    code, events = run_json(
        capsys, "report", str(tmp_path / "scan_T1w.nii.gz"), str(tmp_path / "e.nii.gz"),
        "--spacing", "4", "-o", str(tmp_path / "again.json"), "--lesions", str(tmp_path / "lesions.nii.gz"),
    )  # fmt: skip
    assert code == 0, events[-1]
    assert json.loads((tmp_path / "again.json").read_text(encoding="utf-8"))["lesions"]["judged"] == 1


@pytest.mark.parametrize("option", [["--register"], ["--reference-labels", "x.nii.gz"]])
@pytest.mark.parametrize("command", ["enhance", "report", "compare"])
def test_options_of_a_reference_need_one(
    command: str, option: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["no.nii.gz", *(["no.nii.gz"] if command == "report" else [])]
    out = {"enhance": "e.nii.gz", "report": "r.html", "compare": "folder"}[command]
    code, events = run_json(capsys, command, *words, "-o", str(tmp_path / out), *option)
    assert code == 2
    assert "needs --reference" in events[-1]["message"]


@pytest.mark.parametrize("checksum", [None, "a" * 64])
def test_a_report_says_that_it_does_not_have_the_displacement_field_of_the_volume(
    checksum: str | None, low: Image, high: Image
) -> None:
    seen: list[dict[str, Any]] = []
    made_by = {"displacement_sha256": checksum}
    pipeline.assess(low, high, "cpu", spacing=4.0, made_by=made_by, events=Events(seen.append))
    told = any("made with a displacement field" in event.get("message", "") for event in seen)
    assert told is (checksum is not None)
