"""The closed surface of a segment as Slicer makes it, by filters that can run on any thread.

Slicer's own conversion holds the main thread for most of a second for the cortex of a 1 mm head. The same VTK filters,
called one by one, let go of Python's lock while they work, so a thread can run them on a copy of the layer, with the
segmentation's own settings. A test holds the result against Slicer's.
"""

from __future__ import annotations

from dataclasses import dataclass

import slicer
import vtk

from .segmentations import BINARY_LABELMAP

CLOSED_SURFACE = "Closed surface"


@dataclass(frozen=True)
class SurfaceSettings:
    """How Slicer makes the surfaces of one segmentation.

    Attributes:
        decimation: share of the polygons to take away, 0..1.
        smoothing: 0 (none) to 1 (strong).
        normals: whether the surfaces have normals.
    """

    decimation: float
    smoothing: float
    normals: bool

    @classmethod
    def of(cls, segmentation: slicer.vtkSegmentation) -> SurfaceSettings | None:
        """Those of a segmentation; None if it asks for a way of making surfaces that only Slicer's conversion has."""
        rule = slicer.vtkBinaryLabelmapToClosedSurfaceConversionRule

        def number(name: str) -> float:
            return float(segmentation.GetConversionParameter(name) or 0)

        if number(rule.GetJointSmoothingParameterName()) or number(rule.GetConversionMethodParameterName()):
            return None
        return cls(
            number(rule.GetDecimationFactorParameterName()),
            number(rule.GetSmoothingFactorParameterName()),
            bool(number(rule.GetComputeSurfaceNormalsParameterName())),
        )


class SegmentLayer:
    """The layer of one segment as it is now; shares its voxels. To be made on the main thread."""

    def __init__(self, segment: slicer.vtkSegment) -> None:
        layer = segment.GetRepresentation(BINARY_LABELMAP)
        self._value = segment.GetLabelValue()
        self._toWorld = vtk.vtkMatrix4x4()
        layer.GetImageToWorldMatrix(self._toWorld)
        self._image = vtk.vtkImageData()
        self._image.ShallowCopy(layer)
        self._image.SetOrigin(0, 0, 0)
        self._image.SetSpacing(1, 1, 1)

    def surface(self, settings: SurfaceSettings) -> vtk.vtkPolyData:
        """As Slicer makes it, in the segmentation's own coordinates; touches no node, so it may run on any thread."""
        extent = self._image.GetExtent()
        padded = vtk.vtkImageConstantPad()  # what touches the border would stay open
        padded.SetInputData(self._image)
        padded.SetOutputWholeExtent(*(end + (-1, 1)[n % 2] for n, end in enumerate(extent)))
        edges = vtk.vtkDiscreteFlyingEdges3D()
        edges.SetInputConnection(padded.GetOutputPort())
        edges.ComputeGradientsOff()
        edges.ComputeNormalsOff()
        edges.SetValue(0, self._value)
        if not all(extent[n] <= extent[n + 1] for n in (0, 2, 4)):
            return vtk.vtkPolyData()
        edges.Update()
        if not edges.GetOutput().GetNumberOfPolys():
            return vtk.vtkPolyData()
        steps = [edges, *_simplifying(settings), _moving(self._toWorld), *_normals(settings)]
        for before, after in zip(steps, steps[1:], strict=False):
            after.SetInputConnection(before.GetOutputPort())
        steps[-1].Update()
        return steps[-1].GetOutput()


def _simplifying(settings: SurfaceSettings) -> list[vtk.vtkPolyDataAlgorithm]:
    steps: list[vtk.vtkPolyDataAlgorithm] = []
    if settings.decimation > 0:
        decimate = vtk.vtkDecimatePro()
        decimate.SetFeatureAngle(60)
        decimate.SplittingOff()
        decimate.PreserveTopologyOn()
        decimate.SetMaximumError(1)
        decimate.SetTargetReduction(settings.decimation)
        steps.append(decimate)
    if settings.smoothing > 0:
        smooth = vtk.vtkWindowedSincPolyDataFilter()
        smooth.SetNumberOfIterations(int(20 + 40 * settings.smoothing))
        smooth.SetPassBand(10 ** (-4 * settings.smoothing))
        smooth.BoundarySmoothingOff()
        smooth.FeatureEdgeSmoothingOff()
        smooth.NonManifoldSmoothingOn()
        smooth.NormalizeCoordinatesOn()
        steps.append(smooth)
    return steps


def _moving(matrix: vtk.vtkMatrix4x4) -> vtk.vtkPolyDataAlgorithm:
    transform = vtk.vtkTransform()
    transform.SetMatrix(matrix)
    move = vtk.vtkTransformPolyDataFilter()
    move.SetTransform(transform)
    return move


def _normals(settings: SurfaceSettings) -> list[vtk.vtkPolyDataAlgorithm]:
    if not settings.normals:
        return []
    normals = vtk.vtkPolyDataNormals()
    normals.ConsistencyOn()
    normals.SplittingOff()
    return [normals]
