"""The folder of one run in the subject hierarchy: it holds the outputs, sits beside the source, and can be removed.

What belongs to a run is written in a hidden record node that references the outputs, not in their attributes or their
place in the tree: a copy that the user made of an output, or a node dragged into the folder, is the user's.
"""

from __future__ import annotations

import uuid

import slicer
import vtk

FOLDER_PREFIX = "LowFieldEnhance: "
RUN_ATTRIBUTE = "LowFieldEnhance.Run"
OUTPUT_ROLE = "LowFieldEnhance.Output"


def subjectHierarchy(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLSubjectHierarchyNode:
    """The scene's subject hierarchy node."""
    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)


def itemOf(scene: slicer.vtkMRMLScene, node: slicer.vtkMRMLNode) -> int:
    """The node's item, made under the scene's root if there is none (outside Slicer items are not automatic)."""
    hierarchy = subjectHierarchy(scene)
    return hierarchy.GetItemByDataNode(node) or hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)


def addRunFolder(scene: slicer.vtkMRMLScene, sourceNode: slicer.vtkMRMLNode, runName: str) -> int:
    """A folder "LowFieldEnhance: <run's name>" beside the source, numbered if there is one; returns its item."""
    hierarchy = subjectHierarchy(scene)
    parentItem = hierarchy.GetItemParent(itemOf(scene, sourceNode))
    name = scene.GetUniqueNameByString(FOLDER_PREFIX + runName)
    folderItem = hierarchy.CreateFolderItem(parentItem, name)
    run = uuid.uuid4().hex
    hierarchy.SetItemAttribute(folderItem, RUN_ATTRIBUTE, run)
    record = slicer.vtkMRMLScriptedModuleNode()
    record.SetName(name)
    record.SetHideFromEditors(True)
    record.SetModuleName("LowFieldEnhanceRun")
    record.SetAttribute(RUN_ATTRIBUTE, run)
    scene.AddNode(record)
    return folderItem


def addToRun(folderItem: int, node: slicer.vtkMRMLNode, inFolder: bool = True) -> None:
    """Record the node as an output of the run and, unless it only supports others, show it in the folder."""
    scene = node.GetScene()
    _recordOf(scene, folderItem).AddNodeReferenceID(OUTPUT_ROLE, node.GetID())
    if inFolder or subjectHierarchy(scene).GetItemByDataNode(node):
        subjectHierarchy(scene).SetItemParent(itemOf(scene, node), folderItem)


def replaceInRun(folderItem: int, node: slicer.vtkMRMLNode, replacement: slicer.vtkMRMLNode) -> None:
    """Make another node the run's output in the place of this one, which is removed.

    If the other was an output of an earlier run, it is this run's alone from now on.
    """
    scene = node.GetScene()
    own = _recordOf(scene, folderItem)
    for record in _records(scene):
        for n in reversed(range(record.GetNumberOfNodeReferences(OUTPUT_ROLE))):
            identifier = record.GetNthNodeReferenceID(OUTPUT_ROLE, n)
            if identifier == replacement.GetID():
                record.RemoveNthNodeReferenceID(OUTPUT_ROLE, n)
            elif record is own and identifier == node.GetID():
                record.SetNthNodeReferenceID(OUTPUT_ROLE, n, replacement.GetID())
    subjectHierarchy(scene).SetItemParent(itemOf(scene, replacement), folderItem)
    removeNode(scene, node)


def release(folderItem: int, node: slicer.vtkMRMLNode) -> None:
    """The node is the user's from now on, with the colours of a segmentation: it stays when the run is removed."""
    record = _recordOf(node.GetScene(), folderItem)
    colours = node.GetLabelmapConversionColorTableNode() if node.IsA("vtkMRMLSegmentationNode") else None
    released = [item.GetID() for item in (node, colours) if item is not None]
    for n in reversed(range(record.GetNumberOfNodeReferences(OUTPUT_ROLE))):
        if record.GetNthNodeReferenceID(OUTPUT_ROLE, n) in released:
            record.RemoveNthNodeReferenceID(OUTPUT_ROLE, n)


def runFolderOf(node: slicer.vtkMRMLNode) -> int:
    """The folder of the run that made a node, wherever the node lies now; 0 if that folder has gone.

    Of a node that no run has recorded, such as the user's copy of an output, it is the folder that it lies in, however
    deep; 0 if it lies in none.
    """
    scene = node.GetScene()
    hierarchy = subjectHierarchy(scene)
    record = next((record for record in _records(scene) if node in _outputsOf(record)), None)
    if record is not None:
        run = record.GetAttribute(RUN_ATTRIBUTE)
        found = (item for item in _items(hierarchy) if hierarchy.GetItemAttribute(item, RUN_ATTRIBUTE) == run)
        return next(found, 0)
    item = hierarchy.GetItemByDataNode(node)
    while item and not hierarchy.GetItemAttribute(item, RUN_ATTRIBUTE):
        item = hierarchy.GetItemParent(item)
    return item


def runNodes(folderItem: int, scene: slicer.vtkMRMLScene | None = None) -> list[slicer.vtkMRMLNode]:
    """The outputs of a run that are still in the scene (by default Slicer's).

    Raises:
        ValueError: the item is not the folder of a run.
    """
    return _outputsOf(_recordOf(slicer.mrmlScene if scene is None else scene, folderItem))


def removeRun(folderItem: int, scene: slicer.vtkMRMLScene | None = None) -> None:
    """Remove the folder and every node that the run made, with their display and storage nodes.

    The source stays, and so does what the user put into the folder: it moves to the folder's parent.

    Raises:
        ValueError: the item is not the folder of a run; nothing was removed.
    """
    scene = slicer.mrmlScene if scene is None else scene
    hierarchy = subjectHierarchy(scene)
    nodes = runNodes(folderItem, scene)
    record = _recordOf(scene, folderItem)
    for node in reversed(nodes):
        removeNode(scene, node)
    scene.RemoveNode(record)
    _moveDataItems(hierarchy, folderItem, hierarchy.GetItemParent(folderItem))
    hierarchy.RemoveItem(folderItem)


def removeLeftovers(scene: slicer.vtkMRMLScene) -> None:
    """Remove what is left of runs whose folder has gone: their records, and what never was in a folder.

    An output that the user moved to another place in the tree before stays.
    """
    records = _records(scene)
    if not records:
        return
    hierarchy = subjectHierarchy(scene)
    present = {hierarchy.GetItemAttribute(item, RUN_ATTRIBUTE) for item in _items(hierarchy)}
    for record in records:
        if record.GetAttribute(RUN_ATTRIBUTE) in present:
            continue
        for node in _outputsOf(record):
            if not hierarchy.GetItemByDataNode(node):
                removeNode(scene, node)
        scene.RemoveNode(record)


def removeNode(scene: slicer.vtkMRMLScene, node: slicer.vtkMRMLNode) -> None:
    """Remove a node with its item, display nodes and storage nodes; items of other data below it move up."""
    helpers = [scene.GetNodeByID(identifier) for identifier in helperIds(node)]
    hierarchy = subjectHierarchy(scene)
    item = hierarchy.GetItemByDataNode(node)
    parentItem = hierarchy.GetItemParent(item) if item else 0
    if item:
        _moveDataItems(hierarchy, item, parentItem)
    for leftover in (node, *helpers):
        if leftover is not None and scene.IsNodePresent(leftover):
            scene.RemoveNode(leftover)
    # Slicer removes the item of a removed node; without the application it stays.
    if item and item in _children(hierarchy, parentItem):
        hierarchy.RemoveItem(item, False)


def helperIds(node: slicer.vtkMRMLNode) -> list[str]:
    """The ids of a node's storage and display nodes; it need not be in a scene any more."""
    found = []
    if node.IsA("vtkMRMLStorableNode"):
        found += [node.GetNthStorageNodeID(n) for n in range(node.GetNumberOfStorageNodes())]
    if node.IsA("vtkMRMLDisplayableNode"):
        found += [node.GetNthDisplayNodeID(n) for n in range(node.GetNumberOfDisplayNodes())]
    return [identifier for identifier in found if identifier]


def _recordOf(scene: slicer.vtkMRMLScene, folderItem: int) -> slicer.vtkMRMLScriptedModuleNode:
    records = _records(scene)  # first: it may rename runs
    run = subjectHierarchy(scene).GetItemAttribute(folderItem, RUN_ATTRIBUTE)
    for record in records:
        if run and record.GetAttribute(RUN_ATTRIBUTE) == run:
            return record
    raise ValueError(f"item {folderItem} of the subject hierarchy is not a folder of LowFieldEnhance")


def _outputsOf(record: slicer.vtkMRMLScriptedModuleNode) -> list[slicer.vtkMRMLNode]:
    """Those that are still in the scene."""
    nodes = [record.GetNthNodeReference(OUTPUT_ROLE, n) for n in range(record.GetNumberOfNodeReferences(OUTPUT_ROLE))]
    return [node for node in nodes if node is not None]


def _records(scene: slicer.vtkMRMLScene) -> list[slicer.vtkMRMLScriptedModuleNode]:
    className = "vtkMRMLScriptedModuleNode"
    nodes = [scene.GetNthNodeByClass(n, className) for n in range(scene.GetNumberOfNodesByClass(className))]
    records = [node for node in nodes if node.GetAttribute(RUN_ATTRIBUTE)]
    if len({record.GetAttribute(RUN_ATTRIBUTE) for record in records}) < len(records):
        _tellApart(scene, records)
    return records


def _tellApart(scene: slicer.vtkMRMLScene, records: list[slicer.vtkMRMLScriptedModuleNode]) -> None:
    """Of runs that are in the scene twice, because it was saved and imported again, each gets a name of its own.

    A record goes with the folder in which most of its outputs lie.
    """
    if scene.IsBatchProcessing():  # the folders of an import are put together at its end
        return
    hierarchy = subjectHierarchy(scene)
    folders = [item for item in _items(hierarchy) if hierarchy.GetItemAttribute(item, RUN_ATTRIBUTE)]
    runs = [record.GetAttribute(RUN_ATTRIBUTE) for record in records]
    for run in {run for run in runs if runs.count(run) > 1}:
        free = [item for item in folders if hierarchy.GetItemAttribute(item, RUN_ATTRIBUTE) == run]
        for record in (record for record, its in zip(records, runs, strict=True) if its == run):
            name = uuid.uuid4().hex
            held = {item: _outputsBelow(hierarchy, item, record) for item in free}
            folder = max(held, key=held.__getitem__, default=0)
            if folder and held[folder]:
                hierarchy.SetItemAttribute(folder, RUN_ATTRIBUTE, name)
                free.remove(folder)
            record.SetAttribute(RUN_ATTRIBUTE, name)


def _outputsBelow(
    hierarchy: slicer.vtkMRMLSubjectHierarchyNode, folder: int, record: slicer.vtkMRMLScriptedModuleNode
) -> int:
    """How many of a run's outputs lie below a folder."""
    inside = set(_items(hierarchy, folder))
    return sum(hierarchy.GetItemByDataNode(node) in inside for node in _outputsOf(record))


def _moveDataItems(hierarchy: slicer.vtkMRMLSubjectHierarchyNode, fromItem: int, toItem: int) -> None:
    """Move the children that are more than a part of their parent (the segments of a segmentation are such parts)."""
    for child in _children(hierarchy, fromItem):
        if hierarchy.GetItemDataNode(child) is not None or hierarchy.GetNumberOfItemChildren(child):
            hierarchy.SetItemParent(child, toItem)


def _items(hierarchy: slicer.vtkMRMLSubjectHierarchyNode, top: int | None = None) -> list[int]:
    """All items below one, by default that of the scene, from the top."""
    items = vtk.vtkIdList()
    hierarchy.GetItemChildren(hierarchy.GetSceneItemID() if top is None else top, items, True)
    return [items.GetId(n) for n in range(items.GetNumberOfIds())]


def _children(hierarchy: slicer.vtkMRMLSubjectHierarchyNode, item: int) -> list[int]:
    return [hierarchy.GetItemByPositionUnderParent(item, n) for n in range(hierarchy.GetNumberOfItemChildren(item))]
