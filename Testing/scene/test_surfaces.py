"""Surfaces made on another thread: those of Slicer, point by point, while the main thread goes on."""

from __future__ import annotations

import time

import numpy as np
import pytest
import slicer
from vtk.util import numpy_support

from LowFieldEnhanceLib.segmentation.labels import LabelMap
from LowFieldEnhanceSlicer import segmentations, volumes
from LowFieldEnhanceSlicer.background import Background
from LowFieldEnhanceSlicer.closed_surface import CLOSED_SURFACE, SegmentLayer, SurfaceSettings

RULE = slicer.vtkBinaryLabelmapToClosedSurfaceConversionRule


def folded(size: int) -> np.ndarray:
    """Two structures: a folded sheet that touches the border, such as a cortex, and a lump."""
    axes = np.meshgrid(*(np.linspace(0, 9, size),) * 3, indexing="ij", sparse=True)
    field = np.sin(axes[0]) * np.cos(axes[1]) + np.sin(axes[1]) * np.cos(axes[2]) + np.sin(axes[2]) * np.cos(axes[0])
    array = np.where(np.abs(field) < 0.4, 2, 0).astype(np.uint8)
    array[1:6, 2:8, 3:7] = 10
    return array


def segmentationOf(scene, image, array) -> slicer.vtkMRMLSegmentationNode:
    """On an oblique grid of the test image."""
    reference = volumes.addVolume(scene, image, "Scan")
    colours = segmentations.addColourTable(scene, "colours")
    return segmentations.addSegmentation(scene, LabelMap(array, image.affine, {}), "Structures", reference, colours)


def arrays(surface) -> tuple[np.ndarray, np.ndarray]:
    return (
        numpy_support.vtk_to_numpy(surface.GetPoints().GetData()),
        numpy_support.vtk_to_numpy(surface.GetPolys().GetConnectivityArray()),
    )


@pytest.mark.parametrize(("smoothing", "decimation", "normals"), [(0.5, 0.0, 1), (0.2, 0.0, 0), (0.0, 0.5, 1)])
def test_surfaces_are_those_of_slicer_point_by_point(scene, image, smoothing, decimation, normals):
    node = segmentationOf(scene, image, folded(24))
    segmentation = node.GetSegmentation()
    segmentation.SetConversionParameter(RULE.GetSmoothingFactorParameterName(), str(smoothing))
    segmentation.SetConversionParameter(RULE.GetDecimationFactorParameterName(), str(decimation))
    segmentation.SetConversionParameter(RULE.GetComputeSurfaceNormalsParameterName(), str(normals))
    settings = SurfaceSettings.of(segmentation)
    assert settings == SurfaceSettings(decimation, smoothing, bool(normals))
    made = {n: SegmentLayer(segmentation.GetSegment(n)).surface(settings) for n in segmentation.GetSegmentIDs()}
    node.CreateClosedSurfaceRepresentation()
    for name, surface in made.items():
        expected = segmentation.GetSegment(name).GetRepresentation(CLOSED_SURFACE)
        for ours, theirs in zip(arrays(surface), arrays(expected), strict=True):
            assert np.array_equal(ours, theirs)
        assert (surface.GetPointData().GetNormals() is not None) is bool(normals)


def test_a_segment_without_voxels_has_an_empty_surface(scene, image):
    array = np.zeros((8, 8, 8), np.uint8)
    array[2:5, 2:5, 2:5] = 10
    segmentation = segmentationOf(scene, image, array).GetSegmentation()
    segment = segmentation.GetNthSegment(0)
    segment.SetLabelValue(99)
    assert SegmentLayer(segment).surface(SurfaceSettings.of(segmentation)).GetNumberOfPoints() == 0


def test_ways_that_only_slicer_has_are_left_to_slicer(scene, image):
    segmentation = segmentationOf(scene, image, folded(12)).GetSegmentation()
    segmentation.SetConversionParameter(RULE.GetJointSmoothingParameterName(), "1")
    assert SurfaceSettings.of(segmentation) is None


def test_the_main_thread_goes_on_while_a_large_surface_is_made(scene, image):
    """Its longest pause is a small part of the time that the surface takes, and below 100 ms on a free machine."""
    segmentation = segmentationOf(scene, image, folded(110)).GetSegmentation()
    layer, settings = SegmentLayer(segmentation.GetNthSegment(0)), SurfaceSettings.of(segmentation)
    pauses = []
    while len(pauses) < 3 and min(pauses, default=1.0) >= 0.1:
        started = last = time.perf_counter()
        work, longest = Background(lambda: layer.surface(settings)), 0.0
        while not work.done:
            time.sleep(0.001)
            now = time.perf_counter()
            longest, last = max(longest, now - last), now
        whole = last - started
        assert work.error is None and work.value.GetNumberOfPoints() > 50_000
        pauses.append(longest)
        assert longest < 0.5 * whole
    print(f"surface in {1000 * whole:.0f} ms, longest pause {1000 * min(pauses):.0f} ms")
    assert min(pauses) < 0.1
