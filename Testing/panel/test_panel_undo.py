"""Deleting the folder of a run in Slicer's Data module leaves nothing of the run behind."""

from __future__ import annotations

import pytest
import slicer
from panel_support import layers, run, writeResults
from PySide6.QtWidgets import QApplication
from slicer_host.properties import useSlicerProperties

from LowFieldEnhanceSlicer import comparison, hierarchy, layout
from LowFieldEnhanceSlicer.layout_description import ENHANCED, INPUT, sliceViews

pytestmark = pytest.mark.usefixtures("stub")
pytest_plugins = ["panel_fixtures"]
useSlicerProperties(__name__, False)


@pytest.fixture
def scan(person, stub, tmp_path):
    stub.set(STUB_RESULTS=str(writeResults(tmp_path / "results", 8.0, spread=True)))
    return person.loadScan(spacing=(8.0, 8.0, 8.0))


def content() -> set[str]:
    """The ids of all nodes."""
    return {slicer.mrmlScene.GetNthNode(n).GetID() for n in range(slicer.mrmlScene.GetNumberOfNodes())}


def deleteFolder(node) -> None:
    """What "Delete" in the Data module does."""
    tree = hierarchy.subjectHierarchy(slicer.mrmlScene)
    tree.RemoveItem(hierarchy.runFolderOf(node), True, True)
    QApplication.processEvents()


def test_nothing_of_the_run_is_left_and_the_scan_and_another_run_stay(person, scan):
    kept = person.logic.process(scan, samples=2).nodes
    before = content()
    nodes = person.logic.process(scan, samples=2).nodes
    assert len(content() - before) > 10, "colour table, record and the tables of a chart are among them"
    deleteFolder(nodes.enhanced)
    assert content() == before
    assert kept.segmentation.GetScene() is not None and scan.GetScene() is not None


def test_an_output_that_was_moved_elsewhere_before_stays(person, scan):
    before = content()
    nodes = person.logic.process(scan).nodes
    tree = hierarchy.subjectHierarchy(slicer.mrmlScene)
    tree.SetItemParent(tree.GetItemByDataNode(nodes.enhanced), tree.GetSceneItemID())
    deleteFolder(nodes.segmentation)
    left = {slicer.mrmlScene.GetNodeByID(name).GetClassName() for name in content() - before}
    assert nodes.enhanced.GetScene() is not None and nodes.segmentation.GetScene() is None
    assert left == {"vtkMRMLScalarVolumeNode", "vtkMRMLScalarVolumeDisplayNode"}


def test_a_result_in_the_folder_of_another_run_keeps_its_own_maps_and_remove_takes_its_own_run(person, scan):
    """Somebody gathers the enhanced volumes of two runs in one folder of the Data module."""
    first = person.logic.process(scan, samples=2).nodes
    folder = hierarchy.runFolderOf(first.enhanced)
    before = content()
    second = person.logic.process(scan, samples=2).nodes
    tree = hierarchy.subjectHierarchy(slicer.mrmlScene)
    tree.SetItemParent(tree.GetItemByDataNode(second.enhanced), folder)
    assert person.logic.namedOutputs(second.enhanced)["fidelity"] is second.fidelity
    assert person.logic.segmentationOf(second.enhanced) is second.segmentation
    assert hierarchy.runFolderOf(second.enhanced) == hierarchy.runFolderOf(second.fidelity) != folder
    person.logic.removeRun(second.enhanced)
    assert content() == before and first.fidelity.GetScene() is not None


def test_a_copy_that_the_user_made_belongs_to_the_folder_that_it_lies_in(person, scan):
    nodes = person.logic.process(scan).nodes
    copy = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Copy")
    assert hierarchy.runFolderOf(copy) == 0
    tree = hierarchy.subjectHierarchy(slicer.mrmlScene)
    folder = hierarchy.runFolderOf(nodes.enhanced)
    tree.SetItemParent(hierarchy.itemOf(slicer.mrmlScene, copy), folder)
    assert hierarchy.runFolderOf(copy) == folder
    person.logic.removeRun(nodes.enhanced)
    assert copy.GetScene() is not None


@pytest.mark.parametrize("deleted", ["the folder", "the map", "the folder of another run"])
def test_the_foreground_of_the_user_comes_back_when_the_map_over_it_is_deleted(person, scan, deleted):
    mine = person.loadScan("Mine", (8.0, 8.0, 8.0))
    nodes, other = (person.logic.process(scan).nodes for _ in range(2))
    slicer.util.setSliceViewerLayers(foreground=mine, foregroundOpacity=0.7)
    add = slicer.vtkMRMLSliceCompositeNode.Add
    slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode().SetCompositing(add)
    before = layers()
    assert {(node, opacity) for node, opacity, _ in before} == {(mine.GetID(), 0.7)}
    assert person.logic.showOverlay(nodes.enhanced, "fidelity")
    if deleted == "the folder":
        deleteFolder(nodes.enhanced)
    elif deleted == "the map":
        slicer.mrmlScene.RemoveNode(nodes.fidelity)
    else:
        deleteFolder(other.enhanced)
        assert layers() != before and {node for node, *_ in layers()} == {nodes.fidelity.GetID()}
        person.logic.showOverlay(nodes.enhanced)
    assert layers() == before


def sideLayers(side: str) -> list[tuple[str | None, float]]:
    """Foreground and opacity in the views of one side."""
    manager = slicer.app.layoutManager()
    nodes = [manager.sliceWidget(view.tag).mrmlSliceCompositeNode() for view in sliceViews(side, False)]
    return [(node.GetForegroundVolumeID(), node.GetForegroundOpacity()) for node in nodes]


@pytest.mark.parametrize("mode", ["setBlink", "setCheckerboard"])
def test_a_map_below_a_comparison_is_deleted_and_the_foreground_of_the_user_comes_back(person, scan, mode, monkeypatch):
    monkeypatch.setattr(comparison, "BLINK_MILLISECONDS", 60_000)  # not while it is looked at
    mine = person.loadScan("Mine", (8.0, 8.0, 8.0))
    nodes = person.logic.process(scan).nodes
    assert person.logic.showSideBySide(nodes.enhanced)
    slicer.util.setSliceViewerLayers(foreground=mine, foregroundOpacity=0.7)
    person.logic.showOverlay(nodes.enhanced, "fidelity")
    assert getattr(person.logic, mode)(nodes.enhanced)
    during = sideLayers(ENHANCED)
    slicer.mrmlScene.RemoveNode(nodes.fidelity)
    QApplication.processEvents()
    assert layout.comparisonMode() and sideLayers(ENHANCED) == during, "comparing goes on"
    person.logic.endComparison()
    assert {*sideLayers(ENHANCED), *sideLayers(INPUT)} == {(mine.GetID(), 0.7)}
    layout.close()


@pytest.mark.parametrize("deleted", ["the folder", "the enhanced volume", "the scan", "the folder, by a script"])
def test_the_layout_of_the_user_comes_back_when_the_pair_on_the_screen_is_deleted(person, scan, deleted):
    manager = slicer.app.layoutManager()
    manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalView)
    nodes = person.logic.process(scan).nodes
    assert person.logic.setBlink(nodes.enhanced) and layout.isShown()
    if deleted == "the folder":
        deleteFolder(nodes.enhanced)
    elif deleted == "the folder, by a script":
        person.logic.removeRun(nodes.enhanced)
    else:
        slicer.mrmlScene.RemoveNode(scan if deleted == "the scan" else nodes.enhanced)
    QApplication.processEvents()
    assert not layout.isShown() and manager.layout == slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalView


def test_the_layout_stays_when_another_run_is_deleted_or_another_pair_is_shown_at_once(person, scan):
    nodes, other, third = (person.logic.process(scan).nodes for _ in range(3))
    assert person.logic.showSideBySide(nodes.enhanced)
    deleteFolder(other.enhanced)
    assert layout.isShown() and layout.shownPair() == (scan, nodes.enhanced)
    slicer.mrmlScene.RemoveNode(nodes.enhanced)
    assert person.logic.showSideBySide(third.enhanced)
    QApplication.processEvents()
    assert layout.isShown() and layout.shownPair() == (scan, third.enhanced)
    layout.close()


def test_a_scene_is_closed_with_a_map_on_the_screen(person, scan):
    nodes = person.logic.process(scan).nodes
    slicer.util.setSliceViewerLayers(foreground=scan, foregroundOpacity=0.7)
    assert person.logic.showOverlay(nodes.enhanced, "fidelity")
    slicer.mrmlScene.Clear(0)
    QApplication.processEvents()
    assert {node for node, *_ in layers()} == {None}


def test_the_panel_offers_nothing_that_was_deleted_beside_the_result(person, scan):
    ui = person.ui
    person.parameters.inputVolume = scan
    ui.resultsButton.setProperty("collapsed", False)
    run(person)
    result = person.parameters.resultVolume
    named, offered = person.logic.namedOutputs(result), ui.overlayComboBox.count()
    buttons = (ui.chartButton, ui.reportButton, ui.surfaceButton, ui.sideBySideButton)
    assert all(button.isEnabled() for button in buttons) and ui.structuresTable.isVisible() and offered == 4
    gone = [named[name] for name in ("fidelity", "uncertainty", "structure table", "volume chart", "page")]
    for node in (*gone, person.logic.segmentationOf(result), scan):
        slicer.mrmlScene.RemoveNode(node)
    QApplication.processEvents()
    assert not any(button.isEnabled() for button in buttons) and not ui.structuresTable.isVisible()
    texts = [ui.overlayComboBox.itemText(n) for n in range(ui.overlayComboBox.count())]
    assert texts == ["None", "Added detail (not supported by the scan)"]
    assert person.parameters.resultVolume is result and ui.beforeAfterButton.isEnabled()


def test_nothing_is_left_of_a_run_that_is_deleted_in_a_batch_in_which_events_are_dealt_with(person, scan):
    """As a progress dialog does while Slicer works on many nodes."""
    before = content()
    nodes = person.logic.process(scan).nodes
    slicer.mrmlScene.StartState(slicer.vtkMRMLScene.BatchProcessState)
    deleteFolder(nodes.enhanced)
    slicer.mrmlScene.EndState(slicer.vtkMRMLScene.BatchProcessState)
    QApplication.processEvents()
    assert content() == before


def test_what_takes_the_id_of_a_helper_of_a_closed_scene_stays(person, scan):
    nodes = person.logic.process(scan).nodes
    nodes.fidelity.AddDefaultStorageNode()
    identifier, kind = nodes.fidelity.GetStorageNodeID(), nodes.fidelity.GetStorageNode().GetClassName()
    slicer.mrmlScene.RemoveNode(nodes.fidelity)
    slicer.mrmlScene.Clear(0)
    while slicer.mrmlScene.GetNodeByID(identifier) is None:
        slicer.mrmlScene.AddNewNodeByClass(kind)  # of nobody yet
    QApplication.processEvents()
    assert slicer.mrmlScene.GetNodeByID(identifier) is not None


def test_single_outputs_can_be_removed_and_the_rest_stays(person, scan):
    nodes = person.logic.process(scan).nodes
    slicer.mrmlScene.RemoveNode(nodes.fidelity)
    QApplication.processEvents()
    assert nodes.enhanced.GetScene() is not None and hierarchy.runNodes(hierarchy.runFolderOf(nodes.enhanced))
