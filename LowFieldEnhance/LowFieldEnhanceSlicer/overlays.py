"""Maps of a run shown over the anatomy: their colours, their colour legend, and switching one on in the slice views."""

from __future__ import annotations

import slicer

from .corner_text import applicationLayoutManager
from .slice_layers import changingLayers

FIDELITY, UNCERTAINTY, ADDED_DETAIL = MAPS = ("fidelity", "uncertainty", "added detail")
OPACITY = 0.5
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
        kind: "samples", "flips" or "orientations", as in the report.
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
    """Show this map over whatever all slice views show; None takes the maps off. False where there are no views."""
    layoutManager = applicationLayoutManager()
    if layoutManager is None:
        return False
    for name in layoutManager.sliceViewNames():
        compositeNode = layoutManager.sliceWidget(name).mrmlSliceCompositeNode()
        with changingLayers(compositeNode):
            compositeNode.SetForegroundVolumeID(node.GetID() if node is not None else None)
            compositeNode.SetForegroundOpacity(OPACITY if node is not None else 0.0)
            compositeNode.SetCompositing(slicer.vtkMRMLSliceCompositeNode.Alpha)
    return True


def shownOverlay(nodes: list[slicer.vtkMRMLScalarVolumeNode]) -> slicer.vtkMRMLScalarVolumeNode | None:
    """Which of these maps a slice view shows as its foreground; the views come in no order."""
    layoutManager = applicationLayoutManager()
    names = layoutManager.sliceViewNames() if layoutManager is not None else []
    composites = (layoutManager.sliceWidget(name).mrmlSliceCompositeNode() for name in names)
    shown = {compositeNode.GetForegroundVolumeID() for compositeNode in composites}
    return next((node for node in nodes if node.GetID() in shown), None)
