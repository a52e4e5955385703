"""Several methods on one scan: one table, one sheet, failures as rows, nothing overwritten."""

from __future__ import annotations

import argparse
import csv
import io
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import phantom_head

from LowFieldEnhanceLib import compare as module
from LowFieldEnhanceLib import pipeline
from LowFieldEnhanceLib.compare import Comparison, compare, parse_methods, write_comparison
from LowFieldEnhanceLib.compare_command import add_compare
from LowFieldEnhanceLib.errors import BadInput, Cancelled, MissingModel
from LowFieldEnhanceLib.evaluation.comparison_sheet import comparison_figure
from LowFieldEnhanceLib.events import Events
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.image_io import DERIVED, read_image, write_image
from LowFieldEnhanceLib.methods.registry import METHODS
from LowFieldEnhanceLib.physics.simulate import Protocol, simulate
from LowFieldEnhanceLib.preprocess.grid import Grid, resample
from LowFieldEnhanceLib.segmentation.labels import LabelMap

COARSE = pipeline.Options(spacing=4.0)
FILES = {"compare.md", "compare.csv", "compare.json", "compare.html", "compare.png"}


class KnownAnatomy:
    """In place of the segmenter, whose work at 1 mm would take most of the time: the phantom's own labels."""

    provenance: dict[str, Any] = {}

    def __init__(self, device: str = "cpu") -> None:
        self.labels = phantom_head()[1]

    def segment(self, image: Image, events: Events | None = None) -> LabelMap:
        moved = resample(self.labels.as_image(), Grid.of(image), "nearest")
        return LabelMap(moved.array.astype(np.uint8), moved.affine, {})


@pytest.fixture(autouse=True, scope="module")
def known_anatomy() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "Segmenter", KnownAnatomy)
        yield


@pytest.fixture(scope="module")
def truth() -> Image:
    return phantom_head()[0]


@pytest.fixture(scope="module")
def scan(truth: Image) -> Image:
    return simulate(truth, Protocol(spacing=(4.0, 4.0, 6.0), snr=30), seed=3)


@pytest.fixture(scope="module")
def brain() -> Image:
    head, labels = phantom_head()
    return head.with_array(((labels.array > 0) & (labels.array != 24)).astype(np.float32))


@pytest.fixture(scope="module")
def comparison(scan: Image, brain: Image, truth: Image, tiny_models_folder: Path) -> Comparison:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOWFIELDENHANCE_MODELS", str(tiny_models_folder))
        choices = [("cubic", "fast"), ("regression", "fast"), ("bridged", "standard")]
        return compare(scan, choices, COARSE, reference=truth, brain=brain)


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


def report_of(seconds: float, change: float) -> dict[str, Any]:
    """The part of a report without reference that the table reads."""
    return {
        "has_reference": False, "images": None, "summary": {"mean_absolute_change_percent": change},
        "fidelity": {"rms": 1.25, "share_above_3": 0.0123}, "verdict": "Nobody can say | whether <it> is right.",
        "provenance": {"seconds": seconds, "settings": {"evaluations": 2}},
    }  # fmt: skip


def fake_run(failing: dict[str, Exception]) -> Any:
    """Stands for the runner; fails for the methods named."""

    def run(image: Image, options: pipeline.Options, events: Events) -> Any:
        events.progress("enhance", 0, 1)
        if options.method in failing:
            raise failing[options.method]
        everywhere = np.ones(image.shape, dtype=bool)
        report = report_of(3.21, 4.56)
        return SimpleNamespace(before=image, enhanced=image, brain=everywhere, reference=None, report=report)

    return run


def unprepared(image: Image, *_: Any) -> Image:
    """Stands for the preparation: the fake runner takes the scan itself."""
    return image


MISSING = MissingModel("the weights of bridged_bridge are not installed")


def test_a_method_that_cannot_run_is_a_row_that_says_so_and_a_warning(scan: Image) -> None:
    seen: list[dict] = []
    choices = [("bridged", "fast"), ("cubic", "fast")]
    found = compare(scan, choices, events=Events(seen.append), start=unprepared, run=fake_run({"bridged": MISSING}))
    assert found.rows[1]["failure"] == {"kind": "MissingModel", "message": str(MISSING)}
    assert found.rows[2]["failure"] is None
    assert [title for title, _ in found.results] == ["cubic:fast"]
    assert "not run: the weights of bridged_bridge" in module.to_markdown(found)
    assert any(e["event"] == "warning" and "bridged:fast" in e["message"] for e in seen)
    stages = [e["stage"] for e in seen if e["event"] == "progress"]
    assert stages == ["bridged:fast (1 of 2): enhance", "cubic:fast (2 of 2): enhance"]


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


def test_without_a_reference_nothing_speaks_of_error(scan: Image) -> None:
    found = compare(scan, [("cubic", "fast")], start=unprepared, run=fake_run({}))
    for text in (module.to_markdown(found), module.to_csv(found), module.to_json(found)):
        assert "error" not in text.lower()
    assert "Mean absolute volume change" in module.to_markdown(found)


def test_the_markdown_table_keeps_its_columns_whatever_the_sentences_hold(scan: Image) -> None:
    lines = module.to_markdown(compare(scan, [("cubic", "fast")], start=unprepared, run=fake_run({}))).splitlines()
    assert len({len(re.split(r"(?<!\\)\|", line)) for line in lines}) == 1
    assert "| 4.6 | 1.25 | 1.23 | 3.2 | 2 |" in lines[-1]


def test_a_column_that_is_empty_everywhere_is_left_out(scan: Image) -> None:
    unsegmented = {**report_of(1.0, 0.0), "summary": None}
    images = {"before": scan, "enhanced": scan, "brain": np.ones(scan.shape, dtype=bool), "reference": None}
    run = lambda *_, **__: SimpleNamespace(**images, report=unsegmented)  # noqa: E731
    found = compare(scan, [("cubic", "fast")], start=unprepared, run=run)
    assert "mean_absolute_change_percent" not in found.columns
    assert {"residual_rms", "seconds"} <= set(found.columns)


def test_csv_and_json_hold_the_rows(comparison: Comparison) -> None:
    table = list(csv.DictReader(io.StringIO(module.to_csv(comparison))))
    assert [row["method"] for row in table] == ["input", "cubic", "regression", "bridged"]
    assert float(table[1]["residual_rms"]) == comparison.rows[1]["residual_rms"]
    document = json.loads(module.to_json(comparison))
    assert document["schema"] == "lowfieldenhance-comparison/1"
    assert document["notice"] == DERIVED
    assert document["rows"] == comparison.rows


def test_all_files_appear_in_a_new_folder_with_the_page_offline(comparison: Comparison, tmp_path: Path) -> None:
    files = write_comparison(comparison, tmp_path / "out", volumes=True)
    volumes = {"cubic-fast.nii.gz", "regression-fast.nii.gz", "bridged-standard.nii.gz"}
    assert {p.name for p in (tmp_path / "out").iterdir()} == FILES | volumes
    assert set(files) == {"md", "csv", "json", "html", "png"}
    page = files["html"].read_text(encoding="utf-8")
    assert DERIVED in page
    assert "data:image/png;base64," in page
    assert not re.findall(r"(?:src|href)=\"(?!data:)", page)
    assert files["png"].read_bytes().startswith(b"\x89PNG")
    assert read_image(tmp_path / "out" / "cubic-fast.nii.gz").shape == comparison.before.shape


def test_sentences_are_escaped_on_the_page(scan: Image, tmp_path: Path) -> None:
    found = compare(scan, [("cubic", "fast")], start=unprepared, run=fake_run({}))
    page = write_comparison(found, tmp_path / "out")["html"].read_text(encoding="utf-8")
    assert "&lt;it&gt;" in page
    assert "<it>" not in page


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
