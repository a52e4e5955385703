"""Segmentations carry every label voxel by voxel with its name, colour and codes."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
import slicer.util
import vtk
from grids import GRIDS

from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.segmentation.labels import LabelMap, label_by_id, label_table
from LowFieldEnhanceSlicer import segmentations, volumes


@pytest.fixture
def nodes(scene, image, labelMap):
    """Volume, segmentation and colour table in the scene."""
    volumeNode = volumes.addVolume(scene, image, "scan")
    colourNode = segmentations.addColourTable(scene, "structures")
    segmentationNode = segmentations.addSegmentation(scene, labelMap, "labels", volumeNode, colourNode)
    return volumeNode, segmentationNode, colourNode


def exported(segmentationNode, volumeNode, colourNode):
    """Labels [i, j, k] by Slicer's own export with the colour table of the segmentation."""
    target = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
    slicer.vtkSlicerSegmentationsModuleLogic.ExportSegmentsToLabelmapNode(
        segmentationNode,
        segmentationNode.GetSegmentation().GetSegmentIDs(),
        target,
        volumeNode,
        slicer.vtkSegmentation.EXTENT_REFERENCE_GEOMETRY,
        segmentationNode.GetLabelmapConversionColorTableNode(),
    )
    return slicer.util.arrayFromVolume(target).transpose(2, 1, 0)


def test_only_the_structures_that_occur_become_segments_with_their_name_and_colour(nodes, labelMap):
    segmentation = nodes[1].GetSegmentation()
    expected = [label_by_id()[value] for value in np.unique(labelMap.array)[1:]]
    assert list(segmentation.GetSegmentIDs()) == [label.name for label in expected]
    for label in expected:
        segment = segmentation.GetSegment(label.name)
        assert segment.GetName() == label.name
        assert segment.GetColor() == pytest.approx([channel / 255 for channel in label.colour])


def test_each_segment_has_the_standard_codes_of_its_structure_and_side(nodes):
    segmentation = nodes[1].GetSegmentation()
    sides = {
        "Left Hippocampus": ("7771000", "Left"),
        "Right Hippocampus": ("24028007", "Right"),
        "Brain Stem": ("", ""),
    }
    codes = {"Left Hippocampus": "5366008", "Right Hippocampus": "5366008", "Brain Stem": "119238007"}
    for name, (sideCode, side) in sides.items():
        segment, serialised = segmentation.GetSegment(name), vtk.reference("")
        assert segment.GetTag(segment.GetTerminologyEntryTagName(), serialised)
        entry = slicer.vtkSlicerTerminologyEntry()
        assert slicer.vtkSlicerTerminologiesModuleLogic.DeserializeTerminologyEntry(serialised.get(), entry)
        category, structure, modifier = entry.GetCategoryObject(), entry.GetTypeObject(), entry.GetTypeModifierObject()
        assert (category.GetCodeValue(), category.GetCodingSchemeDesignator()) == ("123037004", "SCT")
        assert (structure.GetCodeValue(), structure.GetCodingSchemeDesignator()) == (codes[name], "SCT")
        assert ((modifier.GetCodeValue() or ""), (modifier.GetCodeMeaning() or "")) == (sideCode, side)
    tag = vtk.reference("")
    segmentation.GetSegment("Right Ventral DC").GetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), tag)
    assert "~DCM^110700^Ventral Diencephalon~SCT^24028007^Right~" in tag.get()


@pytest.mark.parametrize("grid", GRIDS)
def test_every_voxel_is_labelled_as_in_the_label_map(scene, labelMap, grid):
    onGrid = LabelMap(labelMap.array, GRIDS[grid], {})
    volumeNode = volumes.addVolume(scene, Image(onGrid.array, onGrid.affine), "scan")
    colourNode = segmentations.addColourTable(scene, "structures")
    segmentationNode = segmentations.addSegmentation(scene, onGrid, "labels", volumeNode, colourNode)
    back = segmentations.labelMapFromSegmentation(segmentationNode, volumeNode)
    np.testing.assert_array_equal(back.array, onGrid.array)
    np.testing.assert_allclose(back.affine, onGrid.affine, rtol=0, atol=1e-12)
    # Slicer's own ways out agree: the whole, with the colour table's ids, and one segment as a mask.
    np.testing.assert_array_equal(exported(segmentationNode, volumeNode, colourNode), onGrid.array)
    mask = slicer.util.arrayFromSegmentBinaryLabelmap(segmentationNode, "Left Hippocampus")
    np.testing.assert_array_equal(mask.transpose(2, 1, 0) > 0, onGrid.array == 17)


def test_the_colour_tables_index_is_the_id_of_the_name(nodes):
    colourNode = nodes[2]
    for label in label_table():
        assert colourNode.GetColorName(label.id) == label.name
        assert colourNode.GetColorIndexByName(label.name) == label.id
    assert not colourNode.GetColorDefined(1)


def test_edits_of_the_user_are_read_back_and_unknown_segments_left_out(nodes, labelMap):
    volumeNode, segmentationNode, _ = nodes
    segmentation = segmentationNode.GetSegmentation()
    segmentation.GetSegment("Left Hippocampus").SetName("hippocampus, corrected")
    slicer.util.updateSegmentBinaryLabelmapFromArray(
        (labelMap.array == 53).astype(np.uint8).transpose(2, 1, 0), segmentationNode, "Brain Stem", volumeNode
    )
    segmentation.AddEmptySegment("lesion", "lesion")
    segmentation.RemoveSegment("Right Hippocampus")
    expected = labelMap.array.copy()
    expected[expected == 16] = 0
    expected[expected == 53] = 16
    np.testing.assert_array_equal(segmentations.labelMapFromSegmentation(segmentationNode, volumeNode).array, expected)


def test_a_label_without_a_name_is_refused_and_no_node_is_left(scene, image, labelMap):
    volumeNode, colourNode = volumes.addVolume(scene, image, "scan"), segmentations.addColourTable(scene, "structures")
    array = labelMap.array.copy()
    array[0, 0, 0] = 99
    with pytest.raises(BadInput, match="without a name: 99"):
        segmentations.addSegmentation(scene, LabelMap(array, image.affine, {}), "labels", volumeNode, colourNode)
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0
