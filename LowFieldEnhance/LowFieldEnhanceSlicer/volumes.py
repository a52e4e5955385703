"""Images of the library as scalar volume nodes, and back.

Both sides use RAS millimetres, so the affine is the node's IJK-to-RAS matrix and voxel [i, j, k] stays voxel [i, j, k];
only the memory order differs (VTK runs fastest along i).
"""

from __future__ import annotations

import numpy as np
import slicer
import vtk
from vtk.util import numpy_support

from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.image import Image


def matrixFromAffine(affine: np.ndarray) -> vtk.vtkMatrix4x4:
    """4 x 4 array -> vtkMatrix4x4."""
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(np.asarray(affine, dtype=np.float64).ravel().tolist())
    return matrix


def affineFromMatrix(matrix: vtk.vtkMatrix4x4) -> np.ndarray:
    """vtkMatrix4x4 -> 4 x 4 float64 array."""
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def affineFromVolumeNode(volumeNode: slicer.vtkMRMLVolumeNode) -> np.ndarray:
    """The node's own IJK-to-RAS matrix (mm); a parent transform is not part of it."""
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    return affineFromMatrix(matrix)


def fillImageData(imageData: vtk.vtkImageData, array: np.ndarray) -> None:
    """Copy the voxels of ``array`` [i, j, k], with its number type, into ``imageData`` (extent from 0, index space)."""
    scalars = numpy_support.numpy_to_vtk(array.transpose(2, 1, 0).ravel(), deep=True)
    scalars.SetName("ImageScalars")
    imageData.SetDimensions(*array.shape)
    imageData.GetPointData().SetScalars(scalars)


def arrayFromImageData(imageData: vtk.vtkImageData) -> np.ndarray:
    """A copy of the voxels, indexed [i, j, k], in the image's own number type.

    Raises:
        BadInput: no voxels, or more than one number per voxel.
    """
    scalars = imageData.GetPointData().GetScalars() if imageData is not None else None
    if scalars is None or scalars.GetNumberOfTuples() == 0:
        raise BadInput("the volume has no voxels; load the scan before enhancing it")
    if scalars.GetNumberOfComponents() != 1:
        raise BadInput(
            f"the volume has {scalars.GetNumberOfComponents()} values per voxel; only scalar volumes can be enhanced"
        )
    voxels = numpy_support.vtk_to_numpy(scalars).reshape(imageData.GetDimensions()[::-1])
    return np.array(voxels.transpose(2, 1, 0), order="C", copy=True)


def imageFromVolumeNode(volumeNode: slicer.vtkMRMLScalarVolumeNode, contrast: str = "other") -> Image:
    """A copy of a scalar volume: float32 voxels and the IJK-to-RAS affine.

    Raises:
        BadInput: the node has no voxels or is not scalar.
    """
    return Image(arrayFromImageData(volumeNode.GetImageData()), affineFromVolumeNode(volumeNode), contrast)


def updateVolumeNode(volumeNode: slicer.vtkMRMLScalarVolumeNode, image: Image) -> None:
    """Replace voxels and geometry of a node by those of the image."""
    imageData = vtk.vtkImageData()
    fillImageData(imageData, image.array)
    wasModifying = volumeNode.StartModify()
    try:
        volumeNode.SetIJKToRASMatrix(matrixFromAffine(image.affine))
        volumeNode.SetAndObserveImageData(imageData)
    finally:
        volumeNode.EndModify(wasModifying)


def matrixBetween(
    fromNode: slicer.vtkMRMLTransformableNode, toNode: slicer.vtkMRMLTransformableNode
) -> np.ndarray | None:
    """From one node's own coordinates to another's, by their parent transforms (4 x 4, mm); None if those warp.

    Under one and the same transform it is the identity, whatever that transform does.
    """
    parents = fromNode.GetParentTransformNode(), toNode.GetParentTransformNode()
    if parents[0] is parents[1]:
        return np.eye(4)
    if any(isWarped(node) for node in (fromNode, toNode)):
        return None
    matrix = vtk.vtkMatrix4x4()
    slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(*parents, matrix)
    return affineFromMatrix(matrix)


def isWarped(node: slicer.vtkMRMLTransformableNode) -> bool:
    """Whether a transform that is not linear stands between the node and the world."""
    parent = node.GetParentTransformNode()
    return parent is not None and not parent.IsTransformToWorldLinear()


def copyVoxels(sourceNode: slicer.vtkMRMLScalarVolumeNode, targetNode: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Let the target have the source's voxels, without a copy of them, and its geometry."""
    matrix = vtk.vtkMatrix4x4()
    sourceNode.GetIJKToRASMatrix(matrix)
    targetNode.SetIJKToRASMatrix(matrix)
    targetNode.SetAndObserveImageData(sourceNode.GetImageData())


def addVolume(scene: slicer.vtkMRMLScene, image: Image, name: str) -> slicer.vtkMRMLScalarVolumeNode:
    """A new scalar volume node with a display node, under a name that no other node has."""
    volumeNode = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", scene.GetUniqueNameByString(name))
    updateVolumeNode(volumeNode, image)
    volumeNode.CreateDefaultDisplayNodes()
    return volumeNode


def copyDisplay(sourceNode: slicer.vtkMRMLScalarVolumeNode, targetNode: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Show the target with the source's window, level, threshold, interpolation and colour table.

    The numbers are fixed on the target (automatic window and level off), because equal grey values must look equal in
    a comparison. A source without a display node changes nothing.
    """
    source = sourceNode.GetDisplayNode()
    if source is None:
        return
    targetNode.CreateDefaultDisplayNodes()
    target = targetNode.GetDisplayNode()
    wasModifying = target.StartModify()
    target.SetAutoWindowLevel(False)
    target.SetWindowLevel(source.GetWindow(), source.GetLevel())
    target.SetAutoThreshold(False)
    target.SetApplyThreshold(source.GetApplyThreshold())
    target.SetThreshold(source.GetLowerThreshold(), source.GetUpperThreshold())
    target.SetInterpolate(source.GetInterpolate())
    target.SetAndObserveColorNodeID(source.GetColorNodeID())
    target.EndModify(wasModifying)


def sameGrid(volumeNode: slicer.vtkMRMLVolumeNode, affine: np.ndarray, shape: tuple[int, ...]) -> bool:
    """Whether the node has this shape and, to a thousandth of a millimetre over its whole extent, this affine."""
    imageData = volumeNode.GetImageData()
    if imageData is None or imageData.GetDimensions() != tuple(shape):
        return False
    corners = np.array([[i, j, k, 1.0] for i in (0, shape[0]) for j in (0, shape[1]) for k in (0, shape[2])])
    difference = corners @ (affineFromVolumeNode(volumeNode) - affine).T
    return bool(np.abs(difference).max() < 1e-3)


def geometryOf(volumeNode: slicer.vtkMRMLVolumeNode) -> tuple[float, ...]:
    """Size and IJK-to-RAS matrix without transforms above it, to see whether the voxels lie where they lay."""
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    size = volumeNode.GetImageData().GetDimensions() if volumeNode.GetImageData() is not None else ()
    return (*size, *(matrix.GetElement(i, j) for i in range(4) for j in range(4)))
