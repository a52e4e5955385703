"""What can be done with the results of a run: the panel's buttons do it, and a script by the module's logic."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import slicer

from . import hierarchy, layout, navigation, overlays
from .corrections import isCorrected
from .loading import REPORT_ROLE
from .marks import BEFORE_AFTER_CHART, ENHANCED, INPUT_ROLE, OUTPUT_ATTRIBUTE, VOLUME_CHART, requireNode

if TYPE_CHECKING:
    from .surfaces import SurfaceMaker


class ResultActions:
    """Each takes any output of the run as ``node``, such as ``job.nodes.enhanced``.

    What shows something returns False where there are no views or the run has no such output. What is no node raises
    ValueError.
    """

    _surfaces: SurfaceMaker | None = None  # of a script; the panel has one that tells its progress

    @staticmethod
    def inputOf(node: slicer.vtkMRMLNode) -> slicer.vtkMRMLScalarVolumeNode | None:
        """The scan that an enhanced volume was made from, while it is in the scene."""
        requireNode(node)
        return node.GetNodeReference(INPUT_ROLE)

    @staticmethod
    def outputsOf(node: slicer.vtkMRMLNode | None) -> list[slicer.vtkMRMLNode]:
        """All outputs of the run that made the node and are still in the scene."""
        if node is None:
            return []
        requireNode(node)
        folder = hierarchy.runFolderOf(node) if node.GetScene() is not None else 0
        return hierarchy.runNodes(folder, node.GetScene()) if folder else []

    def namedOutputs(self, node: slicer.vtkMRMLNode | None) -> dict[str, slicer.vtkMRMLNode]:
        """Volumes, tables and charts of the run by what they are: "enhanced", "fidelity", "structure table", ..."""
        named = {item.GetAttribute(OUTPUT_ATTRIBUTE): item for item in self.outputsOf(node)}
        return {name: item for name, item in named.items() if name}

    def segmentationOf(self, node: slicer.vtkMRMLNode) -> slicer.vtkMRMLSegmentationNode | None:
        """The segmented structures of the run."""
        return next((item for item in self.outputsOf(node) if item.IsA("vtkMRMLSegmentationNode")), None)

    def showSideBySide(self, node: slicer.vtkMRMLNode, axialOnly: bool = False) -> bool:
        """The scan and the enhanced volume of the run in linked views, in three planes or axially."""
        pair = self._pairOf(node)
        if pair is None:
            return False
        named = self.namedOutputs(node)
        overlay = overlays.shownOverlay([named[name] for name in overlays.MAPS if name in named])
        if not layout.showSideBySide(*pair, axialOnly=axialOnly):
            return False
        return overlay is None or overlays.setOverlay(overlay)  # on the new views too

    def setBlink(self, node: slicer.vtkMRMLNode, on: bool = True) -> bool:
        """Scan and enhanced volume in turn, in the side-by-side layout, which is shown first."""
        return self._setMode(layout.setBlink, node, on)

    def setCheckerboard(self, node: slicer.vtkMRMLNode, on: bool = True) -> bool:
        """Scan and enhanced volume in alternating squares, in the same way."""
        return self._setMode(layout.setCheckerboard, node, on)

    @staticmethod
    def endComparison() -> None:
        """Neither blinking nor the checkerboard; the layout stays."""
        for change in (layout.setBlink, layout.setCheckerboard):
            change(False)

    @staticmethod
    def restoreLayout() -> bool:
        """The layout before the side-by-side one."""
        return layout.restoreLayout()

    def showOverlay(self, node: slicer.vtkMRMLNode, name: str = "") -> bool:
        """Lay a map of the run over the anatomy, with its colour legend.

        Args:
            name: "fidelity", "uncertainty" or "added detail"; "" takes the map off.
        """
        shown = self.namedOutputs(node).get(name) if name in overlays.MAPS else None
        if name and shown is None:
            return False
        self.endComparison()  # it uses the layer that an overlay takes
        return overlays.setOverlay(shown)

    def showChart(self, node: slicer.vtkMRMLNode, beforeAfter: bool = False) -> bool:
        """The bars of the structures' volumes, or before against after, in a layout with a plot view."""
        chart = self.namedOutputs(node).get(BEFORE_AFTER_CHART if beforeAfter else VOLUME_CHART)
        if chart is not None:
            # Slicer changes to a layout that has a plot view, if the current one has none.
            slicer.modules.plots.logic().ShowChartInLayout(chart)
        return chart is not None

    def showSurfaces(self, node: slicer.vtkMRMLNode, waitForCompletion: bool = True) -> bool:
        """The structures in 3-D; the window stays alive meanwhile."""
        from .surfaces import SurfaceMaker

        segmentation = self.segmentationOf(node)
        if segmentation is None:
            return False
        if self._surfaces is None:
            self._surfaces = SurfaceMaker(lambda: None)
        self._surfaces.start(segmentation)
        try:
            while waitForCompletion and self._surfaces.progress is not None:
                slicer.app.processEvents()
                time.sleep(0.005)
        except BaseException:  # Ctrl-C in the console
            self._surfaces.stop()
            raise
        return True

    def jumpToStructure(self, node: slicer.vtkMRMLNode, name: str) -> bool:
        """Move all slice views to the structure of this name."""
        segmentation = self.segmentationOf(node)
        return segmentation is not None and navigation.jumpToStructure(segmentation, name)

    @staticmethod
    def jumpToPoint(node: slicer.vtkMRMLTransformableNode, point: list[float]) -> bool:
        """Move all slice views to a point in the node's own RAS coordinates, mm."""
        requireNode(node)
        return navigation.jumpToPoint(node, point)

    def openReport(self, node: slicer.vtkMRMLNode, openUrl: Callable[[Any], Any] | None = None) -> bool:
        """The page of a run or of a comparison in the web browser."""
        from .pages import openPage

        requireNode(node)
        made = (node, *self.outputsOf(node))
        page = next(filter(None, (item.GetNodeReference(REPORT_ROLE) for item in made)), None)
        if page is not None:
            openPage(page, openUrl)
        return page is not None

    def removeRun(self, node: slicer.vtkMRMLNode) -> bool:
        """Remove everything that the run or the comparison made; the scan stays.

        A segmentation that was corrected by hand stays too: it is the user's work.
        """
        requireNode(node)
        folder = hierarchy.runFolderOf(node) if node.GetScene() is not None else 0
        if folder:
            outputs = self.outputsOf(node)
            for corrected in filter(isCorrected, outputs):
                hierarchy.release(folder, corrected)
            if any(item in (layout.shownPair() or ()) for item in outputs):
                self.restoreLayout()
            overlays.takeOff(outputs)
            hierarchy.removeRun(folder, node.GetScene())
        return folder != 0

    def _pairOf(
        self, node: slicer.vtkMRMLNode
    ) -> tuple[slicer.vtkMRMLScalarVolumeNode, slicer.vtkMRMLScalarVolumeNode] | None:
        """Scan and enhanced volume of the run, if both are in the scene."""
        requireNode(node)
        own = node.GetAttribute(OUTPUT_ATTRIBUTE) == ENHANCED
        enhanced = node if own else self.namedOutputs(node).get(ENHANCED)
        scan = self.inputOf(enhanced) if enhanced is not None else None
        return (scan, enhanced) if scan is not None else None

    def _setMode(self, change: Callable[[bool], bool], node: slicer.vtkMRMLNode, on: bool) -> bool:
        """Both ways of comparing need the side-by-side layout of this run."""
        if on and layout.shownPair() != self._pairOf(node) and not self.showSideBySide(node):
            return False
        return change(on)
