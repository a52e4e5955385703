"""A reference segmentation on its way to the child process: the same label map as Slicer's own, in short steps."""

from __future__ import annotations

import time

import numpy as np
import pytest
import slicer
import vtk
from panel_support import obliqueAffine
from panel_tools import press, waitUntil
from slicer_host.properties import useSlicerProperties

from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.image_io import read_labels
from LowFieldEnhanceLib.segmentation.labels import LabelMap, label_table
from LowFieldEnhanceSlicer import segmentations, volumes
from LowFieldEnhanceSlicer.reference_labels import SegmentationCopy
from LowFieldEnhanceSlicer.request import Request
from LowFieldEnhanceSlicer.request_checks import reasonAgainst
from LowFieldEnhanceSlicer.structure_names import structureOf

pytest_plugins = ["panel_fixtures"]
useSlicerProperties(__name__, False)

SHAPE = (24, 20, 18)


def addReference(shape=SHAPE, spacing=(2.0, 2.0, 3.0)):
    affine = obliqueAffine(spacing, shape)
    return volumes.addVolume(slicer.mrmlScene, Image(np.zeros(shape, np.float32), affine, "T1w"), "Reference")


def addOverlapping(referenceNode, labels, spacing=None):
    """Boxes that overlap, each in a layer of its own, on the reference's grid or one of another spacing."""
    shape = referenceNode.GetImageData().GetDimensions()
    affine = volumes.affineFromVolumeNode(referenceNode)
    if spacing is not None:
        extent = np.array(shape) * np.array(referenceNode.GetSpacing())
        shape = tuple(int(n) for n in np.ceil(extent / spacing))
        affine = obliqueAffine(spacing, shape)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Structures")
    node.CreateDefaultDisplayNodes()
    for n, label in enumerate(labels):
        array = np.zeros(shape, np.uint8)
        array[n : n + shape[0] // 2, 2 : shape[1] - n, 3:-3] = 1
        layer = slicer.vtkOrientedImageData()
        volumes.fillImageData(layer, array)
        layer.SetGeometryFromImageToWorldMatrix(volumes.matrixFromAffine(affine))
        segment = slicer.vtkSegment()
        segment.SetName(label.name)
        segment.AddRepresentation("Binary labelmap", layer)
        node.GetSegmentation().AddSegment(segment, label.name)
    return node


def written(node, referenceNode, folder) -> LabelMap:
    SegmentationCopy(node, referenceNode).write(folder / "labels.nrrd")
    return read_labels(folder / "labels.nrrd")


@pytest.mark.parametrize("spacing", [None, (0.9, 1.3, 2.3)], ids=["same grid", "another grid"])
def test_overlapping_segments_are_merged_as_slicer_merges_them(scene, tmp_path, spacing):
    reference = addReference()
    labels = [label for label in label_table() if label.side != "right"][:5]
    node = addOverlapping(reference, labels, spacing)
    assert node.GetSegmentation().GetNumberOfLayers() == len(labels)
    found = written(node, reference, tmp_path)
    expected = segmentations.labelMapFromSegmentation(node, reference)
    assert set(np.unique(expected.array)) >= {label.id for label in labels}
    assert np.allclose(found.affine, expected.affine, atol=1e-9)
    assert (found.array != expected.array).mean() <= (0.0 if spacing is None else 1e-3)


def test_a_structure_without_a_name_that_is_known_hides_nothing(scene, tmp_path):
    reference = addReference()
    labels = list(label_table())[:2]
    node = addOverlapping(reference, labels)
    before = written(node, reference, tmp_path).array
    lesion = slicer.vtkSegment()
    lesion.DeepCopy(node.GetSegmentation().GetNthSegment(1))
    lesion.SetName("lesion")
    node.GetSegmentation().AddSegment(lesion, "lesion")
    assert np.array_equal(written(node, reference, tmp_path).array, before)


# FreeSurfer's own spellings, and what programs make of them; each with the id that FreeSurfer gives it.
SPELLINGS = {
    "Left-Cerebral-White-Matter": 2, "Left-Lateral-Ventricle": 4, "Left-Inf-Lat-Vent": 5, "Left-Thalamus-Proper": 10,
    "left_hippocampus": 17, "Hippocampus, right": 53, "Left-Accumbens-area": 26, "Right-VentralDC": 60,
    "Brain-Stem": 16, "CSF": 24, "3rd-Ventricle": 14, "RIGHT CEREBELLUM CORTEX": 47, "right inferior lateral ventricle":
    44, "Left-choroid-plexus": 31, "CC_Central": 253, "ctx-lh-insula": 3, "wm-rh-insula": 41,
}  # fmt: skip


@pytest.mark.parametrize(("name", "identifier"), SPELLINGS.items())
def test_a_structure_is_known_however_it_is_spelled(scene, name, identifier):
    segment = slicer.vtkSegment()
    segment.SetName(name)
    assert structureOf(segment) == identifier


@pytest.mark.parametrize("name", ["lesion", "Left", "Hippocampus", "ctx-lh-unknown", "Segment_1", ""])
def test_what_is_no_structure_or_of_no_side_is_not_guessed(scene, name):
    segment = slicer.vtkSegment()
    segment.SetName(name)
    assert structureOf(segment) is None


def test_every_structure_is_known_by_its_terminology_alone(scene):
    for label in label_table():
        segment = slicer.vtkSegment()
        segment.SetName("Segment_1")
        segment.SetTag(segment.GetTerminologyEntryTagName(), segmentations.terminologyEntry(label))
        assert structureOf(segment) == label.id
    tissue = "Segmentation category and type~SCT^85756007^Tissue~SCT^85756007^Tissue~^^~~^^~^^"
    segment.SetTag(segment.GetTerminologyEntryTagName(), tissue)
    assert structureOf(segment) is None


def test_segments_with_freesurfers_names_reach_the_child(scene, tmp_path):
    reference = addReference()
    labels = list(label_table())[:2]
    node = addOverlapping(reference, labels)
    before = written(node, reference, tmp_path).array
    for n, name in enumerate(("Left-Cerebral-White-Matter", "Left-Cerebral-Cortex")):
        node.GetSegmentation().GetNthSegment(n).SetName(name)
    assert before.any() and np.array_equal(written(node, reference, tmp_path).array, before)


def test_segments_that_are_no_structures_are_listed_and_without_any_other_refused(person, stub):
    ui = person.ui
    ui.inputSelector.setCurrentNode(person.loadScan())
    reference = person.loadScan("A 3T T1w", (4.0, 4.0, 4.0))
    ui.referenceSelector.setCurrentNode(reference)
    node = addOverlapping(reference, list(label_table())[:2])
    node.GetSegmentation().GetNthSegment(0).SetName("tumour")
    ui.referenceSegmentationSelector.setCurrentNode(node)
    press(ui.applyButton)
    person.waitForEnd()
    assert "of a structure of the report: 'tumour'" in ui.messageLabel.text()
    node.GetSegmentation().GetNthSegment(1).SetName("oedema")
    person.panel.refresh()
    assert not ui.applyButton.isEnabled()
    assert ui.applyButton.toolTip().endswith("by name or by terminology; it has 'tumour', 'oedema'.")


def test_more_lesions_than_can_be_numbered_are_refused_and_many_structures_are_all_kept(person, tmp_path):
    scan = person.loadScan()
    node = addOverlapping(scan, list(label_table())[:1])
    only = node.GetSegmentation().GetNthSegment(0)
    for n in range(254):
        segment = slicer.vtkSegment()
        segment.DeepCopyMetadata(only)
        segment.SetName(f"lesion {n}")
        segment.AddRepresentation("Binary labelmap", only.GetRepresentation("Binary labelmap"))
        node.GetSegmentation().AddSegment(segment)
    assert reasonAgainst(Request(scan, lesions=node)) == ""
    last = slicer.vtkSegment()
    last.DeepCopy(only)
    last.SetName("Right-Hippocampus")
    node.GetSegmentation().AddSegment(last)
    assert "has more than 255 segments" in reasonAgainst(Request(scan, lesions=node))
    assert 53 in written(node, scan, tmp_path).array


def test_a_shift_of_the_segmentation_moves_the_labels(scene, tmp_path):
    """By whole voxels along the first axis, so that the answer is exact."""
    reference = addReference()
    node = addOverlapping(reference, list(label_table())[:2])
    before = written(node, reference, tmp_path).array
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = vtk.vtkMatrix4x4()
    step = 3 * volumes.affineFromVolumeNode(reference)[:3, 0]
    for axis in range(3):
        matrix.SetElement(axis, 3, step[axis])
    transform.SetMatrixTransformToParent(matrix)
    node.SetAndObserveTransformNodeID(transform.GetID())
    expected = np.zeros_like(before)
    expected[3:] = before[:-3]
    assert np.array_equal(written(node, reference, tmp_path).array, expected)


def test_under_a_warp_that_both_share_the_labels_stay_where_they_are(scene, tmp_path):
    reference = addReference()
    node = addOverlapping(reference, list(label_table())[:2])
    before = written(node, reference, tmp_path).array
    warp = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode")
    warp.SetAndObserveTransformToParent(vtk.vtkThinPlateSplineTransform())
    for shared in (reference, node):
        shared.SetAndObserveTransformNodeID(warp.GetID())
    assert before.any() and np.array_equal(written(node, reference, tmp_path).array, before)


def test_what_cannot_be_a_reference_segmentation_is_said(person):
    ui = person.ui
    scan = person.loadScan()
    ui.inputSelector.setCurrentNode(scan)
    ui.referenceSelector.setCurrentNode(person.loadScan("A 3T T1w"))
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Nothing yet")
    ui.referenceSegmentationSelector.setCurrentNode(node)
    assert "'Nothing yet' has no binary label map" in ui.applyButton.toolTip()
    node = addOverlapping(person.parameters.referenceVolume, list(label_table())[:1])
    warp = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode")
    warp.SetAndObserveTransformToParent(vtk.vtkThinPlateSplineTransform())
    ui.referenceSegmentationSelector.setCurrentNode(node)
    assert ui.applyButton.isEnabled()
    node.SetAndObserveTransformNodeID(warp.GetID())
    person.panel.refresh()
    assert "segmentation 'Structures' is under a warping transform" in ui.applyButton.toolTip()
    for volume in (scan, person.parameters.referenceVolume):
        volume.SetAndObserveTransformNodeID(warp.GetID())
    person.panel.refresh()
    assert ui.applyButton.isEnabled(), "all are under the same transform, so nothing lies between them"
    node.SetAndObserveTransformNodeID(None)
    person.panel.refresh()
    assert "volume 'A 3T T1w' is under a warping transform" in ui.applyButton.toolTip()


def test_each_step_on_the_main_thread_is_short(scene):
    """Thirty layers of a 1 mm head: each step takes less than 50 ms of the processor, where Slicer's merge takes more.

    The time of this thread counts, because other processes of the machine hold it up too.
    """
    reference = addReference((176, 208, 176), (1.0, 1.0, 1.0))
    node = addOverlapping(reference, list(label_table())[:30])
    started = time.thread_time()
    copies = SegmentationCopy(node, reference)
    steps = [time.thread_time() - started]
    more = True
    while more:
        started = time.thread_time()
        more = copies.copyNext()
        steps.append(time.thread_time() - started)
    started = time.thread_time()
    segmentations.labelMapFromSegmentation(node, reference)
    merged = time.thread_time() - started
    print(f"longest of {len(steps)} steps: {1000 * max(steps):.0f} ms; Slicer's merge: {1000 * merged:.0f} ms")
    assert len(steps) == 31 and max(steps) < 0.05 < merged


def test_a_run_takes_a_layered_reference(person, stub, tmp_path):
    reference = person.loadScan("A 3T T1w", (4.0, 4.0, 4.0))
    node = addOverlapping(reference, list(label_table())[:4])
    person.ui.inputSelector.setCurrentNode(person.loadScan())
    person.ui.referenceSelector.setCurrentNode(reference)
    person.ui.referenceSegmentationSelector.setCurrentNode(node)
    stub.set(STUB_MODE="slow")
    press(person.ui.applyButton)
    waitUntil(lambda: stub.calls)
    seen = read_labels(stub.folders[0] / stub.calls[0][stub.calls[0].index("--reference-labels") + 1])
    person.cancel()
    person.waitForEnd()
    assert np.array_equal(seen.array, segmentations.labelMapFromSegmentation(node, reference).array)
