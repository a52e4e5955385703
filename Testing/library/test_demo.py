"""The demo: a folder of its own, everything in it or nothing."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cli_support import SAMPLE, run_json

from LowFieldEnhanceLib import pipeline
from LowFieldEnhanceLib.errors import BadInput, Cancelled
from LowFieldEnhanceLib.image_io import DERIVED, read_image
from LowFieldEnhanceLib.ours import note_of


def test_the_demo_writes_only_into_a_folder_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "input.nii.gz").write_bytes(b"mine")
    code, events = run_json(capsys, "demo", "--output", str(tmp_path))
    assert (code, events[-1]["kind"]) == (2, "BadInput")
    assert "not a folder of the demo's results" in events[-1]["message"]
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"mine"]
    (tmp_path / "enhanced.json").write_text(json.dumps({"derived": DERIVED, "input_sha256": "another scan's"}))
    code, events = run_json(capsys, "demo", "--output", str(tmp_path))
    assert code == 2 and "not a folder of the demo's results" in events[-1]["message"]
    assert (tmp_path / "input.nii.gz").read_bytes() == b"mine"


@pytest.mark.parametrize("wrong", [["-m", "nope"], ["-m", "linear", "-p", "paper"]])
def test_a_demo_that_is_refused_makes_no_folder(
    wrong: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_json(capsys, "demo", *wrong, "--output", str(tmp_path / "a" / "b"))[0] == 2
    assert list(tmp_path.iterdir()) == []


def test_a_second_demo_takes_the_place_of_the_first(
    tiny_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reached = []
    monkeypatch.setattr("LowFieldEnhanceLib.pipeline.enhance", lambda *_, **__: reached.append(1) or 1 / 0)
    provenance = {"derived": DERIVED, "input_sha256": read_image(SAMPLE).sha256()}
    (tmp_path / "enhanced.json").write_text(json.dumps(provenance))
    assert run_json(capsys, "demo", "--output", str(tmp_path))[0] == 1 and reached
    (tmp_path / "input.nii.gz").write_bytes(b"mine")
    code, events = run_json(capsys, "demo", "--output", str(tmp_path))
    assert code == 2 and "input.nii.gz was not written by LowFieldEnhance" in events[-1]["message"]


@pytest.mark.parametrize("error", [Cancelled("cancelled"), KeyboardInterrupt(), BadInput("no brain")])
def test_a_demo_that_ends_early_leaves_no_folder(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def ends(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(pipeline, "enhance", ends)
    assert run_json(capsys, "demo", "--output", str(tmp_path / "a" / "b"))[0] in (2, 130)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "a").mkdir()  # the user's own, though empty
    run_json(capsys, "demo", "--output", str(tmp_path / "a"))
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_the_scan_appears_with_the_results_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reports: list[BaseException | None] = [OSError(28, "No space left on device"), None]

    def write(_: Any, reports_: Any, place: Any) -> None:
        assert not (out / "input.nii.gz").exists() and not (out / "enhanced.nii.gz").exists()
        if (error := reports.pop(0)) is not None:
            raise error

    scan, out = read_image(SAMPLE), tmp_path / "demo"
    report = {"provenance": {"derived": DERIVED, "input_sha256": scan.sha256()}, "verdict": ""}
    made = SimpleNamespace(enhanced=scan, fidelity=scan, labels_after=None, report=report, uncertainty=None,
                           added_detail=None)  # fmt: skip
    monkeypatch.setattr(pipeline, "enhance", lambda *_, **__: made)
    monkeypatch.setattr("LowFieldEnhanceLib.outputs.write_reports", write)
    assert run_json(capsys, "demo", "--output", str(out))[0] == 2
    assert list(tmp_path.iterdir()) == []
    assert run_json(capsys, "demo", "--output", str(out))[0] == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "enhanced.json", "enhanced.nii.gz", "fidelity.nii.gz", "input.nii.gz",
    ]  # fmt: skip
    assert note_of(out / "input.nii.gz") == "SIMULATED low-field scan of Colin27"
