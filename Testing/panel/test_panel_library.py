"""The panel on the library's real command line: its events, its files, its words. The networks are tiny and random."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pydicom
import pytest
import slicer
import vtk
from panel_support import SPACING, head
from panel_tools import choose, press
from slicer_host.properties import useSlicerProperties

from LowFieldEnhanceLib.dicom.series import write_series
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.image_io import read_image
from LowFieldEnhanceSlicer import volumes

pytest_plugins = ["panel_fixtures"]
useSlicerProperties(__name__, False)


def test_a_real_run_ends_with_its_outputs_in_the_scene(person, library):
    ui = person.ui
    scan = volumes.addVolume(slicer.mrmlScene, head((SPACING,) * 3), "Head T1w")
    ui.inputSelector.setCurrentNode(scan)
    choose(ui.methodComboBox, "Cubic interpolation")
    ui.spacingSpinBox.setValue(SPACING)
    press(ui.applyButton)
    job = person.panel.runView.job
    person.waitForEnd(60)
    assert "Head T1w is enhanced." in ui.messageLabel.text(), ui.logText.toPlainText()
    nodes = job.nodes
    # The grids of scan and result coincide, so interpolation inside the brain returns the scan.
    enhanced, given = (volumes.imageFromVolumeNode(node) for node in (nodes.enhanced, scan))
    assert np.allclose(enhanced.affine, given.affine, atol=1e-6)
    inside = given.array > 500
    assert np.corrcoef(enhanced.array[inside], given.array[inside])[0, 1] > 0.9
    assert nodes.fidelity is not None and nodes.report.GetText().lstrip().startswith("<!")
    assert nodes.table.GetNumberOfRows() > 0 and nodes.segmentation.GetScene() is slicer.mrmlScene
    assert nodes.enhanced.GetAttribute("LowFieldEnhance.method") == "cubic"
    assert nodes.enhanced.GetAttribute("LowFieldEnhance.input_name") == "Head T1w"


def test_the_words_of_the_library_reach_the_panel(person, library):
    """A damaged scan is refused by the library, in the library's sentence."""
    good = head((SPACING,) * 3)
    array = good.array.copy()
    array[3, 4, 5] = np.nan
    scan = volumes.addVolume(slicer.mrmlScene, Image(array, good.affine), "Damaged T1w")
    person.ui.inputSelector.setCurrentNode(scan)
    press(person.ui.applyButton)
    person.waitForEnd(60)
    assert person.ui.messageLabel.text() == "1 voxels are NaN or infinite, so the scan is damaged."


@pytest.mark.parametrize("hardened", [False, True])
def test_a_hardened_scan_does_not_lend_the_scanners_frame_of_reference(
    person, library, tmp_path, monkeypatch, hardened
):
    files = write_series(head((SPACING,) * 3), tmp_path / "series", {}, patient={"PatientID": "17"})
    header = pydicom.dcmread(files[0])
    database = SimpleNamespace(
        isOpen=True, instanceValue=lambda uid, tag: "", fileForInstance=lambda uid: str(files[int(uid)])
    )
    monkeypatch.setattr(slicer, "dicomDatabase", database, raising=False)
    scan = volumes.addVolume(slicer.mrmlScene, read_image(tmp_path / "series"), "Head T1w")
    scan.SetAttribute("DICOM.instanceUIDs", " ".join(map(str, range(len(files)))))
    if hardened:
        transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
        matrix = vtk.vtkMatrix4x4()
        matrix.SetElement(1, 3, 7.0)
        transform.SetMatrixTransformToParent(matrix)
        scan.SetAndObserveTransformNodeID(transform.GetID())
        scan.HardenTransform()
    ui = person.ui
    ui.inputSelector.setCurrentNode(scan)
    choose(ui.methodComboBox, "Cubic interpolation")
    ui.spacingSpinBox.setValue(SPACING)
    ui.dicomPathLineEdit.setProperty("currentPath", str(tmp_path))
    press(ui.applyButton)
    job = person.panel.runView.job
    person.waitForEnd(120)
    written = pydicom.dcmread(job.dicomFolder / "enhanced" / "0001.dcm")
    assert (written.PatientID, written.StudyInstanceUID) == ("17", header.StudyInstanceUID)
    assert (written.FrameOfReferenceUID == header.FrameOfReferenceUID) != hardened
    assert ("does not lie where its DICOM files say" in ui.messageLabel.text()) == hardened
