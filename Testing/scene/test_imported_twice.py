"""A scene that is imported beside the session that saved it: each run keeps to its own outputs."""

from __future__ import annotations

import numpy as np
import pytest

from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.segmentation.labels import LabelMap
from LowFieldEnhanceSlicer import hierarchy
from LowFieldEnhanceSlicer.result_actions import ResultActions
from LowFieldEnhanceSlicer.scene import addResults, writeMrb


@pytest.fixture
def twice(scene, tmp_path):
    """The enhanced volume of a run, and that of the same run imported again."""
    image = Image(np.random.default_rng(0).uniform(1, 100, (8, 8, 8)), np.eye(4))
    labels = LabelMap((np.arange(512).reshape(8, 8, 8) % 2 * 10).astype(np.uint8), np.eye(4), {})
    rows = [{"name": "Left-Thalamus", "label_id": 10, "volume_input_ml": 1.0, "volume_enhanced_ml": 1.1}]
    result = addResults(scene, image, image, "scan", labels, rows, False, {"method": "bridged"})
    path = writeMrb(scene, tmp_path / "a.mrb")
    assert scene.ReadFromMRB(str(path), False)
    enhanced = [
        node
        for n in range(scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode"))
        if (node := scene.GetNthNodeByClass(n, "vtkMRMLScalarVolumeNode")).GetAttribute("LowFieldEnhance.Output")
        == "enhanced"
    ]
    original = scene.GetNodeByID(result.enhanced)
    (copy,) = [node for node in enhanced if node is not original]
    return original, copy


def test_each_names_its_own_outputs(twice):
    actions = ResultActions()
    original, copy = twice
    outputs = [actions.outputsOf(node) for node in (original, copy)]
    assert original in outputs[0] and copy in outputs[1]
    assert len(outputs[0]) == len(outputs[1]) > 2 and not {*outputs[0]} & {*outputs[1]}
    assert hierarchy.runFolderOf(original) != hierarchy.runFolderOf(copy)


@pytest.mark.parametrize("removed", [0, 1])
def test_removing_one_leaves_the_other_whole(twice, removed, scene):
    actions = ResultActions()
    others = {node.GetID() for node in actions.outputsOf(twice[1 - removed])}
    gone = {node.GetID() for node in actions.outputsOf(twice[removed])}
    assert actions.removeRun(twice[removed])
    assert all(scene.GetNodeByID(identifier) is not None for identifier in others)
    assert all(scene.GetNodeByID(identifier) is None for identifier in gone)
    hierarchy.removeLeftovers(scene)
    assert all(scene.GetNodeByID(identifier) is not None for identifier in others)
