"""The structured report: the volumes of the segmentation's own segments, by the standard's template, and valid."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
from dicom_support import GRIDS, PROVENANCE, SHAPE, validator_errors, voxels, write_source

from LowFieldEnhanceLib.dicom.command import write_dicom
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.image_io import DERIVED
from LowFieldEnhanceLib.segmentation.labels import LabelMap, label_by_id, label_table

VOXEL_ML = 0.9 * 1.3 * 2.7 / 1000.0
ROWS = [
    {"label_id": 17, "change_percent": -12.3456, "error_enhanced_percent": 7.5},
    {"label_id": 53, "change_percent": None},
]


def result(ids: tuple[int, ...] = (17, 53, 16), rows: list[dict[str, Any]] | None = None) -> Any:
    array = np.random.default_rng(1).choice([0, *ids], SHAPE).astype(np.uint8)
    return SimpleNamespace(
        enhanced=Image(voxels(), GRIDS["oblique"], "T1w"),
        labels_after=LabelMap(array, GRIDS["oblique"], {}),
        report={"provenance": PROVENANCE, "structures": ROWS if rows is None else rows},
    )


def written(tmp_path: Path, run: Any, source: bool = False) -> Path:
    return write_dicom(run, tmp_path / "out", write_source(tmp_path / "source") if source else ())


def groups(folder: Path) -> dict[str, Any]:
    """The measurement groups by their names, read by an independent reader of the template."""
    report = highdicom.sr.srread(folder / "report" / "report.dcm")
    found = report.content.get_volumetric_roi_measurement_groups()
    return {group.tracking_identifier: group for group in found}


def test_every_segment_has_its_volume_in_millilitres(tmp_path: Path) -> None:
    run = result()
    found = groups(written(tmp_path, run))
    assert set(found) == {label_by_id()[i].name for i in (17, 53, 16)}
    for i in (17, 53, 16):
        (volume,) = found[label_by_id()[i].name].get_measurements(pydicom.sr.codedict.codes.SCT.Volume)
        assert volume.unit.value == "mL"
        assert volume.value == pytest.approx(np.count_nonzero(run.labels_after.array == i) * VOXEL_ML, abs=1e-4)


def test_every_group_points_to_the_segment_of_its_name_and_to_the_enhanced_series(tmp_path: Path) -> None:
    folder = written(tmp_path, result(), source=True)
    segmentation = pydicom.dcmread(folder / "segmentation" / "segmentation.dcm")
    header = pydicom.dcmread(folder / "enhanced" / "0001.dcm")
    names = {s.SegmentNumber: s.SegmentLabel for s in segmentation.SegmentSequence}
    for name, group in groups(folder).items():
        (image,) = [item for item in group[0].ContentSequence if item.ValueType == "IMAGE"]
        referenced = image.ReferencedSOPSequence[0]
        assert referenced.ReferencedSOPInstanceUID == segmentation.SOPInstanceUID
        assert names[referenced.ReferencedSegmentNumber] == name
        series = [item.UID for item in group[0].ContentSequence if item.ValueType == "UIDREF"]
        assert header.SeriesInstanceUID in series


def test_comparisons_are_those_of_the_reports_rows_and_absent_where_undefined(tmp_path: Path) -> None:
    found = groups(written(tmp_path, result()))
    values = {
        name: {m.name.value: m.value for m in group.get_measurements() if m.name.scheme_designator == "99LFE"}
        for name, group in found.items()
    }
    assert values[label_by_id()[17].name] == {"CHANGE": -12.346, "ERROR": 7.5}
    assert values[label_by_id()[53].name] == values[label_by_id()[16].name] == {}


def test_sides_and_kinds_are_those_of_the_label_table(tmp_path: Path) -> None:
    for name, group in groups(written(tmp_path, result())).items():
        (label,) = [label for label in label_table() if label.name == name]
        assert group.finding_type.value == label.code
        site = group.finding_sites[0]
        assert site.value.value == label.code
        assert (site.laterality.meaning.lower() if site.laterality else "") == label.side


def test_without_a_reference_the_document_never_says_error(tmp_path: Path) -> None:
    folder = written(tmp_path, result(rows=[{"label_id": 17, "change_percent": 1.0}]))
    assert "error" not in pydicom.dcmread(folder / "report" / "report.dcm").to_json().lower()


def test_it_carries_the_mark_and_belongs_to_the_patient_and_study(tmp_path: Path) -> None:
    folder = written(tmp_path, result(), source=True)
    report = pydicom.dcmread(folder / "report" / "report.dcm")
    header = pydicom.dcmread(folder / "enhanced" / "0001.dcm")
    assert report.SeriesDescription.startswith(DERIVED)
    assert report.to_json().count(DERIVED) > 1  # in the description, and with every group
    for keyword in "PatientName PatientID PatientBirthDate PatientSex StudyInstanceUID StudyDate".split():
        assert report[keyword].value == header[keyword].value, keyword
    assert report.Modality == "SR"
    assert report.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    assert report.VerificationFlag == "UNVERIFIED"


@pytest.mark.parametrize("source", [False, True], ids=["no source", "source"])
def test_dciodvfy_finds_no_error(source: bool, tmp_path: Path) -> None:
    every = tuple(label.id for label in label_table())
    folder = written(tmp_path, result(every), source)
    assert validator_errors(folder / "report" / "report.dcm") == []


def test_dciodvfy_would_find_an_error(tmp_path: Path) -> None:
    path = written(tmp_path, result()) / "report" / "report.dcm"
    data = pydicom.dcmread(path)
    del data.CompletionFlag
    data.save_as(path)
    assert "CompletionFlag" in " ".join(validator_errors(path))


def test_dcentvfy_finds_series_segmentation_and_report_of_one_patient_and_study(tmp_path: Path) -> None:
    folder = written(tmp_path, result(), source=True)
    command = shutil.which("dcentvfy")
    assert command, "dcentvfy is missing; install dicom3tools"
    files = sorted(str(p) for p in folder.rglob("*.dcm"))
    run = subprocess.run([command, *files], capture_output=True, text=True, errors="replace", check=False)
    assert [line for line in (run.stdout + run.stderr).splitlines() if line.startswith("Error")] == []
