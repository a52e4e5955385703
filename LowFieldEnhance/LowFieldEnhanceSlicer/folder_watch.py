"""Undo in Slicer's own way: who deletes a run's folder in the Data module gets rid of all that the run made.

Slicer removes the folder with the nodes in it. What a run has beside them, because only it needs it (a colour table,
the hidden tables of a chart, the record of the run), is removed here, and so are the display and storage nodes. A map
that lies over the anatomy is taken off the slice views before it goes, so that they get back what lay there.
"""

from __future__ import annotations

from typing import Any

import slicer
import vtk
from slicer.util import VTKObservationMixin

from . import hierarchy, overlays
from .marks import DERIVED_ATTRIBUTE
from .timers import DeferredCall


class FolderWatch(VTKObservationMixin):
    """Looks after the runs of a scene whenever nodes have left it, from :meth:`install` to :meth:`remove`."""

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        super().__init__()
        self.scene = scene
        self._later: DeferredCall | None = None
        self._helpers: set[str] = set()
        self._waiting = False  # nodes have gone, and what is left of their runs was not looked for yet

    def install(self) -> None:
        """Start."""
        # Not at once: Slicer is still removing the folder's other nodes then.
        self._later = DeferredCall(self.update)
        self.addObserver(self.scene, slicer.vtkMRMLScene.NodeAboutToBeRemovedEvent, self._onNodeGoes)
        self.addObserver(self.scene, slicer.vtkMRMLScene.NodeRemovedEvent, self._onNodeRemoved)
        self.addObserver(self.scene, slicer.vtkMRMLScene.EndBatchProcessEvent, self._onBatchEnd)

    def remove(self) -> None:
        """Stop."""
        self.removeObservers()
        if self._later is not None:
            self._later.stop()
            self._later = None

    def update(self) -> None:
        """Remove what is left of runs whose folder has gone."""
        if self.scene.IsBatchProcessing():  # once more at its end
            return
        self._waiting = False
        helpers, self._helpers = self._helpers, set()
        hierarchy.removeLeftovers(self.scene)
        for node in filter(None, map(self.scene.GetNodeByID, helpers)):
            served = node.GetDisplayableNode() if node.IsA("vtkMRMLDisplayNode") else node.GetStorableNode()
            if served is None:
                self.scene.RemoveNode(node)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _onNodeGoes(self, caller: Any, event: str, node: slicer.vtkMRMLNode) -> None:
        if not self.scene.IsClosing():  # then the views lose all that they show
            overlays.takeOff([node])

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _onNodeRemoved(self, caller: Any, event: str, node: slicer.vtkMRMLNode) -> None:
        if self.scene.IsClosing():  # nothing is left of it, and the ids will be those of other nodes
            self._helpers.clear()
            return
        if node.GetAttribute(DERIVED_ATTRIBUTE):
            self._helpers |= set(hierarchy.helperIds(node))
        self._waiting = True
        self._start()

    def _onBatchEnd(self, caller: Any, event: str) -> None:
        if self._waiting:
            self._start()

    def _start(self) -> None:
        if self._later is not None:
            self._later.start()


_installed: FolderWatch | None = None


def installFolderWatch() -> None:
    """Watch Slicer's scene from now on; called again it changes nothing."""
    global _installed
    if _installed is not None and _installed.scene is not slicer.mrmlScene:
        removeFolderWatch()
    if _installed is None:
        _installed = FolderWatch(slicer.mrmlScene)
        _installed.install()


def removeFolderWatch() -> None:
    """End it, for instance when the module is unloaded."""
    global _installed
    if _installed is not None:
        _installed.remove()
        _installed = None
