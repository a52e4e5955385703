"""The way to a place: all slice views are moved to a structure, or to a point.

The functions do nothing and return False where Slicer has no layout manager (no window, or no application).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import slicer
import vtk
from vtk.util import numpy_support

from .corner_text import applicationLayoutManager
from .segmentations import BINARY_LABELMAP


def jumpToStructure(segmentationNode: slicer.vtkMRMLSegmentationNode, segmentId: str) -> bool:
    """Move all slice views to the middle of a structure; zoom stays. False if it is empty or there are no views."""
    if applicationLayoutManager() is None:
        return False
    position = structureCentre(segmentationNode, segmentId)
    if position is None:
        return False
    _jump(segmentationNode.GetScene(), position)
    return True


def jumpToPoint(node: slicer.vtkMRMLTransformableNode, point: Sequence[float]) -> bool:
    """Move all slice views to a point in the node's own RAS coordinates (mm); False if there are no views."""
    if applicationLayoutManager() is None:
        return False
    _jump(node.GetScene(), _toWorld(node, point))
    return True


def _jump(scene: slicer.vtkMRMLScene, position: Sequence[float]) -> None:
    slicer.vtkMRMLSliceNode.JumpAllSlices(scene, *position, slicer.vtkMRMLSliceNode.OffsetJumpSlice)


def _toWorld(node: slicer.vtkMRMLTransformableNode, point: Sequence[float]) -> tuple[float, ...]:
    transform = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(node.GetParentTransformNode(), None, transform)
    return tuple(transform.TransformPoint(point))


def structureCentre(
    segmentationNode: slicer.vtkMRMLSegmentationNode, segmentId: str
) -> tuple[float, float, float] | None:
    """The voxel of a structure that is nearest to its centroid, in world RAS mm; None if it has no voxels.

    The centroid itself lies outside of a bent structure such as a lateral ventricle or the cortex.
    """
    segment = segmentationNode.GetSegmentation().GetSegment(segmentId)
    labelmap = segment.GetRepresentation(BINARY_LABELMAP) if segment is not None else None
    scalars = labelmap.GetPointData().GetScalars() if labelmap is not None else None
    if scalars is None or scalars.GetNumberOfTuples() == 0:
        return None
    inside = numpy_support.vtk_to_numpy(scalars).reshape(labelmap.GetDimensions()[::-1]) == segment.GetLabelValue()
    voxels = np.argwhere(inside)[:, ::-1] + np.array(labelmap.GetExtent()[::2])
    if not len(voxels):
        return None
    toWorld = vtk.vtkMatrix4x4()
    labelmap.GetImageToWorldMatrix(toWorld)
    axes = np.array([[toWorld.GetElement(row, column) for column in range(3)] for row in range(3)])
    distances = np.linalg.norm((voxels - voxels.mean(axis=0)) @ axes.T, axis=1)
    return _toWorld(segmentationNode, toWorld.MultiplyPoint((*voxels[int(np.argmin(distances))].tolist(), 1.0))[:3])
