"""Several methods on one scan: prepared once, failures as rows, the same voxels as alone."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compare_support import COARSE, MISSING, fake_run, unprepared

from LowFieldEnhanceLib import pipeline
from LowFieldEnhanceLib.compare import Comparison, compare, parse_methods
from LowFieldEnhanceLib.comparison_files import headings, table_rows, to_markdown
from LowFieldEnhanceLib.errors import BadInput, Cancelled, MissingModel
from LowFieldEnhanceLib.events import Events
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.methods.registry import METHODS

pytest_plugins = ["compare_fixtures"]
pytestmark = pytest.mark.usefixtures("known_anatomy")


def test_methods_are_named_with_their_preset_or_take_their_first() -> None:
    assert parse_methods("cubic, bridged:standard,bridged") == [
        ("cubic", "fast"), ("bridged", "standard"), ("bridged", METHODS["bridged"].presets[0]),
    ]  # fmt: skip
    assert [name for name, _ in parse_methods("all")] == list(METHODS)


@pytest.mark.parametrize("text", ["", " , ", "magic", "bridged:slow", "cubic,cubic:fast"])
def test_refuses_what_cannot_be_run(text: str) -> None:
    with pytest.raises(BadInput):
        parse_methods(text)


def test_the_input_is_first_and_every_number_is_that_of_the_methods_own_report(comparison: Comparison) -> None:
    rows = comparison.rows
    assert [row["method"] for row in rows] == ["input", "cubic", "regression", "bridged"]
    for row in rows[1:]:
        report = comparison.reports[f"{row['method']}:{row['preset']}"]
        assert row["residual_rms"] == report["fidelity"]["rms"]
        assert row["share_above_3"] == report["fidelity"]["share_above_3"]
        assert row["psnr"] == report["images"]["enhanced"]["psnr"]
        assert row["verdict"] == report["verdict"]
        assert row["seconds"] == report["provenance"]["seconds"]
        assert row["mean_absolute_error_enhanced_percent"] == report["summary"]["mean_absolute_error_enhanced_percent"]
    assert rows[0]["psnr"] == comparison.reports["cubic:fast"]["images"]["input"]["psnr"]
    assert [row["evaluations"] for row in rows[1:]] == [0, 1, 2]


def test_the_scan_and_its_reference_are_segmented_once_for_all_methods(
    scan: Image, brain: Image, truth: Image, tiny_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict] = []
    found = compare(scan, [("cubic", "fast"), ("linear", "fast")], COARSE, reference=truth, brain=brain,
                    events=Events(seen.append))  # fmt: skip
    stages = [e["stage"] for e in seen if e["event"] == "progress" and e["done"] == 0]
    assert stages.count("segment the input") == stages.count("segment the reference") == 1
    assert sum("segment the result" in stage for stage in stages) == 2
    assert all(row["seconds"] > 0 for row in found.rows[1:])


def test_a_method_gives_the_same_voxels_as_alone(
    comparison: Comparison, scan: Image, brain: Image, tiny_models: Path
) -> None:
    options = pipeline.Options(method="bridged", preset="standard", spacing=4.0)
    alone = pipeline.enhance(scan, options, brain=brain).enhanced
    assert np.array_equal(dict(comparison.results)["bridged:standard"].array, alone.array)


def test_a_method_that_cannot_run_is_a_row_that_says_so_and_a_warning(scan: Image) -> None:
    seen: list[dict] = []
    choices = [("bridged", "fast"), ("cubic", "fast")]
    found = compare(scan, choices, events=Events(seen.append), start=unprepared, run=fake_run({"bridged": MISSING}))
    assert found.rows[1]["failure"] == {"kind": "MissingModel", "message": str(MISSING)}
    assert found.rows[2]["failure"] is None
    assert [title for title, _ in found.results] == ["cubic:fast"]
    assert "not run: the weights of bridged_bridge" in to_markdown(found)
    assert any(e["event"] == "warning" and "bridged:fast" in e["message"] for e in seen)
    stages = [e["stage"] for e in seen if e["event"] == "progress"]
    assert stages == ["bridged:fast (1 of 2): enhance", "cubic:fast (2 of 2): enhance"]


def test_what_simulated_scans_showed_of_a_method_is_told_beside_it_and_of_the_input_once_for_all(scan: Image) -> None:
    """Cubic interpolation comes first and has no such figures: the input's come from the method that has."""
    known = {"mean_input_percent": 3.8, "mean_enhanced_percent": 2.04}

    def run(subject: Any, options: pipeline.Options, events: Events) -> Any:
        result = fake_run({})(subject, options, events)
        result.report["simulated"] = known if options.method == "bridged" else None
        return result

    choices = [("cubic", "fast"), ("bridged", "fast")]
    comparison = compare(scan, choices, start=unprepared, run=run)
    assert [row.get("simulated_percent") for row in comparison.rows] == [3.8, None, 2.04]
    column = list(comparison.columns).index("simulated_percent")
    assert headings(comparison)[column] == "Volumes off in simulated scans, %"
    assert [cells[column] for cells in table_rows(comparison)] == ["3.8", "", "2.0"]
    plain = compare(scan, choices, start=unprepared, run=fake_run({}))
    assert "simulated_percent" not in plain.columns


def test_when_every_method_fails_the_first_failure_is_the_runs(scan: Image) -> None:
    failing = {"bridged": MISSING, "cubic": BadInput("no brain")}
    with pytest.raises(MissingModel, match="bridged_bridge"):
        compare(scan, [("bridged", "fast"), ("cubic", "fast")], start=unprepared, run=fake_run(failing))


def test_missing_weights_on_disk_become_a_row(
    scan: Image, brain: Image, tiny_models_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_models_folder, tmp_path / "models")
    (tmp_path / "models" / "bridged_bridge.safetensors").unlink()
    monkeypatch.setenv("LOWFIELDENHANCE_MODELS", str(tmp_path / "models"))
    found = compare(scan, [("bridged", "fast"), ("cubic", "fast")], COARSE, brain=brain)
    assert found.rows[1]["failure"]["kind"] == "MissingModel"
    assert found.rows[2]["residual_rms"] > 0


def test_cancel_ends_it_between_and_within_methods(scan: Image) -> None:
    with pytest.raises(Cancelled):
        compare(scan, [("cubic", "fast")], start=unprepared, run=fake_run({"cubic": Cancelled("stop")}))
    started: list[dict] = []

    def sink(event: dict) -> None:
        started.append(event)
        events.cancel()

    events = Events(sink)
    with pytest.raises(Cancelled):
        compare(scan, [("cubic", "fast"), ("linear", "fast")], events=events, start=unprepared, run=fake_run({}))
    assert len(started) == 1
