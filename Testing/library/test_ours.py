"""Only what this program wrote is replaced; a file that holds nothing is free."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK
from batch_support import FakeWork, scans_in
from phantoms import voxels
from test_report_html import report as report_page

from LowFieldEnhanceLib import image_io
from LowFieldEnhanceLib.batch import run_batch
from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.evaluation.report import SCHEMA
from LowFieldEnhanceLib.evaluation.report_files import write_csv, write_json, write_values_csv
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.ours import check_ours, is_enhanced, note_of, provenance_beside, sidecar_of
from LowFieldEnhanceLib.outputs import Wanted, write_report
from LowFieldEnhanceLib.segmentation.labels import LabelMap

SCAN = Image(voxels(), np.eye(4), "T1w")
FOREIGN = {
    "sub-01_T1w.json": '{"EchoTime": 0.1}',
    "list.json": "[1, 2]",
    "broken.json": "no JSON",
    "brackets.json": "[" * 100_000,
    "participants.csv": "id,age\n1,40\n",
    "index.html": "<!DOCTYPE html><title>My study</title>",
    "sub-02_T1w.nii.gz": "not read at all",
}


@pytest.mark.parametrize("name", FOREIGN)
def test_what_somebody_else_wrote_is_not_replaced(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(FOREIGN[name])
    with pytest.raises(BadInput, match="was not written by LowFieldEnhance"):
        check_ours(tmp_path / name)
    (tmp_path / name).write_text("")
    check_ours(tmp_path / name)
    (tmp_path / name).unlink()
    check_ours(tmp_path / name)


@pytest.mark.parametrize("kind", image_io.NOTES)
def test_a_volume_is_replaced_by_one_of_its_own_kind_alone(kind: str, tmp_path: Path) -> None:
    image_io.write_image(SCAN, tmp_path / "a.nii.gz", kind)
    for new in image_io.NOTES:
        if new == kind:
            check_ours(tmp_path / "a.nii.gz", new)
            continue
        with pytest.raises(BadInput, match="holds another volume of ours") as refusal:
            check_ours(tmp_path / "a.nii.gz", new)
        assert f"({kind})" in str(refusal.value)


def test_no_map_of_a_run_takes_the_place_of_an_enhanced_volume(tmp_path: Path) -> None:
    image_io.write_image(SCAN, tmp_path / "e.nii.gz")
    with pytest.raises(BadInput, match="holds another volume of ours"):
        Wanted(tmp_path / "new.nii.gz", segmentation=tmp_path / "e.nii.gz").check([])
    Wanted(tmp_path / "e.nii.gz", segmentation=tmp_path / "labels.nii.gz").check([])


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_a_volume_is_known_by_the_note_in_its_header(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    for note in image_io.NOTES:
        image_io.write_image(SCAN, path, note)
        check_ours(path)
        assert is_enhanced(path) == (note == image_io.DERIVED)
    image_io.write_labels(LabelMap(np.ones((5, 6, 7), np.uint8), np.eye(4), {}), path)
    check_ours(path)
    image_io.write_image(SCAN, path, "a scan")
    with pytest.raises(BadInput):
        check_ours(path)


def test_a_volume_is_known_as_enhanced_by_its_sidecar_too(tmp_path: Path) -> None:
    path = tmp_path / "sub-01_T1w.nii.gz"
    image_io.write_image(SCAN, path, "saved by another program")
    assert not is_enhanced(path)
    sidecar_of(path).write_text(json.dumps({"EchoTime": 0.1}))
    assert not is_enhanced(path)
    sidecar_of(path).write_text(json.dumps({"derived": image_io.DERIVED, "input_file": "scan.nii"}))
    assert is_enhanced(path)
    sidecar_of(path).write_text(json.dumps({"derived": image_io.DERIVED, "input_file": path.name}))
    assert not is_enhanced(path)  # but sub-01_T1w.nrrd, made of it
    assert not is_enhanced(tmp_path) and not is_enhanced(tmp_path / "gone.nii")


@pytest.mark.parametrize("note", [note for note in image_io.NOTES if note != image_io.DERIVED])
def test_what_says_that_it_is_something_else_is_not_enhanced_by_the_sidecar_beside_it(
    tmp_path: Path, note: str
) -> None:
    path = tmp_path / "e.nii.gz"  # a simulated scan, say, in the place of an enhanced one
    image_io.write_image(SCAN, path, note)
    sidecar_of(path).write_text(json.dumps({"derived": image_io.DERIVED, "input_file": "scan.nii"}))
    assert not is_enhanced(path) and provenance_beside(path) is None


def test_a_report_that_took_the_sidecars_name_still_tells_how_the_volume_was_made(tmp_path: Path) -> None:
    path = tmp_path / "e.nii.gz"
    image_io.write_image(SCAN, path)
    made = {"derived": image_io.DERIVED, "method": "bridged", "input_file": "scan.nii"}
    of_run, of_volume = {"provenance": made}, {"provenance": {"method": "unknown", "enhanced_by": made}}
    for report in (of_run, of_volume):
        sidecar_of(path).write_text(json.dumps({"schema": SCHEMA, **report}))
        assert provenance_beside(path) == made
    for content in ({"schema": SCHEMA, "provenance": {"method": "unknown", "enhanced_by": None}}, {"schema": SCHEMA}):
        sidecar_of(path).write_text(json.dumps(content))
        assert provenance_beside(path) is None


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".NII.GZ", ".nrrd", ".mha", ".Mha"])
def test_the_sidecar_has_the_name_of_the_volume_without_its_ending(ending: str) -> None:
    assert sidecar_of(Path("a", f"enhanced.v2{ending}")) == Path("a", "enhanced.v2.json")


@pytest.mark.parametrize("other", ["e.nrrd", "e.mha", "E.nrrd"])
def test_the_sidecar_of_another_enhanced_volume_is_not_replaced(tmp_path: Path, other: str) -> None:
    made = {"derived": image_io.DERIVED, "method": "bridged", "input_file": "scan.nii"}
    image_io.write_image(SCAN, tmp_path / "e.nii.gz")
    sidecar_of(tmp_path / "e.nii.gz").write_text(json.dumps(made))
    Wanted(tmp_path / "e.nii.gz").check([])  # once more
    Wanted(tmp_path / "f.nrrd").check([])
    if other.startswith("e"):
        with pytest.raises(BadInput, match=r"e.json says how e.nii.gz was made, and that of e\.\w+ would take"):
            Wanted(tmp_path / other).check([])
    else:
        Wanted(tmp_path / other).check([])  # its sidecar is E.json
    (tmp_path / "e.nii.gz").unlink()
    Wanted(tmp_path / other).check([])
    image_io.write_image(SCAN, tmp_path / "e.nii", "a scan, of which e.nrrd is made")
    sidecar_of(tmp_path / "e.nii").write_text(json.dumps({**made, "input_file": "e.nii"}))
    Wanted(tmp_path / "e.nrrd").check([])


def test_reports_and_summaries_are_known(tmp_path: Path) -> None:
    report = report_page()
    write_json(report, tmp_path / "r.json")
    write_csv(report, tmp_path / "r.csv")
    write_values_csv(report, tmp_path / "r_values.csv")
    write_csv({"structures": []}, tmp_path / "empty.csv")
    run_batch(scans_in(tmp_path / "in", "a"), tmp_path / "out", FakeWork())
    for path in (*tmp_path.glob("*.*"), *(tmp_path / "out").glob("summary.*")):
        check_ours(path)


def test_a_page_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("LowFieldEnhanceLib.evaluation.html.result_pictures", lambda *_: {})
    write_report(SimpleNamespace(report=report_page(), reference=None), tmp_path / "r.html")
    check_ours(tmp_path / "r.html")


@pytest.mark.parametrize("name", FOREIGN)
def test_no_output_of_a_run_takes_the_place_of_such_a_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(FOREIGN[name])
    path, output = tmp_path / name, tmp_path / "out.nii.gz"
    wanted = Wanted(output, fidelity=path) if name.endswith(".gz") else Wanted(output, reports=(path,))
    with pytest.raises(BadInput, match=f"{name} was not written by LowFieldEnhance"):
        wanted.check([])


@pytest.mark.parametrize("text", ['{"EchoTime": 0.1}', "[1, 2]", "7", "no JSON"])
def test_the_acquisitions_own_json_is_replaced_neither_by_the_sidecar_nor_by_a_report(
    tmp_path: Path, text: str
) -> None:
    (tmp_path / "sub-01_T1w.json").write_text(text, encoding="utf-8")
    for reports in ((), (tmp_path / "sub-01_T1w.json",)):
        with pytest.raises(BadInput, match=r"sub-01_T1w.json was not written by LowFieldEnhance"):
            Wanted(tmp_path / "sub-01_T1w.nrrd", reports=reports).check([])


def test_a_batch_does_not_replace_a_table_that_is_called_summary(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "summary.csv").write_text("my,numbers\n")
    with pytest.raises(BadInput, match="summary.csv was not written by LowFieldEnhance"):
        run_batch(scans_in(tmp_path / "in", "a"), tmp_path / "out", FakeWork())
    assert os.listdir(tmp_path / "out") == ["summary.csv"]


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_a_segmentation_corrected_by_hand_is_not_replaced_even_if_its_editor_kept_the_note(
    ending: str, tmp_path: Path
) -> None:
    path = tmp_path / f"labels{ending}"
    labels = np.arange(210, dtype=np.uint8).reshape(5, 6, 7)
    image_io.write_labels(LabelMap(labels, np.diag([1.6, 1.6, 5, 1]), {}), path)
    resaved(path, lambda voxels: voxels.astype(np.float64))  # which changes nothing
    check_ours(path, image_io.LABELS)
    resaved(path, corrected)
    assert note_of(path) == image_io.LABELS
    for check in (lambda: check_ours(path, image_io.LABELS), lambda: check_ours(path)):
        with pytest.raises(BadInput, match=rf"labels{ending} was changed after LowFieldEnhance had written it"):
            check()
    path.unlink()
    check_ours(path, image_io.LABELS)


@pytest.mark.parametrize("kind", image_io.NOTES)
def test_nor_is_any_other_volume_whose_voxels_were_changed(kind: str, tmp_path: Path) -> None:
    image_io.write_image(SCAN, tmp_path / "a.nii.gz", f"{kind} of a head")
    check_ours(tmp_path / "a.nii.gz", kind)
    resaved(tmp_path / "a.nii.gz", corrected)
    with pytest.raises(BadInput, match="was changed after"):
        check_ours(tmp_path / "a.nii.gz", kind)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_nor_is_one_of_which_somebody_cut_out_a_part_with_nan(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"e{ending}"
    image_io.write_image(SCAN, path)
    resaved(path, cut_out)
    with pytest.raises(BadInput, match="was changed after"):
        check_ours(path, image_io.DERIVED)
    path.write_bytes(path.read_bytes()[:-50])  # damaged: nobody's work
    check_ours(path, image_io.DERIVED)


def test_a_volume_of_an_earlier_version_and_one_that_is_cut_off_are_replaced_as_before(tmp_path: Path) -> None:
    path = tmp_path / "labels.nii"
    image_io.write_labels(LabelMap(np.ones((5, 6, 7), np.uint8), np.eye(4), {}), path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    check_ours(path, image_io.LABELS)
    noted = image_io.LABELS.encode()
    path.write_bytes(whole[:148] + noted.ljust(80, b"\0") + whole[228:-1] + b"\7")
    check_ours(path, image_io.LABELS)


def corrected(array: np.ndarray) -> np.ndarray:
    array[1, 2, 3] += 1
    return array


def cut_out(array: np.ndarray) -> np.ndarray:
    array[:2] = np.nan
    return array


def resaved(path: Path, edit: Callable[[np.ndarray], np.ndarray]) -> None:
    """As an editor does it that keeps the header."""
    volume = SimpleITK.ReadImage(str(path))
    changed = SimpleITK.GetImageFromArray(edit(SimpleITK.GetArrayFromImage(volume)))
    changed.CopyInformation(volume)
    changed.SetMetaData("ITK_FileNotes", volume.GetMetaData("ITK_FileNotes"))
    SimpleITK.WriteImage(changed, str(path))
