"""What the panel's buttons do with results, done by a script; and the way to the logic that Slicer's users know."""

from __future__ import annotations

import dataclasses
import gc

import pytest
import slicer
from panel_support import MODULE, writeEverything, writeResults
from panel_tools import press, waitUntil
from PySide6.QtWidgets import QApplication
from slicer_host.properties import useSlicerProperties

from LowFieldEnhanceSlicer import layout, overlays
from LowFieldEnhanceSlicer.job import JobState
from LowFieldEnhanceSlicer.layout_description import ENHANCED, sliceViews
from LowFieldEnhanceSlicer.parameters import OTHER_VOLUMES, LowFieldEnhanceParameterNode
from LowFieldEnhanceSlicer.request import Request

pytestmark = pytest.mark.usefixtures("stub")
pytest_plugins = ["panel_fixtures"]
useSlicerProperties(__name__, False)

OTHERS = dict.fromkeys(OTHER_VOLUMES.values(), "otherVolumes")


@pytest.fixture
def logic(person):
    """As the README reaches it from Slicer's Python console."""
    return slicer.modules.lowfieldenhance.logic()


@pytest.fixture
def nodes(person, logic, stub, tmp_path):
    """The results of a run with two samples."""
    stub.set(STUB_RESULTS=str(writeResults(tmp_path / "spread", 8.0, spread=True)))
    yield logic.process(person.loadScan(spacing=(8.0, 8.0, 8.0)), samples=2, seed=7).nodes
    layout.close()


def test_slicers_own_logic_object_reaches_the_python_logic(application, person):
    """In Slicer it is made by the module, in C++, and Python sees it anew each time."""
    own = slicer.modules.lowfieldenhance.logic()
    assert isinstance(own, slicer.vtkMRMLAbstractLogic)
    del own
    gc.collect()
    assert slicer.modules.lowfieldenhance.logic().process(person.loadScan()).state is JobState.FINISHED
    slicer.util.reloadScriptedModule("LowFieldEnhance")
    scan = person.loadScan("Second T1w")
    job = slicer.modules.lowfieldenhance.logic().process(scan, waitForCompletion=False)
    assert job in slicer.util.getModuleLogic("LowFieldEnhance").jobs is not person.logic.jobs
    slicer.modules.lowfieldenhance.logic().wait(job)


def test_it_is_there_before_the_panel_was_ever_opened(application, stub):
    application.loadModule(MODULE)
    application.finishStartup()
    with pytest.raises(ValueError, match="Choose an input volume"):
        slicer.modules.lowfieldenhance.logic().process(None)


def test_every_setting_of_the_panel_is_one_of_the_console_call(application):
    """Except the choice of what is shown, which the functions below have as an argument."""
    shown = {"contrastOf", "resultVolume", "comparedMethods", "comparisonTable"}
    settings = {OTHERS.get(name, name) for name in LowFieldEnhanceParameterNode.allParameters} - shown
    repeated = {"earlierInputs", "earlierWeights"}  # what a repetition is compared with: nobody sets it
    assert settings == {field.name for field in dataclasses.fields(Request)} - repeated


def test_side_by_side_blink_and_checkerboard(logic, nodes):
    scan = logic.inputOf(nodes.enhanced)
    assert scan.GetName() == "Head T1w"
    assert logic.showSideBySide(nodes.enhanced) and layout.shownPair() == (scan, nodes.enhanced)
    assert logic.showSideBySide(nodes.enhanced, axialOnly=True)
    assert slicer.app.layoutManager().layout == 642
    assert logic.setBlink(nodes.enhanced) and layout.comparisonMode() == "blink"
    assert logic.setCheckerboard(nodes.enhanced) and layout.comparisonMode() == "checkerboard"
    logic.setCheckerboard(nodes.enhanced, False)
    assert layout.comparisonMode() == "" and layout.isShown()
    assert logic.restoreLayout() and not layout.isShown()
    assert logic.setBlink(nodes.enhanced) and layout.isShown(), "blinking brings its layout"


def test_blinking_another_result_shows_that_one(logic, nodes, person):
    logic.setBlink(nodes.enhanced)
    other = logic.process(person.loadScan("Other T1w", (8.0, 8.0, 8.0))).nodes
    logic.setBlink(other.enhanced)
    assert layout.shownPair() == (logic.inputOf(other.enhanced), other.enhanced)
    view = slicer.app.layoutManager().sliceWidget(sliceViews(ENHANCED, False)[0].tag)
    assert view.mrmlSliceCompositeNode().GetForegroundVolumeID() == other.enhanced.GetID()


def test_overlays_by_name(logic, nodes):
    logic.setBlink(nodes.enhanced)
    maps = {"fidelity": nodes.fidelity, "uncertainty": nodes.uncertainty, "added detail": nodes.addedDetail}
    for name, node in maps.items():
        assert logic.showOverlay(nodes.enhanced, name) and overlays.shownOverlay(list(maps.values())) is node
        assert layout.comparisonMode() == ""
    assert logic.showOverlay(nodes.enhanced) and overlays.shownOverlay(list(maps.values())) is None
    assert not logic.showOverlay(nodes.enhanced, "anger")


def test_surfaces_structures_and_charts(logic, nodes):
    assert logic.showSurfaces(nodes.enhanced)
    segmentation = nodes.segmentation.GetSegmentation()
    assert (
        segmentation.ContainsRepresentation("Closed surface") and nodes.segmentation.GetDisplayNode().GetVisibility3D()
    )
    logic.showSideBySide(nodes.enhanced)
    assert logic.jumpToStructure(nodes.enhanced, segmentation.GetNthSegmentID(2))
    assert not logic.jumpToStructure(nodes.enhanced, "Spleen")
    node = slicer.app.layoutManager().layoutLogic().GetLayoutNode()
    assert logic.showChart(nodes.enhanced, beforeAfter=True) and logic.showChart(nodes.table)
    assert node.GetViewArrangement() == node.SlicerLayoutFourUpPlotView


def test_surfaces_that_nobody_waits_for_end_with_the_module(application, logic, nodes):
    assert logic.showSurfaces(nodes.enhanced, waitForCompletion=False)
    assert QApplication.overrideCursor() is not None
    application.unloadModule("LowFieldEnhance")
    assert QApplication.overrideCursor() is None


def test_the_report_opens_and_the_run_is_removed(logic, nodes):
    opened = []
    assert logic.openReport(nodes.enhanced, opened.append) and opened[0].toLocalFile().endswith(".html")
    scan = logic.inputOf(nodes.enhanced)
    assert not logic.openReport(scan) and not logic.removeRun(scan)
    logic.showSideBySide(nodes.enhanced)
    assert logic.removeRun(nodes.segmentation)
    assert scan.GetScene() is not None and nodes.enhanced.GetScene() is None and not layout.isShown()


def test_run_again_makes_the_same_once_more_in_new_nodes(person, logic, nodes, stub):
    again = logic.runAgain(nodes.segmentation).nodes
    assert again.enhanced is not nodes.enhanced and nodes.enhanced.GetScene() is not None
    first, second = ([part for part in call if "LowFieldEnhance-" not in part] for call in stub.calls)
    assert first == second and "--seed" in first and first[first.index("--seed") + 1] == "7"
    with pytest.raises(ValueError, match="does not say how it was made"):
        logic.runAgain(person.loadScan())


def test_run_again_on_another_scan_than_before_says_so(person, logic, stub):
    """Somebody has corrected one voxel of the scan, and then moved the reference."""
    scan, reference = person.loadScan(), person.loadScan("Reference")
    nodes = logic.process(scan, referenceVolume=reference).nodes
    assert not any("no repetition" in text for text in logic.runAgain(nodes.enhanced).warnings)
    slicer.util.arrayFromVolume(scan)[2, 3, 4] += 1.0
    scan.Modified()
    (said,) = (text for text in logic.runAgain(nodes.enhanced).warnings if "no repetition" in text)
    assert said.endswith("lay elsewhere: input volume")
    reference.SetOrigin(5.0, 6.0, 7.0)
    (said,) = (text for text in logic.runAgain(nodes.enhanced).warnings if "no repetition" in text)
    assert said.endswith("lay elsewhere: input volume, reference volume")


def test_the_button_runs_again_and_leaves_the_settings_of_the_panel(person, logic, nodes, stub):
    person.parameters.resultVolume = nodes.enhanced
    person.ui.resultsButton.setProperty("collapsed", False)
    person.ui.seedSpinBox.setValue(3)
    press(person.ui.runAgainButton)
    assert person.ui.applyButton.text() == "Cancel"
    person.waitForEnd()
    assert stub.calls[-1][stub.calls[-1].index("--seed") + 1] == "7" and person.ui.seedSpinBox.value() == 3
    assert person.parameters.resultVolume is not nodes.enhanced
    scan = logic.inputOf(nodes.enhanced)
    person.parameters.resultVolume = nodes.enhanced
    slicer.mrmlScene.RemoveNode(scan)
    press(person.ui.runAgainButton)
    assert "which is no longer in the scene, so it cannot be made again" in person.ui.messageLabel.text()
    assert len(stub.calls) == 2


def test_a_comparison_is_made_again_with_its_methods(person, logic, stub, tmp_path):
    stub.set(STUB_COMPARISON=str(writeEverything(tmp_path, 8.0)[1]))
    nodes = logic.compare(person.loadScan(), methods="cubic,bridged:standard").nodes
    again = logic.runAgain(nodes.table).nodes
    assert again.table is not nodes.table
    methods = [call[call.index("--methods") + 1] for call in stub.calls]
    assert methods == ["cubic:fast,bridged:standard"] * 2
    slicer.util.arrayFromVolume(logic.inputOf(nodes.table))[2, 3, 4] += 1.0
    assert "no repetition" in logic.runAgain(nodes.table).warnings[0]


def test_estimate_and_model_cards_without_a_panel(person, logic):
    scan = person.loadScan()
    person.ui.inputSelector.setCurrentNode(scan)
    assert logic.estimate(scan).text in person.ui.estimateLabel.text()
    assert logic.estimate(scan, "bridged", preset="paper").seconds["cpu"] > 100 * logic.estimate(scan).seconds["cpu"]
    assert [path.stem for path in logic.modelCards("bridged")] == [
        "bridged_bridge", "bridged_companions", "bridged_prior",
    ]  # fmt: skip
    assert logic.modelCards("cubic") == []
    with pytest.raises(ValueError, match="no method 'magic'"):
        logic.modelCards("magic")


def test_two_logics_share_the_machine_in_turn(person, stub):
    """A script may make a logic of its own while the panel's run is on its way."""
    stub.set(STUB_SECONDS="0.6")
    person.ui.inputSelector.setCurrentNode(person.loadScan())
    press(person.ui.applyButton)
    waitUntil(lambda: stub.calls)
    own = type(person.logic)()
    job = own.process(person.loadScan("Second T1w"), waitForCompletion=False)
    busy = []

    def ended() -> bool:
        busy.append((person.logic.queue.current is not None, own.queue.current is not None))
        return job.done and not person.logic.jobs

    waitUntil(ended, 20.0)
    assert (True, True) not in busy and busy.index((True, False)) < busy.index((False, True))
    assert job.state is JobState.FINISHED and len(stub.calls) == 2
    own.close()
