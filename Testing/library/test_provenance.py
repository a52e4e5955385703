"""What a report says of the files and programs that it was made with."""

from __future__ import annotations

import hashlib
import json
from importlib import metadata
from pathlib import Path

import pytest
import SimpleITK
from cli_support import run_json
from judging_support import LESION_MM, OPTIONS, ball
from phantoms import phantom_head
from test_report_schema import DOCUMENT, violations

from LowFieldEnhanceLib import ours, pipeline
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.image_io import read_image, read_labels, write_image, write_labels
from LowFieldEnhanceLib.physics.simulate import Protocol, simulate
from LowFieldEnhanceLib.preprocess.unwarp import Displacement, read_displacement
from LowFieldEnhanceLib.segmentation.labels import LabelMap

pytest_plugins = ["judging_fixtures"]
pytestmark = pytest.mark.usefixtures("quick_pipeline")


@pytest.fixture
def files(low: Image, high: Image, tmp_path: Path) -> Path:
    """A folder with a scan, a reference, its labels and a lesion."""
    labels = phantom_head()[1]
    write_image(low, tmp_path / "scan_T1w.nii.gz", "scan")
    write_image(high, tmp_path / "high_T1w.nii.gz", "scan")
    write_labels(labels, tmp_path / "aseg.nii.gz")
    write_labels(LabelMap(ball(high, LESION_MM, 9.0), high.affine, {}), tmp_path / "lesion.nii.gz")
    return tmp_path


def test_a_report_names_its_reference_the_labels_and_the_lesions(files: Path) -> None:
    scan, reference = (read_image(files / f"{name}_T1w.nii.gz") for name in ("scan", "high"))
    labels, lesions = (read_labels(files / f"{name}.nii.gz") for name in ("aseg", "lesion"))
    judged = {"reference": reference, "reference_labels": labels, "lesions": lesions}
    report = pipeline.enhance(scan, OPTIONS, **judged).report
    made = report["provenance"]
    assert [made[f"{name}_file"] for name in judged] == ["high_T1w.nii.gz", "aseg.nii.gz", "lesion.nii.gz"]
    assert made["reference_sha256"] == reference.sha256()
    assert made["reference_labels_sha256"] == labels.as_image().sha256() != made["lesions_sha256"]
    assert list(violations(json.loads(json.dumps(report)), DOCUMENT)) == []
    again = pipeline.assess(scan, reference, "cpu", spacing=4.0, **judged).report["provenance"]
    assert {key: again[key] for key in made if key.startswith(tuple(judged))} == {
        key: made[key] for key in made if key.startswith(tuple(judged))
    }


def test_what_was_not_given_is_null_and_what_has_no_file_has_no_name(low: Image, high: Image) -> None:
    made = pipeline.enhance(low, OPTIONS, reference=high).report["provenance"]
    assert made["reference_file"] == "" and made["reference_sha256"] == high.sha256()
    assert made["lesions_file"] is made["lesions_sha256"] is made["reference_labels_sha256"] is None


def test_the_versions_are_those_of_the_installed_packages(low: Image) -> None:
    versions = pipeline.enhance(low, OPTIONS).report["provenance"]["versions"]
    for name in ("torch", "numpy", "scipy", "SimpleITK"):
        assert versions[name].partition("+")[0] == metadata.version(name).partition("+")[0]


def test_a_displacement_field_is_known_by_its_content_and_not_by_its_name_alone(low: Image, tmp_path: Path) -> None:
    made = []
    for shift in (1.0, 2.0):
        SimpleITK.WriteTransform(SimpleITK.TranslationTransform(3, (shift, 0, 0)), str(tmp_path / "field.tfm"))
        given = read_displacement(tmp_path / "field.tfm")
        made.append(pipeline.enhance(low, OPTIONS, displacement=given).report["provenance"])
        assert made[-1]["displacement_sha256"] == hashlib.sha256((tmp_path / "field.tfm").read_bytes()).hexdigest()
    assert made[0]["displacement"] == made[1]["displacement"] == "field.tfm"
    assert made[0]["displacement_sha256"] != made[1]["displacement_sha256"]
    unnamed = Displacement(SimpleITK.TranslationTransform(3), "mine")
    assert pipeline.enhance(low, OPTIONS, displacement=unnamed).report["provenance"]["displacement_sha256"] is None


def test_a_report_on_an_existing_volume_says_which_and_who_enhanced_it(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan, enhanced, report = (str(files / name) for name in ("scan_T1w.nii.gz", "e.nii.gz", "r.json"))
    assert run_json(capsys, "enhance", scan, "-m", "cubic", "--seed", "5", "--spacing", "4", "-o", enhanced)[0] == 0
    sidecar = json.loads((files / "e.json").read_text(encoding="utf-8")) | {"seconds": 12345.0}
    (files / "e.json").write_text(json.dumps(sidecar), encoding="utf-8")

    def judged(volume: str) -> dict:
        assert run_json(capsys, "report", scan, volume, "--spacing", "4", "-o", report)[0] == 0
        made = json.loads((files / "r.json").read_text(encoding="utf-8"))
        assert list(violations(made, DOCUMENT)) == []
        return made["provenance"]

    made = judged(enhanced)
    assert made["enhanced_file"] == "e.nii.gz" and made["enhanced_sha256"] == read_image(enhanced).sha256()
    assert made["enhanced_by"] == sidecar and (made["method"], made["seed"]) == ("cubic", 5)
    assert made["seconds"] < 1000, "the time of the report is its own"
    (files / "e.json").unlink()
    made = judged(enhanced)
    assert made["enhanced_by"] is None and made["method"].startswith("unknown") and "seed" not in made
    # the sidecar of e.nrrd, which was made of e.nii.gz
    write_image(read_image(scan), files / "e.nii.gz", "scan")
    (files / "e.json").write_text(json.dumps({**sidecar, "input_file": "e.nii.gz"}), encoding="utf-8")
    assert judged(enhanced)["enhanced_by"] is None


def test_a_report_on_a_volume_made_after_a_bias_correction_corrects_the_scan_too(
    high: Image, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan, enhanced = str(tmp_path / "scan_T1w.nii.gz"), str(tmp_path / "e.nii.gz")
    write_image(simulate(high, Protocol(spacing=(4.0, 4.0, 6.0), snr=30, bias=0.3), seed=3), scan, "scan")
    first, second = (str(tmp_path / name) for name in ("first.json", "second.json"))
    made = ["enhance", scan, "-m", "cubic", "--n4", "--spacing", "4", "-o", enhanced, "--report", first]
    assert run_json(capsys, *made)[0] == 0
    code, events = run_json(capsys, "report", scan, enhanced, "--spacing", "4", "-o", second)
    assert code == 0 and any("the scan corrected likewise" in event.get("message", "") for event in events)
    one, other = (json.loads(Path(name).read_text(encoding="utf-8")) for name in (first, second))
    assert other["provenance"]["n4"] is True
    for key in ("rms", "share_above_3"):  # without the correction 7.0 in the place of 0.9, and 70 % of the voxels
        assert other["fidelity"][key] == pytest.approx(one["fidelity"][key], rel=0.05)


def test_the_page_names_them(low: Image, high: Image) -> None:
    from LowFieldEnhanceLib.evaluation.html import render_html

    report = pipeline.enhance(low, OPTIONS, reference=Image(high.array, high.affine, "T1w", {"file": "3T & more.nii"}))
    page = render_html(report.report, {})
    assert "<dt>Reference</dt><dd>3T &amp; more.nii, SHA-256 <code>" + high.sha256() in page
    assert "<dt>Lesions</dt>" not in page and "<dt>Judged volume</dt>" not in page


def test_a_sidecar_reads_back_as_it_was_written(tmp_path: Path) -> None:
    provenance = {"derived": ours.DERIVED, "input_file": "scan.nii", "seed": 3}
    (tmp_path / "e.json").write_text(ours.sidecar_text(provenance), encoding="utf-8")
    assert ours.provenance_of(tmp_path / "e.json") == provenance
    assert ours.provenance_beside(tmp_path / "e.nii.gz") is None, "there is no such volume"
