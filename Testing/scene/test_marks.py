"""An enhanced volume is known as one wherever its file came from."""

from __future__ import annotations

import os

import pytest

from LowFieldEnhanceLib.image_io import DERIVED, write_image
from LowFieldEnhanceSlicer import marks, volumes


@pytest.fixture
def loaded(scene, image, tmp_path):
    """A node as Slicer makes it of a file: named after it, with its storage node and no attribute."""

    def load(name, note):
        path = tmp_path / name
        write_image(image, path, note)
        node = volumes.addVolume(scene, image, name.partition(".")[0])
        storage = scene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
        storage.SetFileName(str(path))
        node.SetAndObserveStorageNodeID(storage.GetID())
        return node, path

    return load


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd"])
def test_a_result_of_the_command_line_is_known_by_the_note_in_its_file(loaded, ending):
    node, path = loaded(f"enhanced{ending}", DERIVED)
    assert marks.isDerived(node)
    path.unlink()
    assert marks.isDerived(node), "its attribute says so from now on"
    assert node.GetAttribute(marks.DERIVED_ATTRIBUTE) == DERIVED


def test_a_scan_is_none_until_its_file_is_a_result(loaded, image):
    node, path = loaded("scan.nii.gz", "a scan")
    assert not marks.isDerived(node)
    write_image(image, path)
    os.utime(path, (1, 1))
    assert marks.isDerived(node)


def test_a_node_without_a_file_or_whose_file_is_gone_is_none(scene, image, loaded):
    assert not marks.isDerived(volumes.addVolume(scene, image, "scan"))
    assert not marks.isDerived(scene.AddNewNodeByClass("vtkMRMLSegmentationNode"))
    node, path = loaded("enhanced.nii.gz", DERIVED)
    path.unlink()
    assert not marks.isDerived(node)
