"""A displacement field and the spread of the slice orientations, on the command line and in the report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from cli_support import SAMPLE, run_json
from test_pipeline_samples import mask, quick  # noqa: F401 (fixtures)

from LowFieldEnhanceLib.image_io import read_image


@pytest.fixture
def spread(tmp_path: Path) -> str:
    """A transform that spreads space by a fifth along each axis."""
    path = tmp_path / "unwarp.tfm"
    transform = SimpleITK.AffineTransform(3)
    transform.Scale(1.2)
    SimpleITK.WriteTransform(transform, str(path))
    return str(path)


def arguments(folder: Path, brain: str, *more: str) -> list[str]:
    return ["enhance", SAMPLE, "-o", str(folder / "e.nii.gz"), "--contrast", "T1w", "--spacing", "4",
            "--brain-mask", brain, "--report-json", str(folder / "r.json"), *more]  # fmt: skip


def test_a_single_result_has_an_uncertainty_map_and_the_report_says_what_was_known_of_the_gradients(
    tmp_path: Path,
    mask: str,  # noqa: F811
    spread: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    more = ("-m", "latent", "--uncertainty", str(tmp_path / "u.nii.gz"), "--displacement", spread)
    code, events = run_json(capsys, *arguments(tmp_path, mask, *more))
    assert code == 0, events[-1]
    report = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    settings = report["provenance"]["settings"]
    assert settings["gradient_nonlinearity"]["from"] == pytest.approx(1.2**3, rel=1e-4)
    assert settings["bias_field"] == "N4 of the input"
    assert report["uncertainty"]["kind"] == "orientations" and report["provenance"]["samples"] == 1
    # what is brighter than 600 on the left is "white matter" of each of the three orientations
    white = report["uncertainty"]["structures"]["Left Cerebral White Matter"]
    row = next(row for row in report["structures"] if row["label_id"] == white["label_id"])
    assert row["volume_mean_ml"] == white["volume_mean_ml"] > 0 and row["volume_cv_percent"] > 0
    deviation = read_image(tmp_path / "u.nii.gz", "other").array
    assert deviation.min() >= 0 and deviation.max() > 0
    inside = read_image(tmp_path / "e.nii.gz", "T1w")
    assert deviation.shape == inside.shape and np.isfinite(deviation).all()


def test_without_a_field_the_report_says_identity_and_another_method_says_that_it_does_not_use_one(
    tmp_path: Path,
    mask: str,  # noqa: F811
    spread: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, events = run_json(capsys, *arguments(tmp_path, mask, "-m", "latent"))
    assert code == 0
    assert events[-1]["provenance"]["settings"]["gradient_nonlinearity"]["source"].startswith("identity")
    code, events = run_json(capsys, *arguments(tmp_path, mask, "-m", "cubic", "--displacement", spread))
    assert code == 0
    warnings = [event["message"] for event in events if event["event"] == "warning"]
    assert any("does not use the displacement field" in warning for warning in warnings)


def test_a_missing_displacement_field_is_refused_and_nothing_is_written(
    tmp_path: Path,
    mask: str,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    code, events = run_json(capsys, *arguments(folder, mask, "-m", "latent", "--displacement", "no.tfm"))
    assert code == 2 and "no.tfm" in events[-1]["message"]
    assert list(folder.iterdir()) == []
