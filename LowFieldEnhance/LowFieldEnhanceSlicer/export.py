"""The volumes of a run as files for the child process: copied on the main thread, written on another.

A copy of the memory as it is takes milliseconds even for a large volume; turning it into float32 and compressing it
does not, so that happens in :meth:`VolumeCopy.write`, which touches no node.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import slicer
from vtk.util import numpy_support

from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.image_io import write_image, write_labels
from LowFieldEnhanceLib.segmentation.labels import LabelMap, label_by_id

from . import segmentations, volumes
from .request import Request

Writers = dict[str, Callable[[Path], None]]


class VolumeCopy:
    """The voxels and the geometry of a scalar volume node at one moment; a parent transform is not applied."""

    def __init__(self, node: slicer.vtkMRMLScalarVolumeNode) -> None:
        imageData = node.GetImageData()
        # A writable copy in VTK's own order (i fastest) and number type: no conversion on the main thread.
        self._voxels = np.array(numpy_support.vtk_to_numpy(imageData.GetPointData().GetScalars()), copy=True)
        self._shape = imageData.GetDimensions()
        self._affine = volumes.affineFromVolumeNode(node)

    def write(self, path: Path) -> None:
        """Write as float32 with exact geometry.

        Raises:
            BadInput: the disk refuses.
        """
        array = self._voxels.reshape(self._shape[::-1]).transpose(2, 1, 0)
        write_image(Image(array, self._affine), path, "scan for LowFieldEnhance")


class SegmentationCopy:
    """The structures of a segmentation at one moment, as a map of FreeSurfer ids.

    A segmentation whose segments share one layer, as this module and label files make them, is copied as it is. Any
    other is merged on the grid of the reference volume, which takes the main thread about half a second.
    """

    def __init__(self, node: slicer.vtkMRMLSegmentationNode, referenceNode: slicer.vtkMRMLVolumeNode) -> None:
        self._merged: LabelMap | None = None
        self._idOfValue = np.zeros(256, np.uint8)
        layer = self._sharedLayer(node)
        if layer is None:
            self._merged = segmentations.labelMapFromSegmentation(node, referenceNode)
            return
        self._voxels = np.array(numpy_support.vtk_to_numpy(layer.GetPointData().GetScalars()), copy=True)
        self._shape = layer.GetDimensions()
        self._affine = _layerAffine(layer)

    def write(self, path: Path) -> None:
        """Write the label map.

        Raises:
            BadInput: the disk refuses.
        """
        labels = self._merged
        if labels is None:
            values = np.clip(self._voxels, 0, 255).astype(np.uint8).reshape(self._shape[::-1]).transpose(2, 1, 0)
            labels = LabelMap(self._idOfValue[values], self._affine, {})
        write_labels(labels, path)

    def _sharedLayer(self, node: slicer.vtkMRMLSegmentationNode) -> slicer.vtkOrientedImageData | None:
        """The only layer, if there is one of at most 255 values; fills in which id each value has."""
        idByName = {label.name: label.id for label in label_by_id().values()}
        segmentation = node.GetSegmentation()
        layers = set()
        for segmentId in segmentation.GetSegmentIDs():
            segment = segmentation.GetSegment(segmentId)
            layers.add(segment.GetRepresentation(segmentations.BINARY_LABELMAP))
            value = segment.GetLabelValue()
            if len(layers) > 1 or not 0 < value < 256:
                return None
            tag = segmentations.vtk.reference("")
            known = segment.GetTag(segmentations.LABEL_ID_TAG, tag)
            self._idOfValue[value] = int(tag.get()) if known else idByName.get(segment.GetName(), 0)
        layer = next(iter(layers), None)
        hasVoxels = layer is not None and layer.GetPointData().GetScalars() is not None
        return layer if hasVoxels and node.GetParentTransformNode() is None else None


def _layerAffine(layer: slicer.vtkOrientedImageData) -> np.ndarray:
    """Index within the layer's extent to world: the extent of a layer need not start at 0."""
    matrix = volumes.vtk.vtkMatrix4x4()
    layer.GetImageToWorldMatrix(matrix)
    affine = volumes.affineFromMatrix(matrix)
    first = np.array([*layer.GetExtent()[::2], 1.0])
    affine[:, 3] = affine @ first
    return affine


def copyInputs(request: Request) -> Writers:
    """What writes each input of the run, by the names that :func:`request.arguments` knows. On the main thread."""
    writers: Writers = {"input": VolumeCopy(request.inputVolume).write}
    writers |= {name: VolumeCopy(node).write for name, node in request.otherVolumes.items()}
    if request.referenceVolume is not None:
        writers["reference"] = VolumeCopy(request.referenceVolume).write
        if request.referenceSegmentation is not None:
            writers["labels"] = SegmentationCopy(request.referenceSegmentation, request.referenceVolume).write
    return writers
