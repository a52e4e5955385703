"""Label maps as segmentation nodes: names, FreeSurfer colours and standard codes per segment, and back."""

from __future__ import annotations

import numpy as np
import slicer
import vtk

from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.segmentation.labels import Label, LabelMap, label_by_id, label_table

from .structure_names import LABEL_ID_TAG, SIDES, structureOf
from .volumes import affineFromVolumeNode, arrayFromImageData, fillImageData, matrixFromAffine

# The terminology of Slicer that holds these categories, types and sides; entries keep their codes in full, so they
# stay readable where it is not loaded.
TERMINOLOGY_CONTEXT = "Segmentation category and type - DICOM master list"
CATEGORY = ("123037004", "SCT", "Anatomical Structure")
BINARY_LABELMAP = "Binary labelmap"


def terminologyEntry(label: Label) -> str:
    """Slicer's serialised terminology entry: category, type and, for paired structures, the side."""
    typeCode = (label.code, label.scheme, label.meaning)
    noRegion = ("",) * 7
    return slicer.vtkSlicerTerminologiesModuleLogic.SerializeTerminologyEntry(
        TERMINOLOGY_CONTEXT, *CATEGORY, *typeCode, *SIDES[label.side], *noRegion
    )


def addColourTable(scene: slicer.vtkMRMLScene, name: str) -> slicer.vtkMRMLColorTableNode:
    """A colour table in which every entry's index is the FreeSurfer id of the structure with that name."""
    node = slicer.vtkMRMLColorTableNode()
    node.SetTypeToUser()
    node.SetName(scene.GetUniqueNameByString(name))
    node.SetNumberOfColors(max(label.id for label in label_table()) + 1)
    for label in label_table():
        red, green, blue = (channel / 255.0 for channel in label.colour)
        node.SetColor(label.id, label.name, red, green, blue, 1.0)
    return scene.AddNode(node)


def addSegmentation(
    scene: slicer.vtkMRMLScene,
    labelMap: LabelMap,
    name: str,
    referenceVolumeNode: slicer.vtkMRMLVolumeNode,
    colourTableNode: slicer.vtkMRMLColorTableNode,
) -> slicer.vtkMRMLSegmentationNode:
    """A segmentation with one segment for each structure that occurs, in the order of their ids.

    Segment ids equal segment names. All segments share one layer whose voxel values are the FreeSurfer ids, and an
    export with the colour table gives these ids again.

    Raises:
        BadInput: the label map contains ids that are not in the label table.
    """
    present = [int(value) for value in np.unique(labelMap.array) if value != 0]
    unknown = [value for value in present if value not in label_by_id()]
    if unknown:
        raise BadInput(f"the label map contains ids without a name: {', '.join(map(str, unknown))}")
    segmentationNode = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", scene.GetUniqueNameByString(name))
    segmentationNode.CreateDefaultDisplayNodes()
    segmentationNode.SetReferenceImageGeometryParameterFromVolumeNode(referenceVolumeNode)
    segmentationNode.SetLabelmapConversionColorTableNodeID(colourTableNode.GetID())
    layer = slicer.vtkOrientedImageData()
    fillImageData(layer, labelMap.array)
    layer.SetGeometryFromImageToWorldMatrix(matrixFromAffine(labelMap.affine))
    for value in present:
        label = label_by_id()[value]
        segmentationNode.GetSegmentation().AddSegment(_segment(label, layer), label.name)
    return segmentationNode


def labelMapFromSegmentation(
    segmentationNode: slicer.vtkMRMLSegmentationNode, referenceVolumeNode: slicer.vtkMRMLVolumeNode
) -> LabelMap:
    """The segments on the grid of a volume, as FreeSurfer ids, after any editing or resampling in between.

    Segments that are no structure (:func:`structureOf`), such as a lesion drawn by the user, are left out. Where
    segments overlap, the later wins.
    """
    segmentation = segmentationNode.GetSegmentation()
    segmentIds, values = vtk.vtkStringArray(), vtk.vtkIntArray()
    for segmentId in segmentation.GetSegmentIDs():
        value = structureOf(segmentation.GetSegment(segmentId))
        if value is not None:
            segmentIds.InsertNextValue(segmentId)
            values.InsertNextValue(value)
    affine = affineFromVolumeNode(referenceVolumeNode)
    if segmentIds.GetNumberOfValues() == 0:
        return LabelMap(np.zeros(referenceVolumeNode.GetImageData().GetDimensions(), np.uint8), affine, {})
    merged = slicer.vtkOrientedImageData()
    slicer.vtkSlicerSegmentationsModuleLogic.GenerateMergedLabelmapInReferenceGeometry(
        segmentationNode,
        referenceVolumeNode,
        segmentIds,
        slicer.vtkSegmentation.EXTENT_REFERENCE_GEOMETRY,
        merged,
        values,
    )
    return LabelMap(arrayFromImageData(merged), affine, {})


def _segment(label: Label, layer: slicer.vtkOrientedImageData) -> slicer.vtkSegment:
    segment = slicer.vtkSegment()
    segment.SetName(label.name)
    segment.SetColor(*(channel / 255.0 for channel in label.colour))
    segment.SetLabelValue(label.id)
    segment.SetTag(segment.GetTerminologyEntryTagName(), terminologyEntry(label))
    segment.SetTag(LABEL_ID_TAG, str(label.id))
    segment.AddRepresentation(BINARY_LABELMAP, layer)
    return segment
