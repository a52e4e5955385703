"""Which scans a batch finds, and what it calls them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from batch_support import FakeWork, contents, scans_in
from phantoms import voxels
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, MRImageStorage, generate_uid

from LowFieldEnhanceLib.batch import run_batch
from LowFieldEnhanceLib.batch_scans import RECORD, Scan, find_scans
from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.formats.dicom_elements import read_elements
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.image_io import DERIVED, write_image


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two subjects with the same file names, a DICOM folder, and what is no scan."""
    folder = tmp_path / "data"
    for subject in ("sub-01", "sub-02"):
        place = folder / subject / "anat"
        place.mkdir(parents=True)
        (place / "T1w.nii.gz").touch()
        (place / "T1w.json").touch()
    (folder / "top.NRRD").touch()
    (folder / ".hidden.nii").touch()
    (folder / "series").mkdir()
    for n in range(3):
        (folder / "series" / f"IM{n}").write_bytes(bytes(128) + b"DICM")
    for place in (folder / "series", folder):  # a CD has it above its images
        (place / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    return folder


def names(scans: list[Scan]) -> dict[str, str]:
    return {scan.name: scan.input.name for scan in scans}


def test_a_folder_gives_every_volume_and_dicom_folder_below_it_and_each_its_place_as_name(data: Path) -> None:
    found = find_scans([str(data)], data.parent / "out")
    assert names(found) == {
        "top": "top.NRRD",
        "series": "series",
        "sub-01_anat_T1w": "T1w.nii.gz",
        "sub-02_anat_T1w": "T1w.nii.gz",
    }


def test_a_scan_keeps_its_name_when_others_join_its_folder(data: Path) -> None:
    before = names(find_scans([str(data)], data.parent / "out"))
    (data / "sub-03" / "anat").mkdir(parents=True)
    (data / "sub-03" / "anat" / "T1w.nii.gz").touch()
    assert before.items() < names(find_scans([str(data)], data.parent / "out")).items()


def test_a_pattern_takes_what_can_be_read_and_names_of_two_are_made_distinct(data: Path) -> None:
    found = find_scans([str(data / "**" / "anat" / "*")], data.parent / "out")
    assert names(found) == {"sub-01_anat_T1w": "T1w.nii.gz", "sub-02_anat_T1w": "T1w.nii.gz"}
    one = find_scans([str(data / "sub-01" / "anat" / "*.nii.gz")], data.parent / "out")
    assert names(one) == {"T1w": "T1w.nii.gz"}
    with pytest.raises(BadInput, match="no file matches"):
        find_scans([str(data / "*.mha")], data.parent / "out")


def test_a_list_may_overlap_and_name_what_does_not_exist(data: Path) -> None:
    given = [str(data / "top.NRRD"), str(data / "top.NRRD"), str(data / "gone.nii")]
    assert names(find_scans(given, data.parent / "out")) == {"top": "top.NRRD", "gone": "gone.nii"}


def test_a_folder_of_one_dicom_series_is_one_scan(data: Path) -> None:
    assert names(find_scans([str(data / "series")], data.parent / "out")) == {"series": "series"}


def test_names_that_differ_only_by_their_ending_are_these_scans_own_failure(data: Path) -> None:
    (data / "Top.nii").touch()
    (data / "sub-01" / "anat" / "T1w.nii").touch()
    for given in ([str(data)], [str(data / "top.NRRD"), str(data / "Top.nii"), str(data / "sub-01")]):
        found = find_scans(given, data.parent / "out")
        failing = {scan.name.removeprefix("sub-01_"): scan.problem for scan in found if scan.problem}
        assert set(failing) == {"top.NRRD", "Top.nii", "anat_T1w.nii", "anat_T1w.nii.gz"}
        assert all("would have the same name" in (problem or "") for problem in failing.values())
    assert sum(scan.problem is None for scan in find_scans([str(data)], data.parent / "out")) == 2


def test_such_a_failure_leaves_the_results_of_both_alone(tmp_path: Path) -> None:
    scans_in(tmp_path / "in", "x.nii.gz", "y.nii.gz")
    run_batch(find_scans([str(tmp_path / "in")], tmp_path / "out"), tmp_path / "out", FakeWork())
    before = contents(tmp_path / "out" / "x")
    (tmp_path / "in" / "x.nii").write_text("other voxels")
    states = run_batch(find_scans([str(tmp_path / "in")], tmp_path / "out"), tmp_path / "out", FakeWork())
    assert {state.scan.name: state.state for state in states} == {"x.nii": "failed", "x.nii.gz": "failed", "y": "kept"}
    assert contents(tmp_path / "out" / "x") == before


def test_links_are_followed_once_and_never_in_a_circle(data: Path) -> None:
    before = names(find_scans([str(data)], data.parent / "out"))
    archive = data.parent / "archive" / "sub-07"
    archive.mkdir(parents=True)
    (archive / "T2w.nii").touch()
    (archive / "back").symlink_to(archive.parent)
    (data / "sub-07").symlink_to(archive)
    (data / "again").symlink_to(archive)  # the first of the two names is that of the scan
    (data / "sub-01" / "up").symlink_to(data)
    (data / "a-link").symlink_to(data / "sub-02")
    (data / "all").symlink_to(data.parent)
    (data.parent / "out").mkdir()
    (data.parent / "out" / "enhanced.nii").touch()
    (data / "results").symlink_to(data.parent / "out")
    assert names(find_scans([str(data)], data.parent / "out")) == {**before, "again_T2w": "T2w.nii"}


def test_what_is_no_scan_is_left_out_of_a_folder_with_one_warning(tmp_path: Path) -> None:
    anat, derived = tmp_path / "sub-01" / "anat", tmp_path / "derivatives" / "fs" / "sub-01"
    anat.mkdir(parents=True)
    derived.mkdir(parents=True)
    for name in ("sub-01_T1w", "sub-01_desc-brain_mask", "sub-01_dseg", "sub-01_label-GM_probseg", "masked_T1w"):
        (anat / f"{name}.nii.gz").touch()
    for name in ("sub-01_task-rest_bold", "sub-01_dwi"):
        (anat / f"{name}.nii").touch()
    (derived / "brain.nii.gz").touch()
    write_image(Image(voxels(), np.eye(4)), anat / "sub-01_T1w_enhanced.nii.gz")
    told: list[str] = []
    found = find_scans([str(tmp_path)], tmp_path.parent / "out", told.append)
    assert set(names(found).values()) == {"sub-01_T1w.nii.gz", "masked_T1w.nii.gz"}
    assert len(told) == 1 and told[0].startswith("7 volumes")
    told.clear()
    find_scans([str(anat / "sub-01_dwi.nii"), str(derived)], tmp_path.parent / "out", told.append)
    assert told == []  # by their own name, they are meant


def test_a_folder_that_cannot_be_read_is_named(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, locked = os.scandir, str(data / "sub-02")

    def scandir(place: str) -> Any:
        if place == locked:
            raise PermissionError(13, "Permission denied", place)
        return real(place)

    monkeypatch.setattr(os, "scandir", scandir)  # root, as whom tests may run, is denied nothing
    told: list[str] = []
    assert "sub-01_anat_T1w" in names(find_scans([str(data)], data.parent / "out", told.append))
    assert told == [f"the folder {locked} cannot be read (Permission denied), so the scans in it are left out"]


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_dicom_of_another_modality_and_results_as_dicom_are_left_out(tmp_path: Path, syntax: str) -> None:
    series = {"scan": ("MR", "t1"), "enhanced": ("MR", f"{DERIVED}, t1"), "labels": ("SEG", "x"), "report": ("SR", "x")}
    for name, (modality, description) in series.items():
        data, meta = Dataset(), FileMetaDataset()
        meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = syntax, MRImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        # bytes that look like the element of another modality, where there is none
        meta.PrivateInformationCreatorUID, meta.PrivateInformation = generate_uid(), b"\x08\0\x60\0CS\2\0CT"
        data.file_meta, data.Modality, data.SeriesDescription = meta, modality, description
        (tmp_path / name).mkdir()
        pydicom.dcmwrite(tmp_path / name / "1", data, enforce_file_format=True)
        found = read_elements(tmp_path / name / "1")
        assert (found.modality, found.description) == (modality, description)
    told: list[str] = []
    assert set(names(find_scans([str(tmp_path)], tmp_path.parent / "out", told.append))) == {"scan"}
    assert len(told) == 1 and told[0].startswith("3 volumes")


def test_results_are_no_input_wherever_they_lie(data: Path) -> None:
    own, other = data / "out" / "top", data / "earlier" / "top"
    for place in (own, other):
        place.mkdir(parents=True)
        (place / "enhanced.nii.gz").touch()
        (place / RECORD).touch()
    before = names(find_scans([str(data / "sub-01"), str(data / "top.NRRD")], data / "out"))
    assert before == {"anat_T1w": "T1w.nii.gz", "top": "top.NRRD"}
    assert len(find_scans([str(data)], data / "out")) == 4
    assert len(find_scans([str(data / "**" / "*.nii.gz")], data / "out")) == 2
    named = find_scans([str(other / "enhanced.nii.gz")], data / "out")
    assert [scan.input for scan in named] == [other / "enhanced.nii.gz"]  # by name, so it is meant
    with pytest.raises(BadInput, match="no scan was found"):
        find_scans([str(own / "enhanced.nii.gz")], data / "out")
    with pytest.raises(BadInput, match="output folder"):
        find_scans([str(data)], data)


@pytest.mark.parametrize(("ending", "mark"), [("csv", ","), ("csv", ";"), ("tsv", "\t")])
def test_a_table_names_all_that_belongs_to_a_scan_relative_to_itself(data: Path, ending: str, mark: str) -> None:
    lines = [
        ["input", "contrast", "reference", "lesions", "name"],
        ["top.NRRD", "T2w", "sub-01/anat/T1w.nii.gz", "", "Müller 1"],
        ["", "", "", "", ""],
        [str(data / "top.NRRD"), "", "", "les.nii", ""],
    ]
    table = data / f"scans.{ending}"
    table.write_text("\ufeff" + "\n".join(mark.join(cells) for cells in lines), encoding="utf-8")
    first, second = find_scans([str(table)], data.parent / "out")
    assert first == Scan("Müller 1", data / "top.NRRD", "T2w", data / "sub-01" / "anat" / "T1w.nii.gz", None)
    assert second == Scan("top", data / "top.NRRD", None, None, data / "les.nii")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("file\nx.nii\n", "column input"),
        ("input,refrence\nx.nii,y.nii\n", "knows no 'refrence'"),
        ("input,input\nx.nii,y.nii\n", "column input"),
        ("", "column input"),
        ("input,contrast\nx.nii,T9w\n", "row 1 of t.csv has the unknown contrast 'T9w'"),
        ("input,name\nx.nii,a\n,b\n", "row 2 of t.csv names no input"),
        ("input\nx.nii,y.nii\n", "more cells"),
        ("input,name\nx.nii,../a\n", "cannot be the name of a folder"),
        ("input,name\nx.nii,.a\n", "cannot be the name of a folder"),
        ("input,name\nx.nii,summary.html\n", "cannot be the name of a folder"),
        ("input,name\nx.nii,a\ny.nii,A\n", "would both be named"),
        ("input\nout/x/enhanced.nii.gz\n", "output folder"),
        ("input,reference\nx.nii,out/y.nii\n", "output folder"),
        ("input\n", "no scan was found"),
        ('input\n"x.nii\n', "cannot be read"),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused_in_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    with pytest.raises(BadInput, match=sentence) as refusal:
        find_scans([str(tmp_path / "t.csv")], tmp_path / "out")
    assert "\n" not in str(refusal.value)


def test_a_table_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        find_scans([str(tmp_path / "t.tsv")], tmp_path / "out")
