"""What can be done with a result: overlays with their legends, charts, and surfaces made bit by bit."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import slicer
from panel_support import STRUCTURES, layers, writeResults
from panel_tools import choose, press, waitUntil
from PySide6.QtWidgets import QApplication
from slicer_host.properties import useSlicerProperties
from slicer_session import newScene

from LowFieldEnhanceSlicer import layout, overlays
from LowFieldEnhanceSlicer.scene import writeMrb

pytestmark = pytest.mark.usefixtures("stub")
pytest_plugins = ["panel_fixtures"]
useSlicerProperties(__name__, False)

LEGEND = "vtkMRMLColorLegendDisplayNode"
FIDELITY = "Fidelity (residual / noise)"
ADDED_DETAIL = "Added detail (not supported by the scan)"


@pytest.fixture
def nodes(person, stub, tmp_path):
    """The results of a run with two samples."""
    stub.set(STUB_RESULTS=str(writeResults(tmp_path / "spread", 4.0, spread=True)))
    person.ui.inputSelector.setCurrentNode(person.loadScan())
    person.ui.samplesSpinBox.setValue(2)
    press(person.ui.applyButton)
    job = person.panel.runView.job
    person.waitForEnd()
    return job.nodes


def foregrounds() -> set[str | None]:
    """What lies over the anatomy, in all slice views."""
    manager = slicer.app.layoutManager()
    composites = [manager.sliceWidget(name).mrmlSliceCompositeNode() for name in manager.sliceViewNames()]
    return {node.GetForegroundVolumeID() for node in composites if node.GetForegroundOpacity() > 0} - {None}


def test_an_overlay_is_switched_on_and_off_with_its_legend(person, nodes):
    """Slicer draws a visible legend only in views that show its volume: so it comes and goes with the overlay."""
    box = person.ui.overlayComboBox
    assert [box.itemText(n) for n in range(box.count())] == ["None", FIDELITY, "Uncertainty", ADDED_DETAIL]
    assert box.currentText() == "None" and foregrounds() == set()
    expected = {
        "Uncertainty": (nodes.uncertainty, "SD among samples"),
        FIDELITY: (nodes.fidelity, "Residual / noise"),
        ADDED_DETAIL: (nodes.addedDetail, "Added detail (% of local contrast)"),
    }
    for text, (node, title) in expected.items():
        choose(box, text)
        assert foregrounds() == {node.GetID()}
        legend = overlays.legendOf(node)
        assert legend.GetVisibility() and legend.GetDisplayableNode() is node
        assert legend.GetTitleText() == title
    choose(box, "None")
    assert foregrounds() == set()


def test_signed_overlays_are_symmetric_and_the_uncertainty_starts_at_zero(nodes):
    """Each range as the legend shows it: level plus and minus half the window."""
    ranges = []
    for node in (nodes.fidelity, nodes.uncertainty, nodes.addedDetail):
        display = node.GetDisplayNode()
        assert not display.GetAutoWindowLevel()
        ranges.append([display.GetLevel() + sign * display.GetWindow() / 2 for sign in (-1, 1)])
    assert ranges[0] == [-4.0, 4.0] and ranges[1][0] == pytest.approx(0.0) and ranges[1][1] > 0
    assert ranges[2] == [-100.0, 100.0]


def test_legends_go_with_the_run(person, nodes):
    choose(person.ui.overlayComboBox, FIDELITY)
    assert slicer.mrmlScene.GetNumberOfNodesByClass(LEGEND) == 3
    press(person.ui.removeButton)
    assert slicer.mrmlScene.GetNumberOfNodesByClass(LEGEND) == 0 and foregrounds() == set()
    assert not person.ui.overlayComboBox.isEnabled() and person.ui.overlayComboBox.currentText() == "None"


@pytest.mark.parametrize("end", ["off", "remove", "another result"])
def test_the_foreground_of_the_user_comes_back_after_the_overlay(person, nodes, end):
    mine, add = person.loadScan("Mine"), slicer.vtkMRMLSliceCompositeNode.Add
    slicer.util.setSliceViewerLayers(foreground=mine, foregroundOpacity=0.7)
    slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode().SetCompositing(add)
    before = layers()
    assert {(node, opacity) for node, opacity, _ in before} == {(mine.GetID(), 0.7)}
    assert [compositing for *_, compositing in before].count(add) == 1
    choose(person.ui.overlayComboBox, FIDELITY)
    choose(person.ui.overlayComboBox, "Uncertainty")
    assert {node for node, *_ in layers()} == {nodes.uncertainty.GetID()}
    if end == "off":
        choose(person.ui.overlayComboBox, "None")
    elif end == "remove":
        press(person.ui.removeButton)
    else:
        press(person.ui.applyButton)
        person.waitForEnd()
    assert layers() == before


def test_what_the_user_chose_in_the_place_of_the_overlay_stays_when_it_is_turned_off(person, nodes):
    earlier, later = person.loadScan("Earlier"), person.loadScan("Later")
    slicer.util.setSliceViewerLayers(foreground=earlier, foregroundOpacity=0.7)
    choose(person.ui.overlayComboBox, FIDELITY)
    red = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
    red.SetForegroundVolumeID(later.GetID())
    choose(person.ui.overlayComboBox, "None")
    assert red.GetForegroundVolumeID() == later.GetID()
    assert {node for node, *_ in layers()} == {later.GetID(), earlier.GetID()}
    slicer.mrmlScene.RemoveNode(earlier)
    slicer.util.setSliceViewerLayers(foreground=nodes.fidelity, foregroundOpacity=0.4)  # by Slicer's own controls
    person.panel.refresh()
    choose(person.ui.overlayComboBox, "None")
    assert foregrounds() == set()


def test_a_map_stays_over_the_anatomy_while_a_file_is_loaded_beside_it(application, person, nodes, tmp_path):
    with newScene() as other:
        other.scene.AddNewNodeByClass("vtkMRMLModelNode", "Loaded")
        path = writeMrb(other.scene, tmp_path / "model.mrb")
    choose(person.ui.overlayComboBox, FIDELITY)
    shown = layers()
    assert application.scene.ReadFromMRB(str(path), False) and slicer.util.getNode("Loaded") is not None
    QApplication.processEvents()
    assert layers() == shown and person.ui.overlayComboBox.currentText() == FIDELITY
    person.parameters.resultVolume = None
    assert foregrounds() == set(), "there would be no way to take it off"


def test_an_overlay_ends_blinking(person, nodes):
    press(person.ui.blinkButton)
    assert layout.comparisonMode() == "blink"
    choose(person.ui.overlayComboBox, FIDELITY)
    assert layout.comparisonMode() == "" and not person.ui.blinkButton.isChecked()
    assert foregrounds() == {nodes.fidelity.GetID()}


def test_the_selection_of_the_overlay_follows_the_slice_views(person, nodes):
    """Also if the overlay was changed by Slicer's own controls."""
    slicer.util.setSliceViewerLayers(foreground=nodes.uncertainty, foregroundOpacity=0.3)
    person.panel.refresh()
    assert person.ui.overlayComboBox.currentText() == "Uncertainty"


def test_a_result_without_maps_offers_no_overlay(person):
    person.ui.inputSelector.setCurrentNode(person.loadScan())
    for box in (person.ui.fidelityCheckBox, person.ui.uncertaintyCheckBox, person.ui.addedDetailCheckBox):
        box.click()
    press(person.ui.applyButton)
    person.waitForEnd()
    assert not person.ui.overlayComboBox.isEnabled() and person.ui.overlayComboBox.count() == 1


def test_each_chart_button_shows_its_chart(person, nodes, monkeypatch):
    shown = []
    logic = SimpleNamespace(ShowChartInLayout=shown.append)
    monkeypatch.setattr(slicer.modules, "plots", SimpleNamespace(logic=lambda: logic))
    press(person.ui.chartButton)
    press(person.ui.beforeAfterButton)
    assert shown == [nodes.chart, nodes.beforeAfterChart]


def test_a_chart_brings_a_layout_with_a_plot_view(person, nodes):
    node = slicer.app.layoutManager().layoutLogic().GetLayoutNode()
    assert node.GetViewArrangement() == node.SlicerLayoutFourUpView
    press(person.ui.beforeAfterButton)
    assert node.GetViewArrangement() == node.SlicerLayoutFourUpPlotView


def test_surfaces_are_made_one_by_one_while_the_window_lives(person, nodes):
    button, texts = person.ui.surfaceButton, []
    press(button)
    assert QApplication.overrideCursor() is not None

    def finished() -> bool:
        if not texts or texts[-1] != button.text():
            texts.append(button.text())
        return button.text() == "Show in 3-D"

    waitUntil(finished)
    assert {text for text in texts if text.endswith(f"of {len(STRUCTURES)} - cancel")} and texts[-1] == "Show in 3-D"
    assert QApplication.overrideCursor() is None
    segmentation = nodes.segmentation.GetSegmentation()
    surfaces = [
        segmentation.GetSegment(name).GetRepresentation("Closed surface") for name in segmentation.GetSegmentIDs()
    ]
    assert all(surface.GetNumberOfPolys() > 10 for surface in surfaces)
    assert nodes.segmentation.GetDisplayNode().GetVisibility3D()


@pytest.mark.parametrize("edited", [False, True])
def test_surfaces_are_those_of_slicer(person, nodes, edited):
    """The oracle is Slicer's own call, which makes them all at once; also of voxels that change meanwhile."""
    segmentation, button = nodes.segmentation.GetSegmentation(), person.ui.surfaceButton

    def bounds() -> list[tuple[float, ...]]:
        parts = [segmentation.GetSegment(name) for name in segmentation.GetSegmentIDs()]
        return [part.GetRepresentation("Closed surface").GetBounds() for part in parts]

    press(button)
    if edited:
        waitUntil(lambda: button.text().startswith("Surface 3 "))
        voxels = slicer.util.arrayFromSegmentInternalBinaryLabelmap(nodes.segmentation, segmentation.GetNthSegmentID(0))
        voxels[: len(voxels) // 2] = 0
        segmentation.GetNthSegment(0).GetRepresentation("Binary labelmap").Modified()
    waitUntil(lambda: button.text() == "Show in 3-D")
    made = bounds()
    nodes.segmentation.RemoveClosedSurfaceRepresentation()
    nodes.segmentation.CreateClosedSurfaceRepresentation()
    assert made == bounds()


def test_making_surfaces_can_be_cancelled(person, nodes):
    button = person.ui.surfaceButton
    press(button)
    assert button.text().endswith("- cancel") and button.isEnabled()
    press(button)
    assert button.text() == "Show in 3-D" and button.isEnabled() and QApplication.overrideCursor() is None
    press(button)
    waitUntil(lambda: nodes.segmentation.GetSegmentation().ContainsRepresentation("Closed surface"))


def test_removing_the_run_while_its_surfaces_are_made_ends_that(person, nodes):
    press(person.ui.surfaceButton)
    person.ui.removeButton.click()
    QApplication.processEvents()
    assert person.outputs() == [] and QApplication.overrideCursor() is None
    assert person.ui.surfaceButton.text() == "Show in 3-D"


def test_the_spread_of_each_structure_has_its_column(person, nodes):
    table = person.ui.structuresTable
    headings = [table.horizontalHeaderItem(n).text() for n in range(table.columnCount())]
    column = headings.index("Volume CV (%)")
    assert [table.item(row, column).text() for row in range(3)] == ["1.5", "2.5", "3.5"]
