"""What can go wrong, and what the panel says then: one sentence, details on request, and everything goes on working."""

from __future__ import annotations

import importlib.metadata
import shutil

import numpy as np
import pytest
import slicer
from panel_support import head
from panel_tools import choose, press, waitUntil
from PySide6.QtWidgets import QApplication, QMessageBox
from slicer_host.properties import useSlicerProperties

from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceSlicer import volumes
from LowFieldEnhanceSlicer.job import JobState
from LowFieldEnhanceSlicer.process_tree import runningProcesses
from LowFieldEnhanceSlicer.request import Request
from LowFieldEnhanceSlicer.run import INPUT_GONE, SCENE_CLOSED, RunError

pytest_plugins = ["panel_fixtures"]
useSlicerProperties(__name__, False)


@pytest.fixture
def missing(monkeypatch):
    """Packages that are not installed."""
    names = set()
    real = importlib.metadata.version

    def version(name):
        if name in names:
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    return names


@pytest.fixture
def withoutTorch(missing):
    """torch is not there when the panel is opened (name this fixture before ``person``)."""
    missing.add("torch")


def apply(person):
    person.ui.inputSelector.setCurrentNode(person.loadScan())
    press(person.ui.applyButton)


def test_bad_input_is_one_sentence_with_details_to_show_and_to_copy(person, stub):
    stub.set(STUB_MODE="bad")
    apply(person)
    person.waitForEnd()
    person.picture("error")
    ui = person.ui
    assert ui.messageLabel.text() == "12 voxels are NaN or infinite, so the scan is damaged."
    assert ui.messageLabel.isVisible() and ui.applyButton.isEnabled() and not ui.cpuButton.isVisible()
    assert not ui.logText.isVisible()
    press(ui.detailsButton)
    assert ui.logText.isVisible() and "what an expert wants to see" in ui.logText.toPlainText()
    press(ui.copyButton)
    copied = QApplication.clipboard().text()
    assert copied.startswith("12 voxels are NaN") and "what an expert wants to see" in copied
    assert person.outputs() == [] and person.leftFolders() == []


def test_a_crash_of_the_child_is_told_too(person, stub):
    stub.set(STUB_MODE="crash")
    apply(person)
    person.waitForEnd()
    assert person.ui.messageLabel.text().startswith("The run crashed (Aborted)")


def test_out_of_memory_offers_the_cpu(person, stub):
    stub.set(STUB_MODE="memory")
    apply(person)
    person.waitForEnd()
    assert "ran out of memory" in person.ui.messageLabel.text()
    press(person.ui.cpuButton)
    person.waitForEnd()
    assert [call[call.index("--device") + 1] for call in stub.calls] == ["auto", "cpu"]
    assert person.ui.deviceComboBox.currentText() == "CPU" and not person.ui.cpuButton.isVisible()
    assert "is enhanced" in person.ui.messageLabel.text()


def test_out_of_memory_on_the_cpu_that_auto_took_offers_nothing_that_has_just_failed(person, stub):
    stub.set(STUB_MODE="memory", STUB_DEVICE="cpu")
    apply(person)
    person.waitForEnd()
    assert [call[call.index("--device") + 1] for call in stub.calls] == ["auto"]
    assert "ran out of memory" in person.ui.messageLabel.text()
    assert person.ui.copyButton.isVisible() and not person.ui.cpuButton.isVisible()


def test_damaged_results_leave_no_nodes_behind(person, stub, tmp_path, results):
    broken = tmp_path / "broken"
    broken.mkdir()
    for path in results.iterdir():
        (broken / path.name).write_bytes(path.read_bytes()[: 200 if path.suffix == ".nrrd" else None])
    stub.set(STUB_RESULTS=str(broken))
    apply(person)
    person.waitForEnd()
    assert person.ui.messageLabel.text().startswith("The results of the run cannot be loaded: enhanced.nrrd")
    assert person.outputs() == [] and person.leftFolders() == []


def outOfMemory(*arguments):
    raise MemoryError


@pytest.mark.parametrize("step", ["VolumeCopy.__init__", "InputCopies.copyOn", "InputCopies.write"])
def test_memory_that_runs_out_while_the_scan_is_handed_over_is_told(person, stub, monkeypatch, step):
    monkeypatch.setattr(f"LowFieldEnhanceSlicer.export.{step}", outOfMemory)
    person.ui.inputSelector.setCurrentNode(person.loadScan())
    press(person.ui.applyButton)
    person.waitForEnd()
    said = "There was not enough memory to hand the scan over; close other volumes or programs and try again."
    assert person.ui.messageLabel.text() == said and person.ui.applyButton.text() == "Apply"
    assert not person.ui.cpuButton.isVisible() and stub.calls == [] and person.leftFolders() == []


def test_memory_that_runs_out_while_the_results_are_loaded_is_told(person, stub, monkeypatch):
    monkeypatch.setattr("LowFieldEnhanceSlicer.job.readResults", outOfMemory)
    person.ui.inputSelector.setCurrentNode(person.loadScan())
    press(person.ui.applyButton)
    person.waitForEnd()
    said = "There was not enough memory to load the results; close other volumes or programs and try again."
    assert person.ui.messageLabel.text() == said and person.outputs() == []
    assert not person.ui.cpuButton.isVisible(), "it is Slicer that lacks memory, not the graphics card"


def test_a_temporary_folder_that_was_cleared_away_is_made_again(person, stub):
    shutil.rmtree(slicer.app.property("temporaryPath"))
    apply(person)
    person.waitForEnd()
    assert "is enhanced" in person.ui.messageLabel.text()


@pytest.mark.parametrize("state", [JobState.WAITING, JobState.RUNNING, JobState.LOADING])
def test_an_input_that_was_deleted_during_its_run_ends_it(person, stub, state):
    """The child of the stub would work on for two minutes."""
    stub.set(STUB_MODE="finish" if state is JobState.LOADING else "slow")
    apply(person)
    job, other = person.panel.runView.job, None
    if state is JobState.WAITING:
        waitUntil(lambda: stub.calls)
        other, scan = job, person.loadScan("Scan of the second run")
        job = person.panel.start(Request(scan))
    waitUntil(lambda: job.state is state)
    slicer.mrmlScene.RemoveNode(job.request.inputVolume)
    waitUntil(lambda: job.done)
    assert job.state is JobState.CANCELLED and job.error == RunError("Cancelled", INPUT_GONE)
    if other is not None:
        assert not other.done and other.error is None, "the run of another scan goes on"
        person.logic.cancel(other)
    person.waitForEnd()
    assert INPUT_GONE in person.ui.messageLabel.text() and INPUT_GONE.count(".") == 1
    assert person.outputs() == [] and person.leftFolders() == []


def test_an_input_that_was_deleted_ends_a_comparison_too(person, stub):
    stub.set(STUB_MODE="slow")
    scan = person.loadScan()
    job = person.logic.compare(scan, "cubic,linear", waitForCompletion=False)
    waitUntil(lambda: stub.calls)
    slicer.mrmlScene.RemoveNode(scan)
    waitUntil(lambda: job.done)
    assert job.error.message == INPUT_GONE


def test_scene_close_while_running_ends_the_run(person, stub):
    stub.set(STUB_MODE="slow")
    apply(person)
    waitUntil(lambda: "worker" in person.ui.logText.toPlainText())
    worker = int(person.ui.logText.toPlainText().rpartition("worker ")[2].split()[0])
    slicer.mrmlScene.Clear(0)
    assert person.parameters is not None and person.parameters.inputVolume is None
    person.waitForEnd()
    assert person.ui.messageLabel.text() == SCENE_CLOSED
    assert worker not in runningProcesses() and person.leftFolders() == []
    assert person.ui.applyButton.text() == "Apply" and person.ui.applyButton.toolTip() == "Choose an input volume."


@pytest.mark.parametrize("end", ["unload", "quit"])
def test_no_process_survives_the_module_or_the_application(application, person, stub, end):
    stub.set(STUB_MODE="slow")
    apply(person)
    waitUntil(lambda: "worker" in person.ui.logText.toPlainText())
    worker = int(person.ui.logText.toPlainText().rpartition("worker ")[2].split()[0])
    application.unloadModule("LowFieldEnhance") if end == "unload" else application.quit()
    assert worker not in runningProcesses() and person.leftFolders() == []
    assert not person.logic.queue.busy


def test_a_declined_installation_leaves_the_panel_usable(withoutTorch, application, person, stub):
    person.ui.inputSelector.setCurrentNode(person.loadScan())
    assert "PyTorch is not installed yet" in person.ui.estimateLabel.text()
    application.dialogs.answer(QMessageBox.StandardButton.Cancel)
    press(person.ui.applyButton)
    shown = application.dialogs.messages[-1].text
    assert "PyTorch (torch>=2.8): about 0.7 GB on disk" in shown
    assert person.ui.messageLabel.text().startswith("Nothing was installed") and stub.calls == []
    choose(person.ui.methodComboBox, "Cubic interpolation")
    assert person.ui.applyButton.isEnabled() and "nothing is added" in person.ui.methodLabel.text()


def test_packages_for_dicom_are_offered_when_a_run_needs_them(missing, application, person, stub, tmp_path):
    """The package script of the host installs nothing, so the run itself is not reached."""
    missing.add("highdicom")
    ui = person.ui
    ui.inputSelector.setCurrentNode(person.loadScan())
    press(ui.applyButton)
    person.waitForEnd()
    assert len(stub.calls) == 1 and not application.dialogs.messages
    ui.dicomPathLineEdit.setProperty("currentPath", str(tmp_path))
    application.dialogs.answer(QMessageBox.StandardButton.Cancel)
    press(ui.applyButton)
    shown = application.dialogs.messages[-1].text
    assert shown.startswith("Writing DICOM needs Python packages") and "highdicom: about 33 MB" in shown
    assert ui.messageLabel.text().startswith("Nothing was installed") and len(stub.calls) == 1


def test_torch_that_cannot_be_installed_is_told(withoutTorch, application, person, stub):
    application.torch.fails = True
    apply(person)
    assert "PyTorch could not be installed" in person.ui.messageLabel.text() and stub.calls == []
    assert person.ui.copyButton.isVisible() and not person.ui.detailsButton.isVisible()


def test_what_cannot_be_a_scan_is_refused_before_apply(person):
    def reason(image, name="Scan"):
        person.ui.inputSelector.setCurrentNode(volumes.addVolume(slicer.mrmlScene, image, name))
        assert not person.ui.applyButton.isEnabled()
        return person.ui.applyButton.toolTip()

    assert "too thin" in reason(Image(np.ones((20, 20, 2)), np.eye(4)))
    ui = person.ui
    scan = person.loadScan()
    ui.inputSelector.setCurrentNode(scan)
    assert ui.applyButton.isEnabled()
    ui.t2wSelector.setCurrentNode(scan)
    assert ui.applyButton.toolTip() == "The same volume was chosen for two contrasts."
    ui.t2wSelector.setCurrentNode(None)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Moved")
    moved = person.loadScan("Reference")
    moved.SetAndObserveTransformNodeID(transform.GetID())
    ui.referenceSelector.setCurrentNode(moved)
    assert "under another transform" in ui.applyButton.toolTip()


def test_a_ct_is_not_enhanced(person):
    from LowFieldEnhanceSlicer import hierarchy

    scan = volumes.addVolume(slicer.mrmlScene, head((4.0, 4.0, 4.0)), "Head")
    tree = hierarchy.subjectHierarchy(slicer.mrmlScene)
    tree.SetItemAttribute(hierarchy.itemOf(slicer.mrmlScene, scan), "DICOM.Modality", "CT")
    person.ui.inputSelector.setCurrentNode(scan)
    assert person.ui.applyButton.toolTip() == "The input volume 'Head' is CT, not MR."
