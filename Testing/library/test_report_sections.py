"""The page's sections that appear only when there is something to say: detail, lesions, uncertainty, consistency."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from test_report_html import PICTURES, Page, parts
from test_report_schema import sections

from LowFieldEnhanceLib.evaluation.html import render_html
from LowFieldEnhanceLib.evaluation.report import build_report
from LowFieldEnhanceLib.evaluation.uncertainty import EXPECTED, FLIPS, SAMPLES

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
EVERY = {**PICTURES, "added_detail": b"\x89PNG detail", "uncertainty": b"\x89PNG spread"}


def whole(reference: bool = False, registered: bool = False, kind: str = SAMPLES, **changes: Any) -> dict[str, Any]:  # noqa: ANN401
    made = parts(reference=reference)
    return build_report(**made, **{**sections(made, registered, kind), **changes})


def page_of(report: dict[str, Any]) -> Page:
    return Page(render_html(report, EVERY))


def rows(page: Page, section: str) -> list[str]:
    """The texts of one section, by the place of its heading."""
    start = page.texts.index(section)
    return page.texts[start:]


@pytest.mark.parametrize("reference", [True, False], ids=["reference", "alone"])
def test_pictures_come_before_tables_and_the_method_comes_last(reference: bool) -> None:
    page = page_of(whole(reference, reference))
    ids = [attributes["id"] for tag, attributes in page.tags if tag == "section"]
    expected = ["pictures", "structures", "lesions", "images", "added-detail", "fidelity", "data-consistency",
                "uncertainty", "input", "provenance"]  # fmt: skip
    assert ids == [name for name in expected if reference or name != "images"]


@pytest.mark.parametrize("kind", [SAMPLES, FLIPS])
def test_without_a_reference_no_section_speaks_of_error_or_of_a_confidence_interval(kind: str) -> None:
    text = re.sub(r"base64,[A-Za-z0-9+/=]+", "", render_html(whole(kind=kind), EVERY)).lower()
    assert "error" not in text and "accura" not in text
    assert "confidence interval" not in text


def test_every_lesion_is_a_row_with_both_contrasts_and_its_fate() -> None:
    report = whole()
    texts = rows(page_of(report), "Lesions")
    (region,) = report["lesions"]["regions"]
    contrast = f"{region['enhanced']['contrast_percent']:+.1f}"
    assert contrast in texts and f"{region['diameter_mm']:.1f}" in texts
    fate = {True: "yes", False: "NO", None: region["not_judged"]}[region["survives"]]
    assert fate in texts
    assert any(text.startswith("A region is visible in an image if") for text in texts)


def test_a_lost_lesion_is_in_the_verdict_and_stands_out() -> None:
    report = whole()
    row = {**report["lesions"]["regions"][0], "survives": False}
    lost = whole(lesions={**report["lesions"], "regions": [row], "judged": 1, "surviving": 0})
    assert lost["verdict"].endswith("; 0 of 1 marked regions that the input shows survive in it.")
    assert "NO" in rows(page_of(lost), "Lesions")


def test_the_spots_are_listed_with_a_place_that_a_reader_can_find() -> None:
    report = whole()
    texts = rows(page_of(report), "Added detail")
    for spot in report["added_detail"]["spots"]:
        letters = [pair[value < 0] for pair, value in zip(("RL", "AP", "SI"), spot["centre_ras_mm"], strict=True)]
        place = ", ".join(f"{n} {abs(v):.0f}" for n, v in zip(letters, spot["centre_ras_mm"], strict=True))
        assert place in texts
        assert spot["sign"] in texts
    none = whole(added_detail={**report["added_detail"], "spots": []})
    assert any("No spot of 15 mm" in text for text in rows(page_of(none), "Added detail"))


def test_how_far_too_small_the_spread_is_said_to_be_is_what_was_measured() -> None:
    recorded = json.loads((BENCHMARKS / "calibration.json").read_text(encoding="utf-8"))["rows"]
    for kind in (SAMPLES, FLIPS):
        measured = [list(heads.values()) for heads in recorded.values() if next(iter(heads.values()))["kind"] == kind]
        means = [sum(head["factor"] for head in heads) / len(heads) for heads in measured]
        text = page_of(whole(kind=kind)).text
        factors = f"{min(means):.0f} to {max(means):.0f}"
        assert f"had to be multiplied by {factors} to hold the truth in 95 % of the voxels" in text
        assert "does not show in their spread" in text


def test_what_the_expected_deviation_is_said_to_hold_is_what_was_measured() -> None:
    recorded = json.loads((BENCHMARKS / "expected_deviation.json").read_text(encoding="utf-8"))

    def held(*groups: str) -> dict[str, float]:
        lines = {name: heads.values() for group in groups for name, heads in recorded[group].items()}
        return {name: 100 * sum(head["coverage"] for head in line) / len(line) for name, line in lines.items()}

    text = page_of(whole(kind=EXPECTED)).text
    usual, others, lesions = held("v1").values(), held("unlike", "contrasts"), held("lesions").values()
    own = [others.pop(name) for name in ("bias field of 40 %", "contrast of 64 mT")]  # of the scan, not of the truth
    assert {f"held the truth in {share:.0f} % of the voxels" in text for share in usual} == {True}
    assert f"in {min(others.values()):.0f} to {max(others.values()):.0f} % on scans unlike" in text
    assert f"in {min(lesions):.0f} to {max(lesions):.0f} % inside of lesions" in text
    assert f"against one without them it held {min(own):.0f} to {max(own):.0f} %" in text
    assert "does not show in their spread" not in text


def test_the_structures_have_the_variation_of_their_volume() -> None:
    report = whole()
    texts = rows(page_of(report), "Structures")
    assert "Variation, %" in texts
    assert f"{report['structures'][0]['volume_cv_percent']:.1f}" in texts


def test_data_consistency_has_its_residual_before_and_after() -> None:
    texts = rows(page_of(whole()), "Data consistency")
    assert "2.00" in texts and "1.00" in texts and "20.0 %" in texts and "0.30 %" in texts
    assert texts.index("2.00") < texts.index("1.00")
    assert "PSNR, dB" not in texts


def test_against_a_reference_data_consistency_has_the_image_scores_before_and_after_too() -> None:
    report = whole(True, True)
    report["data_consistency"]["images_before"] = {**report["images"]["enhanced"], "psnr": 12.34}
    texts = rows(page_of(report), "Data consistency")
    after = f"{report['images']['enhanced']['psnr']:.2f}"
    assert texts.index("PSNR, dB") < texts.index("12.34") < texts.index(after)


@pytest.mark.parametrize(
    ("registered", "said"), [(True, "was moved onto the scan by 3.0 mm and 2.0"), (False, "its header says")]
)
def test_how_the_reference_came_to_lie_on_the_scan_is_said(registered: bool, said: str) -> None:
    text = page_of(whole(True, registered)).text
    assert said in text and "overlap with a Dice of 0.97" in text
