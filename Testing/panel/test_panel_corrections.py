"""A segmentation that was corrected by hand: how it is known, and that no later run takes it away."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
from panel_support import run
from panel_tools import press
from PySide6.QtWidgets import QMessageBox
from slicer_host.properties import useSlicerProperties

from LowFieldEnhanceSlicer import hierarchy, segmentations
from LowFieldEnhanceSlicer.corrections import isCorrected
from LowFieldEnhanceSlicer.scene import writeMrb

pytestmark = pytest.mark.usefixtures("stub")
pytest_plugins = ["panel_fixtures"]
useSlicerProperties(__name__, False)

NO = QMessageBox.StandardButton.No


@pytest.fixture
def first(person):
    """The enhanced volume of a run with the panel's own settings."""
    person.ui.inputSelector.setCurrentNode(person.loadScan("HEAD"))
    run(person)
    return person.parameters.resultVolume


@pytest.fixture
def structures(person, first):
    """The segmentation of that run."""
    return person.logic.segmentationOf(first)


def correct(node, corner: int = 0) -> None:
    """Paint one voxel of the first structure, as the Segment Editor hands it over."""
    segmentId = node.GetSegmentation().GetNthSegmentID(0)
    painted = slicer.vtkOrientedImageData()
    node.GetBinaryLabelmapRepresentation(segmentId, painted)
    extent = painted.GetExtent()
    value = painted.GetScalarComponentAsFloat(extent[corner], extent[2], extent[4], 0)
    painted.SetScalarComponentFromFloat(extent[corner], extent[2], extent[4], 0, 1.0 - value)
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    assert logic.SetBinaryLabelmapToSegment(painted, node, segmentId, logic.MODE_REPLACE)


def voxels(node, volume) -> np.ndarray:
    return segmentations.labelMapFromSegmentation(node, volume).array


def reloaded(application, node, folder):
    """The node after its scene was saved, closed and opened again."""
    name = node.GetName()
    writeMrb(slicer.mrmlScene, folder / "scene.mrb")
    slicer.mrmlScene.Clear(0)
    assert slicer.mrmlScene.ReadFromMRB(str(folder / "scene.mrb"), True)
    return slicer.util.getNode(name)


def test_what_a_run_left_is_known_again_whatever_happens_to_its_display(application, person, structures, tmp_path):
    structures.CreateClosedSurfaceRepresentation()
    structures.GetDisplayNode().SetVisibility(False)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    structures.SetAndObserveTransformNodeID(transform.GetID())
    copy = slicer.mrmlScene.CopyNode(structures)
    copy.GetSegmentation().CollapseBinaryLabelmaps(True)
    copy.GetSegmentation().SeparateSegmentLabelmap(copy.GetSegmentation().GetNthSegmentID(1))
    assert not isCorrected(structures) and not isCorrected(copy)
    assert not isCorrected(reloaded(application, structures, tmp_path))


def test_a_correction_is_known_also_after_saving_and_loading(application, person, structures, tmp_path):
    correct(structures)
    assert isCorrected(structures)
    assert isCorrected(reloaded(application, structures, tmp_path))


def test_a_structure_that_was_moved_or_removed_or_added_is_a_correction(person, structures):
    moved, fewer, more = (slicer.mrmlScene.CopyNode(structures) for _ in range(3))
    shift = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = slicer.util.vtkMatrixFromArray(np.array([[1, 0, 0, 4], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]))
    shift.SetMatrixTransformToParent(matrix)
    moved.SetAndObserveTransformNodeID(shift.GetID())
    moved.HardenTransform()
    fewer.GetSegmentation().RemoveSegment(fewer.GetSegmentation().GetNthSegmentID(0))
    segment = slicer.vtkSegment()
    segment.DeepCopy(more.GetSegmentation().GetNthSegment(0))
    more.GetSegmentation().AddSegment(segment, "Drawn")
    assert [isCorrected(node) for node in (structures, moved, fewer, more)] == [False, True, True, True]


def test_filling_the_enhanced_volume_anew_keeps_the_corrected_segmentation_and_says_so(
    application, person, first, structures
):
    named = person.logic.namedOutputs(first)
    correct(structures)
    kept, table = voxels(structures, first), structures.GetLabelmapConversionColorTableNode()
    person.ui.outputVolumeSelector.setCurrentNode(first)
    run(person)
    assert application.dialogs.messages == [], "nothing goes that is worth a question"
    assert structures.GetScene() is not None and np.array_equal(voxels(structures, first), kept)
    assert structures.GetAttribute("LowFieldEnhance.method") == "bridged" and table.GetScene() is not None
    assert named["fidelity"].GetScene() is None and person.logic.segmentationOf(first) is not structures
    assert f"'{structures.GetName()}' was corrected by hand, so it was kept." in person.ui.messageLabel.text()
    press(person.ui.removeButton)
    tree = hierarchy.subjectHierarchy(slicer.mrmlScene)
    assert structures.GetScene() is not None and tree.GetItemByDataNode(structures)


def test_a_corrected_segmentation_that_is_chosen_to_be_filled_is_left_and_the_new_one_lies_beside(person, first):
    structures = person.logic.segmentationOf(first)
    correct(structures)
    kept, name = voxels(structures, first), structures.GetName()
    person.ui.outputSegmentationSelector.setCurrentNode(structures)
    run(person)
    new = person.logic.segmentationOf(person.parameters.resultVolume)
    assert new is not structures and not isCorrected(new)
    assert np.array_equal(voxels(structures, first), kept) and structures.GetName() == name
    assert person.logic.segmentationOf(first) is structures, "it is still its own run's"
    said = f"'{name}' was corrected by hand, so it was kept, and the new one is '{new.GetName()}'."
    assert said in person.ui.messageLabel.text()


def test_a_script_that_fills_both_keeps_the_correction_too(person, first, structures):
    correct(structures)
    scan = person.parameters.inputVolume
    job = person.logic.process(scan, outputVolume=first, outputSegmentation=structures)
    assert job.nodes.enhanced is first and job.nodes.segmentation is not structures
    assert isCorrected(structures) and structures not in person.logic.outputsOf(first)
    assert [text for text in job.warnings if "corrected by hand" in text and job.nodes.segmentation.GetName() in text]


def test_what_the_run_itself_was_made_with_stays(person, first, structures):
    """The segmentation of the earlier run, not corrected, as the brain mask of the one that fills its volume anew."""
    job = person.logic.process(person.parameters.inputVolume, outputVolume=first, brainMask=structures)
    assert job.nodes.enhanced is first and structures.GetScene() is not None
    assert person.logic.parametersFromProvenance(first).brainMask is structures
    assert structures not in person.logic.outputsOf(first)


def test_removing_its_run_keeps_the_correction_with_its_colours_and_says_so_before(
    application, person, first, structures
):
    correct(structures)
    scan, made = person.parameters.inputVolume, person.outputs()
    kept, table = voxels(structures, scan), structures.GetLabelmapConversionColorTableNode()
    application.dialogs.answer(NO)
    press(person.ui.removeButton)
    asked = application.dialogs.messages[0].text
    assert asked.endswith(f"The scan stays. '{structures.GetName()}' was corrected by hand and stays.")
    assert "segmentation," not in asked and person.outputs() == made
    press(person.ui.removeButton)
    assert structures.GetScene() is not None and table.GetScene() is not None
    assert np.array_equal(voxels(structures, scan), kept)
    assert sorted(person.outputs()) == sorted([structures.GetName(), table.GetName()])
    tree = hierarchy.subjectHierarchy(slicer.mrmlScene)
    beside = tree.GetItemParent(tree.GetItemByDataNode(scan))
    assert tree.GetItemParent(tree.GetItemByDataNode(structures)) == beside


def test_a_script_that_removes_the_run_by_its_corrected_segmentation_keeps_that_one(person, first, structures):
    correct(structures)
    assert person.logic.removeRun(structures)
    assert structures.GetScene() is not None and first.GetScene() is None
    assert person.logic.outputsOf(structures) == [] and not person.logic.removeRun(structures)
