"""What reports say of simulated scans: the benchmark's own figures, of the same run, and not with a reference."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from test_report_html import PROVENANCE, Page, parts, report
from test_report_schema import DOCUMENT, violations

from LowFieldEnhanceLib.evaluation import simulated
from LowFieldEnhanceLib.evaluation.html import render_html
from LowFieldEnhanceLib.evaluation.report import build_report
from LowFieldEnhanceLib.evaluation.report_files import write_csv
from LowFieldEnhanceLib.evaluation.simulated import COLUMNS, as_block, entry_of, with_simulated
from LowFieldEnhanceLib.resources import resource

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
import simulated_volumes  # noqa: E402

ENTRY: dict[str, Any] = {
    "contrast": "T1w", "further_contrasts": [], "method": "bridged", "preset": "fast",
    "weights": PROVENANCE["weights"], "segmenter": PROVENANCE["segmenter"]["sha256"], "heads": "heads of nobody",
    "scans": 5, "acquired": "2 mm", "structures": {"Left Thalamus": [4.0, 1.0], "Brain Stem": [3.0, 2.0]},
}  # fmt: skip
RUN = {
    **PROVENANCE, "contrast": "T1w", "samples": 1, "data_consistency": None, "spacing": 1.0, "method_spacing": 1.0,
    "further_contrasts_sha256": {}, "profile": "gaussian", "sigma": None, "fwhm": None, "brain_mask_sha256": None,
    "displacement_sha256": None,
}  # fmt: skip
INSIDE = [{"ok": True, "trained_range": True}, {"ok": False, "trained_range": False}]


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """One entry, with the figures of two structures."""
    other = {**ENTRY, "preset": "standard", "structures": {"Left Thalamus": [9.0, 9.0]}}
    monkeypatch.setattr(simulated, "recorded", lambda: (other, ENTRY))


def test_the_bundled_figures_are_those_of_the_recorded_benchmarks_with_the_shipped_weights() -> None:
    found, _ = simulated_volumes.entries()
    text = resource("Models", simulated.FILE).read_text(encoding="utf-8")
    assert json.loads(text)["entries"] == found, "run Testing/benchmarks/simulated_volumes.py"
    runs = {(entry["contrast"], entry["method"], entry["preset"], *entry["further_contrasts"]) for entry in found}
    assert len(runs) == len(found)
    for preset in ("fast", "standard"):
        assert ("T1w", "bridged", preset) in runs, "no report of the method that users meet first has figures"


def test_the_mean_of_the_bundled_figures_is_that_of_the_published_table() -> None:
    quality = json.loads((simulated_volumes.FOLDER / "quality.json").read_text(encoding="utf-8"))["rows"]
    (entry,) = (
        entry for entry in simulated.recorded()
        if (entry["contrast"], entry["method"], entry["preset"]) == ("T1w", "bridged", "fast")
        and not entry["further_contrasts"]
    )  # fmt: skip
    block = as_block(entry)
    for key, row in (("mean_input_percent", "cubic"), ("mean_enhanced_percent", "bridged:fast")):
        published = sum(head["volume_error"] for head in quality[row].values()) / len(quality[row])
        assert block[key] == pytest.approx(published, abs=0.1)


def test_the_figure_of_a_structure_is_its_mean_difference_without_sign() -> None:
    base = {"a": {"structures": {"x": -4.0, "y": 1.0, "z": 1.0}}, "b": {"structures": {"x": 2.0, "y": None, "z": 3.0}}}
    after = {"a": {"structures": {"x": 1.0, "y": 1.0, "z": -1.0}}, "b": {"structures": {"x": -2.0, "y": 1.0, "z": 0.5}}}
    assert simulated_volumes.off_by(base, after) == {"x": [3.0, 1.5], "z": [2.0, 0.8]}
    assert simulated_volumes.off_by(base, {"a": {}, "b": {}}) == {}


@pytest.mark.usefixtures("recorded")
@pytest.mark.parametrize(
    "change",
    [
        {"contrast": "T2w"},
        {"method": "regression"},
        {"preset": "paper"},
        {"weights": {"bridge": "00" * 32}},
        {"weights": {**PROVENANCE["weights"], "companions": "00" * 32}},
        {"segmenter": {"name": "segmenter", "sha256": "00" * 32}},
        {"segmenter": None},
        {"further_contrasts_sha256": {"T2w": "11" * 32}},
        {"samples": 8},
        {"data_consistency": 0.1},
        {"n4": True},
        {"mirrored": True},
        {"sigma": 12.0},
        {"fwhm": [2.0, 2.0, 6.0]},
        {"profile": "box"},
        {"brain_mask_sha256": "ab"},
        {"displacement_sha256": "ab"},
        {"spacing": 0.7},
        {"method_spacing": 1.5},
    ],
    ids=str,
)
def test_another_run_has_no_figures(change: dict[str, Any]) -> None:
    assert entry_of(RUN, INSIDE) is ENTRY
    assert entry_of(RUN | change, INSIDE) is None


@pytest.mark.usefixtures("recorded")
def test_a_scan_unlike_the_trainings_has_none_and_a_volume_of_unknown_origin_neither() -> None:
    assert entry_of(RUN, [*INSIDE, {"ok": False, "trained_range": True}]) is None
    assert entry_of({"segmenter": RUN["segmenter"]}, INSIDE) is None


@pytest.mark.usefixtures("recorded")
def test_the_report_has_them_beside_its_structures_unless_there_is_a_reference(tmp_path: Path) -> None:
    made = build_report(**{**parts(), "provenance": RUN})
    assert made["simulated"]["mean_input_percent"] == 3.5 and made["simulated"]["mean_enhanced_percent"] == 1.5
    found = {row["name"]: [row[column] for column in COLUMNS] for row in made["structures"]}
    assert found["Left Thalamus"] == [4.0, 1.0] and found["Left Cerebral White Matter"] == [None, None]
    assert list(violations(made, DOCUMENT)) == []
    page = Page(render_html(made, {}))
    assert made["simulated"]["text"] in page.text and "Off in simulation: input, %" in page.texts
    assert "error" not in page.text.lower() and "accura" not in page.text.lower()
    write_csv(made, tmp_path / "report.csv")
    with (tmp_path / "report.csv").open(encoding="utf-8", newline="") as stream:
        rows = {row["name"]: row for row in csv.DictReader(stream)}
    assert rows["Left Thalamus"][COLUMNS[0]] == "4"
    compared = build_report(**{**parts(reference=True), "provenance": RUN})
    assert compared["simulated"] is None and COLUMNS[0] not in compared["structures"][0]
    assert build_report(**{**parts(segmented=False), "provenance": RUN})["simulated"] is None
    assert report()["simulated"] is None, "its provenance does not say how it was made"


def test_rows_without_figures_stay_what_they_are() -> None:
    rows = [{"name": "Left Thalamus", "volume_input_ml": 7.0}]
    assert with_simulated(rows, None) == rows
