"""An enhanced volume in the place of a scan: no reference, no further contrast, and never without a word."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cli_support import run_json
from phantoms import voxels
from test_reference_limits import check

from LowFieldEnhanceLib.events import Events
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.image_io import read_image, write_image
from LowFieldEnhanceLib.physics.simulate import Protocol, simulate
from LowFieldEnhanceLib.scan_options import warn_of_enhanced

pytest_plugins = ["judging_fixtures"]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """A scan, and a result of ours."""
    scan = Image(voxels((30, 32, 28)), np.diag([4.0, 4, 4, 1]))
    paths = {"scan": tmp_path / "scan_T1w.nii.gz", "ours": tmp_path / "result_T2w.nii.gz"}
    write_image(scan, paths["scan"], "a scan")
    write_image(scan, paths["ours"])
    return {name: str(path) for name, path in paths.items()}


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (["--reference", "{ours}"], "the reference has to be a high-field scan"),
        (["--with", "T2w={ours}"], "further contrasts have to be scans"),
    ],
)
@pytest.mark.parametrize("command", ["enhance", "compare"])
def test_it_is_refused_beside_a_scan(
    command: str, option: list[str], said: str, files: dict[str, str], tmp_path: Path, capsys: Any
) -> None:
    out = {"enhance": ["-o", str(tmp_path / "e.nii.gz"), "-m", "linear"], "compare": ["-o", str(tmp_path / "new")]}
    code, events = run_json(capsys, command, files["scan"], *out[command], *(part.format(**files) for part in option))
    assert (code, events[-1]["kind"]) == (2, "BadInput")
    assert "is an enhanced volume" in events[-1]["message"] and said in events[-1]["message"]
    assert {path.name for path in tmp_path.iterdir()} == {"scan_T1w.nii.gz", "result_T2w.nii.gz"}


AGAINST_ITSELF = ["--reference", "{copy}"], "the reference has to be a high-field scan of the same head"
BESIDE_ITSELF = ["--with", "T2w={copy}"], "the T2w scan has to be another one of the same head"


@pytest.mark.parametrize(
    ("command", "option", "said"),
    [
        ("enhance", *AGAINST_ITSELF), ("compare", *AGAINST_ITSELF), ("report", *AGAINST_ITSELF),
        ("enhance", *BESIDE_ITSELF), ("compare", *BESIDE_ITSELF),
    ],
)  # fmt: skip
def test_the_scan_itself_is_refused_beside_the_scan(
    command: str, option: list[str], said: str, files: dict[str, str], tmp_path: Path, capsys: Any
) -> None:
    files["copy"] = str(tmp_path / "copy.nrrd")
    write_image(read_image(files["scan"]), files["copy"], "a scan")
    before = sorted(tmp_path.iterdir())
    words = {"enhance": ["-o", str(tmp_path / "e.nii.gz"), "-m", "linear"], "compare": ["-o", str(tmp_path / "new")],
             "report": [files["ours"], "-o", str(tmp_path / "r.html")]}  # fmt: skip
    code, events = run_json(capsys, command, files["scan"], *words[command], *(o.format(**files) for o in option))
    assert (code, events[-1]["message"]) == (2, f"{files['copy']} is the scan itself; {said}")
    assert sorted(tmp_path.iterdir()) == before


def test_as_the_scan_of_a_report_or_a_comparison_it_is_named(
    files: dict[str, str], tmp_path: Path, capsys: Any
) -> None:
    for command in (["report", files["ours"], files["scan"], "-o", str(tmp_path / "r.html")],
                    ["compare", files["ours"], "-o", str(tmp_path / "new"), "-m", "linear"]):  # fmt: skip
        _, events = run_json(capsys, *command, "--brain-mask", str(tmp_path / "missing.nii"))  # which ends the run
        assert [e["message"] for e in events if e["event"] == "warning" and "enhanced volume already" in e["message"]]


@pytest.mark.parametrize("same", [True, False])
def test_a_report_that_would_judge_the_scan_itself_says_so(
    same: bool, files: dict[str, str], tmp_path: Path, capsys: Any
) -> None:
    other = read_image(files["scan"])
    files["other"] = str(tmp_path / "other.nii.gz")
    write_image(other.with_array(other.array + 1), files["other"])
    judged = files["scan" if same else "other"]
    _, events = run_json(
        capsys, "report", files["scan"], judged, "-o", str(tmp_path / "r.html"), "--brain-mask", "missing.nii"
    )
    told = [e["message"] for e in events if e["event"] == "warning" and "the scan itself" in e["message"]]
    said = f"{judged} is the scan itself, so the report judges a scan that nothing has changed"
    assert told == ([said] if same else [])


def test_a_series_of_dicom_is_known_by_its_description(tmp_path: Path) -> None:
    said: list[dict[str, Any]] = []
    for description in ("t1 mprage", "ENHANCED - not for diagnosis, t1 mprage"):
        image = SimpleNamespace(meta={"SeriesDescription": description})
        warn_of_enhanced(str(tmp_path), image, Events(said.append))
    assert len(said) == 1


def test_a_report_on_a_volume_that_was_made_of_another_scan_says_so(
    quick_pipeline: None, low: Image, high: Image, tmp_path: Path, capsys: Any
) -> None:
    later = simulate(high, Protocol(spacing=(4.0, 4.0, 6.0), snr=15), seed=9)
    for name, scan in (("monday_T1w", low), ("friday_T1w", later)):
        write_image(scan, tmp_path / f"{name}.nii.gz", "a scan")
    monday, friday, e, r = (str(tmp_path / n) for n in ("monday_T1w.nii.gz", "friday_T1w.nii.gz", "e.nii.gz", "r.json"))
    assert run_json(capsys, "enhance", monday, "-m", "cubic", "--spacing", "4", "-o", e)[0] == 0
    for scan, same in ((monday, True), (friday, False)):
        code, events = run_json(capsys, "report", scan, e, "--spacing", "4", "-o", r)
        told = check(json.loads(Path(r).read_text(encoding="utf-8")), "enhanced volume")
        assert (code, told["ok"]) == (0, same)
        assert ("; it was made of monday_T1w.nii.gz, whose voxels" in told["text"]) is not same
        assert any(event.get("message") == told["text"] for event in events) is not same


def test_a_contrast_without_a_file_is_named_even_if_the_output_is_there(files: dict[str, str], capsys: Any) -> None:
    code, events = run_json(capsys, "enhance", files["scan"], "-o", files["ours"], "--with", "T2w")
    assert code == 2 and "--with takes CONTRAST=FILE" in events[-1]["message"]
