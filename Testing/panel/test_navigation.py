"""The way to a structure: all slice views are moved into it."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
import vtk

from LowFieldEnhanceSlicer import navigation, volumes
from LowFieldEnhanceSlicer.segmentations import BINARY_LABELMAP


@pytest.fixture
def bent(scene):
    """A segmentation whose structure is an arch: its centroid lies in the gap; shifted by 100 mm along x."""
    array = np.zeros((9, 9, 5), np.uint8)
    array[1, 1:8, 2] = array[7, 1:8, 2] = array[1:8, 7, 2] = 3
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    labelmap = slicer.vtkOrientedImageData()
    volumes.fillImageData(labelmap, array)
    toWorld = vtk.vtkMatrix4x4()
    toWorld.DeepCopy([2, 0, 0, 10, 0, 2, 0, 20, 0, 0, 5, 30, 0, 0, 0, 1])
    labelmap.SetGeometryFromImageToWorldMatrix(toWorld)
    segment = slicer.vtkSegment()
    segment.SetName("Arch")
    segment.SetLabelValue(3)
    segment.AddRepresentation(BINARY_LABELMAP, labelmap)
    node.GetSegmentation().AddSegment(segment, "Arch")
    transform = scene.AddNewNodeByClass("vtkMRMLTransformNode")
    toParent = vtk.vtkTransform()
    toParent.Translate(100, 0, 0)
    transform.SetMatrixTransformToParent(toParent.GetMatrix())
    node.SetAndObserveTransformNodeID(transform.GetID())
    return node, array


def test_all_views_jump_into_the_structure(bent):
    node, array = bent
    assert navigation.jumpToStructure(node, "Arch")
    x, y, z = navigation.structureCentre(node, "Arch")
    assert array[round((x - 110) / 2), round((y - 20) / 2), round((z - 30) / 5)] == 3
    slicer.app.processEvents()
    for widget in map(slicer.app.layoutManager().sliceWidget, slicer.app.layoutManager().sliceViewNames()):
        toSlice = vtk.vtkMatrix4x4()
        vtk.vtkMatrix4x4.Invert(widget.mrmlSliceNode().GetSliceToRAS(), toSlice)
        assert toSlice.MultiplyPoint((x, y, z, 1.0))[2] == pytest.approx(0.0, abs=1e-6)


def test_a_structure_that_is_not_there_moves_nothing(application, bent):
    before = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode().GetSliceOffset()
    assert not navigation.jumpToStructure(bent[0], "Nothing")
    assert slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode().GetSliceOffset() == before


def test_without_views_nothing_is_moved(bent, monkeypatch):
    monkeypatch.setattr(slicer.app, "layoutManager", lambda: None)
    assert not navigation.jumpToStructure(bent[0], "Arch") and not navigation.jumpToPoint(bent[0], [0.0] * 3)
