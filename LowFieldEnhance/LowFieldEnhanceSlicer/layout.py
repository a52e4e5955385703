"""The layout "input | enhanced": linked slice views with equal field of view, and comparing in them.

All functions do nothing and return False where Slicer has no layout manager (no window, or no application).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import slicer
import vtk

from . import layout_description
from .comparison import BLINK, CHECKERBOARD, NONE, Comparison
from .corner_text import applicationLayoutManager, installCornerText, removeCornerText
from .layout_description import ENHANCED, INPUT, VIEW_GROUP, SliceViewDescription, sliceViews
from .slice_layers import changingLayers, putBackLayers
from .timers import DeferredCall

# On the layout node: survives what happens to this module.
EARLIER_LAYOUT = "LowFieldEnhance.EarlierLayout"

_comparison: Comparison | None = None
_tellEnd: Callable[[], None] | None = None
_layoutObservation: tuple[slicer.vtkMRMLLayoutNode, int] | None = None
_importObservation: tuple[slicer.vtkMRMLScene, int] | None = None
_secondFit: DeferredCall | None = None
_restoring: DeferredCall | None = None


def install() -> bool:
    """Once the application has started: make the layouts known and mark derived volumes in all slice views."""
    layoutManager = applicationLayoutManager()
    if layoutManager is None:
        return False
    layout_description.registerLayouts(layoutManager.layoutLogic().GetLayoutNode())
    _observeImports()
    return installCornerText() is not None


def close() -> None:
    """End what goes on by itself: blinking, checkerboard, linked display and corner texts. The layout stays."""
    _endComparison()
    _forgetImports()
    removeCornerText()


def showSideBySide(
    inputNode: slicer.vtkMRMLScalarVolumeNode,
    enhancedNode: slicer.vtkMRMLScalarVolumeNode,
    axialOnly: bool = False,
) -> bool:
    """Show two volumes side by side, in three planes or axially, and keep their window and level equal.

    The views scroll, pan and zoom together. :func:`restoreLayout` goes back to the layout before; so does this module
    when one of the two is deleted.
    """
    global _comparison
    layoutManager = applicationLayoutManager()
    if layoutManager is None:
        return False
    _endComparison()
    install()
    layoutNode = layoutManager.layoutLogic().GetLayoutNode()
    numbers = layout_description.registerLayouts(layoutNode)
    if not layout_description.isOwnLayout(layoutNode):
        layoutNode.SetAttribute(EARLIER_LAYOUT, str(layoutNode.GetViewArrangement()))
    layoutManager.setLayout(numbers[axialOnly])
    compositeNodes = [
        _setUpView(layoutManager, view, node)
        for side, node in ((INPUT, inputNode), (ENHANCED, enhancedNode))
        for view in sliceViews(side, axialOnly)
    ]
    _fit(layoutManager, axialOnly)
    onEnhancedSide = [node for node in compositeNodes[len(compositeNodes) // 2 :] if node is not None]
    _comparison = Comparison(inputNode, enhancedNode, onEnhancedSide, _onPairGone)
    _observeLayout(layoutNode)
    _fitLater(axialOnly)
    installCornerText().update()
    return True


def showThreeDView() -> bool:
    """Have a 3-D view on the screen, looking at what is in it: the layout before ours, if it has one, else four-up."""
    layoutManager = applicationLayoutManager()
    if layoutManager is None:
        return False
    layoutNode = layoutManager.layoutLogic().GetLayoutNode()
    if layout_description.isOwnLayout(layoutNode):
        restoreLayout()
    if "vtkMRMLViewNode" not in (layoutNode.GetLayoutDescription(layoutNode.GetViewArrangement()) or ""):
        layoutManager.setLayout(layoutNode.SlicerLayoutFourUpView)
    for index in range(layoutManager.threeDViewCount):
        layoutManager.threeDWidget(index).threeDView().resetFocalPoint()
    return True


def isShown() -> bool:
    """Whether the side-by-side layout is the one on the screen."""
    layoutManager = applicationLayoutManager()
    return layoutManager is not None and layout_description.isOwnLayout(layoutManager.layoutLogic().GetLayoutNode())


def shownPair() -> tuple[slicer.vtkMRMLScalarVolumeNode, slicer.vtkMRMLScalarVolumeNode] | None:
    """The input and the enhanced volume that the side-by-side layout compares now, or None."""
    return (_comparison.inputNode, _comparison.enhancedNode) if _comparison is not None else None


def restoreLayout() -> bool:
    """The layout that was there before the side-by-side one; False if that is not shown."""
    if not isShown():
        return False
    _endComparison()
    layoutManager = applicationLayoutManager()
    layoutNode = layoutManager.layoutLogic().GetLayoutNode()
    earlier = int(layoutNode.GetAttribute(EARLIER_LAYOUT) or layoutNode.SlicerLayoutFourUpView)
    layoutNode.RemoveAttribute(EARLIER_LAYOUT)
    layoutManager.setLayout(earlier if layoutNode.IsLayoutDescription(earlier) else layoutNode.SlicerLayoutFourUpView)
    return True


def setBlink(on: bool) -> bool:
    """Show input and enhanced volume in turn in the views of the enhanced side; False if the layout is not shown."""
    return _setMode(BLINK, on)


def setCheckerboard(on: bool) -> bool:
    """Show cubes of both volumes in the views of the enhanced side; False if the layout is not shown."""
    return _setMode(CHECKERBOARD, on)


def comparisonMode() -> str:
    """ "blink", "checkerboard" or empty: what a panel's buttons should show."""
    return _comparison.mode if _comparison is not None else NONE


def uncovered() -> contextlib.AbstractContextManager[None]:
    """Inside the block the views have the layers that comparing hides; see :meth:`Comparison.uncovered`."""
    return _comparison.uncovered() if _comparison is not None else contextlib.nullcontext()


def onComparisonEnd(tell: Callable[[], None] | None) -> None:
    """Call this when a comparison has ended by itself (another layout, a volume gone), for the panel's buttons."""
    global _tellEnd
    _tellEnd = tell


def _setMode(mode: str, on: bool) -> bool:
    if _comparison is None or applicationLayoutManager() is None:
        return False
    if on:
        _comparison.setMode(mode)
    elif _comparison.mode == mode:
        _comparison.setMode(NONE)
    return True


def _setUpView(
    layoutManager: Any, view: SliceViewDescription, volumeNode: slicer.vtkMRMLScalarVolumeNode
) -> slicer.vtkMRMLSliceCompositeNode | None:
    """The view's plane, group and volume; its composite node, or None if the layout has no such view."""
    widget = layoutManager.sliceWidget(view.tag)
    if widget is None:
        return None
    sliceNode, compositeNode = widget.mrmlSliceNode(), widget.mrmlSliceCompositeNode()
    sliceNode.SetViewGroup(VIEW_GROUP)
    sliceNode.SetLayoutLabel(view.label)
    sliceNode.SetLayoutColor(*view.colour)
    sliceNode.SetOrientation(view.orientation)
    with changingLayers(compositeNode):
        compositeNode.SetLinkedControl(True)
        compositeNode.SetHotLinkedControl(True)
        # A volume that the user loads later does not take the place of the pair.
        compositeNode.SetDoPropagateVolumeSelection(False)
        compositeNode.SetCompositing(slicer.vtkMRMLSliceCompositeNode.Alpha)
        compositeNode.SetBackgroundVolumeID(volumeNode.GetID())
        compositeNode.SetForegroundVolumeID(None)
        compositeNode.SetForegroundOpacity(0.0)
        compositeNode.SetLabelVolumeID(None)
    return compositeNode


def _fit(layoutManager: Any, axialOnly: bool, keepOffset: bool = False) -> None:
    """The whole input in the views of its side, and the same planes and field of view on the other.

    Args:
        keepOffset: stay on the slices of now instead of the middle ones.
    """
    for left, right in zip(sliceViews(INPUT, axialOnly), sliceViews(ENHANCED, axialOnly), strict=True):
        source, target = layoutManager.sliceWidget(left.tag), layoutManager.sliceWidget(right.tag)
        if source is not None and target is not None:
            offset = source.mrmlSliceNode().GetSliceOffset()
            source.sliceLogic().FitSliceToBackground()
            if keepOffset:
                source.mrmlSliceNode().SetSliceOffset(offset)
            _copyGeometry(source.mrmlSliceNode(), target.mrmlSliceNode())


def _copyGeometry(source: slicer.vtkMRMLSliceNode, target: slicer.vtkMRMLSliceNode) -> None:
    """Plane, centre and millimetres per pixel; two views of one size then show the same."""
    field, pixels, ownPixels = source.GetFieldOfView(), source.GetDimensions(), target.GetDimensions()
    wasModifying = target.StartModify()
    target.GetSliceToRAS().DeepCopy(source.GetSliceToRAS())
    target.SetXYZOrigin(*source.GetXYZOrigin())
    scale = (own / other if other else 1.0 for own, other in zip(ownPixels[:2], pixels[:2], strict=True))
    target.SetFieldOfView(*(length * factor for length, factor in zip(field[:2], scale, strict=True)), field[2])
    target.UpdateMatrices()
    target.EndModify(wasModifying)


def _fitLater(axialOnly: bool) -> None:
    """Once more when new views have got their size; a jump to a structure in between is kept."""
    global _secondFit

    def fit() -> None:
        if isShown() and _comparison is not None:
            _fit(applicationLayoutManager(), axialOnly, keepOffset=True)

    _secondFit = DeferredCall(fit)
    _secondFit.start()


def _observeLayout(layoutNode: slicer.vtkMRMLLayoutNode) -> None:
    """The comparison ends when the user chooses another layout: nothing blinks or computes unseen."""
    global _layoutObservation

    def onModified(node: slicer.vtkMRMLLayoutNode, event: str) -> None:
        if not layout_description.isOwnLayout(node):
            _endComparison()

    _layoutObservation = layoutNode, layoutNode.AddObserver(vtk.vtkCommand.ModifiedEvent, onModified)


def _observeImports() -> None:
    """A scene that was saved while volumes were compared shows what lay below: nothing is compared in it now."""
    global _importObservation
    scene = slicer.mrmlScene
    if _importObservation is not None and _importObservation[0] is scene:
        return
    _forgetImports()

    def onImported(scene: slicer.vtkMRMLScene, event: str) -> None:
        if comparisonMode() == NONE:
            for view in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode", scene):
                putBackLayers(view)

    _importObservation = scene, scene.AddObserver(scene.EndImportEvent, onImported)
    onImported(scene, "")  # it may have been loaded before the module


def _forgetImports() -> None:
    global _importObservation
    observation, _importObservation = _importObservation, None
    if observation is not None:
        observation[0].RemoveObserver(observation[1])


def _onPairGone() -> None:
    """Half of the views would be empty. A scene that is being closed takes its layout along or brings another."""
    global _restoring
    isClosing = _comparison is not None and _comparison.scene.IsClosing()
    _endComparison()
    if not isClosing:
        # Not at once: Slicer is still removing the other nodes of the folder.
        _restoring = DeferredCall(restoreLayout)
        _restoring.start()


def _endComparison() -> None:
    global _comparison, _layoutObservation, _secondFit, _restoring
    for call in filter(None, (_secondFit, _restoring)):
        call.stop()
    _secondFit = _restoring = None
    comparison, _comparison = _comparison, None
    observation, _layoutObservation = _layoutObservation, None
    if observation is not None:
        observation[0].RemoveObserver(observation[1])
    if comparison is not None:
        comparison.close()
        if _tellEnd is not None:
            _tellEnd()
