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
from LowFieldEnhanceLib.evaluation.report_files import write_csv, write_json, write_values_csv


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
    assert list(read[0]) == [*report["structures"][0], "notice"]
    assert {text["notice"] for text in read} == {"ENHANCED - not for diagnosis"}
    for text, row in zip(read, report["structures"], strict=True):
        assert text["name"] == row["name"]
        assert float(text["error_enhanced_percent"]) == pytest.approx(row["error_enhanced_percent"], rel=1e-5)
        assert float(text["absolute_error_input_percent"]) == pytest.approx(abs(row["error_input_percent"]), rel=1e-5)
    assert read[0]["volume_input_ml"] == "1234.57"
    assert read[2]["hd95_mm"] == ""  # the putamen is gone: no distance


def test_the_table_without_a_reference_is_headed_change(tmp_path: Path) -> None:
    write_csv(report_of(), tmp_path / "structures.csv")
    header = (tmp_path / "structures.csv").read_text(encoding="utf-8").splitlines()[0]
    assert "change_percent" in header and "error" not in header


def test_the_long_table_holds_all_that_is_of_no_structure(tmp_path: Path) -> None:
    report = with_reference(provenance={"method": "bridged", "seeds": [3, 4], "weights": {"a.b": "5f"}})
    write_values_csv(report, tmp_path / "report_values.csv")
    with (tmp_path / "report_values.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["section", "key", "value", "unit"]
    found = {(row["section"], row["key"]): (row["value"], row["unit"]) for row in rows}
    assert len(found) == len(rows)
    assert found["report", "notice"] == ("ENHANCED - not for diagnosis", "")
    assert found["report", "verdict"] == (report["verdict"], "")
    assert found["report", "has_reference"] == ("true", "")
    assert found["provenance", "seeds.2"] == ("4", "") and found["provenance", "weights.a.b"] == ("5f", "")
    assert found["input", "spacing.3"] == ("5", "mm") and found["input", "shape.3"] == ("9", "")
    assert found["input", "brain_ml"] == ("1440", "mL")
    assert found["fidelity", "rms"] == ("1.02", "noise SD") and found["fidelity", "sigma"] == ("40", "unit of the scan")
    value, unit = found["images", "input.psnr"]
    assert (float(value), unit) == (pytest.approx(report["images"]["input"]["psnr"], rel=1e-5), "dB")
    assert found["images", "input.lpips"] == ("", "")
    assert found["summary", "mean_absolute_error_input_percent"][1] == "%"
    assert found["input_checks", "1.text"] == (report["input_checks"][0]["text"], "")
    sections = {section for section, _ in found}
    measured = {name for name, block in report.items() if isinstance(block, dict | list)} - {"structures"}
    assert sections == {"report", *measured}


def test_the_long_table_without_a_reference_knows_no_error(tmp_path: Path) -> None:
    write_values_csv(report_of(), tmp_path / "report_values.csv")
    assert "error" not in (tmp_path / "report_values.csv").read_text(encoding="utf-8").lower()


def test_files_are_replaced_whole_and_nothing_else_is_left(tmp_path: Path) -> None:
    for _ in range(2):
        write_json(report_of(), tmp_path / "report.json")
        write_csv(report_of(), tmp_path / "report.csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.csv", "report.json"]
    with pytest.raises(BadInput, match="does not exist"):
        write_json(report_of(), tmp_path / "absent" / "report.json")
