"""What a report on an existing volume knows of the run that made it: the same scan in any format, the same settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_support import run_json
from scipy.spatial.transform import Rotation
from test_report_schema import DOCUMENT, violations

from LowFieldEnhanceLib.earlier_run import identity_of, is_same_scan, take_over
from LowFieldEnhanceLib.evaluation.html import render_html
from LowFieldEnhanceLib.evaluation.input_checks import other_scan
from LowFieldEnhanceLib.events import Events
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.image_io import read_image, write_image

pytest_plugins = ["judging_fixtures"]
SAID = {"sigma": None, "fwhm": None, "profile": None}
GIVEN = {"sigma": 12.0, "fwhm": [4.0, 4.0, 7.0], "profile": "box"}


def oblique(seed: int, shift: float = 0.0) -> Image:
    """A scan turned by up to 20 degrees about each axis."""
    random = np.random.default_rng(seed)
    affine = np.eye(4)
    turn = Rotation.from_euler("xyz", random.uniform(-20, 20, 3), degrees=True).as_matrix()
    affine[:3, :3] = turn * (1.6, 1.6, 5.0)
    affine[:3, 3] = random.uniform(-120, 120, 3) + shift
    return Image(random.integers(0, 900, (12, 11, 10)), affine, "T1w")


def judged(made: Image, now: Image) -> str | None:
    """What is said of a volume that was made of one scan and is judged by another."""
    return other_scan({**identity_of(now), "enhanced_by": {**identity_of(made), "input_file": "monday.nii"}})


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".mha"])
@pytest.mark.parametrize("first", [".nii.gz", ".nrrd"])
def test_an_oblique_scan_is_the_same_in_every_format(first: str, ending: str, tmp_path: Path) -> None:
    for seed in range(5):
        write_image(oblique(seed), tmp_path / f"a{first}", "scan")
        scan = read_image(tmp_path / f"a{first}")
        write_image(scan, tmp_path / f"b{ending}", "scan")
        again = read_image(tmp_path / f"b{ending}")
        assert judged(scan, again) is None and judged(again, scan) is None


def test_a_scan_with_other_voxels_or_in_another_place_is_another() -> None:
    scan = oblique(1)
    voxel = scan.array.copy()
    voxel[3, 4, 5] += 1
    moved = Image(scan.array, np.diag([1, 1, 1, 1.0]) @ scan.affine + np.eye(4, k=3) * 0.05, "T1w")
    turned = Image(scan.array.reshape(11, 12, 10), scan.affine, "T1w")
    for other in (scan.with_array(voxel), moved, turned):
        assert "it was made of monday.nii" in str(judged(scan, other))


@pytest.mark.parametrize("changed", [{"input_shape": None}, {"input_affine": [[1]]}, {"input_affine": "none"}])
def test_an_edited_sidecar_names_another_scan_rather_than_ending_the_run(changed: dict[str, Any]) -> None:
    scan = oblique(2)
    made = {**identity_of(scan), "input_sha256": "0" * 64}
    assert is_same_scan(made, identity_of(scan)) is True
    assert is_same_scan({**made, **changed}, identity_of(scan)) is False


def test_a_sidecar_of_an_earlier_version_goes_by_its_one_checksum() -> None:
    scan = oblique(3)
    assert is_same_scan({"input_sha256": scan.sha256()}, identity_of(scan)) is True
    assert is_same_scan({"input_sha256": "0" * 64}, identity_of(scan)) is False
    assert is_same_scan({}, identity_of(scan)) is None


@pytest.mark.parametrize(
    ("said", "settings", "names"),
    [
        ({}, {"sigma": 12.0, "fwhm": (4.0, 4.0, 7.0), "profile": "box"}, ["sigma", "fwhm", "profile"]),
        ({"sigma": 9.0}, {"sigma": 9.0, "fwhm": (4.0, 4.0, 7.0), "profile": "box"}, ["fwhm", "profile"]),
        ({"profile": "point"}, {"sigma": 12.0, "fwhm": None, "profile": "point"}, ["sigma"]),
        ({"profile": "gaussian"}, {"sigma": 12.0, "fwhm": (4.0, 4.0, 7.0), "profile": "gaussian"}, ["sigma", "fwhm"]),
    ],
)
def test_what_the_user_says_wins_over_the_run(said: dict[str, Any], settings: dict[str, Any], names: list[str]) -> None:
    scan = oblique(4)
    found, taken = take_over({**identity_of(scan), **GIVEN}, scan, **{**SAID, **said}, events=Events())
    assert (found, taken) == ({**settings, "n4": False}, names)


def test_widths_that_the_user_gives_end_a_profile_without_any() -> None:
    scan = oblique(4)
    made = {**identity_of(scan), "profile": "point", "fwhm": None, "sigma": None}
    found, taken = take_over(made, scan, None, (2.0, 2.0, 5.0), None, Events())
    assert (found["profile"], found["fwhm"], taken) == ("gaussian", (2.0, 2.0, 5.0), [])
    assert take_over(made, scan, None, None, None, Events())[0]["profile"] == "point"


def test_nothing_is_taken_over_from_a_run_of_another_scan() -> None:
    seen: list[dict[str, Any]] = []
    found, taken = take_over({**identity_of(oblique(5)), **GIVEN}, oblique(6), None, None, None, Events(seen.append))
    assert (found, taken) == ({"sigma": None, "fwhm": None, "profile": "gaussian", "n4": False}, [])
    assert seen == []


def test_a_report_checks_the_fidelity_with_the_settings_of_the_run(
    quick_pipeline: None, low: Image, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan, enhanced, same = (str(tmp_path / name) for name in ("scan_T1w.nii.gz", "e.nii.gz", "scan_T1w.nrrd"))
    write_image(low, scan, "scan")
    write_image(read_image(scan), same, "scan")
    settings = ["--sigma", "12", "--psf", "4", "4", "7", "--profile", "box"]
    first, second, third = (str(tmp_path / f"{name}.json") for name in ("first", "second", "third"))
    made = ["enhance", scan, "-m", "cubic", "--spacing", "4", "-o", enhanced, "--report-json", first, *settings]
    assert run_json(capsys, *made)[0] == 0
    code, events = run_json(capsys, "report", same, enhanced, "--spacing", "4", "-o", second)
    said = [event["message"] for event in events if event["event"] == "warning"]
    assert code == 0 and any(
        "noise level 12.0, widths of the point-spread function 4.0 x 4.0 x 7.0 mm" in s for s in said
    )
    assert run_json(capsys, "report", same, enhanced, "--spacing", "4", "-o", third, "--sigma", "24")[0] == 0
    run, report, told = (json.loads(Path(name).read_text(encoding="utf-8")) for name in (first, second, third))
    assert report["input"]["psf"] == run["input"]["psf"] and report["input"]["sigma"] == run["input"]["sigma"] == 12
    assert report["fidelity"]["rms"] == pytest.approx(run["fidelity"]["rms"], rel=0.02)
    assert told["fidelity"]["rms"] == pytest.approx(report["fidelity"]["rms"] / 2, rel=1e-4)
    assert report["provenance"]["taken_over"] == ["sigma", "fwhm", "profile"]
    assert told["provenance"]["taken_over"] == ["fwhm", "profile"]
    page = render_html(report, {})
    assert ", as in the run that made the volume." in page and "slice profile box (as in the run that" in page
    assert "4.0 x 4.0 x 7.0 mm (as in the run that made the volume)" in page
    assert list(violations(report, DOCUMENT)) == []
