"""The documented schema describes every summary.json of a batch: each key is named in it, each value is of its type."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from test_report_html import report
from test_report_schema import DOCUMENT as REPORT
from test_report_schema import undescribed, violations

from LowFieldEnhanceLib.batch_scans import Scan
from LowFieldEnhanceLib.batch_summary import DONE, KEPT, SCHEMA, State, rows_of, to_json

FILE = Path(__file__).resolve().parents[2] / "Resources" / "batch-schema.json"
AS_WRITTEN = json.loads(FILE.read_text(encoding="utf-8"))
DOCUMENT = json.loads(json.dumps(AS_WRITTEN))
DOCUMENT["properties"]["scans"]["items"]["properties"]["summary"] = REPORT["properties"]["summary"]  # its $ref
SETTINGS = {"method": "cubic", "preset": "fast", "seed": 0, "options": {"spacing": 2.0, "n4": True}}


def scan(name: str) -> Scan:
    return Scan(name, Path(f"/data/{name}.nii"))


def written(folder: Path) -> dict[str, Any]:
    """Scans that wait, failed, and are done with every kind of report, as a batch writes them."""
    failed = State(scan("failed"))
    failed.fail("BadInput", "the volume is empty")
    states = [State(scan("waiting")), failed]
    for number, (reference, segmented) in enumerate(((True, True), (False, True), (False, False))):
        done = State(scan(f"done {number}"))
        done.finish(KEPT if number else DONE, report(reference=reference, segmented=segmented), ["thick slices"])
        (folder / done.scan.name).mkdir()
        (folder / done.scan.name / "report.html").touch()
        states.append(done)
    return json.loads(to_json(rows_of(states, folder), SETTINGS))


def against(document: dict[str, Any]) -> list[str]:
    return list(violations(document, DOCUMENT, "summary"))


def test_a_summary_has_exactly_the_documented_keys_and_types(tmp_path: Path) -> None:
    found = written(tmp_path)
    assert found["counts"] == {"failed": 1, "waiting": 1, "done": 1, "kept": 2}
    assert against(found) == []


def test_the_keys_of_a_finished_scan_are_all_there_and_no_other_is_documented(tmp_path: Path) -> None:
    documented = DOCUMENT["properties"]["scans"]["items"]["properties"]
    assert set(written(tmp_path)["scans"][2]) == set(documented)


def test_every_key_is_described_and_the_version_is_that_of_the_file() -> None:
    assert AS_WRITTEN["properties"]["schema"]["const"] == SCHEMA
    means = AS_WRITTEN["properties"]["scans"]["items"]["properties"].pop("summary")
    assert means == {"$ref": "report-schema.json#/properties/summary"}
    assert list(undescribed(AS_WRITTEN, "summary")) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": "lowfieldenhance-batch/0"}, "summary.schema is not"),
        ({"extra": 1}, "summary.extra is not documented"),
        ({"counts": {"failed": -1, "waiting": 0, "done": 0, "kept": 0}}, "summary.counts.failed is -1, out of range"),
        ({"scans": [{"name": "a", "state": "lost"}]}, "summary.scans[0].state is 'lost'"),
    ],
)
def test_the_check_itself_finds_what_is_wrong(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    assert said in " ".join(against({**written(tmp_path), **change}))
