"""Lesions, brain mask, added detail, a reference elsewhere, samples, projection, DICOM, by the library's own child."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
import slicer
import vtk
from panel_support import SPACING, head
from panel_tools import choose, press
from scipy import ndimage
from slicer_host.properties import useSlicerProperties

from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.image_io import read_image, read_labels
from LowFieldEnhanceSlicer import overlays, volumes
from LowFieldEnhanceSlicer.export import InputCopies
from LowFieldEnhanceSlicer.method_comparison import comparisonRequest
from LowFieldEnhanceSlicer.request import Request, arguments, scanArguments

pytest_plugins = ["panel_fixtures"]
useSlicerProperties(__name__, False)

CENTRES = {"Large one": ((30.0, 20.0, 10.0), 14.0), "Small one": ((-40.0, -10.0, 0.0), 9.0)}
BRIGHTER = 500.0


def balls() -> dict[str, np.ndarray]:
    """Bool on the grid of the scan, by name; centre (RAS mm) and radius as in :data:`CENTRES`."""
    image = head((SPACING,) * 3)
    index = np.indices(image.shape).reshape(3, -1)
    points = (image.affine[:3, :3] @ index + image.affine[:3, 3:]).T
    return {
        name: (np.linalg.norm(points - centre, axis=1) < radius).reshape(image.shape)
        for name, (centre, radius) in CENTRES.items()
    }


def scanWithLesions() -> Image:
    image = head((SPACING,) * 3)
    return image.with_array(image.array + BRIGHTER * sum(balls().values()))


def drawnLesions() -> slicer.vtkMRMLSegmentationNode:
    """Each ball as a segment on a layer of its own, as the segment editor leaves segments that overlap."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Drawn")
    affine = head((SPACING,) * 3).affine
    for name, ball in balls().items():
        layer = slicer.vtkOrientedImageData()
        volumes.fillImageData(layer, ball.astype(np.uint8))
        layer.SetGeometryFromImageToWorldMatrix(volumes.matrixFromAffine(affine))
        segment = slicer.vtkSegment()
        segment.SetName(name)
        segment.AddRepresentation("Binary labelmap", layer)
        node.GetSegmentation().AddSegment(segment, name)
    return node


def labelMapNode() -> slicer.vtkMRMLLabelMapVolumeNode:
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "Map")
    values = sum(number * ball for number, ball in enumerate(balls().values(), start=1))
    volumes.updateVolumeNode(node, Image(values.astype(np.float32), head((SPACING,) * 3).affine))
    return node


def apply(person):
    """Cubic interpolation on the scan's own grid; returns the job."""
    choose(person.ui.methodComboBox, "Cubic interpolation")
    person.ui.spacingSpinBox.setValue(SPACING)
    press(person.ui.applyButton)
    job = person.panel.runView.job
    person.waitForEnd(120)
    assert "is enhanced" in person.ui.messageLabel.text(), person.ui.logText.toPlainText()
    return job


def columnsOf(table: slicer.vtkMRMLTableNode) -> dict[str, list]:
    columns = [table.GetTable().GetColumn(n) for n in range(table.GetNumberOfColumns())]
    return {column.GetName(): [column.GetValue(row) for row in range(table.GetNumberOfRows())] for column in columns}


def test_drawn_lesions_are_followed_and_found_again_and_added_detail_is_an_overlay(person, library):
    ui = person.ui
    scan = volumes.addVolume(slicer.mrmlScene, scanWithLesions(), "Head T1w")
    ui.inputSelector.setCurrentNode(scan)
    ui.lesionsSelector.setCurrentNode(drawnLesions())
    nodes = apply(person).nodes
    found = columnsOf(nodes.lesionTable)
    assert found["Lesion"] == ["1 Large one", "2 Small one"] and found["Survives"] == ["yes", "yes"]
    # Interpolation on the scan's own grid changes nothing, so contrast after is contrast before.
    assert np.allclose(found["Contrast enhanced (%)"], found["Contrast input (%)"], atol=5.0)
    assert found["Contrast input (%)"][0] == pytest.approx(100 * BRIGHTER / 616, abs=10)  # 600 and the noise's mean
    table = ui.lesionsTable
    assert table.isVisible() and table.rowCount() == 2
    table.cellClicked.emit(1, 0)
    view = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSliceNode")
    scans = slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSliceNode")
    assert view is not None and scans >= 3
    offsets = {
        node.GetOrientation(): node.GetSliceOffset()
        for node in (slicer.mrmlScene.GetNthNodeByClass(n, "vtkMRMLSliceNode") for n in range(scans))
    }
    assert offsets["Axial"] == pytest.approx(CENTRES["Small one"][0][2], abs=2.0)
    assert offsets["Coronal"] == pytest.approx(CENTRES["Small one"][0][1], abs=2.0)
    # Added detail: on the enhanced volume's grid, over the anatomy, with its legend.
    assert volumes.sameGrid(nodes.addedDetail, *_gridOf(nodes.enhanced))
    choose(ui.overlayComboBox, "Added detail (not supported by the scan)")
    assert overlays.shownOverlay([nodes.addedDetail]) is nodes.addedDetail
    assert overlays.legendOf(nodes.addedDetail).GetTitleText() == "Added detail (% of local contrast)"
    press(ui.againButton)
    assert ui.lesionsSelector.currentNode().GetName() == "Drawn"


def _gridOf(node: slicer.vtkMRMLScalarVolumeNode) -> tuple[np.ndarray, tuple[int, ...]]:
    return volumes.affineFromVolumeNode(node), node.GetImageData().GetDimensions()


@pytest.mark.parametrize("make", [drawnLesions, labelMapNode])
def test_lesions_are_handed_over_voxel_by_voxel(person, tmp_path, make):
    scan = volumes.addVolume(slicer.mrmlScene, scanWithLesions(), "Head T1w")
    request = Request(scan, lesions=make())
    copies = InputCopies(request, tmp_path)
    copies.write()
    written = read_labels(copies.files["lesions"])
    expected = sum(number * ball for number, ball in enumerate(balls().values(), start=1))
    assert np.array_equal(written.array, expected) and np.allclose(written.affine, head((SPACING,) * 3).affine)
    assert list(copies.lesionNames.values()) == (list(CENTRES) if make is drawnLesions else [])
    line = arguments(request, copies.files, tmp_path)
    assert line[line.index("--lesions") + 1] == str(tmp_path / "lesions.nrrd")


def test_a_brain_mask_takes_the_place_of_the_segmenters_and_is_found_again(person, library):
    """The mask is the left half of the phantom: the right half is 0, beyond the rim over which results fade."""
    ui = person.ui
    image = head((SPACING,) * 3)
    x = (image.affine[0, :3] @ np.indices(image.shape).reshape(3, -1) + image.affine[0, 3]).reshape(image.shape)
    left = (x < 0) & (image.array > 300)
    mask = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "Left half")
    volumes.updateVolumeNode(mask, image.with_array(7.0 * left))
    ui.inputSelector.setCurrentNode(volumes.addVolume(slicer.mrmlScene, image, "Head T1w"))
    ui.brainMaskSelector.setCurrentNode(mask)
    ui.brainOnlyCheckBox.click()
    nodes = apply(person).nodes
    enhanced = slicer.util.arrayFromVolume(nodes.enhanced).transpose(2, 1, 0)
    assert (enhanced[left] > 0).all() and left.sum() > 5000
    assert not enhanced[~ndimage.binary_dilation(left, iterations=4)].any()
    assert nodes.enhanced.GetAttribute("LowFieldEnhance.brain_mask_sha256")
    ui.brainMaskSelector.setCurrentNode(None)
    press(ui.againButton)
    assert ui.brainMaskSelector.currentNode() is mask


@pytest.mark.parametrize("make", [drawnLesions, labelMapNode])
def test_a_brain_mask_is_handed_over_voxel_by_voxel_to_a_run_and_to_a_comparison(person, tmp_path, make):
    request = Request(volumes.addVolume(slicer.mrmlScene, head((SPACING,) * 3), "Head T1w"), brainMask=make())
    for asked in (request, comparisonRequest(request)):
        copies = InputCopies(asked, tmp_path)
        copies.write()
        assert np.array_equal(read_image(copies.files["brain"], "other").array > 0.5, sum(balls().values()))
        line = scanArguments(asked, copies.files)
        assert line[line.index("--brain-mask") + 1] == str(tmp_path / "brain.nrrd") and "--lesions" not in line


@pytest.mark.parametrize(
    ("setting", "selector", "segmentation", "labelMap"),
    [
        ("lesions", "lesionsSelector", "segmentation of lesions", "label map of lesions"),
        ("brainMask", "brainMaskSelector", "segmentation of the brain", "brain mask"),
    ],
)
def test_lesions_and_masks_that_cannot_be_used_are_named(person, setting, selector, segmentation, labelMap):
    ui = person.ui
    chooser = getattr(ui, selector)
    ui.inputSelector.setCurrentNode(person.loadScan())
    chooser.setCurrentNode(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Empty"))
    assert f"The {segmentation} 'Empty' has no binary label map" in ui.applyButton.toolTip()
    chooser.setCurrentNode(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "Hollow"))
    assert ui.applyButton.toolTip() == f"The {labelMap} 'Hollow' has no voxels."
    node = labelMapNode()
    chooser.setCurrentNode(node)
    assert ui.applyButton.isEnabled()
    node.SetAndObserveTransformNodeID(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Moved").GetID())
    person.panel.refresh()
    assert "under another transform" in ui.applyButton.toolTip()
    with pytest.raises(ValueError, match="neither a label map volume nor a segmentation"):
        person.logic.process(person.loadScan(), **{setting: person.loadScan("Scan")})


def test_a_reference_in_another_position_is_registered(person, library):
    """The reference was moved by 20 mm to the right; the transform of the run brings it back."""
    ui = person.ui
    image = scanWithLesions()
    away = image.affine.copy()
    away[:3, 3] += (20.0, 0.0, 0.0)
    ui.inputSelector.setCurrentNode(volumes.addVolume(slicer.mrmlScene, image, "Head T1w"))
    assert not ui.registerCheckBox.isEnabled()
    ui.referenceSelector.setCurrentNode(
        volumes.addVolume(slicer.mrmlScene, Image(1.2 * image.array, away), "Reference")
    )
    ui.registerCheckBox.click()
    nodes = apply(person).nodes
    matrix = vtk.vtkMatrix4x4()
    nodes.registration.GetMatrixTransformToParent(matrix)
    found = volumes.affineFromMatrix(matrix)
    assert found[:3, 3] == pytest.approx([-20.0, 0.0, 0.0], abs=1.5)
    assert np.allclose(found[:3, :3], np.eye(3), atol=0.02)
    assert "error" in nodes.table.GetName() and "The reference was moved onto" in nodes.report.GetText()
    press(ui.againButton)
    assert ui.registerCheckBox.isChecked() and ui.referenceSelector.currentNode().GetName() == "Reference"


def test_samples_projection_and_dicom_files_by_the_real_child(person, library, tmp_path):
    ui = person.ui
    ui.inputSelector.setCurrentNode(volumes.addVolume(slicer.mrmlScene, scanWithLesions(), "Head T1w"))
    ui.samplesSpinBox.setValue(2)
    ui.consistencyCheckBox.click()
    ui.dicomPathLineEdit.setProperty("currentPath", str(tmp_path / "dicom"))
    (tmp_path / "dicom").mkdir()
    person.panel.refresh()
    job = apply(person)
    spread = volumes.imageFromVolumeNode(job.nodes.uncertainty).array
    assert spread.shape == volumes.imageFromVolumeNode(job.nodes.enhanced).array.shape and spread.min() >= 0
    text = job.nodes.enhanced.GetAttribute("LowFieldEnhance.data_consistency")
    assert float(text) > 0 and job.nodes.enhanced.GetAttribute("LowFieldEnhance.samples") == "2"
    files = [path for path in Path(job.dicomFolder).rglob("*") if path.is_file()]
    datasets = [pydicom.dcmread(path, stop_before_pixels=True) for path in files]
    assert {data.Modality for data in datasets} == {"MR", "SEG", "SR"}
    slices = [data for data in datasets if data.Modality == "MR"]
    assert len(slices) == job.nodes.enhanced.GetImageData().GetDimensions()[2]
    assert all(list(data.ImageType[:2]) == ["DERIVED", "SECONDARY"] for data in slices)
    assert str(job.dicomFolder) in ui.messageLabel.text()
