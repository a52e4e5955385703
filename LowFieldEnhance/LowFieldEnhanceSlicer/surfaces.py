"""Surfaces of a segmentation for the 3-D view, structure by structure, so that the window is drawn in between.

A 1 mm head takes seconds in all; its cortex alone takes the larger part of one, which is the longest pause.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import qt
import slicer

from .timers import RepeatedCall

CLOSED_SURFACE = "Closed surface"


class SurfaceMaker:
    """Makes the surfaces of one segmentation at a time.

    Args:
        onChanged: called after each structure and at the end.
    """

    def __init__(self, onChanged: Callable[[], Any]) -> None:
        self._onChanged = onChanged
        self._node: slicer.vtkMRMLSegmentationNode | None = None
        self._waiting: deque[str] = deque()
        self._surfaces: dict[str, Any] = {}
        self._count = 0
        self._timer = RepeatedCall(self._makeNext, 0)

    @property
    def progress(self) -> tuple[int, int] | None:
        """Structures done and in all; None while nothing is made."""
        return (len(self._surfaces), self._count) if self._node is not None else None

    def start(self, node: slicer.vtkMRMLSegmentationNode) -> None:
        """Show the surfaces when all are made; at once if they are there already."""
        self.stop()
        segmentation = node.GetSegmentation()
        self._waiting = deque(segmentation.GetSegmentIDs())
        if segmentation.ContainsRepresentation(CLOSED_SURFACE) or not self._waiting:
            self._waiting.clear()
        self._node, self._count = node, len(self._waiting)
        qt.QApplication.setOverrideCursor(qt.QCursor(qt.Qt.BusyCursor))
        self._timer.start()
        self._onChanged()

    def stop(self) -> None:
        """Drop what is not shown yet."""
        self._timer.stop()
        self._surfaces.clear()
        if self._node is not None:
            self._node = None
            qt.QApplication.restoreOverrideCursor()

    def _makeNext(self) -> None:
        node = self._node
        if node is None or node.GetScene() is None:
            self.stop()
        elif not self._waiting:
            self._show(node)
            self.stop()
        else:
            segmentation, segmentId = node.GetSegmentation(), self._waiting.popleft()
            if segmentation.GetSegment(segmentId) is not None:
                make = slicer.vtkSlicerSegmentationsModuleLogic.CreateRepresentationForOneSegment
                self._surfaces[segmentId] = make(segmentation, segmentId, CLOSED_SURFACE)
        self._onChanged()

    def _show(self, node: slicer.vtkMRMLSegmentationNode) -> None:
        """All at once: a segmentation whose segments differ in their representations is not valid."""
        segmentation = node.GetSegmentation()
        made = [(segmentation.GetSegment(segmentId), surface) for segmentId, surface in self._surfaces.items()]
        complete = len(made) == segmentation.GetNumberOfSegments() and all(surface for _, surface in made)
        if complete and not segmentation.ContainsRepresentation(CLOSED_SURFACE):
            # The last is left to Slicer, which finds the others done and tells everybody of the new representation.
            for segment, surface in made[:-1]:
                segment.AddRepresentation(CLOSED_SURFACE, surface)
        node.CreateClosedSurfaceRepresentation()
        node.CreateDefaultDisplayNodes()
        node.GetDisplayNode().SetVisibility3D(True)
