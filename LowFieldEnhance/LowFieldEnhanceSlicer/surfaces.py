"""Surfaces of a segmentation for the 3-D view, made one by one on another thread: the window is drawn meanwhile."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import qt
import slicer

from .background import Background
from .closed_surface import CLOSED_SURFACE, SegmentLayer, SurfaceSettings
from .layout import showThreeDView
from .segmentations import BINARY_LABELMAP
from .timers import RepeatedCall

POLL_MILLISECONDS = 10


class SurfaceMaker:
    """Makes the surfaces of one segmentation at a time.

    Args:
        onChanged: called after each structure and at the end.
    """

    def __init__(self, onChanged: Callable[[], Any]) -> None:
        self._onChanged = onChanged
        self._node: slicer.vtkMRMLSegmentationNode | None = None
        self._settings: SurfaceSettings | None = None
        self._waiting: deque[str] = deque()
        self._current: tuple[str, Background] | None = None
        self._surfaces: dict[str, Any] = {}
        self._madeOf: dict[str, int] = {}  # when the layer of each was changed last
        self._count = 0
        self._timer = RepeatedCall(self._advance, POLL_MILLISECONDS)

    @property
    def progress(self) -> tuple[int, int] | None:
        """Structures done and in all; None while nothing is made."""
        return (len(self._surfaces), self._count) if self._node is not None else None

    def start(self, node: slicer.vtkMRMLSegmentationNode) -> None:
        """Show the surfaces when all are made; at once if they are there already."""
        self.stop()
        segmentation = node.GetSegmentation()
        self._waiting = deque(segmentation.GetSegmentIDs())
        self._settings = SurfaceSettings.of(segmentation) if self._waiting else None
        if segmentation.ContainsRepresentation(CLOSED_SURFACE) or self._settings is None:
            self._waiting.clear()
        self._node, self._count = node, len(self._waiting)
        qt.QApplication.setOverrideCursor(qt.QCursor(qt.Qt.BusyCursor))
        self._timer.start()
        self._onChanged()

    def stop(self) -> None:
        """Drop what is not shown yet; a surface that is being made is left to its thread."""
        self._timer.stop()
        self._surfaces.clear()
        self._current = None
        if self._node is not None:
            self._node = None
            qt.QApplication.restoreOverrideCursor()

    def _advance(self) -> None:
        node = self._node
        if node is None or node.GetScene() is None:
            self.stop()
        elif self._current is not None:
            segmentId, work = self._current
            if not work.done:
                return
            self._surfaces[segmentId], self._current = work.value, None
        elif self._waiting:
            self._begin(node.GetSegmentation(), self._waiting.popleft())
            return
        else:
            self._show(node)
            self.stop()
        self._onChanged()

    def _begin(self, segmentation: slicer.vtkSegmentation, segmentId: str) -> None:
        segment = segmentation.GetSegment(segmentId)
        if segment is not None and segment.GetRepresentation(BINARY_LABELMAP) is not None:
            layer, settings = SegmentLayer(segment), self._settings
            self._madeOf[segmentId] = _changed(segment)
            self._current = segmentId, Background(lambda: layer.surface(settings))

    def _show(self, node: slicer.vtkMRMLSegmentationNode) -> None:
        """All at once: a segmentation whose segments differ in their representations is not valid."""
        segmentation = node.GetSegmentation()
        segments = {segmentId: segmentation.GetSegment(segmentId) for segmentId in self._surfaces}
        made = [(segments[segmentId], surface) for segmentId, surface in self._surfaces.items()]
        complete = len(made) == segmentation.GetNumberOfSegments() and all(None not in pair for pair in made)
        # An edit, or a run that fills the segmentation anew: Slicer makes the surfaces of what is there now.
        complete = complete and all(_changed(segments[name]) == self._madeOf[name] for name in segments)
        if complete and not segmentation.ContainsRepresentation(CLOSED_SURFACE):
            # The smallest is left to Slicer, which finds the others done and tells everybody of the new representation.
            for segment, surface in sorted(made, key=lambda pair: pair[1].GetNumberOfPoints())[1:]:
                segment.AddRepresentation(CLOSED_SURFACE, surface)
        node.CreateClosedSurfaceRepresentation()
        node.CreateDefaultDisplayNodes()
        node.GetDisplayNode().SetVisibility3D(True)
        showThreeDView()


def _changed(segment: slicer.vtkSegment) -> int:
    """VTK's count of when the voxels of a segment were changed last; 0 if it has none."""
    layer = segment.GetRepresentation(BINARY_LABELMAP)
    return layer.GetMTime() if layer is not None else 0
