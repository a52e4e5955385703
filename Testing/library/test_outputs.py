"""What a run leaves: everything or nothing, never in the place of a file that is not its own."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from LowFieldEnhanceLib import outputs
from LowFieldEnhanceLib.dicom.command import DicomOutput
from LowFieldEnhanceLib.dicom.files import new_folder
from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.formats.nifti_names import are_namesakes
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.image_io import check_output, read_image
from LowFieldEnhanceLib.ours import note_of
from LowFieldEnhanceLib.outputs import Wanted
from LowFieldEnhanceLib.safe_files import check_folder
from LowFieldEnhanceLib.segmentation.labels import LabelMap


def result(value: float) -> Any:
    """What the pipeline returns, as far as it is written here."""
    image = Image(np.full((4, 5, 6), value, np.float32), np.eye(4), "T1w")
    provenance = {"derived": "ENHANCED - not for diagnosis", "value": value}
    return SimpleNamespace(
        enhanced=image, fidelity=image, labels_after=None, uncertainty=None, added_detail=None,
        report={"provenance": provenance, "verdict": "good"},
    )  # fmt: skip


def held(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), OSError("No space left on device")])
def test_a_second_run_that_fails_while_it_writes_leaves_the_files_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    wanted = Wanted(tmp_path / "e.nii.gz", fidelity=tmp_path / "f.nii.gz", reports=(tmp_path / "r.html",))

    def page(_result: Any, path: Path) -> None:
        path.write_text("<title>LowFieldEnhance report</title>", encoding="utf-8")

    monkeypatch.setattr(outputs, "write_report", page)
    wanted.check([])
    wanted.write(result(1))
    first = held(tmp_path)
    assert sorted(first) == ["e.json", "e.nii.gz", "f.nii.gz", "r.html"]

    def fails(_result: Any, path: Path) -> None:
        path.write_text("half a p", encoding="utf-8")
        raise failure

    monkeypatch.setattr(outputs, "write_report", fails)
    wanted.check([])
    with pytest.raises(type(failure)):
        wanted.write(result(2))
    assert held(tmp_path) == first
    monkeypatch.setattr(outputs, "write_report", page)
    wanted.write(result(3))
    assert sorted(held(tmp_path)) == sorted(first)
    assert json.loads((tmp_path / "e.json").read_text(encoding="utf-8"))["value"] == 3
    assert (read_image(tmp_path / "e.nii.gz", is_scan=False).array == 3).all()


def test_two_outputs_are_not_written_into_one_file_whatever_it_is_called(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "below")
    output = tmp_path / "below" / "e.nii.gz"
    for other in ("below/../below/e.nii.gz", "link/e.nii.gz"):
        for name in ("segmentation", "fidelity", "uncertainty", "added_detail"):
            with pytest.raises(BadInput, match="two outputs have the same name"):
                Wanted(output, **{name: tmp_path / other}).check([])
    Wanted(output, segmentation=tmp_path / "e.nii.gz").check([])
    with pytest.raises(BadInput, match="nii and .nii.gz alone"):
        Wanted(output, segmentation=tmp_path / "below" / "E.nii").check([])
    with pytest.raises(BadInput, match="two outputs have the same name, in letters of any case"):
        Wanted(tmp_path / "e.nrrd", segmentation=tmp_path / "E.nrrd").check([])


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("a.nii", "a.nii.gz", True),
        ("A.NII.gz", "a.nii", True),
        ("a.nii.nii.gz", "a.nii.nii", True),
        ("a.nii", "a.nii", False),
        ("a.nii", "b.nii.gz", False),
        ("a.mha", "a.mha.gz", False),
        ("x/a.nii", "a.nii.gz", False),
    ],
)
def test_namesakes_differ_by_being_packed_alone(one: str, other: str, same: bool, tmp_path: Path) -> None:
    assert are_namesakes(tmp_path / one, tmp_path / other) is are_namesakes(tmp_path / other, tmp_path / one) is same


def test_every_volume_says_in_its_header_what_it_is_and_the_enhanced_one_alone_that_it_is_enhanced(
    tmp_path: Path,
) -> None:
    run = result(1)
    run.uncertainty = run.added_detail = run.enhanced
    run.labels_after = LabelMap(np.ones((4, 5, 6), np.uint8), np.eye(4), {})
    maps = {name: tmp_path / f"{name}.nii.gz" for name in ("segmentation", "fidelity", "uncertainty", "added_detail")}
    Wanted(tmp_path / "e.nii.gz", **maps).write(run)
    assert {path.name.partition(".")[0]: note_of(path) for path in tmp_path.glob("*.nii.gz")} == {
        "e": "ENHANCED - not for diagnosis",
        "segmentation": "FreeSurfer aseg ids by LowFieldEnhance",
        "fidelity": "residual (y - A x) / sigma",
        "uncertainty": "standard deviation among samples",
        "added_detail": "added detail, percent of the local contrast",
    }


def test_a_dicom_folder_that_holds_something_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "dicom").mkdir()
    wanted = Wanted(tmp_path / "e.nii.gz", dicom=DicomOutput(tmp_path / "dicom"))
    wanted.check([])
    (tmp_path / "dicom" / "0001.dcm").touch()
    with pytest.raises(BadInput, match="is not empty"):
        wanted.check([])


def test_a_dicom_folder_that_fails_takes_all_other_files_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> None:
        raise BadInput("the scanner wrote nonsense")

    monkeypatch.setattr(DicomOutput, "write", fails)
    with pytest.raises(BadInput, match="nonsense"):
        Wanted(tmp_path / "e.nii.gz", dicom=DicomOutput(tmp_path / "dicom")).write(result(1))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_no_file_to_write(tmp_path: Path) -> None:
    for name in ("e.nii.gz", "r.html"):
        (tmp_path / name).mkdir()
    with pytest.raises(BadInput, match="is a folder; name a file"):
        check_output(tmp_path / "e.nii.gz", [])
    with pytest.raises(BadInput, match="is a folder; name a file"):
        outputs.check_report(tmp_path / "r.html")


def test_a_folder_without_permission_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_folder(tmp_path)
    monkeypatch.setattr(os, "access", lambda path, mode: not (Path(path) == tmp_path and mode & os.W_OK))
    for check in (
        lambda: check_output(tmp_path / "e.nii.gz", []),
        lambda: outputs.check_report(tmp_path / "r.csv"),
        lambda: new_folder(tmp_path / "new").__enter__(),
    ):
        with pytest.raises(BadInput, match="cannot be written into: no permission"):
            check()
    assert list(tmp_path.iterdir()) == []


def test_the_current_folder_and_one_that_cannot_be_renamed_take_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".partial-of-a-killed-run").mkdir()
    with new_folder(".") as temporary:
        (temporary / "compare.csv").write_text("a", encoding="utf-8")
        (temporary / "below").mkdir()
        assert temporary.parent.resolve() == tmp_path  # on the same disk, whatever is mounted there
    assert sorted(p.name for p in tmp_path.iterdir()) == [".partial-of-a-killed-run", "below", "compare.csv"]
    with pytest.raises(BadInput, match="is not empty"), new_folder("."):
        pass


def test_an_empty_folder_stays_empty_when_the_work_fails(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="half way"), new_folder(tmp_path) as temporary:
        (temporary / "a.txt").touch()
        raise RuntimeError("half way")
    assert list(tmp_path.iterdir()) == []
