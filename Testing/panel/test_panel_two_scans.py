"""From one scan to the next, and from one run to the next: nothing is carried over, lost or repeated unseen."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
from panel_support import writeResults
from panel_tools import choose, press, waitUntil
from slicer_host.properties import useSlicerProperties

from LowFieldEnhanceSlicer import overlays
from LowFieldEnhanceSlicer.also_used import CARRIED_COLOUR
from LowFieldEnhanceSlicer.parameters import SliceProfile
from LowFieldEnhanceSlicer.request import requestFromProvenance
from LowFieldEnhanceSlicer.scene import writeMrb
from LowFieldEnhanceSlicer.source import guessContrast

pytestmark = pytest.mark.usefixtures("stub")
pytest_plugins = ["panel_fixtures"]
useSlicerProperties(__name__, False)


def enhance(person, name: str = "Head T1w"):
    """A finished run on a scan of this name."""
    person.ui.inputSelector.setCurrentNode(person.loadScan(name))
    press(person.ui.applyButton)
    job = person.panel.runView.job
    person.waitForEnd()
    return job


def test_what_was_chosen_for_another_scan_is_named_above_apply_and_can_be_cleared(person):
    ui = person.ui
    first, further, second = (person.loadScan(name) for name in ("A T1w", "A T2w", "B T1w"))
    ui.inputSelector.setCurrentNode(first)
    assert not ui.alsoUsedLabel.isVisible() and not ui.clearAlsoUsedButton.isVisible()
    person.parameters.t2wVolume = further
    person.parameters.noiseLevel = 33.0
    assert ui.alsoUsedLabel.text() == "Also used: T2w 'A T2w', noise level 33."
    assert ui.alsoUsedLabel.isVisible() and CARRIED_COLOUR not in ui.alsoUsedLabel.styleSheet()
    ui.inputSelector.setCurrentNode(second)
    assert ui.alsoUsedLabel.text() == "Still set, as chosen for 'A T1w': T2w 'A T2w', noise level 33."
    assert CARRIED_COLOUR in ui.alsoUsedLabel.styleSheet()
    person.picture("carried")
    person.parameters.noiseLevel = 20.0  # chosen anew, for this one
    assert ui.alsoUsedLabel.text() == "Also used: T2w 'A T2w', noise level 20."
    press(ui.clearAlsoUsedButton)
    assert person.parameters.t2wVolume is None and person.parameters.noiseLevel == 0
    assert person.parameters.inputVolume is second and not ui.alsoUsedLabel.isVisible()


def test_everything_that_belongs_to_one_scan_is_named_and_cleared(person):
    parameters = person.parameters
    person.ui.inputSelector.setCurrentNode(person.loadScan("A T1w"))
    parameters.referenceVolume = person.loadScan("3T T1w", (1.0, 1.0, 1.0))
    parameters.brainMask = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "brain")
    parameters.lesions = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "marked")
    parameters.psfWidthK = 6.0
    parameters.sliceProfile = SliceProfile.BOX
    parameters.displacementFile = "/field.nii.gz"
    assert person.ui.alsoUsedLabel.text() == (
        "Also used: reference '3T T1w', lesions 'marked', brain mask 'brain', PSF - x - x 6 mm, "
        "slice profile box, displacement field."
    )
    press(person.ui.clearAlsoUsedButton)
    assert not person.ui.alsoUsedLabel.isVisible() and parameters.inputVolume is not None
    assert (parameters.referenceVolume, parameters.brainMask, parameters.lesions) == (None, None, None)
    assert (parameters.psfWidthK, parameters.displacementFile) == (0, "")
    assert parameters.sliceProfile is SliceProfile.GAUSSIAN


def test_settings_of_a_scan_that_was_deleted_are_named_as_its(person):
    person.ui.inputSelector.setCurrentNode(person.loadScan("A T1w"))
    person.parameters.noiseLevel = 33.0
    slicer.mrmlScene.RemoveNode(person.parameters.inputVolume)
    person.ui.inputSelector.setCurrentNode(person.loadScan("B T1w"))
    assert person.ui.alsoUsedLabel.text() == "Still set, as chosen for 'A T1w': noise level 33."


def test_settings_taken_from_a_result_are_not_called_those_of_another_scan(person):
    ui = person.ui
    first, second = (person.loadScan(name) for name in ("A T1w", "B T1w"))
    result = person.logic.process(second, noiseLevel=33.0).nodes.enhanced
    ui.inputSelector.setCurrentNode(first)
    person.parameters.noiseLevel = 33.0
    ui.inputSelector.setCurrentNode(second)
    assert ui.alsoUsedLabel.text() == "Still set, as chosen for 'A T1w': noise level 33."
    person.parameters.resultVolume = result
    ui.resultsButton.setProperty("collapsed", False)
    press(ui.againButton)
    assert ui.alsoUsedLabel.text() == "Also used: noise level 33."
    assert CARRIED_COLOUR not in ui.alsoUsedLabel.styleSheet()


def test_numbers_of_numpy_are_taken_by_a_script(person, stub):
    numbers = {"seed": np.int64(3), "samples": np.int64(2), "spacing": np.float32(1.5), "n4": np.True_}
    job = person.logic.process(person.loadScan(), noiseLevel=np.float64(12.5), **numbers)
    (call,) = stub.calls
    assert call[call.index("--sigma") + 1] == "12.5" and call[call.index("--seed") + 1] == "3"
    again = requestFromProvenance(job.nodes.enhanced)
    assert (again.seed, again.spacing, again.n4, again.noiseLevel) == (3, 1.5, True, 12.5)


def test_a_run_that_failed_is_still_told_when_the_next_one_has_ended(person, stub):
    ui = person.ui
    first, second = person.loadScan("First T1w"), person.loadScan("Second T1w")
    stub.set(STUB_MODE="bad", STUB_SECONDS="0.5")
    ui.inputSelector.setCurrentNode(first)
    press(ui.applyButton)
    waitUntil(lambda: stub.calls)
    stub.set(STUB_MODE="finish")
    ui.inputSelector.setCurrentNode(second)
    press(ui.queueButton)
    person.waitForEnd()
    failed, done, *_warning = ui.messageLabel.text().splitlines()
    assert failed == "First T1w: 12 voxels are NaN or infinite, so the scan is damaged."
    assert done.startswith("Second T1w is enhanced")
    press(ui.detailsButton)
    assert "what an expert wants to see" in ui.logText.toPlainText()
    ui.inputSelector.setCurrentNode(second)
    press(ui.applyButton)  # a new line of runs
    assert not ui.messageLabel.isVisible() and not ui.detailsButton.isVisible()
    person.waitForEnd()
    assert "damaged" not in ui.messageLabel.text()


def test_the_cpu_gets_what_was_asked_for_whatever_the_panel_shows_by_now(person, stub):
    stub.set(STUB_MODE="memory")
    person.parameters.seed = 5
    enhance(person, "First T1w")
    person.parameters.seed = 6
    person.ui.inputSelector.setCurrentNode(person.loadScan("Second T1w"))
    press(person.ui.cpuButton)
    person.waitForEnd()
    assert [call[call.index("--seed") + 1] for call in stub.calls] == ["5", "5"]
    assert person.ui.messageLabel.text().startswith("First T1w is enhanced")
    assert person.parameters.inputVolume.GetName() == "Second T1w" and person.parameters.seed == 6


def test_the_cpu_gets_nothing_when_a_volume_of_the_run_is_gone(person, stub):
    stub.set(STUB_MODE="memory")
    reference = person.loadScan("3T T1w", (1.0, 1.0, 1.0))
    person.parameters.referenceVolume = reference
    enhance(person)
    slicer.mrmlScene.RemoveNode(reference)
    press(person.ui.cpuButton)
    assert person.ui.messageLabel.text() == "The reference volume is no longer in the scene."
    assert not person.logic.jobs and len(stub.calls) == 1


def test_the_map_of_another_scan_does_not_stay_on_the_screen(person):
    first = enhance(person, "First T1w").nodes
    choose(person.ui.overlayComboBox, "Fidelity (residual / noise)")
    assert overlays.shownOverlay([first.fidelity]) is first.fidelity
    enhance(person, "Second T1w")
    assert overlays.shownOverlay([first.fidelity]) is None and person.ui.overlayComboBox.currentText() == "None"
    manager = slicer.app.layoutManager()
    composites = [manager.sliceWidget(name).mrmlSliceCompositeNode() for name in manager.sliceViewNames()]
    assert {node.GetForegroundVolumeID() for node in composites} == {None}


def test_any_output_of_a_run_leads_to_its_views_and_its_page(person, stub, tmp_path):
    stub.set(STUB_RESULTS=str(writeResults(tmp_path / "spread", 4.0, spread=True)))
    person.parameters.samples = 2
    nodes, logic, opened = enhance(person).nodes, person.logic, []
    for node in (nodes.segmentation, nodes.table, nodes.report, nodes.fidelity, nodes.enhanced):
        window = nodes.fidelity.GetDisplayNode().GetWindow()
        assert logic.showSideBySide(node) and logic.setBlink(node) and logic.setBlink(node, False)
        assert nodes.fidelity.GetDisplayNode().GetWindow() == window == 8.0
        manager = slicer.app.layoutManager()
        shown = {
            manager.sliceWidget(name).mrmlSliceCompositeNode().GetBackgroundVolumeID()
            for name in manager.sliceViewNames()
        }
        assert nodes.enhanced.GetID() in shown and nodes.fidelity.GetID() not in shown
        assert logic.openReport(node, opened.append)
    assert len(opened) == 5
    scan = person.parameters.inputVolume
    assert not logic.showSideBySide(scan) and not logic.openReport(scan, opened.append)


def test_the_buttons_follow_a_comparison_that_ends_by_itself(person):
    enhance(person)
    ui = person.ui
    press(ui.blinkButton)
    assert ui.blinkButton.isChecked()
    slicer.app.layoutManager().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    assert not ui.blinkButton.isChecked()
    press(ui.blinkButton)
    assert ui.blinkButton.isChecked()


def test_a_callback_that_would_wait_starts_nothing(person):
    scan, refused = person.loadScan(), []

    def again(job):
        with pytest.raises(RuntimeError) as error:
            person.logic.process(scan)
        refused.append(str(error.value))

    person.logic.process(scan, onFinished=again)
    assert len(refused) == 1 and "waitForCompletion=False" in refused[0] and not person.logic.jobs


def test_a_contrast_set_by_hand_is_kept_with_its_volume(person):
    ui = person.ui
    first, second = person.loadScan("Scan 1"), person.loadScan("Scan 2")
    ui.inputSelector.setCurrentNode(first)
    choose(ui.contrastComboBox, "FLAIR")
    ui.inputSelector.setCurrentNode(second)
    assert ui.contrastComboBox.currentText() == "Other (taken for T1w)"
    ui.inputSelector.setCurrentNode(first)
    assert ui.contrastComboBox.currentText() == "FLAIR" and guessContrast(first) == "FLAIR"
    choose(ui.contrastComboBox, "Other (taken for T1w)")
    assert guessContrast(first) == "other" and first.GetAttribute("LowFieldEnhance.Contrast") is None


def test_the_contrast_of_a_loaded_scene_is_not_that_of_the_volume_that_has_the_id_now(application, person, tmp_path):
    ui = person.ui
    ui.inputSelector.setCurrentNode(person.loadScan("Saved T1w"))
    choose(ui.contrastComboBox, "FLAIR")
    path = writeMrb(application.scene, tmp_path / "scene.mrb")
    application.scene.Clear(0)
    here = person.loadScan("Here T1w")
    assert application.scene.ReadFromMRB(str(path), False)
    loaded = person.parameters.inputVolume
    assert loaded is slicer.util.getNode("Saved T1w") and ui.contrastComboBox.currentText() == "FLAIR"
    ui.inputSelector.setCurrentNode(here)
    assert ui.contrastComboBox.currentText() == "T1w" and guessContrast(here) == "T1w"
    ui.inputSelector.setCurrentNode(loaded)
    assert ui.contrastComboBox.currentText() == "FLAIR"


def test_settings_of_a_loaded_scene_are_called_those_of_its_own_scan(application, person, tmp_path):
    ui = person.ui
    ui.inputSelector.setCurrentNode(person.loadScan("Saved T1w"))
    person.parameters.noiseLevel = 33.0
    path = writeMrb(application.scene, tmp_path / "scene.mrb")
    here = person.loadScan("Here T1w")
    ui.inputSelector.setCurrentNode(here)
    assert ui.alsoUsedLabel.text() == "Still set, as chosen for 'Saved T1w': noise level 33."
    person.parameters.noiseLevel = 0.0
    assert application.scene.ReadFromMRB(str(path), False)
    assert ui.alsoUsedLabel.text() == "Also used: noise level 33."
    ui.inputSelector.setCurrentNode(here)
    assert ui.alsoUsedLabel.text().startswith("Still set, as chosen for 'Saved T1w")


def test_a_map_stays_over_the_anatomy_in_the_side_by_side_views(person):
    nodes = enhance(person).nodes
    choose(person.ui.overlayComboBox, "Fidelity (residual / noise)")
    press(person.ui.sideBySideButton)
    manager = slicer.app.layoutManager()
    composites = [manager.sliceWidget(name).mrmlSliceCompositeNode() for name in manager.sliceViewNames()]
    assert {node.GetForegroundVolumeID() for node in composites} == {nodes.fidelity.GetID()}
    assert person.ui.overlayComboBox.currentText() == "Fidelity (residual / noise)"
    choose(person.ui.overlayComboBox, "None")
    assert {node.GetForegroundVolumeID() for node in composites} == {None}
