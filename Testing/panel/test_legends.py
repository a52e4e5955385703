"""The colour legends of the overlays, as Slicer's own displayable manager draws them into the slice views."""

from __future__ import annotations

import pytest
import slicer
from panel_support import writeResults
from panel_tools import choose, press
from slicer_host.properties import useSlicerProperties

from LowFieldEnhanceSlicer import layout, overlays
from LowFieldEnhanceSlicer.layout_description import ENHANCED, sliceViews

pytestmark = pytest.mark.usefixtures("stub")
pytest_plugins = ["panel_fixtures"]
useSlicerProperties(__name__, False)

MANAGER = "vtkMRMLColorLegendDisplayableManager"
FIDELITY = "Fidelity (residual / noise)"


def titles(viewName: str) -> list[str]:
    """What the legends that are seen in a view are headed."""
    view = slicer.app.layoutManager().sliceWidget(viewName).sliceView()
    manager = view.displayableManagerByClassName(MANAGER)
    nodes = slicer.util.getNodesByClass("vtkMRMLColorLegendDisplayNode")
    actors = [manager.GetColorLegendActor(node) for node in nodes]
    return [actor.GetTitle() for actor in actors if actor is not None and actor.GetVisibility()]


def allTitles() -> set[tuple[str, ...]]:
    """The same of every view."""
    return {tuple(titles(name)) for name in slicer.app.layoutManager().sliceViewNames()}


@pytest.fixture
def drawn(person):
    """The legends are drawn from before any run on, as in Slicer."""
    assert allTitles() == {()}
    yield
    layout.close()


@pytest.fixture
def nodes(person, drawn, stub, tmp_path):
    """The results of a run with two samples."""
    stub.set(STUB_RESULTS=str(writeResults(tmp_path / "spread", 8.0, spread=True)))
    person.ui.inputSelector.setCurrentNode(person.loadScan(spacing=(8.0, 8.0, 8.0)))
    person.ui.samplesSpinBox.setValue(2)
    press(person.ui.applyButton)
    job = person.panel.runView.job
    person.waitForEnd()
    return job.nodes


def test_the_legend_of_a_single_results_uncertainty_says_that_it_is_expected(person, drawn):
    person.ui.inputSelector.setCurrentNode(person.loadScan())
    press(person.ui.applyButton)
    person.waitForEnd()
    choose(person.ui.overlayComboBox, "Uncertainty")
    assert allTitles() == {("Expected deviation (SD)",)}


def test_each_overlay_is_drawn_with_its_legend_and_no_other(person, drawn, nodes):
    assert allTitles() == {()}, "a run alone puts no legend into the views"
    titles = {
        FIDELITY: "Residual / noise",
        "Uncertainty": "SD among samples",
        "Added detail (not supported by the scan)": "Added detail (% of local contrast)",
    }
    for text, title in titles.items():
        choose(person.ui.overlayComboBox, text)
        assert allTitles() == {(title,)}
    choose(person.ui.overlayComboBox, "None")
    assert allTitles() == {()}


def test_the_legend_is_drawn_in_views_that_are_younger_than_it(person, drawn, nodes):
    press(person.ui.sideBySideButton)
    assert allTitles() == {()}
    choose(person.ui.overlayComboBox, FIDELITY)
    assert allTitles() == {("Residual / noise",)}


def test_blinking_hides_the_legend_with_the_overlay_and_brings_it_back(person, drawn, nodes):
    press(person.ui.sideBySideButton)
    assert allTitles() == {()}
    choose(person.ui.overlayComboBox, FIDELITY)
    names = [view.tag for view in sliceViews(ENHANCED, axialOnly=False)]
    press(person.ui.blinkButton)
    assert [titles(name) for name in names] == [[], [], []]
    press(person.ui.blinkButton)
    assert [titles(name) for name in names] == [["Residual / noise"]] * 3
    assert overlays.shownOverlay([nodes.fidelity]) is nodes.fidelity


def test_the_legend_shows_the_range_of_the_map(person, drawn, nodes):
    choose(person.ui.overlayComboBox, FIDELITY)
    view = slicer.app.layoutManager().sliceWidget("Red").sliceView()
    actor = view.displayableManagerByClassName(MANAGER).GetColorLegendActor(overlays.legendOf(nodes.fidelity))
    table = actor.GetLookupTable()
    assert table.GetRange() == (-4.0, 4.0)
