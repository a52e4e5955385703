"""What a comparison leaves: one table, one sheet, one page; nothing overwritten."""

from __future__ import annotations

import argparse
import csv
import html
import io
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from compare_support import fake_run, report_of, unprepared
from phantoms import phantom_head

from LowFieldEnhanceLib import comparison_files as module
from LowFieldEnhanceLib.compare import Comparison, compare
from LowFieldEnhanceLib.compare_command import add_compare
from LowFieldEnhanceLib.comparison_files import to_csv, to_json, to_markdown, write_comparison
from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.evaluation.comparison_sheet import comparison_figure
from LowFieldEnhanceLib.evaluation.disagreement import disagreement
from LowFieldEnhanceLib.events import Events
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.image_io import DERIVED, read_image, write_image
from LowFieldEnhanceLib.ours import provenance_beside

pytest_plugins = ["compare_fixtures"]
pytestmark = pytest.mark.usefixtures("known_anatomy")

FILES = {"compare.md", "compare.csv", "compare.json", "compare.html", "compare.png"}


def test_without_a_reference_nothing_speaks_of_error(scan: Image) -> None:
    found = compare(scan, [("cubic", "fast")], start=unprepared, run=fake_run({}))
    for text in (to_markdown(found), to_csv(found), to_json(found)):
        assert "error" not in text.lower()
    assert "Mean absolute volume change" in to_markdown(found)


def test_the_markdown_table_keeps_its_columns_whatever_the_sentences_hold(scan: Image) -> None:
    lines = to_markdown(compare(scan, [("cubic", "fast")], start=unprepared, run=fake_run({}))).splitlines()
    assert lines[:2] == [f"**{DERIVED}**", ""]
    assert len({len(re.split(r"(?<!\\)\|", line)) for line in lines[2:]}) == 1
    assert "| 4.6 | 1.25 | 1.23 | 3.2 | 2 |" in lines[-1]


def test_a_column_that_is_empty_everywhere_is_left_out(scan: Image) -> None:
    unsegmented = {**report_of(1.0, 0.0), "summary": None}
    images = {"before": scan, "enhanced": scan, "brain": np.ones(scan.shape, dtype=bool), "reference": None}
    run = lambda *_, **__: SimpleNamespace(**images, report=unsegmented)  # noqa: E731
    found = compare(scan, [("cubic", "fast")], start=unprepared, run=run)
    assert "mean_absolute_change_percent" not in found.columns
    assert {"residual_rms", "seconds"} <= set(found.columns)


def test_csv_and_json_hold_the_rows(comparison: Comparison) -> None:
    table = list(csv.DictReader(io.StringIO(to_csv(comparison))))
    assert [row["method"] for row in table] == ["input", "cubic", "regression", "bridged"]
    assert float(table[1]["residual_rms"]) == comparison.rows[1]["residual_rms"]
    assert {row["notice"] for row in table} == {DERIVED}
    document = json.loads(to_json(comparison))
    assert document["schema"] == "lowfieldenhance-comparison/1"
    assert document["notice"] == DERIVED
    assert document["rows"] == comparison.rows


def test_all_files_appear_in_a_new_folder_with_the_page_offline(comparison: Comparison, tmp_path: Path) -> None:
    files = write_comparison(comparison, tmp_path / "out", volumes=True)
    runs = {title.replace(":", "-"): report["provenance"] for title, report in comparison.reports.items()}
    assert set(runs) == {"cubic-fast", "regression-fast", "bridged-standard"}
    volumes = {name + ending for name in runs for ending in (".nii.gz", ".json")}
    assert {p.name for p in (tmp_path / "out").iterdir()} == FILES | volumes
    for name, provenance in runs.items():
        assert provenance_beside(tmp_path / "out" / f"{name}.nii.gz") == provenance
    assert set(files) == {"md", "csv", "json", "html", "png"}
    page = files["html"].read_text(encoding="utf-8")
    assert DERIVED in page
    assert "data:image/png;base64," in page
    assert not re.findall(r"(?:src|href)=\"(?!data:)", page)
    assert files["png"].read_bytes().startswith(b"\x89PNG")
    assert read_image(tmp_path / "out" / "cubic-fast.nii.gz").shape == comparison.before.shape


def test_where_the_methods_disagree_is_measured_drawn_and_told(comparison: Comparison, tmp_path: Path) -> None:
    between = comparison.disagreement
    assert between is not None
    stacked = np.stack([image.array for _, image in comparison.results])
    expected = np.where(comparison.brain, stacked.std(axis=0, ddof=1), 0.0)
    np.testing.assert_allclose(between.deviation.array, expected, atol=1e-3 * expected.max())
    rows = [
        next(r for r in report["structures"] if r["name"] == "Left Thalamus")["volume_enhanced_ml"]
        for report in comparison.reports.values()
    ]
    found = between.summary["structures"]["Left Thalamus"]
    assert found["volume_mean_ml"] == pytest.approx(np.mean(rows))
    document = json.loads(to_json(comparison))
    assert document["disagreement"]["methods"] == ["cubic:fast", "regression:fast", "bridged:standard"]
    page = write_comparison(comparison, tmp_path / "out")["html"].read_text(encoding="utf-8")
    text = document["disagreement"]["text"]
    assert "Where the methods disagree" in page and text in html.unescape(page)
    assert f"the 3 results inside the brain: {expected[comparison.brain].mean():.4g} in" in text
    assert "times the scan's noise" in text and "at most one is right" in text
    large = {name: row for name, row in document["disagreement"]["structures"].items() if row["volume_mean_ml"] >= 1}
    most = max(large, key=lambda name: large[name]["volume_cv_percent"])
    varies = large[most]["volume_cv_percent"]
    assert (f"varies most is that of {most} ({varies:.1f} %)" in text) == (varies >= 0.05)


@pytest.mark.parametrize(("other", "named"), [(100.02, False), (101.0, True)])
def test_a_volume_is_not_said_to_vary_by_nothing(scan: Image, other: float, named: bool) -> None:
    structures = [[{"label_id": 2, "volume_enhanced_ml": volume}] for volume in (100.0, other)]
    found = disagreement([("a", scan), ("b", scan)], structures, np.ones(scan.shape, dtype=bool))
    assert found is not None and ("varies most" in found.summary["text"]) == named


def test_one_method_has_nobody_to_disagree_with(scan: Image, tmp_path: Path) -> None:
    found = compare(scan, [("cubic", "fast")], start=unprepared, run=fake_run({}))
    assert found.disagreement is None
    assert json.loads(to_json(found))["disagreement"] is None
    page = write_comparison(found, tmp_path / "out")["html"].read_text(encoding="utf-8")
    assert "disagree" not in page


@pytest.mark.parametrize(("judged", "said"), [(4, "3 of 4"), (0, "none visible")])
def test_marked_regions_that_survive_have_their_column(scan: Image, judged: int, said: str) -> None:
    marked = {**report_of(1.0, 0.0), "lesions": {"surviving": min(3, judged), "judged": judged}}
    images = {"before": scan, "enhanced": scan, "brain": np.ones(scan.shape, dtype=bool), "reference": None}
    run = lambda *_, **__: SimpleNamespace(**images, report=marked)  # noqa: E731
    found = compare(scan, [("cubic", "fast")], start=unprepared, run=run)
    assert found.columns["lesions_surviving"] == "Marked regions that survive"
    assert f"| {said} |" in to_markdown(found)


def test_sentences_are_escaped_on_the_page(scan: Image, tmp_path: Path) -> None:
    found = compare(scan, [("cubic", "fast")], start=unprepared, run=fake_run({}))
    page = write_comparison(found, tmp_path / "out")["html"].read_text(encoding="utf-8")
    assert "&lt;it&gt;" in page
    assert "<it>" not in page


def test_what_is_wrong_with_the_scan_or_its_reference_opens_the_page_once(scan: Image, tmp_path: Path) -> None:
    found = compare(scan, [("cubic", "fast"), ("bm4d", "fast")], start=unprepared, run=fake_run({}))
    plain = write_comparison(found, tmp_path / "plain")["html"].read_text(encoding="utf-8")
    assert 'class="warning"' not in plain
    poor = {"name": "reference", "ok": False, "text": "another <head>", "trained_range": False}
    good = {**poor, "ok": True, "text": "the contrast is T1w"}
    for report in found.reports.values():
        report["input_checks"] = [good, poor]
    page = write_comparison(found, tmp_path / "poor")["html"].read_text(encoding="utf-8")
    assert page.count("<li>another &lt;head&gt;.</li>") == 1 and "the contrast is" not in page
    assert page.index("another &lt;head&gt;") < page.index("<figure>")


def test_nothing_is_overwritten_and_a_failure_leaves_nothing(
    comparison: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "compare.md").write_text("mine")
    for folder in (tmp_path / "full", tmp_path / "full" / "compare.md", tmp_path / "absent" / "out"):
        with pytest.raises(BadInput):
            write_comparison(comparison, folder)
    assert (tmp_path / "full" / "compare.md").read_text() == "mine"

    def refuse(*_: Any) -> None:
        raise BadInput("the disk is full")

    monkeypatch.setattr(module, "write_image", refuse)
    with pytest.raises(BadInput, match="disk is full"):
        write_comparison(comparison, tmp_path / "out", volumes=True)
    assert {p.name for p in tmp_path.iterdir()} == {"full"}


def test_the_sheet_shows_the_same_cut_and_window_of_all_and_marks_what_is_enhanced(scan: Image) -> None:
    head = phantom_head()[0]
    brain = head.array > 0
    results = [(f"method {n}", head.with_array(head.array * n)) for n in range(1, 6)]
    figure = comparison_figure(head, results, brain, reference=head)
    axes = figure.get_axes()
    assert len(axes) == 3 * 7
    pictures = [a.get_images()[0] for a in axes]
    assert {p.get_clim() for p in pictures[:18]} == {pictures[0].get_clim()}
    for n in range(1, 6):
        assert np.array_equal(pictures[3 * n].get_array(), n * pictures[0].get_array())
    marks = [any(t.get_text() == DERIVED for t in a.texts) for a in axes]
    assert marks == [False] * 3 + [True] * 15 + [False] * 3
    places = [a.get_position() for a in axes]
    for n, one in enumerate(places):  # no two panels overlap
        assert not any(one.overlaps(other) for other in places[n + 1 :])
        assert 0 <= one.x0 < one.x1 <= 1
        assert 0 <= one.y0 < one.y1 <= 1


def test_five_images_fill_two_rows_of_three(scan: Image) -> None:
    head = phantom_head()[0]
    axes = comparison_figure(head, [(str(n), head) for n in range(4)], head.array > 0).get_axes()
    assert len({round(a.get_position().x0 + a.get_position().width / 2, 3) for a in axes}) == 3


def test_the_disagreement_is_the_last_image_with_a_colour_bar_and_the_sheet_has_a_narrow_layout() -> None:
    head = phantom_head()[0]
    spread = head.with_array(np.arange(head.array.size, dtype=float).reshape(head.shape))
    results = [(str(n), head) for n in range(4)]
    wide, narrow = (comparison_figure(head, results, head.array > 0, None, spread, n) for n in (False, True))
    assert narrow.get_size_inches()[0] < wide.get_size_inches()[0]
    for figure in (wide, narrow):
        axes = figure.get_axes()
        assert len(axes) == 3 * 6 + 1
        assert [a.get_images()[0].get_cmap().name for a in axes[12:18]] == ["gray"] * 3 + ["inferno"] * 3
        assert "methods" in axes[18].get_xlabel()


def run_command(*arguments: str, events: Events | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    add_compare(parser.add_subparsers(), argparse.ArgumentParser(add_help=False))
    options = parser.parse_args(["compare", *arguments])
    return options.run(options, events or Events())


def test_the_command_writes_the_folder_and_names_what_did_not_run(
    scan: Image, brain: Image, tiny_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_image(scan, tmp_path / "scan_T1w.nii.gz")
    write_image(brain, tmp_path / "brain.nii.gz")
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *_: None)  # bm4d is not installed
    fields = run_command(
        str(tmp_path / "scan_T1w.nii.gz"), "-m", "cubic,bm4d", "-o", str(tmp_path / "out"), "--spacing", "4",
        "--no-segment", "--brain-mask", str(tmp_path / "brain.nii.gz"),
    )  # fmt: skip
    assert fields["compared"] == 1
    assert fields["not_run"] == "bm4d:fast"
    assert {p.name for p in (tmp_path / "out").iterdir()} == FILES


def test_the_command_refuses_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    seen: list[dict] = []
    with pytest.raises(BadInput, match="not empty"):
        run_command("no-scan.nii.gz", "-o", str(tmp_path / "full"), events=Events(seen.append))
    with pytest.raises(BadInput, match="unknown method"):
        run_command("no-scan.nii.gz", "-m", "magic", "-o", str(tmp_path / "out"), events=Events(seen.append))
    assert seen == []


@pytest.mark.parametrize(
    ("share", "shown"), [(0.0, "0.00"), (3e-6, "< 0.01"), (1.2e-4, "0.01"), (0.0027, "0.27"), (0.2, "20.00")]
)
def test_a_share_that_is_little_is_not_shown_as_none(share: float, shown: str) -> None:
    """The verdict beside it says "less than 0.01 %"."""
    for key in ("share_above_3", "share_contradicting"):
        assert module._cell(key, share) == shown
