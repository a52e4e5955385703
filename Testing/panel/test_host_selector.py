"""The test host's node selector on the real scene."""

from __future__ import annotations

import slicer
from panel_tools import choose
from PySide6 import QtWidgets
from slicer_host.properties import useSlicerProperties

useSlicerProperties(__name__, False)

VOLUME = "vtkMRMLScalarVolumeNode"


def selector(scene: slicer.vtkMRMLScene, **options) -> slicer.qMRMLNodeComboBox:
    box = slicer.qMRMLNodeComboBox()
    box.nodeTypes = [VOLUME]
    for name, value in options.items():
        box.setProperty(name, value)
    box.setMRMLScene(scene)
    return box


def test_the_selector_follows_the_scene(application, scene):
    box = selector(scene)
    changes = []
    box.currentNodeChanged.connect(changes.append)
    first, second = (scene.AddNewNodeByClass(VOLUME, name) for name in ("first", "second"))
    scene.AddNewNodeByClass("vtkMRMLTextNode")
    assert box.nodeCount() == 2 and box.currentNode() is first
    box.setCurrentNode(second)
    scene.RemoveNode(second)
    assert box.currentNode() is first and changes == [first, second, first]
    scene.Clear(0)
    assert box.currentNode() is None and box.currentNodeID == "" and changes[-1] is None


def test_none_can_be_chosen_where_it_is_allowed(application, scene):
    box = selector(scene, noneEnabled=True, noneDisplay="(no reference)")
    volume = scene.AddNewNodeByClass(VOLUME, "Head")
    assert box.currentNode() is None
    combo = box.findChild(QtWidgets.QComboBox)
    choose(combo, "Head")
    assert box.currentNode() is volume
    volume.SetName("Head 2")
    assert combo.currentText() == "Head 2"
    choose(combo, "(no reference)")
    assert box.currentNodeID == ""


def test_child_types_attributes_and_hidden_nodes_are_filtered(application, scene):
    labels = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    plain, marked = (scene.AddNewNodeByClass(VOLUME, name) for name in ("plain", "marked"))
    marked.SetAttribute("Modality", "MR")
    box = selector(scene)
    assert [box.nodeFromIndex(index) for index in range(box.nodeCount())] == [labels, plain, marked]
    box.showChildNodeTypes = False
    assert box.nodeCount() == 2
    box.addAttribute(VOLUME, "Modality", "MR")
    assert box.nodeCount() == 1 and box.currentNode() is marked
    marked.SetHideFromEditors(True)
    box.setMRMLScene(scene)
    assert box.nodeCount() == 0 and plain is not None


def test_nodes_are_made_and_deleted_by_the_entries_at_the_end(application, scene):
    box = selector(scene, baseName="enhanced")
    combo = box.findChild(QtWidgets.QComboBox)
    choose(combo, next(combo.itemText(row) for row in range(combo.count()) if "Create" in combo.itemText(row)))
    assert box.currentNode().GetName().startswith("enhanced") and box.currentNode().IsA(VOLUME)
    choose(combo, "Delete current node")
    assert box.nodeCount() == 0
    assert selector(scene, addEnabled=False, removeEnabled=False).findChild(QtWidgets.QComboBox).count() == 0


def test_a_node_enters_and_leaves_the_selector_with_its_attributes(scene):
    """As in Slicer, without a node being added or removed meanwhile."""
    box = selector(scene, noneEnabled=True)
    box.addAttribute(VOLUME, "Kind", "result")
    node = scene.AddNewNodeByClass(VOLUME, "Volume")
    assert box.nodeCount() == 0
    node.SetAttribute("Kind", "result")
    box.setCurrentNode(node)
    assert box.nodeFromIndex(0) is node and box._combo.currentText() == "Volume"
    node.SetAttribute("Kind", "other")
    assert box.nodeCount() == 0 and box.currentNode() is None


def test_other_types_of_nodes_leave_the_selector_alone(scene):
    box = selector(scene)
    first = scene.AddNewNodeByClass(VOLUME, "First")
    scene.AddNewNodeByClass("vtkMRMLTableNode", "Table")
    second = scene.AddNewNodeByClass(VOLUME, "Second")
    assert [box.nodeFromIndex(n) for n in range(box.nodeCount())] == [first, second]
    scene.RemoveNode(first)
    assert box.currentNode() is second
