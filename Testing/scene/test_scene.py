"""A run's results as a whole: in the scene, in its folder, in a file and out of it again."""

from __future__ import annotations

import json
import resource
import zipfile
from pathlib import Path

import numpy as np
import pytest
import slicer
import slicer.util
import vtk
from slicer_session import newScene

from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.segmentation.labels import LabelMap
from LowFieldEnhanceSlicer import hierarchy, segmentations, volumes
from LowFieldEnhanceSlicer.scene import DERIVED, addResults, createStandaloneScene, writeMrb

PROVENANCE = {
    "method": "bridged",
    "seed": 7,
    "weights": {"unet": "ab:cd;é"},
    "note": 'a "quoted" 100% & <b>\nline; x:y',
    "steps": np.float32(2.5),
    "file": Path("scan.nii.gz"),
}


@pytest.fixture
def enhanced(image) -> Image:
    """A finer grid in the same frame."""
    affine = image.affine.copy()
    affine[:3, :3] /= 2
    return Image(np.random.default_rng(2).random((14, 18, 10)) * 100, affine)


@pytest.fixture
def results(scene, image, enhanced, labelMap, rows):
    """A complete run with a reference in the scene."""
    extra = {"uncertainty": enhanced.with_array(enhanced.array / 10)}
    return addResults(scene, image, enhanced, "scan 64 mT", labelMap, rows, True, PROVENANCE, extraVolumes=extra)


def names(scene):
    """Names of all nodes but the scene's own singletons and colour tables."""
    nodes = [scene.GetNthNode(n) for n in range(scene.GetNumberOfNodes())]
    return sorted(
        n.GetName() for n in nodes if not n.GetSingletonTag() and not n.GetID().startswith("vtkMRMLColorTableNodeG")
    )


def childrenOf(scene, item):
    sh = hierarchy.subjectHierarchy(scene)
    children = [sh.GetItemByPositionUnderParent(item, n) for n in range(sh.GetNumberOfItemChildren(item))]
    return {
        sh.GetItemDataNode(child).GetID() if sh.GetItemDataNode(child) else sh.GetItemName(child) for child in children
    }


def test_all_outputs_are_in_a_folder_beside_the_source(scene, image, enhanced, labelMap, rows):
    sh = hierarchy.subjectHierarchy(scene)
    study = sh.CreateStudyItem(sh.CreateSubjectItem(sh.GetSceneItemID(), "patient"), "study")
    source = volumes.addVolume(scene, image, "my scan")
    sh.CreateItem(study, source)
    result = addResults(scene, image, enhanced, "my scan", labelMap, rows, inputNode=source)
    assert result.input == source.GetID()
    assert sh.GetItemName(result.folderItem) == "LowFieldEnhance: my scan"
    assert sh.GetItemParent(result.folderItem) == study
    assert childrenOf(scene, study) == {source.GetID(), "LowFieldEnhance: my scan"}
    assert childrenOf(scene, result.folderItem) == {
        result.enhanced,
        result.segmentation,
        result.table,
        result.chart,
        result.beforeAfterChart,
        *result.series,
    }
    assert scene.GetNodeByID(result.enhanced).GetName() == "my scan (ENHANCED - not for diagnosis)"
    assert "change" in scene.GetNodeByID(result.table).GetName()


def test_every_output_says_that_it_is_derived_and_how_it_was_made_and_the_input_does_not(scene, results):
    ids = [results.enhanced, results.segmentation, results.colourTable, results.table, results.chart]
    ids += results.series + list(results.extraVolumes.values())
    for node in map(scene.GetNodeByID, ids):
        assert node.GetAttribute("LowFieldEnhance.Derived") == DERIVED == "ENHANCED - not for diagnosis"
        assert node.GetAttribute("LowFieldEnhance.method") == "bridged"
        assert node.GetAttribute("LowFieldEnhance.note") == PROVENANCE["note"]
        assert json.loads(node.GetAttribute("LowFieldEnhance.seed")) == 7
        assert json.loads(node.GetAttribute("LowFieldEnhance.weights")) == PROVENANCE["weights"]
        assert json.loads(node.GetAttribute("LowFieldEnhance.steps")) == 2.5
        assert json.loads(node.GetAttribute("LowFieldEnhance.file")) == "scan.nii.gz"
        assert node.GetNodeReferenceID("LowFieldEnhance.Source.inputVolume") == results.input
    named = {node.GetAttribute("LowFieldEnhance.Output"): node.GetID() for node in map(scene.GetNodeByID, ids)}
    assert {name: nodeId for name, nodeId in named.items() if name} == {
        "enhanced": results.enhanced, "uncertainty": results.extraVolumes["uncertainty"],
        "structure table": results.table, "volume chart": results.chart,
    }  # fmt: skip
    assert not list(scene.GetNodeByID(results.input).GetAttributeNames())


def test_outputs_move_with_the_source_under_its_transform(scene, image, enhanced, labelMap):
    source = volumes.addVolume(scene, image, "scan")
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    source.SetAndObserveTransformNodeID(transform.GetID())
    result = addResults(scene, image, enhanced, "scan", labelMap, inputNode=source)
    for nodeId in (result.enhanced, result.segmentation):
        assert scene.GetNodeByID(nodeId).GetTransformNodeID() == transform.GetID()


def test_the_segmentations_geometry_is_that_of_the_volume_on_its_grid(scene, image, enhanced, labelMap):
    finer = LabelMap(np.zeros(enhanced.shape, np.uint8) + 17, enhanced.affine, {})
    role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
    for labels, owner in ((labelMap, "input"), (finer, "enhanced")):
        result = addResults(scene, image, enhanced, "scan", labels)
        assert scene.GetNodeByID(result.segmentation).GetNodeReferenceID(role) == getattr(result, owner)
    shifted = image.affine + np.diag([0.01, 0.01, 0.01], 1)[:4, :4] * [0, 0, 0, 1]
    assert not volumes.sameGrid(scene.GetNodeByID(result.input), shifted, image.shape)


def test_removing_a_run_leaves_the_source_the_other_run_and_what_the_user_made(scene, image, enhanced, labelMap, rows):
    sh = hierarchy.subjectHierarchy(scene)
    source = volumes.addVolume(scene, image, "scan")
    first = addResults(scene, image, enhanced, "scan", labelMap, rows, inputNode=source)
    before, items = names(scene), sh.GetNumberOfItems()
    second = addResults(scene, image, enhanced, "scan", labelMap, rows, inputNode=source)
    assert not set(vars(first)["series"]) & set(second.series)
    copy = scene.CopyNode(scene.GetNodeByID(second.enhanced))
    copy.SetName("the user's copy")
    sh.SetItemParent(hierarchy.itemOf(scene, copy), second.folderItem)
    hierarchy.removeRun(second.folderItem)
    left = names(scene)
    left.remove("the user's copy")
    assert left == before
    assert sh.GetItemParent(sh.GetItemByDataNode(copy)) == sh.GetSceneItemID()
    assert sh.GetItemParent(first.folderItem) == sh.GetSceneItemID()
    assert childrenOf(scene, sh.GetSceneItemID()) == {source.GetID(), copy.GetID(), "LowFieldEnhance: scan"}
    assert sh.GetNumberOfItems() == items + 1
    assert scene.IsNodePresent(source)
    with pytest.raises(ValueError, match="not a folder of LowFieldEnhance"):
        hierarchy.removeRun(sh.GetItemByDataNode(source))


def test_a_run_that_cannot_be_shown_leaves_the_scene_as_it_was(scene, image, enhanced, labelMap):
    before, items = names(scene), hierarchy.subjectHierarchy(scene).GetNumberOfItems()
    array = labelMap.array.copy()
    array[0, 0, 0] = 99
    with pytest.raises(BadInput, match="99"):
        addResults(scene, image, enhanced, "scan", LabelMap(array, image.affine, {}))
    assert names(scene) == before
    assert hierarchy.subjectHierarchy(scene).GetNumberOfItems() == items


def test_a_scene_file_opens_in_another_session_with_everything_in_it(
    scene, results, image, enhanced, labelMap, tmp_path
):
    path = writeMrb(scene, tmp_path / "scan 64 mT é.mrb")
    assert [p.name for p in tmp_path.iterdir()] == ["scan 64 mT é.mrb"]
    with newScene() as other:
        assert other.scene.ReadFromMRB(str(path))
        opened = {
            nodeId: other.scene.GetFirstNodeByName(scene.GetNodeByID(nodeId).GetName())
            for nodeId in (results.input, results.enhanced, results.segmentation, results.table, results.chart)
        }
        for nodeId, expected in ((results.input, image), (results.enhanced, enhanced)):
            back = volumes.imageFromVolumeNode(opened[nodeId])
            np.testing.assert_array_equal(back.array, expected.array)
            np.testing.assert_allclose(back.affine, expected.affine, rtol=0, atol=1e-6)
        for nodeId in (results.enhanced, results.segmentation, results.table, results.chart):
            was, now = scene.GetNodeByID(nodeId), opened[nodeId]
            assert {k: now.GetAttribute(k) for k in now.GetAttributeNames()} == {
                k: was.GetAttribute(k) for k in was.GetAttributeNames()
            }
        checkSegments(scene.GetNodeByID(results.segmentation), opened[results.segmentation])
        back = segmentations.labelMapFromSegmentation(opened[results.segmentation], opened[results.input])
        np.testing.assert_array_equal(back.array, labelMap.array)
        checkTable(scene.GetNodeByID(results.table).GetTable(), opened[results.table].GetTable())
        chart = opened[results.chart]
        assert [chart.GetNthPlotSeriesNode(n).GetTableNode() for n in range(3)] == [opened[results.table]] * 3
        shown, source = opened[results.enhanced].GetDisplayNode(), opened[results.input].GetDisplayNode()
        assert (shown.GetWindow(), shown.GetLevel()) == pytest.approx((source.GetWindow(), source.GetLevel()))
        folder = hierarchy.subjectHierarchy(other.scene).GetItemByName("LowFieldEnhance: scan 64 mT bridged")
        hierarchy.removeRun(folder, other.scene)
        assert names(other.scene) == sorted(n for n in names(other.scene) if "ENHANCED" not in n and "struct" not in n)
        assert other.scene.IsNodePresent(opened[results.input])


def checkSegments(was, now):
    before, after = was.GetSegmentation(), now.GetSegmentation()
    assert list(after.GetSegmentIDs()) == list(before.GetSegmentIDs())
    for segmentId in before.GetSegmentIDs():
        first, second = before.GetSegment(segmentId), after.GetSegment(segmentId)
        assert second.GetName() == first.GetName()
        assert second.GetColor() == pytest.approx(first.GetColor(), abs=1e-5)
        tags = [vtk.reference(""), vtk.reference("")]
        for segment, tag in zip((first, second), tags, strict=True):
            assert segment.GetTag(segment.GetTerminologyEntryTagName(), tag)
        assert tags[0].get() == tags[1].get()
    assert now.GetLabelmapConversionColorTableNode().GetColorName(17) == "Left Hippocampus"


def checkTable(was, now):
    assert [now.GetColumnName(n) for n in range(now.GetNumberOfColumns())] == [
        was.GetColumnName(n) for n in range(was.GetNumberOfColumns())
    ]
    for row in range(was.GetNumberOfRows()):
        for column in range(was.GetNumberOfColumns()):
            assert now.GetValue(row, column).ToString() == was.GetValue(row, column).ToString()


@pytest.mark.parametrize(("limit", "reason"), [(5_000, "Failed to write 'Data/"), (25_000, "File too large")])
def test_a_disk_that_fills_up_leaves_the_earlier_file_and_nothing_else(image, enhanced, tmp_path, limit, reason):
    path = tmp_path / "scene.mrb"
    path.write_bytes(b"earlier")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with newScene() as session:
        addResults(session.scene, image, enhanced, "scan", extraVolumes=dict.fromkeys(("a", "b", "c"), enhanced))
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            with pytest.raises(OSError, match=r"^The scene could not be written to .*scene\.mrb: .+\.$") as raised:
                writeMrb(session.scene, path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert reason in str(raised.value)
    assert ".LowFieldEnhance-" not in str(raised.value)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("scene.mrb", b"earlier")]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing/scene.mrb", "does not exist"),
        ("scene.zip", "must end in .mrb"),
        ("folder.mrb", "a folder has this name"),
    ],
)
def test_a_path_that_cannot_be_written_is_refused_in_a_sentence(scene, tmp_path, name, reason):
    (tmp_path / "folder.mrb").mkdir()
    with pytest.raises(OSError, match=reason):
        writeMrb(scene, tmp_path / name)
    assert [p.name for p in tmp_path.rglob("*")] == ["folder.mrb"]


def test_without_the_application_a_scene_is_made_and_its_temporary_files_are_removed(image, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert not hasattr(slicer, "mrmlScene")
    with createStandaloneScene() as scene:
        addResults(scene, image, image, "scan")
        assert list(tmp_path.iterdir())
    assert not list(tmp_path.iterdir())
    assert not hasattr(slicer, "mrmlScene")


def test_inside_the_application_its_scene_is_used(scene):
    with createStandaloneScene() as same:
        assert same is scene
    assert scene.GetNumberOfNodes()


def test_mrb_is_an_ordinary_zip_with_one_root_folder(scene, results, tmp_path):
    with zipfile.ZipFile(writeMrb(scene, tmp_path / "scan.mrb")) as bundle:
        assert bundle.testzip() is None
        assert {name.split("/")[0] for name in bundle.namelist()} == {"scan"}
        assert "scan/scan.mrml" in bundle.namelist()
