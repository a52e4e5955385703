"""The summary of a batch: its rows are the reports' own figures, its page is whole, honest and offline."""

from __future__ import annotations

import csv
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from batch_support import report_of

from LowFieldEnhanceLib.batch_scans import Scan
from LowFieldEnhanceLib.batch_summary import DONE, FAILED, KEPT, State, write_summary
from LowFieldEnhanceLib.image_io import DERIVED

SETTINGS = {"method": "cubic", "preset": "fast", "seed": 0, "options": {"spacing": 2.0, "n4": True}}
AGAINST = {
    "has_reference": True,
    "summary": {
        "structures": 1, "left_out": [], "mean_absolute_error_input_percent": 6.0,
        "mean_absolute_error_enhanced_percent": 3.25, "structures_closer": 1,
    },
    "structures": [
        {"name": "Left Thalamus", "volume_input_ml": 8.0, "volume_enhanced_ml": 8.2, "volume_reference_ml": 8.5},
    ],
}  # fmt: skip


def state(name: str, word: str, report: dict[str, Any] | None, folder: Path) -> State:
    found = State(Scan(name, Path(f"/data/{name}.nii")))
    if report is not None:
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "report.html").touch()
        found.finish(word, report, [])
    return found


@pytest.fixture
def states(tmp_path: Path) -> list[State]:
    """Done, waiting, done before, failed."""
    failed = State(Scan("d <b>", Path("/data/d.nii")))
    failed.fail("BadInput", "the volume is 4-D & <useless>")
    return [
        state("a 1#%", DONE, report_of(), tmp_path),
        state("b", "waiting", None, tmp_path),
        state("c", KEPT, report_of(change=7.0), tmp_path),
        failed,
    ]


def table(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((folder / "summary.csv").read_text(encoding="utf-8"))))


def page(folder: Path) -> str:
    return (folder / "summary.html").read_text(encoding="utf-8")


def test_the_table_has_one_row_a_scan_with_the_reports_own_figures(states: list[State], tmp_path: Path) -> None:
    write_summary(states, tmp_path, SETTINGS)
    rows = table(tmp_path)
    assert [(row["name"], row["state"]) for row in rows] == [
        ("a 1#%", "done"), ("b", "waiting"), ("c", "kept"), ("d <b>", "failed"),
    ]  # fmt: skip
    first = rows[0]
    assert first["verdict"] == "Nobody can say whether <it> is right."
    assert {key: float(first[key]) for key in ("seconds", "residual_rms", "share_above_3")} == {
        "seconds": 4.0, "residual_rms": 1.25, "share_above_3": 0.0123,
    }  # fmt: skip
    assert float(rows[2]["mean_absolute_change_percent"]) == 7.0
    assert float(first["Left Thalamus volume_input_ml"]) == 8.0
    assert float(first["Brain Stem volume_enhanced_ml"]) == 19.5
    assert first["outside_range"] == "the slices are thick"
    assert rows[3]["message"] == "the volume is 4-D & <useless>"
    assert (rows[3]["method"], rows[3]["verdict"]) == ("cubic", "")


@pytest.mark.parametrize("name", ["=HYPERLINK(1)", "+1", "-1+1", "@SUM(A1)"])
def test_no_name_becomes_a_formula_in_a_spreadsheet(name: str, tmp_path: Path) -> None:
    found = State(Scan(name, Path(name)))
    found.finish(DONE, report_of(change=-7.0), [])
    write_summary([found], tmp_path, SETTINGS)
    (row,) = table(tmp_path)
    assert row["name"] == row["input"] == f"'{name}"
    assert float(row["mean_absolute_change_percent"]) == -7.0  # numbers keep their sign
    document = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert document["scans"][0]["name"] == name


def test_without_a_reference_nothing_speaks_of_error(states: list[State], tmp_path: Path) -> None:
    write_summary(states, tmp_path, SETTINGS)
    for ending in ("csv", "json", "html"):
        text = (tmp_path / f"summary.{ending}").read_text(encoding="utf-8").lower()
        assert "change" in text
        assert "error" not in text and "accura" not in text


def test_with_a_reference_the_error_has_its_columns_beside_the_change_of_the_others(tmp_path: Path) -> None:
    both = [state("a", DONE, report_of(), tmp_path), state("r", DONE, report_of(**AGAINST), tmp_path)]
    write_summary(both, tmp_path, SETTINGS)
    without, against = table(tmp_path)
    assert without["mean_absolute_error_enhanced_percent"] == against["mean_absolute_change_percent"] == ""
    assert float(against["mean_absolute_error_enhanced_percent"]) == 3.25
    assert float(against["Left Thalamus volume_reference_ml"]) == 8.5
    assert without["Left Thalamus volume_reference_ml"] == ""
    assert "Mean volume error enhanced, %" in page(tmp_path)
    write_summary(both[1:], tmp_path, SETTINGS)
    assert "mean_absolute_change_percent" not in table(tmp_path)[0]
    assert "Mean volume change" not in page(tmp_path)


def test_the_json_is_versioned_and_counts_every_state(states: list[State], tmp_path: Path) -> None:
    write_summary(states, tmp_path, SETTINGS)
    document = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert (document["schema"], document["notice"]) == ("lowfieldenhance-batch/1", DERIVED)
    assert document["counts"] == {"failed": 1, "waiting": 1, "done": 1, "kept": 1}
    assert document["settings"] == SETTINGS
    assert document["scans"][0]["structures"][0] == {
        "name": "Left Thalamus", "volume_input_ml": 8.0, "volume_enhanced_ml": 8.2,
    }  # fmt: skip
    assert document["scans"][0]["fidelity"] == {"rms": 1.25, "share_above_3": 0.0123, "noise_plausible": True}
    assert document["scans"][3]["failure"] == {"kind": "BadInput", "message": "the volume is 4-D & <useless>"}
    assert document["scans"][3]["report"] is None


class _Links(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.tags: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.targets += [value or "" for name, value in attrs if name in ("href", "src", "srcset")]


def test_the_page_puts_failures_first_and_links_to_every_report_by_a_relative_path(
    states: list[State], tmp_path: Path
) -> None:
    write_summary(states, tmp_path, SETTINGS)
    text = page(tmp_path)
    places = [text.index(name) for name in ("d &lt;b&gt;", ">b</th>", ">a 1#%</a>", ">c</a>")]
    assert places == sorted(places)
    links = _Links(text).targets
    assert len(links) == 2
    assert all((tmp_path / unquote(link)).is_file() for link in links)
    assert "2 of 4 scans are done, 1 failed, 1 waits." in text


def test_the_page_is_escaped_marked_and_fetches_nothing(states: list[State], tmp_path: Path) -> None:
    write_summary(states, tmp_path, SETTINGS)
    text = page(tmp_path)
    assert DERIVED in text
    assert "<it>" not in text and "<useless>" not in text and "d <b>" not in text
    assert "default-src 'none'" in text
    assert not re.search(r"https?:|//|@import|url\(", text)
    assert not _Links(text).tags & {"script", "link", "img", "iframe", "object"}
    assert "spacing 2.0, n4" in text


def test_a_noise_that_cannot_be_measured_gives_no_figure_in_units_of_it(tmp_path: Path) -> None:
    smooth = report_of(fidelity={"rms": 8.75, "share_above_3": 0.79, "noise_plausible": False})
    write_summary([state("a", DONE, smooth, tmp_path)], tmp_path, SETTINGS)
    assert "8.75" not in page(tmp_path) and "79" not in page(tmp_path)
    assert [(row["residual_rms"], row["share_above_3"]) for row in table(tmp_path)] == [("", "")]


@pytest.mark.parametrize("busy", ["json", "csv", "html"])
def test_one_file_that_cannot_be_written_does_not_cost_the_others(
    states: list[State], tmp_path: Path, busy: str
) -> None:
    (tmp_path / f"summary.{busy}").mkdir()
    with pytest.raises(OSError):
        write_summary(states, tmp_path, SETTINGS)
    assert sum((tmp_path / f"summary.{ending}").is_file() for ending in ("json", "csv", "html")) == 2


def test_a_failure_of_several_lines_is_one_sentence() -> None:
    failed = State(Scan("a", Path("a")))
    failed.fail("Internal", "one\n  two\n")
    assert (failed.state, failed.failure) == (FAILED, {"kind": "Internal", "message": "one two"})


def test_a_summary_is_replaced_and_leaves_nothing_beside_it(states: list[State], tmp_path: Path) -> None:
    for chosen in (states, states[:1]):
        write_summary(chosen, tmp_path, SETTINGS)
    assert len(table(tmp_path)) == 1
    files = {p.name for p in tmp_path.iterdir() if p.is_file()}
    assert files == {"summary.csv", "summary.html", "summary.json"}
