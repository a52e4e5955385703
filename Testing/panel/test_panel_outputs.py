"""Outputs into chosen nodes: what is filled, what is refused, and what stays as it was when a run does not end well."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
from panel_support import STRUCTURES, head
from panel_tools import press, waitUntil
from slicer_host.properties import useSlicerProperties

from LowFieldEnhanceLib.image_io import read_image
from LowFieldEnhanceSlicer import hierarchy, overlays, segmentations, volumes
from LowFieldEnhanceSlicer.job import JobState
from LowFieldEnhanceSlicer.scene import writeMrb

pytestmark = pytest.mark.usefixtures("stub")
pytest_plugins = ["panel_fixtures"]
useSlicerProperties(__name__, False)

VOLUME, SEGMENTATION = "vtkMRMLScalarVolumeNode", "vtkMRMLSegmentationNode"
SELECTORS = {
    "outputVolume": (VOLUME, "Mine"),
    "outputSegmentation": (SEGMENTATION, "My structures"),
    "outputFidelity": (VOLUME, "My fidelity"),
    "outputUncertainty": (VOLUME, "My uncertainty"),
    "outputAddedDetail": (VOLUME, "My added detail"),
}


def emptyNodes() -> dict[str, slicer.vtkMRMLNode]:
    return {key: slicer.mrmlScene.AddNewNodeByClass(kind, name) for key, (kind, name) in SELECTORS.items()}


def run(person) -> None:
    press(person.ui.applyButton)
    person.waitForEnd()
    assert "is enhanced" in person.ui.messageLabel.text(), person.ui.messageLabel.text()


def array(node) -> np.ndarray:
    return volumes.imageFromVolumeNode(node).array


def test_create_new_is_the_default_and_stays_so(person):
    person.ui.inputSelector.setCurrentNode(person.loadScan())
    for key, (kind, _) in SELECTORS.items():
        selector = getattr(person.ui, f"{key}Selector")
        new = "Create new segmentation" if kind == SEGMENTATION else "Create new volume"
        assert selector.currentNode() is None and selector._combo.currentText() == new
    run(person)
    first = person.parameters.resultVolume
    run(person)
    assert person.parameters.outputVolume is None and person.parameters.resultVolume is not first


def test_chosen_nodes_are_filled_under_their_own_names_with_the_mark(person, results):
    person.ui.inputSelector.setCurrentNode(person.loadScan())
    person.ui.samplesSpinBox.setValue(2)
    chosen = emptyNodes()
    for key, node in chosen.items():
        getattr(person.ui, f"{key}Selector").setCurrentNode(node)
    count = {kind: slicer.mrmlScene.GetNumberOfNodesByClass(kind) for kind in (VOLUME, SEGMENTATION)}
    press(person.ui.applyButton)
    job = person.panel.runView.job
    person.waitForEnd()
    assert count == {kind: slicer.mrmlScene.GetNumberOfNodesByClass(kind) for kind in count}
    nodes = job.nodes
    found = {"outputVolume": nodes.enhanced, "outputSegmentation": nodes.segmentation,
             "outputFidelity": nodes.fidelity, "outputUncertainty": nodes.uncertainty,
             "outputAddedDetail": nodes.addedDetail}  # fmt: skip
    assert found == chosen
    marked = [f"{name} (ENHANCED - not for diagnosis)" for _, name in SELECTORS.values()]
    assert [node.GetName() for node in chosen.values()] == marked
    for key, file in (
        ("outputVolume", "enhanced"),
        ("outputFidelity", "fidelity"),
        ("outputUncertainty", "uncertainty"),
        ("outputAddedDetail", "added_detail"),
    ):
        expected = read_image(results / f"{file}.nrrd")
        assert np.array_equal(array(chosen[key]), expected.array)
        assert np.allclose(volumes.affineFromVolumeNode(chosen[key]), expected.affine, atol=1e-9)
    labels = segmentations.labelMapFromSegmentation(nodes.segmentation, nodes.enhanced)
    assert np.array_equal(labels.array, read_image(results / "segmentation.nrrd").array)
    assert person.parameters.resultVolume is nodes.enhanced
    assert nodes.enhanced.GetAttribute("LowFieldEnhance.method") == "bridged"
    assert nodes.report is not None and nodes.enhanced.GetAttribute("LowFieldEnhance.Derived")
    assert overlays.legendOf(nodes.fidelity).GetVisibility() and overlays.legendOf(nodes.enhanced) is None
    press(person.ui.removeButton)
    assert person.outputs() == [] and all(node.GetScene() is None for node in chosen.values())


def test_chosen_nodes_lie_under_the_scans_transform_and_leave_it_with_the_scan(person):
    scan = person.loadScan()
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Moved")
    scan.SetAndObserveTransformNodeID(transform.GetID())
    person.ui.inputSelector.setCurrentNode(scan)
    chosen = {key: node for key, node in emptyNodes().items() if key != "outputUncertainty"}
    for key, node in chosen.items():
        getattr(person.ui, f"{key}Selector").setCurrentNode(node)
    run(person)
    assert {node.GetTransformNodeID() for node in chosen.values()} == {transform.GetID()}
    scan.SetAndObserveTransformNodeID(None)
    for key, node in chosen.items():
        getattr(person.ui, f"{key}Selector").setCurrentNode(node)
    run(person)
    assert {node.GetParentTransformNode() for node in chosen.values()} == {None}


def test_an_earlier_result_can_be_overwritten_and_belongs_to_the_later_run(person, results):
    person.ui.inputSelector.setCurrentNode(person.loadScan())
    run(person)
    earlier = person.parameters.resultVolume
    folder = hierarchy.runFolderOf(earlier)
    earlier.GetImageData().GetPointData().GetScalars().Fill(0)
    person.ui.outputVolumeSelector.setCurrentNode(earlier)
    run(person)
    assert person.parameters.resultVolume is earlier
    assert np.array_equal(array(earlier), read_image(results / "enhanced.nrrd").array)
    assert hierarchy.runFolderOf(earlier) != folder
    press(person.ui.removeButton)
    assert earlier.GetScene() is None and person.outputs() == []


def test_an_earlier_fidelity_map_that_becomes_the_enhanced_volume_has_no_legend(person):
    person.ui.inputSelector.setCurrentNode(person.loadScan())
    press(person.ui.applyButton)
    job = person.panel.runView.job
    person.waitForEnd()
    node = job.nodes.fidelity
    person.ui.outputVolumeSelector.setCurrentNode(node)
    run(person)
    assert person.parameters.resultVolume is node and overlays.legendOf(node) is None
    assert node.GetDisplayNode().IsA("vtkMRMLScalarVolumeDisplayNode")


def test_what_is_not_ours_is_never_overwritten(person):
    ui = person.ui
    scan, other = person.loadScan(), person.loadScan("Somebody's scan")
    ui.inputSelector.setCurrentNode(scan)

    def reason() -> str:
        assert not ui.applyButton.isEnabled()
        return ui.applyButton.toolTip()

    ui.outputVolumeSelector.setCurrentNode(scan)
    assert "would be overwritten" in reason()
    ui.outputVolumeSelector.setCurrentNode(other)
    assert reason().startswith("'Somebody's scan' was not made by LowFieldEnhance and would be overwritten")
    empty = slicer.mrmlScene.AddNewNodeByClass(VOLUME, "Empty")
    ui.outputVolumeSelector.setCurrentNode(empty)
    assert ui.applyButton.isEnabled()
    ui.outputFidelitySelector.setCurrentNode(empty)
    assert reason() == "The same volume was chosen for two outputs."
    ui.fidelityCheckBox.click()
    assert ui.applyButton.isEnabled() and not ui.outputFidelitySelector.isEnabled()
    drawn = slicer.mrmlScene.AddNewNodeByClass(SEGMENTATION, "Drawn")
    drawn.GetSegmentation().AddEmptySegment("lesion")
    ui.outputSegmentationSelector.setCurrentNode(drawn)
    assert "'Drawn' was not made by LowFieldEnhance" in reason()


def test_a_result_of_another_scan_is_never_overwritten(person):
    """The choice stays when the input changes; the scan of the second patient would bear the first one's name."""
    ui = person.ui
    first, second = person.loadScan("First T1w"), person.loadScan("Second T1w")
    ui.inputSelector.setCurrentNode(first)
    ui.outputVolumeSelector.setCurrentNode(emptyNodes()["outputVolume"])
    run(person)
    before = array(person.parameters.outputVolume)
    ui.inputSelector.setCurrentNode(second)
    refusal = "'Mine (ENHANCED - not for diagnosis)' is a result of 'First T1w', not of 'Second T1w'"
    assert not ui.applyButton.isEnabled() and ui.applyButton.toolTip().startswith(refusal)
    slicer.mrmlScene.RemoveNode(first)
    person.panel.refresh()
    assert ui.applyButton.toolTip().startswith(refusal), "the scan has gone, its result has not"
    assert np.array_equal(array(person.parameters.outputVolume), before)


def test_a_node_that_a_run_will_fill_is_not_given_to_another(person, stub):
    ui = person.ui
    ui.inputSelector.setCurrentNode(person.loadScan())
    ui.outputVolumeSelector.setCurrentNode(emptyNodes()["outputVolume"])
    stub.set(STUB_MODE="slow")
    press(ui.applyButton)
    job = person.panel.runView.job
    assert not ui.queueButton.isEnabled()
    assert ui.queueButton.toolTip().startswith("'Mine' is to be filled by a run that has not ended")
    with pytest.raises(ValueError, match="is to be filled by a run"):
        person.logic.start(job.request)
    waitUntil(lambda: stub.calls)
    person.logic.cancel(job)
    person.waitForEnd()
    assert ui.applyButton.isEnabled()


def test_an_earlier_result_that_is_the_reference_is_refused(person):
    ui = person.ui
    ui.inputSelector.setCurrentNode(person.loadScan())
    run(person)
    earlier = person.parameters.resultVolume
    ui.referenceSelector.setCurrentNode(earlier)
    ui.outputVolumeSelector.setCurrentNode(earlier)
    assert "is itself an output of LowFieldEnhance; choose a volume that a scanner acquired" in ui.applyButton.toolTip()


@pytest.mark.parametrize("mode", ["bad", "cancel while loading"])
def test_a_run_that_does_not_end_well_leaves_the_chosen_node_as_it_was(person, stub, mode):
    ui = person.ui
    ui.inputSelector.setCurrentNode(person.loadScan())
    run(person)
    earlier = person.parameters.resultVolume
    before, name = array(earlier), earlier.GetName()
    ui.outputVolumeSelector.setCurrentNode(earlier)
    stub.set(STUB_MODE="bad" if mode == "bad" else "finish")
    press(ui.applyButton)
    job = person.panel.runView.job
    if mode != "bad":
        waitUntil(lambda: job.state is JobState.LOADING)
        person.logic.cancel(job)
    person.waitForEnd()
    assert job.state in (JobState.FAILED, JobState.CANCELLED)
    assert earlier.GetScene() is slicer.mrmlScene and earlier.GetName() == name
    assert np.array_equal(array(earlier), before)


def test_a_node_that_the_user_filled_or_removed_meanwhile_is_left_alone(person):
    filled, gone = (slicer.mrmlScene.AddNewNodeByClass(VOLUME, name) for name in ("Filled", "Gone"))
    job = person.logic.process(person.loadScan(), waitForCompletion=False, outputVolume=filled, outputFidelity=gone)
    volumes.updateVolumeNode(filled, head((8.0, 8.0, 8.0)))
    slicer.mrmlScene.RemoveNode(gone)
    person.waitForEnd()
    assert job.state is JobState.FINISHED
    assert filled.GetImageData().GetDimensions() == (22, 26, 22) and not filled.GetAttribute("LowFieldEnhance.Derived")
    assert job.nodes.enhanced is not filled and job.nodes.fidelity.GetScene() is slicer.mrmlScene


def test_a_script_can_choose_the_outputs(person):
    chosen = emptyNodes()
    chosen.pop("outputUncertainty")
    nodes = person.logic.process(person.loadScan(), **chosen).nodes
    assert (nodes.enhanced, nodes.segmentation, nodes.fidelity, nodes.addedDetail) == tuple(chosen.values())
    assert nodes.segmentation.GetSegmentation().GetNumberOfSegments() == len(STRUCTURES)
    scan = person.loadScan("Scan")
    with pytest.raises(ValueError, match="would be overwritten"):
        person.logic.process(scan, outputVolume=scan)


def test_chosen_nodes_survive_saving_and_loading_and_the_use_of_settings(application, person, tmp_path):
    ui = person.ui
    ui.inputSelector.setCurrentNode(person.loadScan())
    ui.outputVolumeSelector.setCurrentNode(emptyNodes()["outputVolume"])
    run(person)
    path = writeMrb(application.scene, tmp_path / "scene.mrb")
    application.scene.Clear(0)
    assert person.parameters.outputVolume is None
    assert application.scene.ReadFromMRB(str(path), False)
    marked = "Mine (ENHANCED - not for diagnosis)"  # a file is named after its node and holds no attribute
    assert person.parameters.outputVolume.GetName() == ui.outputVolumeSelector.currentNode().GetName() == marked
    press(ui.againButton)
    assert person.parameters.outputVolume.GetName() == ui.outputVolumeSelector.currentNode().GetName() == marked
