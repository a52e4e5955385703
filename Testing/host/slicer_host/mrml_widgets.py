"""qMRMLWidget and qMRMLNodeComboBox on the real scene, with Slicer's names of properties, methods and signals."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

import shiboken6
import slicer
import vtk
from PySide6 import QtCore, QtWidgets


class qMRMLWidget(QtWidgets.QWidget):
    """A widget that hands its scene on to whatever the .ui file connects to ``mrmlSceneChanged``."""

    mrmlSceneChanged = QtCore.Signal(object)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._scene = None

    def mrmlScene(self) -> slicer.vtkMRMLScene | None:
        return self._scene

    def setMRMLScene(self, scene: slicer.vtkMRMLScene | None) -> None:
        self._scene = scene
        self.mrmlSceneChanged.emit(scene)


class qMRMLNodeComboBox(QtWidgets.QWidget):
    """Chooses one node of the scene among those of the given types."""

    currentNodeChanged = QtCore.Signal(object)
    currentNodeIDChanged = QtCore.Signal(str)
    nodeAddedByUser = QtCore.Signal(object)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._scene = None
        self._observations: list[tuple[Any, int]] = []
        self._types: list[str] = []
        self._attributes: dict[str, list[tuple[str, str | None]]] = {}
        self._options: dict[str, Any] = {}
        self._currentID = ""
        self._listed: list[str] = []  # ids, as they were listed last
        self._combo = QtWidgets.QComboBox()
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._combo)
        self._combo.activated.connect(self._onActivated)

    # The scene
    def mrmlScene(self) -> slicer.vtkMRMLScene | None:
        return self._scene

    def setMRMLScene(self, scene: slicer.vtkMRMLScene | None) -> None:
        for subject, tag in self._observations:
            subject.RemoveObserver(tag)
        self._observations = []
        self._scene = scene
        if scene is not None:
            # By a weak reference: the scene must not keep a closed panel alive.
            widget = weakref.ref(self)

            def onSceneChanged(caller, event, node=None) -> None:
                if (alive := widget()) is None or not shiboken6.isValid(alive) or caller.IsBatchProcessing():
                    return
                if node is None or any(node.IsA(nodeType) for nodeType in alive._types):
                    alive._refresh()

            def onNodes(caller, event, node) -> None:
                onSceneChanged(caller, event, node)

            onNodes.CallDataType = vtk.VTK_OBJECT
            self._observations = [
                (scene, scene.AddObserver(scene.NodeAddedEvent, onNodes)),
                (scene, scene.AddObserver(scene.NodeRemovedEvent, onNodes)),
                (scene, scene.AddObserver(scene.EndBatchProcessEvent, lambda *call: onSceneChanged(*call))),
            ]
        self._refresh()

    # The nodes
    def currentNode(self) -> slicer.vtkMRMLNode | None:
        return self._scene.GetNodeByID(self._currentID) if self._scene is not None and self._currentID else None

    def setCurrentNode(self, node: slicer.vtkMRMLNode | None) -> None:
        self.setCurrentNodeID(node.GetID() if node is not None else "")

    def setCurrentNodeID(self, nodeID: str | None) -> None:
        known = nodeID if any(node.GetID() == nodeID for node in self._nodes()) else ""
        self._show(known)
        self._setCurrent(known)

    def nodeCount(self) -> int:
        return len(self._nodes())

    def nodeFromIndex(self, index: int) -> slicer.vtkMRMLNode | None:
        nodes = self._nodes()
        return nodes[index] if 0 <= index < len(nodes) else None

    def addNode(self) -> slicer.vtkMRMLNode | None:
        """What "Create new ..." does: a node of the first type, which becomes the current one."""
        if self._scene is None or not self._types:
            return None
        name = self._option("baseName", "") or self._tag()
        node = self._scene.AddNewNodeByClass(self._types[0], self._scene.GenerateUniqueName(name))
        for attribute, value in self._attributes.get(self._types[0], []):
            node.SetAttribute(attribute, value or "")
        if self._option("selectNodeUponCreation", True):
            self.setCurrentNode(node)
        self.nodeAddedByUser.emit(node)
        return node

    def addAttribute(self, nodeType: str, attributeName: str, attributeValue: str | None = None) -> None:
        """List nodes of a type only if they have the attribute, with this value if one is given."""
        self._attributes.setdefault(nodeType, []).append((attributeName, attributeValue))
        self._refresh()

    def removeAttribute(self, nodeType: str, attributeName: str) -> None:
        kept = [pair for pair in self._attributes.get(nodeType, []) if pair[0] != attributeName]
        self._attributes[nodeType] = kept
        self._refresh()

    # Properties
    def _getTypes(self) -> list[str]:
        return list(self._types)

    def _setTypes(self, types: Iterable[str]) -> None:
        self._types = list(types)
        self._refresh()

    def _getCurrentID(self) -> str:
        return self._currentID

    def _option(self, name: str, default: Any) -> Any:
        return self._options.get(name, default)

    def _optionProperty(name: str, default: Any) -> QtCore.Property:  # noqa: N805
        def put(self: qMRMLNodeComboBox, value: Any) -> None:
            self._options[name] = value
            self._refresh()

        return QtCore.Property(type(default), lambda self: self._option(name, default), put)

    nodeTypes = QtCore.Property("QStringList", _getTypes, _setTypes)
    currentNodeID = QtCore.Property(str, _getCurrentID, setCurrentNodeID)
    noneEnabled = _optionProperty("noneEnabled", False)
    noneDisplay = _optionProperty("noneDisplay", "None")
    addEnabled = _optionProperty("addEnabled", True)
    removeEnabled = _optionProperty("removeEnabled", True)
    renameEnabled = _optionProperty("renameEnabled", False)
    editEnabled = _optionProperty("editEnabled", False)
    showHidden = _optionProperty("showHidden", False)
    showChildNodeTypes = _optionProperty("showChildNodeTypes", True)
    selectNodeUponCreation = _optionProperty("selectNodeUponCreation", True)
    baseName = _optionProperty("baseName", "")
    del _optionProperty

    # What is listed
    def _nodes(self) -> list[slicer.vtkMRMLNode]:
        scene = self._scene
        if scene is None:
            return []
        nodes = [scene.GetNthNode(index) for index in range(scene.GetNumberOfNodes())]
        return [node for node in nodes if self._isListed(node)]

    def _candidates(self) -> list[slicer.vtkMRMLNode]:
        """Nodes of the types, which a change of their attributes may bring into the list or take from it."""
        nodes = (
            [self._scene.GetNthNode(index) for index in range(self._scene.GetNumberOfNodes())] if self._scene else []
        )
        return [node for node in nodes if any(node.IsA(nodeType) for nodeType in self._types)]

    def _isListed(self, node: slicer.vtkMRMLNode) -> bool:
        if node.GetHideFromEditors() and not self._option("showHidden", False):
            return False
        children = self._option("showChildNodeTypes", True)
        for nodeType in self._types:
            if node.GetClassName() == nodeType or (children and node.IsA(nodeType)):
                required = self._attributes.get(nodeType, [])
                return all(_hasAttribute(node, name, value) for name, value in required)
        return False

    def _tag(self) -> str:
        return self._scene.GetTagByClassName(self._types[0]) or "Node"

    def _refresh(self) -> None:
        """List the nodes anew; keep the current one if it is still there.

        When the current one was removed, Qt's list moves on to the node beside it, as Slicer's does.
        """
        nodes = self._nodes()
        identifiers = [node.GetID() for node in nodes]
        earlier, self._listed = self._listed, identifiers
        self._combo.clear()
        if self._option("noneEnabled", False):
            self._combo.addItem(self._option("noneDisplay", "None"), "")
        for node in nodes:
            self._combo.addItem(node.GetName(), node.GetID())
        self._observe(self._candidates())
        for action in self._actions():
            self._combo.addItem(action, action)
        current = self._currentID
        if current in earlier and current not in identifiers and identifiers:
            current = identifiers[min(earlier.index(current), len(identifiers) - 1)]
        if current not in identifiers:
            current = "" if self._option("noneEnabled", False) or not identifiers else identifiers[0]
        self._show(current)
        self._setCurrent(current)

    def _observe(self, nodes: list[slicer.vtkMRMLNode]) -> None:
        for subject, tag in [pair for pair in self._observations if pair[0] is not self._scene]:
            subject.RemoveObserver(tag)
        widget = weakref.ref(self)

        def onNodeModified(node, event) -> None:
            if (alive := widget()) is not None and shiboken6.isValid(alive):
                alive._onNodeModified(node)

        self._observations = [pair for pair in self._observations if pair[0] is self._scene]
        self._observations += [(node, node.AddObserver(vtk.vtkCommand.ModifiedEvent, onNodeModified)) for node in nodes]

    def _onNodeModified(self, node: slicer.vtkMRMLNode) -> None:
        index = self._combo.findData(node.GetID())
        if (index >= 0) != self._isListed(node):
            self._refresh()
        elif index >= 0 and self._combo.itemText(index) != node.GetName():
            self._combo.setItemText(index, node.GetName())

    def _actions(self) -> list[str]:
        if self._scene is None or not self._types:
            return []
        actions = [f"Create new {self._tag()}"] if self._option("addEnabled", True) else []
        if self._option("renameEnabled", False):
            actions.append("Rename current node...")
        return actions + (["Delete current node"] if self._option("removeEnabled", True) else [])

    def _show(self, nodeID: str) -> None:
        self._combo.setCurrentIndex(
            self._combo.findData(nodeID) if nodeID or self._option("noneEnabled", False) else -1
        )

    def _setCurrent(self, nodeID: str) -> None:
        if nodeID != self._currentID:
            self._currentID = nodeID
            self.currentNodeChanged.emit(self.currentNode())
            self.currentNodeIDChanged.emit(nodeID)

    def _onActivated(self, index: int) -> None:
        """A person chose an item: a node, none, or one of the actions at the end."""
        chosen = self._combo.itemData(index)
        self._show(self._currentID)
        if chosen not in self._actions():
            self.setCurrentNodeID(chosen)
        elif chosen.startswith("Create"):
            self.addNode()
        elif chosen.startswith("Delete") and self.currentNode() is not None:
            self._scene.RemoveNode(self.currentNode())
        elif chosen.startswith("Rename") and self.currentNode() is not None:
            name, accepted = QtWidgets.QInputDialog.getText(
                self, "Rename", "New name:", text=self.currentNode().GetName()
            )
            if accepted:
                self.currentNode().SetName(name)


def _hasAttribute(node: slicer.vtkMRMLNode, name: str, value: str | None) -> bool:
    found = node.GetAttribute(name)
    return found is not None and (value is None or found == value)
