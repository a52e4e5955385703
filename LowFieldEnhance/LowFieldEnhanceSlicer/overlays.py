"""Maps of a run shown over the anatomy: their colours, their colour legend, and switching one on in the slice views."""

from __future__ import annotations

import json
from collections.abc import Iterable

import slicer

from . import layout
from .corner_text import applicationLayoutManager
from .marks import ATTRIBUTE_PREFIX, OUTPUT_ATTRIBUTE
from .slice_layers import changingLayers

FIDELITY, UNCERTAINTY, ADDED_DETAIL = MAPS = ("fidelity", "uncertainty", "added detail")
OPACITY = 0.5
# On the node of a view: the map that was put there, and what lay there before.
MAP_ROLE, EARLIER_ROLE = ATTRIBUTE_PREFIX + "Overlay", ATTRIBUTE_PREFIX + "EarlierForeground"
EARLIER_ATTRIBUTE = EARLIER_ROLE + "Layer"  # its opacity and compositing
FIDELITY_LIMIT = 4.0  # in units of the noise: what lies beyond 3 must stand out
# The first of these that Slicer has; the last is always there.
RAINBOW = "vtkMRMLColorTableNodeRainbow"
ADDED_DETAIL_LIMIT = 100.0  # % of the local contrast; the report flags 50
SIGNED_COLOURS = ("vtkMRMLColorTableNodeFileDivergingBlueRed.txt", RAINBOW)
UNCERTAINTY_COLOURS = ("vtkMRMLColorTableNodeFileInferno.txt", RAINBOW)
UNCERTAINTY_TITLES = {
    "flips": "SD among mirrored runs",
    "samples": "SD among samples",
    "orientations": "SD among slice orientations",
    "expected": "Expected deviation (SD)",
}


def showFidelity(node: slicer.vtkMRMLScalarVolumeNode) -> None:
    """The residual (scan - seen through the scanner) / noise: symmetric about 0, in two colours."""
    _show(node, -FIDELITY_LIMIT, FIDELITY_LIMIT, SIGNED_COLOURS, "Residual / noise")


def showAddedDetail(node: slicer.vtkMRMLScalarVolumeNode) -> None:
    """What the scan does not support, in percent of the local contrast: brighter in one colour, darker in the other."""
    _show(node, -ADDED_DETAIL_LIMIT, ADDED_DETAIL_LIMIT, SIGNED_COLOURS, "Added detail (% of local contrast)")


def showUncertainty(node: slicer.vtkMRMLScalarVolumeNode, limit: float, kind: str) -> None:
    """The voxel standard deviation, in the scan's intensity unit.

    Args:
        limit: shown in the brightest colour.
        kind: "samples", "flips", "orientations" or "expected", as in the report.
    """
    title = UNCERTAINTY_TITLES.get(kind, "Standard deviation")
    _show(node, 0.0, limit if limit > 0 else 1.0, UNCERTAINTY_COLOURS, title)


def _show(node: slicer.vtkMRMLScalarVolumeNode, low: float, high: float, colours: tuple[str, ...], title: str) -> None:
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetAutoWindowLevel(False)
    display.SetWindowLevel(high - low, (high + low) / 2)
    table = next(filter(node.GetScene().GetNodeByID, colours), None)
    if table is not None:
        display.SetAndObserveColorNodeID(table)
    legend = slicer.vtkSlicerColorLogic.AddDefaultColorLegendDisplayNode(node)
    legend.SetTitleText(title)
    legend.SetVisibility(True)  # Slicer shows it only in views that show the volume itself


def legendOf(node: slicer.vtkMRMLScalarVolumeNode) -> slicer.vtkMRMLColorLegendDisplayNode | None:
    """The colour legend of a volume, or None."""
    return slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(node)


def moveLegend(standIn: slicer.vtkMRMLScalarVolumeNode, node: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Give a volume the legend that another has; without one, take away what it had of an earlier run."""
    source, target = legendOf(standIn), legendOf(node)
    if source is None:
        if target is not None:
            node.GetScene().RemoveNode(target)
        return
    target = slicer.vtkSlicerColorLogic.AddDefaultColorLegendDisplayNode(node)
    target.SetTitleText(source.GetTitleText())
    target.SetVisibility(source.GetVisibility())


def setOverlay(node: slicer.vtkMRMLScalarVolumeNode | None) -> bool:
    """Show this map over whatever all slice views show; False where there are no views.

    None takes the maps off: each view gets back the foreground that the user had there, and its opacity.
    """
    if applicationLayoutManager() is None:
        return False
    for compositeNode in _compositeNodes():
        with changingLayers(compositeNode):
            _takeOff(compositeNode)
            if node is not None:
                _putOn(compositeNode, node)
    return True


def _putOn(view: slicer.vtkMRMLSliceCompositeNode, node: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Kept on the view's node, what lay there survives a reload of the module and goes into a saved scene."""
    view.SetNodeReferenceID(MAP_ROLE, node.GetID())
    view.SetNodeReferenceID(EARLIER_ROLE, view.GetForegroundVolumeID())
    view.SetAttribute(EARLIER_ATTRIBUTE, json.dumps([view.GetForegroundOpacity(), view.GetCompositing()]))
    view.SetForegroundVolumeID(node.GetID())
    view.SetForegroundOpacity(OPACITY)
    view.SetCompositing(slicer.vtkMRMLSliceCompositeNode.Alpha)


def _takeOff(view: slicer.vtkMRMLSliceCompositeNode) -> None:
    """A foreground that is no map was chosen by the user, before or instead of the map, and stays."""
    put, earlier = view.GetNodeReferenceID(MAP_ROLE), view.GetNodeReference(EARLIER_ROLE)
    opacity, compositing = json.loads(view.GetAttribute(EARLIER_ATTRIBUTE) or "null") or (0.0, view.Alpha)
    for role in (MAP_ROLE, EARLIER_ROLE):
        view.RemoveNodeReferenceIDs(role)
    view.RemoveAttribute(EARLIER_ATTRIBUTE)
    shown = view.GetForegroundVolumeID()
    node = view.GetScene().GetNodeByID(shown) if shown else None
    if node is None or not _isMap(node):
        return
    known = put == shown
    view.SetForegroundVolumeID(earlier.GetID() if known and earlier is not None else None)
    view.SetForegroundOpacity(opacity if known else 0.0)
    view.SetCompositing(compositing if known else view.Alpha)


def _isMap(node: slicer.vtkMRMLNode) -> bool:
    return node.GetAttribute(OUTPUT_ATTRIBUTE) in MAPS


def takeOff(nodes: Iterable[slicer.vtkMRMLNode]) -> None:
    """Take the maps off the slice views, if one of these nodes, which are about to go, is a map that is shown.

    Below volumes that are being compared, too: a map would be missed there when they are compared no longer.
    """
    maps = [node for node in nodes if _isMap(node)]
    if maps:
        with layout.uncovered():
            if shownOverlay(maps) is not None:
                setOverlay(None)


def shownOverlay(nodes: list[slicer.vtkMRMLScalarVolumeNode]) -> slicer.vtkMRMLScalarVolumeNode | None:
    """Which of these maps a slice view shows as its foreground; the views come in no order."""
    shown = {compositeNode.GetForegroundVolumeID() for compositeNode in _compositeNodes()}
    return next((node for node in nodes if node.GetID() in shown), None)


def _compositeNodes() -> list[slicer.vtkMRMLSliceCompositeNode]:
    """Of all slice views; none where there are no views."""
    layoutManager = applicationLayoutManager()
    names = layoutManager.sliceViewNames() if layoutManager is not None else []
    return [layoutManager.sliceWidget(name).mrmlSliceCompositeNode() for name in names]
