"""The report as files: strict JSON, a table that reads back, and names that never stand for half a file."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from report_support import FIDELITY, THALAMUS, WHITE, label_map, report_of, with_reference

from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.evaluation.report_files import write_csv, write_json


def test_what_json_lacks_becomes_none_or_text(tmp_path: Path) -> None:
    provenance = {
        "nan": float("nan"), "infinite": np.inf, "scalar": np.float32(0.5), "count": np.int64(3),
        "flag": np.bool_(True), "steps": np.arange(3), "nested": [{"x": (1, float("-inf"))}],
        "path": Path("a/b"), 7: "key",
    }  # fmt: skip
    report = report_of(provenance=provenance, fidelity=dataclasses.replace(FIDELITY, rms=float("nan")))
    write_json(report, tmp_path / "report.json")

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    read = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"), parse_constant=refuse)
    assert read == report
    assert read["fidelity"]["rms"] is None
    assert read["provenance"] == {
        "nan": None, "infinite": None, "scalar": 0.5, "count": 3, "flag": True, "steps": [0, 1, 2],
        "nested": [{"x": [1, None]}], "path": str(Path("a/b")), "7": "key",
    }  # fmt: skip


def test_the_table_reads_back_as_the_rows(tmp_path: Path) -> None:
    report = with_reference(labels_after=label_map({WHITE: 500, THALAMUS: 44}))
    report["structures"][0]["volume_input_ml"] = 1234.5678
    write_csv(report, tmp_path / "structures.csv")
    with (tmp_path / "structures.csv").open(newline="", encoding="utf-8") as stream:
        read = list(csv.DictReader(stream))
    assert list(read[0]) == list(report["structures"][0])
    for text, row in zip(read, report["structures"], strict=True):
        assert text["name"] == row["name"]
        assert float(text["error_enhanced_percent"]) == pytest.approx(row["error_enhanced_percent"], rel=1e-5)
    assert read[0]["volume_input_ml"] == "1234.57"
    assert read[2]["hd95_mm"] == ""  # the putamen is gone: no distance


def test_the_table_without_a_reference_is_headed_change(tmp_path: Path) -> None:
    write_csv(report_of(), tmp_path / "structures.csv")
    header = (tmp_path / "structures.csv").read_text(encoding="utf-8").splitlines()[0]
    assert "change_percent" in header and "error" not in header


def test_files_are_replaced_whole_and_nothing_else_is_left(tmp_path: Path) -> None:
    for _ in range(2):
        write_json(report_of(), tmp_path / "report.json")
        write_csv(report_of(), tmp_path / "report.csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.csv", "report.json"]
    with pytest.raises(BadInput, match="does not exist"):
        write_json(report_of(), tmp_path / "absent" / "report.json")
