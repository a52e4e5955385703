"""What must not happen in silence: another node in the place of a deleted one, a result where the scan no longer lies,
a run other than the one shown, a derived picture without its mark, a page of another patient.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import slicer
import vtk
from panel_support import MODULE, STRUCTURES, writeEverything
from panel_tools import choose, press, waitUntil
from slicer_host.properties import useSlicerProperties

from LowFieldEnhanceLib.image_io import DERIVED
from LowFieldEnhanceSlicer import corner_text, job, layout, pages
from LowFieldEnhanceSlicer.parameters import requestOf
from LowFieldEnhanceSlicer.request import requestFromProvenance
from LowFieldEnhanceSlicer.request_checks import reasonAgainst

pytestmark = pytest.mark.usefixtures("stub")
pytest_plugins = ["panel_fixtures"]
useSlicerProperties(__name__, False)


def finish(person):
    """Apply, and the nodes of the run."""
    press(person.ui.applyButton)
    running = person.panel.runView.job
    person.waitForEnd()
    return running.nodes


def transformed(scene, node):
    """The node under a transform that moves it 30 mm to the right."""
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 3, 30.0)
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(matrix)
    node.SetAndObserveTransformNodeID(transform.GetID())
    return transform


# deleted nodes


def test_nothing_takes_the_place_of_a_deleted_node(application, person):
    ui = person.ui
    ui.inputSelector.setCurrentNode(person.loadScan())
    first, reference, other = (person.loadScan(name) for name in ("A", "Reference", "Z"))
    ui.referenceSelector.setCurrentNode(reference)
    assert requestOf(person.parameters).referenceVolume is reference
    application.scene.RemoveNode(reference)
    assert requestOf(person.parameters).referenceVolume is None
    assert ui.referenceSelector.currentNode() is None
    assert first.GetScene() is not None and other.GetScene() is not None


def test_the_stand_in_would_move_on_as_slicers_list_does(application, person):
    """Without the panel's parameters the selector does what Qt's list does, so the test above can fail."""
    first, chosen, last = (person.loadScan(name) for name in ("A", "B", "C"))
    person.panel.setParameters(None)
    selector = person.ui.referenceSelector
    selector.setCurrentNode(chosen)
    application.scene.RemoveNode(chosen)
    assert selector.currentNode() in (first, last)


def test_an_earlier_result_is_not_written_into_because_another_output_was_deleted(application, person):
    person.ui.inputSelector.setCurrentNode(person.loadScan())
    earlier, chosen = finish(person).enhanced, finish(person).enhanced
    person.parameters.outputVolume = chosen
    person.panel.logic.removeRun(chosen)
    assert requestOf(person.parameters).outputVolume is None
    assert earlier.GetScene() is not None


def test_a_derived_volume_is_no_reference_and_no_other_contrast(person):
    scan = person.loadScan()
    person.ui.inputSelector.setCurrentNode(scan)
    enhanced = finish(person).enhanced
    person.parameters.referenceVolume = enhanced
    assert "is itself an output of LowFieldEnhance" in reasonAgainst(requestOf(person.parameters))
    assert not person.ui.applyButton.isEnabled()
    person.parameters.referenceVolume = None
    person.parameters.t2wVolume = enhanced
    assert "is itself an output" in reasonAgainst(requestOf(person.parameters))
    person.parameters.t2wVolume = None
    person.parameters.referenceVolume = scan
    assert reasonAgainst(requestOf(person.parameters)) == "The input volume was chosen as its own reference."


def test_a_result_whose_sources_are_gone_is_not_made_again_without_them(application, person):
    person.ui.inputSelector.setCurrentNode(person.loadScan())
    person.parameters.referenceVolume = reference = person.loadScan("High field")
    enhanced = finish(person).enhanced
    assert requestFromProvenance(enhanced).referenceVolume is reference
    application.scene.RemoveNode(reference)
    with pytest.raises(ValueError, match="was made with 'High field', which is no longer in the scene"):
        requestFromProvenance(enhanced)


# geometry


def test_results_of_a_scan_that_was_hardened_meanwhile_are_dropped_with_a_sentence(application, person, stub):
    scan = person.loadScan()
    transformed(application.scene, scan)
    person.ui.inputSelector.setCurrentNode(scan)
    press(person.ui.applyButton)
    running = person.panel.runView.job
    scan.HardenTransform()
    person.waitForEnd()
    assert running.state is job.JobState.FAILED
    assert running.error.kind == "BadInput" and "moved or resampled during the run" in running.error.message
    assert person.outputs() == [] and person.leftFolders() == []


def test_a_transform_that_changes_during_the_run_moves_the_results_too(application, person):
    scan = person.loadScan()
    transform = transformed(application.scene, scan)
    person.ui.inputSelector.setCurrentNode(scan)
    press(person.ui.applyButton)
    running = person.panel.runView.job
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(1, 3, -12.0)
    transform.SetMatrixTransformToParent(matrix)
    person.waitForEnd()
    assert running.nodes.enhanced.GetTransformNodeID() == transform.GetID()


def test_the_registered_reference_lies_on_a_scan_that_is_under_a_transform(application, person, stub, tmp_path):
    """The same point of the head, 12 mm further to the right in the reference, is at one place in the world."""
    stub.set(STUB_RESULTS=str(writeEverything(tmp_path, 8.0, shift=12.0)[0]))
    scan, reference = person.loadScan(), person.loadScan("Reference")
    transform = transformed(application.scene, scan)
    turn = vtk.vtkTransform()
    turn.RotateZ(40.0)
    transform.SetMatrixTransformToParent(turn.GetMatrix())
    reference.SetAndObserveTransformNodeID(transform.GetID())
    nodes = person.logic.process(scan, referenceVolume=reference, registerReference=True).nodes
    reference.SetAndObserveTransformNodeID(nodes.registration.GetID())

    def inWorld(node, point):
        toWorld = vtk.vtkGeneralTransform()
        node.GetParentTransformNode().GetTransformToWorld(toWorld)
        return np.array(toWorld.TransformPoint(point))

    assert np.allclose(inWorld(reference, (5.0 + 12.0, 6.0, 7.0)), inWorld(scan, (5.0, 6.0, 7.0)), atol=1e-6)


def test_results_are_loaded_where_a_folder_cannot_be_renamed(person, monkeypatch):
    """Windows refuses while another program has a file of it open."""

    replace = os.replace

    def refuse(source, target):
        if Path(source).is_dir():
            raise PermissionError("a file in the folder is used by another process")
        replace(source, target)

    monkeypatch.setattr(os, "replace", refuse)
    monkeypatch.setattr(os, "rename", refuse)
    person.ui.inputSelector.setCurrentNode(person.loadScan())
    assert finish(person).enhanced is not None
    assert person.leftFolders() == []


# what is shown is what runs


def test_a_preset_that_the_method_lacks_is_not_shown(person):
    ui = person.ui
    ui.inputSelector.setCurrentNode(person.loadScan())
    choose(ui.presetComboBox, "Standard")
    choose(ui.methodComboBox, "DPS")
    assert ui.presetComboBox.currentText() == "Fast" and requestOf(person.parameters).preset == "fast"
    choose(ui.presetComboBox, "Standard")  # the list offers it all the same
    assert ui.presetComboBox.currentText() == "Fast"


def test_coming_back_to_the_module_adds_no_observers(person, monkeypatch):
    wrapper = person.parameters
    connected = []
    monkeypatch.setattr(type(wrapper), "connectParametersToGui", lambda *_: connected.append(1))
    for _ in range(5):
        slicer.util.getModuleWidget("LowFieldEnhance").enter()
    assert connected == []
    assert person.parameters is wrapper


# the mark in 3-D views


def texts() -> list[str]:
    """What is written in the 3-D view, as its renderer has it."""
    view = slicer.app.layoutManager().threeDWidget(0).threeDView()
    props = view.renderWindow().GetRenderers().GetFirstRenderer().GetViewProps()
    actors = [props.GetItemAsObject(n) for n in range(props.GetNumberOfItems())]
    return [actor.GetText(place) for actor in actors for place in range(8) if actor.GetText(place)]


def test_a_slice_with_a_derived_volume_is_marked_in_3d_too(person):
    person.ui.inputSelector.setCurrentNode(person.loadScan())
    enhanced = finish(person).enhanced
    widget = slicer.app.layoutManager().sliceWidget("Red")
    widget.mrmlSliceCompositeNode().SetBackgroundVolumeID(enhanced.GetID())
    assert texts() == []
    widget.mrmlSliceNode().SetSliceVisible(True)
    assert texts() == [DERIVED] and corner_text.installCornerText().text("3D0") == DERIVED
    widget.mrmlSliceCompositeNode().SetBackgroundVolumeID(None)
    assert texts() == []


def test_surfaces_are_shown_in_a_3d_view_and_marked(person):
    person.ui.inputSelector.setCurrentNode(person.loadScan())
    nodes = finish(person)
    assert len(STRUCTURES) > 1 and texts() == []
    press(person.ui.sideBySideButton)
    assert layout.isShown()
    view = slicer.app.layoutManager().threeDWidget(0).threeDView()
    before = view.centred
    press(person.ui.surfaceButton)
    waitUntil(lambda: nodes.segmentation.GetSegmentation().ContainsRepresentation("Closed surface"))
    waitUntil(lambda: view.centred > before)
    assert not layout.isShown()
    assert texts() == [DERIVED]
    nodes.segmentation.GetDisplayNode().SetVisibility(False)
    assert texts() == []


def test_without_a_3d_view_in_the_earlier_layout_four_up_is_shown(application):
    manager = slicer.app.layoutManager()
    node = manager.layoutLogic().GetLayoutNode()
    manager.setLayout(node.SlicerLayoutOneUpRedSliceView)
    assert layout.showThreeDView()
    assert node.GetViewArrangement() == node.SlicerLayoutFourUpView
    manager.setLayout(node.SlicerLayoutOneUp3DView)
    assert layout.showThreeDView()
    assert node.GetViewArrangement() == node.SlicerLayoutOneUp3DView


# pages


def test_every_page_has_a_file_of_its_own_that_goes_with_the_application(application):
    opened: list[Path] = []
    for patient in ("A", "B"):
        page = application.scene.AddNewNodeByClass("vtkMRMLTextNode")
        page.SetText(f"report of {patient}")
        pages.openPage(page, lambda url: opened.append(Path(url.toLocalFile())))
        application.scene.Clear(0)
    assert [path.read_text(encoding="utf-8") for path in opened] == ["report of A", "report of B"]
    if os.name == "posix":
        assert opened[0].parent.stat().st_mode & 0o077 == 0
    pages.removePages()
    assert not opened[0].parent.exists()
    assert np.all([not path.exists() for path in opened])


@pytest.mark.parametrize("folder", ["Downloads", ""])
def test_a_browser_that_is_a_snap_gets_its_pages_where_it_can_read_them(application, monkeypatch, tmp_path, folder):
    """Such a browser has a temporary folder of its own; what a killed Slicer left is taken away at the next start."""
    monkeypatch.setattr(pages, "SNAPS", tmp_path / "bin")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "code").touch()
    assert pages.placeOfPages() == Path(slicer.app.property("temporaryPath"))  # a snap that is no browser
    (tmp_path / "bin" / "firefox").touch()
    place = tmp_path / folder
    place.mkdir(exist_ok=True)
    page = application.scene.AddNewNodeByClass("vtkMRMLTextNode", "Report")
    page.SetText("<html></html>")
    opened = []
    pages.openPage(page, lambda url: opened.append(Path(url.toLocalFile())))
    assert opened[0].read_text() == "<html></html>" and opened[0].parent.parent == place
    assert not any(part.startswith(".") for part in opened[0].relative_to(tmp_path).parts)
    pages.removePages()
    old, young, users = (place / f"LowFieldEnhance-{name}" for name in ("pages-old", "pages-young", "main"))
    for path in (old, young, users):
        path.mkdir()
    for path in (old, users):
        os.utime(path, (0, 0))
    application.loadModule(MODULE)
    application.finishStartup()
    assert not old.exists() and young.exists() and users.exists()
