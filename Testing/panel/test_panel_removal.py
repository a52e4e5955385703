"""What goes with a run when it is removed, or when its enhanced volume is filled by a later one, and what is asked."""

from __future__ import annotations

import pytest
import slicer
import vtk
from panel_support import run, writeEverything
from panel_tools import choose, press
from PySide6.QtWidgets import QMessageBox
from slicer_host.properties import useSlicerProperties

from LowFieldEnhanceSlicer import hierarchy

pytestmark = pytest.mark.usefixtures("stub")
pytest_plugins = ["panel_fixtures"]
useSlicerProperties(__name__, False)

NO = QMessageBox.StandardButton.No
MADE = (
    "fidelity map, uncertainty map, map of added detail, segmentation, table of structures, chart of volumes, "
    "chart before and after, report"
)


@pytest.fixture
def first(person):
    """The enhanced volume of a run with the panel's own settings."""
    person.ui.inputSelector.setCurrentNode(person.loadScan("HEAD"))
    run(person)
    return person.parameters.resultVolume


def test_removing_a_run_asks_once_and_names_what_goes(application, person, first):
    application.dialogs.answer(NO)
    press(person.ui.removeButton)
    (message,) = application.dialogs.messages
    assert message.text == (
        "Remove 'HEAD bridged fast (ENHANCED - not for diagnosis)' and all else that its run has made "
        f"({MADE})? The scan stays."
    )
    assert first.GetScene() is not None and len(person.logic.outputsOf(first)) > 8
    press(person.ui.removeButton)
    assert len(application.dialogs.messages) == 2 and person.outputs() == []


def test_removing_a_comparison_asks_too_and_a_script_is_asked_nothing(application, person, stub, tmp_path):
    stub.set(STUB_COMPARISON=str(writeEverything(tmp_path, 8.0)[1]))
    nodes = person.logic.compare(person.loadScan("HEAD"), "cubic,linear").nodes
    person.parameters.comparisonTable = nodes.table
    person.ui.compareSectionButton.setProperty("collapsed", False)
    application.dialogs.answer(NO)
    press(person.ui.removeComparisonButton)
    assert "'HEAD methods compared (ENHANCED - not for diagnosis)'" in application.dialogs.messages[0].text
    assert nodes.page.GetScene() is not None
    person.logic.removeRun(nodes.table)
    assert len(application.dialogs.messages) == 1 and person.outputs() == []


def marked(nodes) -> list[str]:
    """The names that carry the mark."""
    return [node.GetName() for node in nodes if "ENHANCED" in node.GetName()]


def folders() -> list[str]:
    """Of all runs in the scene."""
    tree = hierarchy.subjectHierarchy(slicer.mrmlScene)
    items = vtk.vtkIdList()
    tree.GetItemChildren(tree.GetSceneItemID(), items, True)
    names = [tree.GetItemName(items.GetId(n)) for n in range(items.GetNumberOfIds())]
    return [name for name in names if name.startswith("LowFieldEnhance: ")]


def test_filling_an_earlier_result_takes_the_rest_of_its_run_along_and_asks_first(application, person, first):
    earlier = [node for node in person.logic.outputsOf(first) if node is not first]
    tree = hierarchy.subjectHierarchy(slicer.mrmlScene)
    drawn = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Drawn by the user")
    tree.SetItemParent(hierarchy.itemOf(slicer.mrmlScene, drawn), hierarchy.runFolderOf(first))
    person.ui.outputVolumeSelector.setCurrentNode(first)
    application.dialogs.answer(NO)
    press(person.ui.applyButton)
    (message,) = application.dialogs.messages
    assert message.text == (
        f"All else that the earlier run of the chosen output has made ({MADE}) will be removed. Go on?"
    )
    assert not person.logic.jobs and all(node.GetScene() is not None for node in earlier)
    choose(person.ui.presetComboBox, "Standard")
    run(person)
    assert len(application.dialogs.messages) == 2
    assert person.parameters.resultVolume is first and all(node.GetScene() is None for node in earlier)
    assert folders() == ["LowFieldEnhance: HEAD bridged standard"] and drawn.GetScene() is not None
    assert all(name.startswith("HEAD bridged standard") for name in marked(person.logic.outputsOf(first)))


def test_no_question_where_no_segmentation_goes_and_nothing_goes_where_the_volume_stays(application, person, first):
    ui, nodes = person.ui, person.logic.namedOutputs(first)
    ui.outputFidelitySelector.setCurrentNode(nodes["fidelity"])
    run(person)
    second = person.parameters.resultVolume
    assert all(node.GetScene() is not None for node in nodes.values()) and len(folders()) == 2
    ui.outputFidelitySelector.setCurrentNode(None)
    ui.outputVolumeSelector.setCurrentNode(first)
    ui.outputSegmentationSelector.setCurrentNode(person.logic.segmentationOf(first))
    run(person)
    assert application.dialogs.messages == [] and len(folders()) == 2
    assert nodes["structure table"].GetScene() is None and second.GetScene() is not None


def test_a_copy_in_the_folder_of_a_run_is_filled_without_harm_to_the_run(person, first):
    copy = slicer.mrmlScene.CopyNode(first)
    tree = hierarchy.subjectHierarchy(slicer.mrmlScene)
    tree.SetItemParent(hierarchy.itemOf(slicer.mrmlScene, copy), hierarchy.runFolderOf(first))
    earlier = person.logic.outputsOf(first)
    person.logic.process(person.parameters.inputVolume, outputVolume=copy)
    assert all(node.GetScene() is not None for node in earlier) and person.logic.outputsOf(first) == earlier
