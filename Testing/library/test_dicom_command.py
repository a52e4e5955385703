"""DICOM output of a run: the options are refused before any work, and a folder appears whole or not at all."""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
from dicom_support import GRIDS, PROVENANCE, SHAPE, voxels, write_source

from LowFieldEnhanceLib.dicom.command import DicomOutput, write_dicom
from LowFieldEnhanceLib.dicom.options import add_dicom_options
from LowFieldEnhanceLib.dicom.placement import lies_as
from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.events import Events
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.image_io import read_image
from LowFieldEnhanceLib.safe_files import all_or_none
from LowFieldEnhanceLib.segmentation.labels import LabelMap


def parsed(*words: Any) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("input")
    add_dicom_options(parser)
    return parser.parse_args([str(word) for word in words])


def wanted(*words: Any) -> DicomOutput:
    output = DicomOutput.of(parsed(*words))
    assert output is not None
    return output


def result(labels: bool = True) -> Any:
    """What the pipeline returns, as far as it is written."""
    array = np.random.default_rng(1).choice([0, 17, 53], SHAPE).astype(np.uint8)
    return SimpleNamespace(
        enhanced=Image(voxels(), GRIDS["oblique"], "T1w"),
        labels_after=LabelMap(array, GRIDS["oblique"], {}) if labels else None,
        report={"provenance": PROVENANCE},
    )


def names(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_without_the_option_nothing_is_asked_for(tmp_path: Path) -> None:
    assert DicomOutput.of(parsed(tmp_path / "scan.nii.gz")) is None
    with pytest.raises(BadInput, match="need --dicom"):
        DicomOutput.of(parsed(tmp_path / "scan.nii.gz", "--dicom-patient", "PatientID=1"))


def test_a_dicom_input_is_its_own_source(tmp_path: Path) -> None:
    source = write_source(tmp_path / "source")
    output = wanted(tmp_path / "source", "--dicom", tmp_path / "out")
    output.check()
    with all_or_none() as place:
        output.write(result(), place)
        assert not (tmp_path / "out").exists()
    slices = [f"enhanced/{n:04d}.dcm" for n in range(1, 7)]
    assert names(tmp_path / "out") == [*slices, "report/report.dcm", "segmentation/segmentation.dcm"]
    before = pydicom.dcmread(source[0])
    for name in ("enhanced/0001.dcm", "segmentation/segmentation.dcm", "report/report.dcm"):
        after = pydicom.dcmread(tmp_path / "out" / name)
        assert (after.PatientID, after.StudyInstanceUID) == (before.PatientID, before.StudyInstanceUID)
        assert "report" in name or after.FrameOfReferenceUID == before.FrameOfReferenceUID
    assert read_image(tmp_path / "out" / "enhanced").array.size == np.prod(SHAPE)


def test_a_converted_input_can_name_its_source_or_its_patient(tmp_path: Path) -> None:
    source = write_source(tmp_path / "source")
    (tmp_path / "scan.nii.gz").write_bytes(b"")
    output = wanted(tmp_path / "scan.nii.gz", "--dicom", tmp_path / "a", "--dicom-source", tmp_path / "source")
    assert list(output.source_files) == source
    output = wanted(
        tmp_path / "scan.nii.gz", "--dicom", tmp_path / "b",
        "--dicom-patient", "PatientID=17", "--dicom-patient", "PatientName=Doe^Jane",
    )  # fmt: skip
    output.check()
    with all_or_none() as place:
        output.write(result(labels=False), place)
    data = pydicom.dcmread(tmp_path / "b" / "enhanced" / "0001.dcm")
    assert (data.PatientID, str(data.PatientName)) == ("17", "Doe^Jane")
    assert not (tmp_path / "b" / "segmentation").exists()


def turned(image: Image) -> Image:
    """The same voxels at the same places, with other axes."""
    affine = image.affine[:, [1, 0, 2, 3]].copy()
    affine[:3, 3] += affine[:3, 2] * (image.shape[2] - 1)
    affine[:3, 2] *= -1
    return Image(image.array.transpose(1, 0, 2)[:, :, ::-1], affine, "T1w")


@pytest.mark.parametrize(("shift", "kept"), [(0.0, True), (0.05, True), (0.2, False), (30.0, False)])
def test_a_scan_that_was_moved_since_does_not_claim_the_scanners_frame_of_reference(
    shift: float, kept: bool, tmp_path: Path
) -> None:
    """Somebody fuses it with the other series of that frame: it would lie elsewhere, and nothing would say so."""
    before = pydicom.dcmread(write_source(tmp_path / "source")[0])
    scan = turned(read_image(tmp_path / "source"))
    affine = scan.affine.copy()
    affine[0, 3] += shift
    (tmp_path / "scan.nii.gz").write_bytes(b"")
    output = wanted(tmp_path / "scan.nii.gz", "--dicom", tmp_path / "out", "--dicom-source", tmp_path / "source")
    said: list[dict[str, Any]] = []
    output = output.in_frame_of(Image(scan.array, affine, "T1w"), Events(said.append))
    with all_or_none() as place:
        output.write(result(), place)
    written = [pydicom.dcmread(tmp_path / "out" / name) for name in names(tmp_path / "out")]
    frames = {str(data.FrameOfReferenceUID) for data in written if data.Modality != "SR"}
    assert len(frames) == 1 and (frames == {str(before.FrameOfReferenceUID)}) == kept
    assert {(d.PatientID, d.StudyInstanceUID) for d in written} == {(before.PatientID, before.StudyInstanceUID)}
    assert len(said) == (not kept)
    assert kept or "does not lie where its DICOM files say" in said[0]["message"]


def test_a_scan_that_was_cropped_padded_or_stretched_since_lies_elsewhere(tmp_path: Path) -> None:
    write_source(tmp_path / "source")
    scan = read_image(tmp_path / "source")
    assert lies_as(scan, tmp_path / "source") and lies_as(turned(scan), tmp_path / "source")
    for axis in range(3):
        fewer, more = (np.delete(scan.array, 0, axis), np.concatenate([scan.array] * 2, axis))
        stretched = scan.affine.copy()
        stretched[:3, axis] *= 1.1
        for other in (Image(fewer, scan.affine), Image(more, scan.affine), Image(scan.array, stretched)):
            assert not lies_as(other, tmp_path / "source")


def test_a_source_whose_place_cannot_be_told_lends_no_frame_of_reference(tmp_path: Path) -> None:
    files = write_source(tmp_path / "source", count=5)
    files[2].unlink()  # a gap, so that no grid fits
    (tmp_path / "scan.nii.gz").write_bytes(b"")
    output = wanted(tmp_path / "scan.nii.gz", "--dicom", tmp_path / "out", "--dicom-source", tmp_path / "source")
    assert output.in_frame_of(Image(voxels(), np.eye(4)), Events()).own_frame


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["scan.nii.gz", "--dicom", "full"], "not empty"),
        (["scan.nii.gz", "--dicom", "no/where"], "does not exist"),
        (["scan.nii.gz", "--dicom", "out", "--dicom-source", "scan.nii.gz"], "is not DICOM"),
        (["scan.nii.gz", "--dicom", "out", "--dicom-source", "absent"], "does not exist"),
        (["scan.nii.gz", "--dicom", "out", "--dicom-patient", "PatientID"], "KEYWORD=VALUE"),
        (["scan.nii.gz", "--dicom", "out", "--dicom-patient", "PatientBirthDate=soon"], "PatientBirthDate"),
        (["source", "--dicom", "out", "--dicom-patient", "PatientID=1"], "are kept"),
        (["source", "--dicom", "source"], "not empty"),
    ],
)
def test_what_cannot_be_written_is_refused_before_the_work(
    words: list[str], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_source(tmp_path / "source")
    Path("scan.nii.gz").write_bytes(b"")
    Path("full").mkdir()
    Path("full", "x").touch()
    with pytest.raises(BadInput, match=reason):
        wanted(*words).check()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["full", "scan.nii.gz", "source"]


def test_a_header_that_no_reader_understands_does_not_cost_the_run(tmp_path: Path) -> None:
    """De-identified: 19700000; the sex in words; a time with colons."""
    changes = {"PatientBirthDate": "19700000", "PatientSex": "MALE", "StudyTime": "10:11:12", "PatientID": "17"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's, about these values
        source = write_source(tmp_path / "source", **changes)
        folder = write_dicom(result(), tmp_path / "out", source)
        written = [pydicom.dcmread(folder / name) for name in names(folder)]
    assert {data.Modality for data in written} == {"MR", "SEG", "SR"}
    for data in written:
        assert data.PatientID == "17"
        assert not data.PatientBirthDate and not data.PatientSex and not data.StudyTime


def test_a_segmentation_that_fails_takes_the_series_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(highdicom.seg.Segmentation, "save_as", full)
    with pytest.raises(OSError, match="disk full"):
        write_dicom(result(), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_result_in_which_no_structure_was_found_has_its_series_all_the_same(tmp_path: Path) -> None:
    run = result()
    run.labels_after = LabelMap(np.zeros(SHAPE, np.uint8), GRIDS["oblique"], {})
    write_dicom(run, tmp_path / "out")
    assert {Path(name).parts[0] for name in names(tmp_path / "out")} == {"enhanced"}
