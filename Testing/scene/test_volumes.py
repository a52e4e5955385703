"""Volume nodes hold exactly the image: every voxel in its place, on any grid, shown as the source is."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
import slicer.util
import vtk
from grids import GRIDS

from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceSlicer import volumes


@pytest.mark.parametrize("grid", GRIDS)
def test_voxels_and_geometry_survive_the_way_into_the_scene_and_back(scene, image, grid):
    original = Image(image.array, GRIDS[grid])
    node = volumes.addVolume(scene, original, "scan")
    # slicer.util is the oracle of memory order: its arrays are [k, j, i].
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(node), original.array.transpose(2, 1, 0))
    back = volumes.imageFromVolumeNode(node, "T2w")
    np.testing.assert_array_equal(back.array, original.array)
    np.testing.assert_allclose(back.affine, original.affine, rtol=0, atol=1e-12)
    assert back.contrast == "T2w"


def test_slicer_finds_a_voxel_at_its_ras_position(scene, image):
    node = volumes.addVolume(scene, image, "scan")
    index = (5, 2, 3)
    position = image.affine @ [*index, 1.0]
    rasToIjk = vtk.vtkMatrix4x4()
    node.GetRASToIJKMatrix(rasToIjk)
    found = np.rint(rasToIjk.MultiplyPoint(position)[:3]).astype(int)
    assert node.GetImageData().GetScalarComponentAsFloat(*map(int, found), 0) == image.array[index]


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.float64])
def test_a_volume_loaded_by_slicer_in_another_number_type_is_read(scene, dtype):
    array = np.arange(4 * 5 * 6).reshape(4, 5, 6).astype(dtype)
    node = slicer.util.addVolumeFromArray(array, ijkToRAS=GRIDS["oblique, anisotropic"])
    back = volumes.imageFromVolumeNode(node)
    assert back.array.dtype == np.float32
    np.testing.assert_array_equal(back.array, array.transpose(2, 1, 0))


def test_the_image_does_not_share_memory_with_the_node(scene):
    node = volumes.addVolume(scene, Image(np.arange(6.0).reshape(6, 1, 1), np.eye(4)), "column")
    before = volumes.imageFromVolumeNode(node)
    slicer.util.arrayFromVolume(node)[:] = -1
    np.testing.assert_array_equal(before.array.ravel(), np.arange(6.0))


def test_nodes_that_are_no_scalar_volume_are_refused_in_a_sentence(scene):
    with pytest.raises(BadInput, match="no voxels"):
        volumes.imageFromVolumeNode(scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode"))
    vector = slicer.util.addVolumeFromArray(np.zeros((4, 4, 4, 3)), nodeClassName="vtkMRMLVectorVolumeNode")
    with pytest.raises(BadInput, match="3 values per voxel"):
        volumes.imageFromVolumeNode(vector)


def test_the_enhanced_volume_is_shown_with_the_sources_window_level_and_colour(scene, image):
    source = volumes.addVolume(scene, image, "source")
    display = source.GetDisplayNode()
    display.AutoWindowLevelOff()
    display.SetWindowLevel(321.0, 123.0)
    display.SetThreshold(10.0, 600.0)
    display.ApplyThresholdOn()
    display.SetInterpolate(False)
    display.SetAndObserveColorNodeID("vtkMRMLColorTableNodeInvertedGrey")
    target = volumes.addVolume(scene, image.with_array(image.array * 7), "target")
    volumes.copyDisplay(source, target)
    volumes.updateVolumeNode(target, image.with_array(image.array * 9))
    copied = target.GetDisplayNode()
    assert (copied.GetWindow(), copied.GetLevel(), copied.GetAutoWindowLevel()) == (321.0, 123.0, 0)
    assert (copied.GetLowerThreshold(), copied.GetUpperThreshold(), copied.GetApplyThreshold()) == (10.0, 600.0, 1)
    assert copied.GetInterpolate() == 0
    assert copied.GetColorNodeID() == "vtkMRMLColorTableNodeInvertedGrey"


@pytest.mark.parametrize("sign", [1, -1])
def test_a_grid_is_the_same_only_if_its_far_corners_are(scene, image, sign):
    node = volumes.addVolume(scene, image, "scan")
    assert volumes.sameGrid(node, image.affine, image.shape)
    assert not volumes.sameGrid(node, image.affine, image.shape[::-1])
    for axis in range(3):
        moved, stretched = image.affine.copy(), image.affine.copy()
        moved[axis, 3] += sign * 0.01
        stretched[:3, axis] += sign * 5e-4 * stretched[:3, axis] / np.linalg.norm(stretched[:3, axis])
        assert not volumes.sameGrid(node, moved, image.shape)
        assert not volumes.sameGrid(node, stretched, image.shape)
