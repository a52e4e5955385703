"""A derived DICOM series: whose it is, what is kept, what is new, what is refused, and what is left on the disk."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK
from dicom_support import GRIDS, PROVENANCE, headers, voxels, write_source
from pydicom.dataset import Dataset
from pydicom.uid import MRImageStorage, generate_uid

from LowFieldEnhanceLib.dicom import files
from LowFieldEnhanceLib.dicom.series import write_series
from LowFieldEnhanceLib.dicom.source import find_source_files
from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.image_io import DERIVED, read_image


def refusal(*arguments: Any, **options: Any) -> str:
    with pytest.raises(BadInput) as caught:
        write_series(*arguments, **options)
    return str(caught.value)


# what is kept and what is new


def test_patient_study_and_frame_of_reference_are_those_of_the_source(tmp_path: Path) -> None:
    source = write_source(tmp_path / "source")
    before = headers(source)[0]
    for data in headers(write_series(Image(voxels(), GRIDS["oblique"]), tmp_path / "out", PROVENANCE, source)):
        for keyword in (
            "PatientName PatientID PatientBirthDate PatientSex PatientAge StudyInstanceUID StudyDate StudyTime StudyID "
            "StudyDescription AccessionNumber ReferringPhysicianName FrameOfReferenceUID PatientPosition ProtocolName "
            "AcquisitionDate ScanningSequence SequenceVariant MRAcquisitionType RepetitionTime EchoTime InversionTime "
            "EchoTrainLength MagneticFieldStrength"
        ).split():
            assert data[keyword].value == before[keyword].value, keyword
        assert data.OtherPatientIDsSequence[0].IssuerOfPatientID == "Köln"


def test_series_instances_and_equipment_are_new_and_refer_to_the_source(tmp_path: Path) -> None:
    source = write_source(tmp_path / "source")
    before = headers(source)
    after = headers(write_series(Image(voxels(), np.eye(4), "T1w"), tmp_path / "out", PROVENANCE, source))
    assert len({d.SeriesInstanceUID for d in after}) == 1
    assert len({d.SOPInstanceUID for d in after}) == len(after)
    assert not {d.SOPInstanceUID for d in after} & {d.SOPInstanceUID for d in before}
    data = after[0]
    assert data.SeriesInstanceUID != before[0].SeriesInstanceUID
    assert data.SeriesNumber != before[0].SeriesNumber
    references = data.SourceImageSequence
    assert [r.ReferencedSOPInstanceUID for r in references] == [d.SOPInstanceUID for d in before]
    assert {r.ReferencedSOPClassUID for r in references} == {MRImageStorage}
    assert data.Manufacturer == "LowFieldEnhance"
    assert list(data.SoftwareVersions) == ["lowfield-enhance 0.1.0", "torch 2.13.0"]
    scanner, ours = data.ContributingEquipmentSequence
    assert (scanner.ManufacturerModelName, scanner.DeviceSerialNumber) == ("Swoop", "0815")
    assert scanner.InstitutionName == "Universität"
    assert scanner.PurposeOfReferenceCodeSequence[0].CodeValue == "109101"
    assert list(ours.SoftwareVersions) == list(data.SoftwareVersions)
    for keyword in ("InPlanePhaseEncodingDirection", "AcquisitionMatrix"):
        assert keyword not in data, f"{keyword} belongs to the rows and columns of the source"
    assert not [element for element in data if element.tag.is_private]


@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom warns of such values
@pytest.mark.parametrize(
    ("given", "number"), [(b"abc ", 1001), (b"12.5", 1001), (b"3\\4 ", 1001), (b"    ", 1001), (b"+42 ", 1042)]
)
def test_a_series_number_that_is_no_whole_number_counts_as_unknown(given: bytes, number: int, tmp_path: Path) -> None:
    source = write_source(tmp_path / "source", SeriesNumber=7777)
    for path in source:
        path.write_bytes(path.read_bytes().replace(b"IS\x04\x007777", b"IS\x04\x00" + given))
    derived = write_series(Image(voxels(), np.eye(4)), tmp_path / "out", PROVENANCE, source)
    assert {data.SeriesNumber for data in headers(derived)} == {number}


def test_a_series_number_leaves_room_for_those_of_the_results(tmp_path: Path) -> None:
    source = write_source(tmp_path / "source", SeriesNumber=2**31 - 1)
    derived = write_series(Image(voxels(), np.eye(4)), tmp_path / "out", PROVENANCE, source)
    assert headers(derived)[0].SeriesNumber == 1001


def test_a_source_without_names_is_still_told_to_be_so(tmp_path: Path) -> None:
    said = {"PatientIdentityRemoved": "YES", "DeidentificationMethod": "by hand"}
    source = write_source(tmp_path / "source", **said)
    data = pydicom.dcmread(write_series(Image(voxels(), np.eye(4)), tmp_path / "out", PROVENANCE, source)[0])
    assert {keyword: str(data[keyword].value) for keyword in said} == said


def test_every_instance_says_that_it_is_derived_and_how(tmp_path: Path) -> None:
    for data in headers(write_series(Image(voxels(), np.eye(4), "FLAIR"), tmp_path / "out", PROVENANCE)):
        assert data.ImageType[:2] == ["DERIVED", "SECONDARY"]
        assert data.SeriesDescription == f"{DERIVED}: FLAIR bridged fast"
        assert data.ImageComments == "ENHANCED - not for diagnosis"  # what most viewers show
        assert data.BurnedInAnnotation == "NO"
        for fact in (DERIVED, "bridged", "fast", "seed: 7", "bridged_bridge ab12ab12ab12", "torch 2.13.0"):
            assert fact in data.DerivationDescription
        code = data.DerivationCodeSequence[0]
        assert (code.CodeValue, code.CodingSchemeDesignator) == ("113085", "DCM")
    assert read_image(tmp_path / "out").contrast == "FLAIR"


def test_the_mark_survives_texts_that_are_too_long_or_hold_a_backslash(tmp_path: Path) -> None:
    provenance = {**PROVENANCE, "method": "a\\b" * 60, "weights": {f"network{n}": "f" * 64 for n in range(90)}}
    data = pydicom.dcmread(write_series(Image(voxels(), np.eye(4)), tmp_path / "out", provenance)[0])
    assert data.SeriesDescription.startswith(DERIVED)
    assert len(data.SeriesDescription) <= 64
    assert len(data.DerivationDescription) <= 1024


def test_without_dicom_a_new_study_holds_the_patient_data_given_and_nothing_else(tmp_path: Path) -> None:
    image = Image(voxels(), np.eye(4))
    given_data = {"PatientID": "17", "PatientName": "Ωmega^山田", "PatientSex": "M"}
    data = pydicom.dcmread(write_series(image, tmp_path / "a", PROVENANCE, patient=given_data)[0])
    assert {k: str(data[k].value) for k in given_data} == given_data
    other = pydicom.dcmread(write_series(image, tmp_path / "b", PROVENANCE)[0])
    assert other.StudyInstanceUID != data.StudyInstanceUID
    assert other.FrameOfReferenceUID != data.FrameOfReferenceUID
    for keyword in ("PatientID", "PatientName", "PatientBirthDate", "StudyDate", "EchoTime", "RepetitionTime"):
        assert not other[keyword].value
    assert "SourceImageSequence" not in other
    assert "MagneticFieldStrength" not in other


def test_a_lossy_source_stays_lossy(tmp_path: Path) -> None:
    source = write_source(tmp_path / "source", LossyImageCompression="01", LossyImageCompressionRatio="8")
    data = pydicom.dcmread(write_series(Image(voxels(), np.eye(4)), tmp_path / "out", PROVENANCE, source)[0])
    assert (data.LossyImageCompression, data.LossyImageCompressionRatio) == ("01", 8)


# files and refusals


def test_an_empty_folder_is_used_and_a_folder_that_holds_something_is_not(tmp_path: Path) -> None:
    image = Image(voxels(), np.eye(4))
    (tmp_path / "empty").mkdir()
    paths = write_series(image, tmp_path / "empty", PROVENANCE)
    assert sorted((tmp_path / "empty").iterdir()) == paths
    before = {p.name: p.read_bytes() for p in paths}
    assert "not empty" in refusal(image, tmp_path / "empty", PROVENANCE)
    assert {p.name: p.read_bytes() for p in (tmp_path / "empty").iterdir()} == before
    (tmp_path / "file").write_text("x")
    assert "not a folder" in refusal(image, tmp_path / "file", PROVENANCE)
    assert "does not exist" in refusal(image, tmp_path / "no" / "where", PROVENANCE)


def test_the_source_is_never_written_to(tmp_path: Path) -> None:
    source = write_source(tmp_path / "source")
    before = [hashlib.sha256(p.read_bytes()).hexdigest() for p in source]
    write_series(Image(voxels(), np.eye(4)), tmp_path / "out", PROVENANCE, source)
    assert "not empty" in refusal(Image(voxels(), np.eye(4)), tmp_path / "source", PROVENANCE, source)
    assert sorted((tmp_path / "source").iterdir()) == source
    assert [hashlib.sha256(p.read_bytes()).hexdigest() for p in source] == before


@pytest.mark.parametrize("failure", [OSError("disk full"), KeyboardInterrupt()], ids=["disk full", "cancel"])
def test_nothing_is_left_after_a_failure(
    failure: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, written = pydicom.dcmwrite, []

    def fails_at_the_third(path: Path, data: Dataset, **options: Any) -> None:
        if len(written) == 2:
            raise failure
        written.append(path)
        write(path, data, **options)

    monkeypatch.setattr(pydicom, "dcmwrite", fails_at_the_third)
    with pytest.raises(type(failure)):
        write_series(Image(voxels(), np.eye(4)), tmp_path / "out", PROVENANCE)
    assert len(written) == 2
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_one_sentence_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files.importlib.util, "find_spec", lambda name: None)
    text = refusal(Image(voxels(), np.eye(4)), tmp_path / "out", PROVENANCE)
    assert "pydicom" in text
    assert "lowfield-enhance[dicom]" in text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("patient", "reason"),
    [
        ({"PatientBirthDate": "31.1.1970"}, "PatientBirthDate"),
        ({"PatientSex": "X"}, "M, F or O"),
        ({"Rows": "8"}, "not an attribute of the patient"),
        ({"StudyInstanceUID": "1.2"}, "not an attribute of the patient"),
    ],
)
def test_patient_data_that_dicom_cannot_hold_are_refused(patient: dict[str, str], reason: str, tmp_path: Path) -> None:
    assert reason in refusal(Image(voxels(), np.eye(4)), tmp_path / "out", PROVENANCE, patient=patient)
    assert list(tmp_path.iterdir()) == []


def test_patient_data_never_replace_those_of_the_source(tmp_path: Path) -> None:
    source = write_source(tmp_path / "source")
    text = refusal(Image(voxels(), np.eye(4)), tmp_path / "out", PROVENANCE, source, {"PatientID": "18"})
    assert "kept as they are" in text


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"PatientID": "B"}, "several patients"),
        ({"PatientID": "A-17", "StudyInstanceUID": "1.2.3"}, "several studies"),
        ({"Modality": "CT"}, "not an MR image"),
        ({"StudyInstanceUID": None}, "StudyInstanceUID"),
    ],
)
def test_sources_that_do_not_belong_together_or_are_not_mr_are_refused(
    changes: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    source = [*write_source(tmp_path / "a"), *write_source(tmp_path / "b", **changes)]
    assert reason in refusal(Image(voxels(), np.eye(4)), tmp_path / "out", PROVENANCE, source)


def test_a_source_that_is_not_dicom_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.dcm").write_text("no")
    text = refusal(Image(voxels(), np.eye(4)), tmp_path / "out", PROVENANCE, [tmp_path / "x.dcm"])
    assert "not a DICOM file" in text


def test_the_files_of_an_input_are_found_as_the_reader_finds_them(tmp_path: Path) -> None:
    source = write_source(tmp_path / "source")
    (tmp_path / "source" / "notes.txt").write_text("not an image")
    report = pydicom.dcmread(source[0])
    report.SeriesInstanceUID = generate_uid()
    del report.Rows, report.Columns, report.PixelData  # as a presentation state or a report beside the images
    report.save_as(tmp_path / "source" / "state.dcm")
    assert find_source_files(tmp_path / "source") == source
    assert {str(p) for p in source} == set(read_image(tmp_path / "source").meta["dicom_files"])
    assert find_source_files(source[0]) == [source[0]]
    SimpleITK.WriteImage(SimpleITK.Image(4, 4, 4, SimpleITK.sitkInt16), str(tmp_path / "x.nii.gz"))
    assert find_source_files(tmp_path / "x.nii.gz") == []
    for file in write_source(tmp_path / "second"):
        shutil.copy(file, tmp_path / "source" / f"second-{file.name}")
    with pytest.raises(BadInput, match="2 DICOM series"):
        find_source_files(tmp_path / "source")
    (tmp_path / "none").mkdir()
    with pytest.raises(BadInput, match="no DICOM series"):
        find_source_files(tmp_path / "none")
    with pytest.raises(BadInput, match="does not exist"):
        find_source_files(tmp_path / "absent")
