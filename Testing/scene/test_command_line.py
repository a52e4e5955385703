"""``python -m LowFieldEnhanceSlicer``: files of a run in, one scene file out."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK
from slicer_session import newScene

from LowFieldEnhanceSlicer import hierarchy, segmentations, volumes
from LowFieldEnhanceSlicer.__main__ import main


def write(path, array, affine):
    """NIfTI by SimpleITK alone, whose world is LPS."""
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(array.transpose(2, 1, 0)))
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    SimpleITK.WriteImage(image, str(path))


@pytest.fixture
def files(tmp_path, image, labelMap, rows):
    """The arguments of a run whose files lie in ``tmp_path``."""
    write(tmp_path / "sub-01_T1w.nii.gz", image.array, image.affine)
    write(tmp_path / "enhanced.nii.gz", image.array + 1, image.affine)
    write(tmp_path / "labels.nii.gz", labelMap.array, labelMap.affine)
    clean = json.loads(json.dumps(rows).replace("NaN", "null"))
    provenance = {"method": "bridged", "preset": "fast", "seed": 3}
    report = {"structures": clean, "has_reference": True, "provenance": provenance}
    (tmp_path / "report.json").write_text(json.dumps(report), encoding="utf-8")
    names = {
        "--input": "sub-01_T1w.nii.gz",
        "--enhanced": "enhanced.nii.gz",
        "--segmentation": "labels.nii.gz",
        "--report-json": "report.json",
        "--output": "scene.mrb",
    }
    return [text for option, name in names.items() for text in (option, str(tmp_path / name))]


def test_the_scene_file_holds_the_run(files, tmp_path, image, labelMap, capsys):
    assert main(files) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "scene.mrb")
    with newScene() as session:
        scene = session.scene
        assert scene.ReadFromMRB(str(tmp_path / "scene.mrb"))
        source = scene.GetFirstNodeByName("sub-01_T1w")
        np.testing.assert_array_equal(volumes.imageFromVolumeNode(source).array, image.array)
        np.testing.assert_allclose(volumes.affineFromVolumeNode(source), image.affine, atol=1e-4)
        enhanced = scene.GetFirstNodeByName("sub-01_T1w bridged fast (ENHANCED - not for diagnosis)")
        np.testing.assert_array_equal(volumes.imageFromVolumeNode(enhanced).array, image.array + 1)
        assert enhanced.GetAttribute("LowFieldEnhance.method") == "bridged"
        assert enhanced.GetAttribute("LowFieldEnhance.Output") == "enhanced"
        assert enhanced.GetNodeReference("LowFieldEnhance.Source.inputVolume") is source
        segmentationNode = scene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
        back = segmentations.labelMapFromSegmentation(segmentationNode, source)
        np.testing.assert_array_equal(back.array, labelMap.array)
        table = scene.GetFirstNodeByClass("vtkMRMLTableNode")
        assert table.GetColumnIndex("Error enhanced (%)") > 0
        assert hierarchy.subjectHierarchy(scene).GetItemByName("LowFieldEnhance: sub-01_T1w bridged fast")


@pytest.mark.parametrize(
    ("spoil", "status", "sentence"),
    [
        (lambda folder: (folder / "enhanced.nii.gz").unlink(), 2, "does not exist"),
        (lambda folder: (folder / "report.json").write_text("{"), 2, "is not a JSON file"),
        (lambda folder: (folder / "report.json").write_text('{"structures": 1}'), 2, "is not a report"),
        (lambda folder: (folder / "scene.mrb").mkdir(), 1, "a folder has this name"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_no_file(files, tmp_path, capsys, spoil, status, sentence):
    spoil(tmp_path)
    assert main(files) == status
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert sentence in captured.err
    assert captured.err.count("\n") == 1
    assert not (tmp_path / "scene.mrb").is_file()
