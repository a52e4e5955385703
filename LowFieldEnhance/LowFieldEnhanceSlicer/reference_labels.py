"""A reference segmentation as a label map for the child process, without holding up the window.

Segments that overlap lie in several layers. The main thread copies one layer after the other; bringing them onto one
grid and into one label map happens in :meth:`SegmentationCopy.write`, which touches no node.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import numpy as np
import slicer
import vtk
from scipy import ndimage
from vtk.util import numpy_support

from LowFieldEnhanceLib.image_io import write_labels
from LowFieldEnhanceLib.segmentation.labels import LabelMap

from . import segmentations, volumes
from .structure_names import structureOf

MOST_NUMBERED = 255  # what one byte a voxel tells apart


@dataclass
class Layer:
    """The voxels that some segments share.

    Attributes:
        image: of the segmentation; let go of when its voxels are copied.
        affine: index (from 0) to the segmentation's own coordinates, mm.
        voxels: [i, j, k], copied.
    """

    image: slicer.vtkOrientedImageData | None
    affine: np.ndarray
    voxels: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 0)))

    @classmethod
    def of(cls, image: slicer.vtkOrientedImageData) -> Layer:
        """The layer as it is now, not copied yet; the extent of an image need not start at 0."""
        matrix = vtk.vtkMatrix4x4()
        image.GetImageToWorldMatrix(matrix)
        affine = volumes.affineFromMatrix(matrix)
        first = np.array([*image.GetExtent()[::2], 1.0])
        affine[:, 3] = affine @ first
        return cls(image, affine)

    def copy(self) -> None:
        """On the main thread; a few milliseconds for a 1 mm head."""
        scalars = self.image.GetPointData().GetScalars()
        if scalars is not None and scalars.GetNumberOfTuples():
            voxels = np.array(numpy_support.vtk_to_numpy(scalars), copy=True)
            self.voxels = voxels.reshape(self.image.GetDimensions()[::-1]).transpose(2, 1, 0)
        self.image = None


class SegmentationCopy:
    """The structures of a segmentation, as a map of FreeSurfer ids; the later segment wins where two overlap.

    Segments that are no structure (:func:`structureOf`) are left out. Segments that share one layer keep that layer's
    grid, all others get the reference's.

    Args:
        node: not under a warping transform.
        referenceNode: the volume that the structures belong to.
        numbered: the segments are no structures; their ids are 1, 2 and so on in their order, at most
            :data:`MOST_NUMBERED`.

    Attributes:
        names: of the segments by id.
    """

    def __init__(
        self,
        node: slicer.vtkMRMLSegmentationNode,
        referenceNode: slicer.vtkMRMLVolumeNode,
        numbered: bool = False,
    ) -> None:
        self.names: dict[int, str] = {}
        self._affine = volumes.affineFromVolumeNode(referenceNode)
        self._shape = referenceNode.GetImageData().GetDimensions()
        toSegmentation = volumes.matrixBetween(referenceNode, node)
        self._moved = not np.allclose(toSegmentation, np.eye(4), atol=1e-9)
        self._toSegmentation = toSegmentation
        # Consecutive segments of one layer at a time: layer and the id of each voxel value.
        self._runs: list[tuple[Layer, dict[int, int]]] = []
        layers: dict[slicer.vtkOrientedImageData, Layer] = {}
        segmentation = node.GetSegmentation()
        for number, segmentId in enumerate(segmentation.GetSegmentIDs(), start=1):
            segment = segmentation.GetSegment(segmentId)
            image = segment.GetRepresentation(segmentations.BINARY_LABELMAP)
            if image is None:
                continue
            layer = layers.setdefault(image, Layer.of(image))
            identifier = number if numbered else structureOf(segment) or 0
            self.names[identifier] = segment.GetName()
            if not self._runs or self._runs[-1][0] is not layer:
                self._runs.append((layer, {}))
            self._runs[-1][1][segment.GetLabelValue()] = identifier
        self._waiting = deque(layers.values())

    def copyNext(self) -> bool:
        """Copy one more layer; False when there is none left."""
        if self._waiting:
            self._waiting.popleft().copy()
        return bool(self._waiting)

    def write(self, path: Path) -> None:
        """Write the label map; copies first what is left to copy.

        Raises:
            BadInput: the disk refuses.
        """
        while self.copyNext():
            pass
        write_labels(self._merged(), path)

    def _merged(self) -> LabelMap:
        if len(self._runs) == 1 and not self._moved and self._runs[0][0].voxels.size:
            layer, idOfValue = self._runs[0]
            return LabelMap(_identifiers(layer.voxels, idOfValue), layer.affine, {})
        merged = np.zeros(self._shape, np.uint8)
        for layer, idOfValue in self._runs:
            first, voxels = _cropped(layer.voxels)
            if not voxels.size:
                continue
            toLayer = np.linalg.inv(layer.affine) @ self._toSegmentation @ self._affine
            toLayer[:3, 3] -= first
            box, part = _nearest(_identifiers(voxels, idOfValue), toLayer, self._shape)
            np.copyto(merged[box], part, where=part != 0)
        return LabelMap(merged, self._affine, {})


def _cropped(voxels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The smallest box with all voxels that are not 0, and its first index; most structures are small."""
    box = []
    for axis in range(3):
        hits = np.flatnonzero(voxels.any(axis=tuple(other for other in range(3) if other != axis)))
        box.append(slice(hits[0], hits[-1] + 1) if hits.size else slice(0, 0))
    return np.array([part.start for part in box]), voxels[tuple(box)]


def _identifiers(voxels: np.ndarray, idOfValue: dict[int, int]) -> np.ndarray:
    """Voxel values as ids, uint8; 0 for all other values."""
    known = {value: identifier for value, identifier in idOfValue.items() if value > 0}
    if voxels.dtype == np.uint8 and max(known, default=0) < 256:
        table = np.zeros(256, np.uint8)
        values = voxels
    else:
        table = np.zeros(max(known, default=0) + 2, np.uint8)
        outside = len(table) - 1  # its id is 0
        values = voxels if voxels.dtype.kind in "iu" else np.rint(voxels).astype(np.int64)
        values = np.where((values >= 0) & (values < outside), values, outside)
    for value, identifier in known.items():
        table[value] = identifier
    return table[values]


def _nearest(array: np.ndarray, toIndex: np.ndarray, shape: tuple[int, ...]) -> tuple[tuple[slice, ...], np.ndarray]:
    """Nearest voxels of an array on another grid.

    Args:
        toIndex: 4 x 4, from the index on the other grid to the array's.
        shape: of the other grid.

    Returns:
        The box of the other grid that the array can reach, and the array's values there, 0 outside of it.
    """
    matrix, offset = toIndex[:3, :3], toIndex[:3, 3]
    corners = np.array([[*corner, 1.0] for corner in product(*((-0.5, size - 0.5) for size in array.shape))])
    reached = (corners @ np.linalg.inv(toIndex).T)[:, :3]
    first = np.clip(np.floor(reached.min(axis=0) + 0.5).astype(int), 0, shape)
    last = np.clip(np.ceil(reached.max(axis=0) + 0.5).astype(int), first, shape)
    box = tuple(slice(int(a), int(b)) for a, b in zip(first, last, strict=True))
    size = tuple(int(length) for length in last - first)
    if not all(size):
        return box, np.zeros(size, array.dtype)
    start = matrix @ first + offset
    shift = np.rint(start).astype(int)
    onGrid = np.allclose(matrix, np.eye(3), atol=1e-4 / max(shape)) and np.abs(start - shift).max() < 1e-3
    if onGrid and (shift >= 0).all() and (shift + size <= array.shape).all():
        return box, array[tuple(slice(int(a), int(a + n)) for a, n in zip(shift, size, strict=True))]
    # "grid-constant": up to half a voxel beyond the outermost centres is still inside.
    return box, ndimage.affine_transform(array, matrix, start, size, order=0, mode="grid-constant")
