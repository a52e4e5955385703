"""DICOM output: from the panel to a folder of its own inside the chosen one, and where the scan came from."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import slicer
from panel_support import optionsOf, run
from panel_tools import press, waitUntil
from PySide6 import QtWidgets
from slicer_host.properties import useSlicerProperties

from LowFieldEnhanceSlicer import dicom_delivery, volumes
from LowFieldEnhanceSlicer.dicom_delivery import DicomDelivery
from LowFieldEnhanceSlicer.job import JobState

pytest_plugins = ["panel_fixtures"]
useSlicerProperties(__name__, False)


def test_dicom_files_go_into_a_new_folder_inside_the_chosen_one(person, stub, tmp_path):
    ui = person.ui
    stub.set(STUB_DICOM="1")
    chosen = tmp_path / "chosen"
    chosen.mkdir()
    ui.inputSelector.setCurrentNode(person.loadScan("Head: T1w"))
    ui.dicomPathLineEdit.setProperty("currentPath", str(chosen))
    run(person)
    (first,) = chosen.iterdir()
    assert first.name.startswith("Head_T1w-") and [path.name for path in first.iterdir()] == ["stand-in.dcm"]
    assert optionsOf(stub).dicom_source is None
    assert f"DICOM files are in {first}." in ui.messageLabel.text() and person.leftFolders() == []
    run(person)
    assert len(list(chosen.iterdir())) == 2


def begunWithDicom(person, tmp_path):
    """A run that is to bring DICOM files into a folder, and that folder."""
    chosen = tmp_path / "chosen"
    chosen.mkdir()
    person.ui.inputSelector.setCurrentNode(person.loadScan())
    person.ui.dicomPathLineEdit.setProperty("currentPath", str(chosen))
    press(person.ui.applyButton)
    return chosen, person.panel.runView.job


@pytest.mark.parametrize("when", ["the child has written them", "loading"])
def test_a_cancelled_run_leaves_nothing_in_the_folder_for_dicom(person, stub, tmp_path, when):
    stub.set(STUB_DICOM="1", STUB_MODE="late" if when != "loading" else "finish")
    chosen, job = begunWithDicom(person, tmp_path)
    if when == "loading":
        waitUntil(lambda: job.state is JobState.LOADING)
    else:
        waitUntil(lambda: stub.calls and (stub.folders[0] / optionsOf(stub).dicom / "stand-in.dcm").exists())
    person.logic.cancel(job)
    person.waitForEnd()
    assert job.state is JobState.CANCELLED
    assert list(chosen.iterdir()) == [] and person.leftFolders() == []


def test_a_folder_for_dicom_that_has_gone_meanwhile_costs_no_results(person, stub, tmp_path):
    """A network drive, say: the results are in the scene, and the files where the panel says."""
    ui = person.ui
    stub.set(STUB_DICOM="1", STUB_SECONDS="0.5")
    chosen, job = begunWithDicom(person, tmp_path)
    waitUntil(lambda: stub.calls)
    chosen.rmdir()
    person.waitForEnd()
    assert job.state is JobState.FINISHED and job.nodes.enhanced is not None
    assert f"could not be written to {chosen}" in ui.messageLabel.text()
    assert f"kept in {job.dicomFolder}, from where" in ui.messageLabel.text()
    (left,) = Path(slicer.app.property("temporaryPath")).glob("LowFieldEnhance-*")
    assert [path for path in left.rglob("*") if path.is_file()] == [job.dicomFolder / "stand-in.dcm"]


def test_a_series_is_delivered_whole_or_not_at_all(tmp_path, monkeypatch):
    chosen = tmp_path / "chosen"
    chosen.mkdir()
    delivery = DicomDelivery(str(chosen), "Head", tmp_path / "LowFieldEnhance-1")
    (delivery.made / "enhanced").mkdir(parents=True)
    for name in ("1.dcm", "2.dcm"):
        (delivery.made / "enhanced" / name).write_text(name)
    inherited = DicomDelivery._copyFile

    def full(self, source, target):
        if Path(source).name == "2.dcm":
            raise OSError("no space left on device")
        inherited(self, source, target)

    monkeypatch.setattr(DicomDelivery, "_copyFile", full)
    delivery.start()
    waitUntil(delivery.finish)
    assert "no space left on device" in delivery.warning and delivery.folder == delivery.made
    assert list(chosen.iterdir()) == []


def test_a_folder_for_dicom_that_cannot_be_used_is_named(person, tmp_path):
    ui = person.ui
    ui.inputSelector.setCurrentNode(person.loadScan())
    ui.dicomPathLineEdit.setProperty("currentPath", str(tmp_path / "missing"))
    assert not ui.applyButton.isEnabled() and "missing' does not exist." in ui.applyButton.toolTip()
    ui.dicomPathLineEdit.setProperty("currentPath", str(tmp_path))
    assert ui.applyButton.isEnabled()


def test_a_folder_for_dicom_that_cannot_be_written_to_is_named_before_the_work(person, stub, tmp_path, monkeypatch):
    person.ui.inputSelector.setCurrentNode(person.loadScan())
    person.ui.dicomPathLineEdit.setProperty("currentPath", str(tmp_path))
    before = sorted(tmp_path.iterdir())

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(dicom_delivery.tempfile, "mkdtemp", refuse)
    press(person.ui.applyButton)
    assert person.ui.messageLabel.text().endswith("cannot be written to: Permission denied.")
    assert person.logic.jobs == [] and stub.calls == [] and sorted(tmp_path.iterdir()) == before


@pytest.fixture
def fromDicom(person, tmp_path, monkeypatch):
    """A scan whose two instances are in Slicer's database, in one folder with a file of another series."""
    files = {}
    for name in ("1.2.1", "1.2.2", "other"):
        files[name] = tmp_path / "database" / f"{name}.dcm"
        files[name].parent.mkdir(exist_ok=True)
        files[name].write_text(name)
    database = SimpleNamespace(
        isOpen=True, instanceValue=lambda uid, tag: "", fileForInstance=lambda uid: str(files.get(uid, ""))
    )
    monkeypatch.setattr(slicer, "dicomDatabase", database, raising=False)
    scan = person.loadScan()
    scan.SetAttribute("DICOM.instanceUIDs", "1.2.1 1.2.2")
    person.ui.inputSelector.setCurrentNode(scan)
    person.ui.dicomPathLineEdit.setProperty("currentPath", str(tmp_path))
    return scan, files


def test_the_instances_that_the_scan_came_from_are_the_source(person, stub, fromDicom):
    stub.set(STUB_MODE="slow")
    press(person.ui.applyButton)
    waitUntil(lambda: stub.calls)
    copies = sorted((stub.folders[0] / optionsOf(stub).dicom_source).iterdir())
    texts = [copy.read_text() for copy in copies]
    person.cancel()
    person.waitForEnd()
    assert texts == ["1.2.1", "1.2.2"] and not copies[0].exists() and fromDicom[1]["1.2.1"].exists()


def test_a_source_that_is_gone_is_a_warning(person, stub, fromDicom):
    fromDicom[1]["1.2.2"].unlink()
    run(person)
    assert optionsOf(stub).dicom_source is None
    assert "names no patient and study" in person.ui.messageLabel.text()


def test_when_the_folder_was_emptied_no_instance_is_copied(person, stub, fromDicom):
    line = person.ui.dicomPathLineEdit
    line.findChild(QtWidgets.QLineEdit).clear()
    assert person.parameters.dicomFolder == "" and line.property("currentPath") == ""
    run(person)
    assert optionsOf(stub).dicom is None and optionsOf(stub).dicom_source is None
    assert volumes.imageFromVolumeNode(person.parameters.resultVolume).array.any()
