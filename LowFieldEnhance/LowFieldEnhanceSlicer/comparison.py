"""Comparing two volumes in one slice view, by blinking or a checkerboard, with equal window and level.

Both happen in the views of the enhanced side, which get their earlier layers back afterwards.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import slicer
import vtk
from slicer.util import VTKObservationMixin

from LowFieldEnhanceLib.image_io import DERIVED

from . import hierarchy, volumes
from .marks import DERIVED_ATTRIBUTE
from .slice_layers import keepLayers, layersOf, putBackLayers, setLayers
from .timers import DeferredCall, RepeatedCall

BLINK_MILLISECONDS = 600
SQUARE_MM = 25.0
NONE, BLINK, CHECKERBOARD = "", "blink", "checkerboard"


class Comparison(VTKObservationMixin):
    """The pair of volumes that a side-by-side layout shows, until :meth:`close`.

    Args:
        compositeNodes: those of the views in which the two volumes are compared.
        closed: called when the comparison ended by itself because one of the volumes or the scene has gone.
    """

    def __init__(
        self,
        inputNode: slicer.vtkMRMLScalarVolumeNode,
        enhancedNode: slicer.vtkMRMLScalarVolumeNode,
        compositeNodes: Sequence[slicer.vtkMRMLSliceCompositeNode],
        closed: Callable[[], None] | None = None,
    ) -> None:
        super().__init__()
        self.scene = inputNode.GetScene()
        self.inputNode, self.enhancedNode = inputNode, enhancedNode
        self.mode = NONE
        self._compositeNodes = list(compositeNodes)
        self._closed = closed
        self._boardNode: slicer.vtkMRMLScalarVolumeNode | None = None
        self._timer: RepeatedCall | None = None
        self._copying = False
        self._boardLater: DeferredCall | None = None
        self.addObserver(self.scene, slicer.vtkMRMLScene.NodeRemovedEvent, self._onNodeRemoved)
        self.addObserver(self.scene, slicer.vtkMRMLScene.StartCloseEvent, self._onSceneClose)
        volumes.copyDisplay(inputNode, enhancedNode)
        for node in (inputNode, enhancedNode):
            self.addObserver(node, slicer.vtkMRMLVolumeNode.ImageDataModifiedEvent, self._onVoxelsModified)
            if node.GetDisplayNode() is not None:
                self.addObserver(node.GetDisplayNode(), vtk.vtkCommand.ModifiedEvent, self._onDisplayModified)

    def close(self) -> None:
        """Back to the plain enhanced volume, and nothing is observed any more."""
        self.setMode(NONE)
        self.removeObservers()

    def setMode(self, mode: str) -> None:
        """NONE, BLINK or CHECKERBOARD; one ends the other."""
        if mode == self.mode:
            return
        self._restore()
        self.mode = mode
        if mode == NONE:
            return
        for node in self._compositeNodes:
            keepLayers(node)
        if mode == BLINK:
            self._startBlink()
        else:
            self._boardLater = DeferredCall(self._renewBoard)
            self._showBoard()

    @contextlib.contextmanager
    def uncovered(self) -> Iterator[None]:
        """Inside the block the views have the layers that comparing hides, to be changed; comparing goes on after."""
        covering = [layersOf(node) for node in self._compositeNodes]
        self._putBack()
        try:
            yield
        finally:
            if self.mode != NONE:
                for node, layers in zip(self._compositeNodes, covering, strict=True):
                    keepLayers(node)
                    setLayers(node, *layers)

    def toggle(self) -> None:
        """The other volume of the blinking pair; the enhanced one is the foreground."""
        for node in self._compositeNodes:
            node.SetForegroundOpacity(0.0 if node.GetForegroundOpacity() > 0.5 else 1.0)

    def _startBlink(self) -> None:
        for node in self._compositeNodes:
            setLayers(node, self.inputNode.GetID(), self.enhancedNode.GetID(), 1.0)
        self._timer = RepeatedCall(self.toggle, BLINK_MILLISECONDS)
        self._timer.start()

    def _showBoard(self) -> None:
        self._boardNode = addCheckerboard(self.inputNode, self.enhancedNode)
        for node in self._compositeNodes:
            setLayers(node, self._boardNode.GetID(), None, 0.0)

    def _renewBoard(self) -> None:
        """The squares hold copies of voxels: a run may have filled the enhanced volume anew meanwhile."""
        earlier = self._boardNode
        if earlier is not None and all(node.GetImageData() for node in (self.inputNode, self.enhancedNode)):
            self._showBoard()
            hierarchy.removeNode(self.scene, earlier)

    def _restore(self) -> None:
        if self._boardLater is not None:
            self._boardLater.stop()
            self._boardLater = None
        if self._timer is not None:
            self._timer.stop()
            self._timer = None
        self._putBack()
        board, self._boardNode = self._boardNode, None
        if board is not None and self.scene.IsNodePresent(board):
            hierarchy.removeNode(self.scene, board)

    def _putBack(self) -> None:
        for node in self._compositeNodes:
            putBackLayers(node)

    def _onNodeRemoved(self, caller: Any, event: str) -> None:
        if not all(self.scene.IsNodePresent(node) for node in (self.inputNode, self.enhancedNode)):
            self._end()

    def _onSceneClose(self, caller: Any, event: str) -> None:
        self._end()

    def _end(self) -> None:
        self.close()
        if self._closed is not None:
            self._closed()

    def _onVoxelsModified(self, caller: Any, event: str) -> None:
        if self._boardLater is not None:
            self._boardLater.start()

    def _onDisplayModified(self, caller: slicer.vtkMRMLScalarVolumeDisplayNode, event: str) -> None:
        if self._copying:
            return
        self._copying = True
        try:
            for node in (self.inputNode, self.enhancedNode, self._boardNode):
                display = node.GetDisplayNode() if node is not None else None
                if display is not None and display is not caller:
                    display.SetAutoWindowLevel(False)
                    display.SetWindowLevel(caller.GetWindow(), caller.GetLevel())
        finally:
            self._copying = False


def addCheckerboard(
    inputNode: slicer.vtkMRMLScalarVolumeNode, enhancedNode: slicer.vtkMRMLScalarVolumeNode
) -> slicer.vtkMRMLScalarVolumeNode:
    """A hidden volume on the enhanced one's grid, of cubes that show the input and the enhanced volume in turn.

    It is marked as derived and not saved with the scene.
    """
    scene = enhancedNode.GetScene()
    cast = vtk.vtkImageCast()
    cast.SetInputData(enhancedNode.GetImageData())
    cast.SetOutputScalarTypeToFloat()
    sizes = zip(enhancedNode.GetImageData().GetDimensions(), enhancedNode.GetSpacing(), strict=True)
    board = vtk.vtkImageCheckerboard()
    board.SetInputData(0, resampleToGrid(inputNode, enhancedNode))
    board.SetInputConnection(1, cast.GetOutputPort())
    board.SetNumberOfDivisions(*(max(1, round(length * spacing / SQUARE_MM)) for length, spacing in sizes))
    board.Update()
    node = scene.CreateNodeByClass("vtkMRMLScalarVolumeNode")
    node.UnRegister(None)
    node.SetName(scene.GetUniqueNameByString(f"{inputNode.GetName()} checkerboard ({DERIVED})"))
    node.SetHideFromEditors(True)
    node.SetSaveWithScene(False)
    node.SetAttribute(DERIVED_ATTRIBUTE, DERIVED)
    matrix = vtk.vtkMatrix4x4()
    enhancedNode.GetIJKToRASMatrix(matrix)
    node.SetIJKToRASMatrix(matrix)
    node.SetAndObserveImageData(board.GetOutput())
    scene.AddNode(node)
    node.SetAndObserveTransformNodeID(enhancedNode.GetTransformNodeID())
    node.CreateDefaultDisplayNodes()
    node.GetDisplayNode().SetSaveWithScene(False)
    volumes.copyDisplay(inputNode, node)
    return node


def resampleToGrid(
    volumeNode: slicer.vtkMRMLScalarVolumeNode, referenceNode: slicer.vtkMRMLScalarVolumeNode
) -> vtk.vtkImageData:
    """The volume's voxels, linearly interpolated on the reference's grid, as float; zero outside the volume.

    Parent transforms of both count, since the two are compared where they are shown.
    """
    toRas, toIjk = vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()
    referenceNode.GetIJKToRASMatrix(toRas)
    volumeNode.GetRASToIJKMatrix(toIjk)
    between = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(
        referenceNode.GetParentTransformNode(), volumeNode.GetParentTransformNode(), between
    )
    matrix = vtk.vtkMatrix4x4()
    linear = slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(
        referenceNode.GetParentTransformNode(), volumeNode.GetParentTransformNode(), matrix
    )
    # vtkImageReslice is several times faster where it knows that the transform is linear.
    transform = vtk.vtkTransform() if linear else vtk.vtkGeneralTransform()
    transform.PostMultiply()
    for part in (toRas, matrix if linear else between, toIjk):
        transform.Concatenate(part)
    reslice = vtk.vtkImageReslice()
    reslice.SetInputData(volumeNode.GetImageData())
    reslice.SetResliceTransform(transform)
    reslice.SetInterpolationModeToLinear()
    reslice.SetOutputScalarType(vtk.VTK_FLOAT)
    reslice.SetOutputSpacing(1, 1, 1)
    reslice.SetOutputOrigin(0, 0, 0)
    reslice.SetOutputExtent(referenceNode.GetImageData().GetExtent())
    reslice.Update()
    return reslice.GetOutput()
