"""Results of several runs on one scan are told apart by their names, and by the line below their selector."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
import slicer
from panel_support import run, writeEverything
from panel_tools import choose
from slicer_host.properties import useSlicerProperties

from LowFieldEnhanceSlicer import hierarchy, marks, result_line

pytestmark = pytest.mark.usefixtures("stub")
pytest_plugins = ["panel_fixtures"]
useSlicerProperties(__name__, False)

MARK = "(ENHANCED - not for diagnosis)"


def runOf(person, method: str = "Bridged diffusion", preset: str = "Fast"):
    """Apply with this method and preset; the enhanced volume."""
    choose(person.ui.methodComboBox, method)
    choose(person.ui.presetComboBox, preset)
    run(person)
    return person.parameters.resultVolume


class Later(datetime):
    """The clock of another day."""

    @classmethod
    def now(cls) -> datetime:
        return datetime(2031, 2, 3, 4, 5, 6)


def folderName(node) -> str:
    return hierarchy.subjectHierarchy(slicer.mrmlScene).GetItemName(hierarchy.runFolderOf(node))


def test_names_carry_method_and_preset_and_a_repetition_a_number(person):
    person.ui.inputSelector.setCurrentNode(person.loadScan("HEAD"))
    nodes = [runOf(person), runOf(person, preset="Standard"), runOf(person, "DiffDeuR"), runOf(person, "DiffDeuR")]
    called = ["HEAD bridged fast", "HEAD bridged standard", "HEAD diffdeur fast"]
    assert [node.GetName() for node in nodes[:3]] == [f"{name} {MARK}" for name in called]
    assert [folderName(node) for node in nodes[:3]] == [f"LowFieldEnhance: {name}" for name in called]
    assert len({folderName(node) for node in nodes}) == len({node.GetName() for node in nodes}) == 4
    for node, name in zip(nodes, called, strict=False):
        outputs = [output.GetName() for output in person.logic.outputsOf(node) if not output.GetHideFromEditors()]
        named = [output for output in outputs if MARK in output]
        assert len(named) >= 6 and all(output.startswith(name) for output in named)


def test_the_line_below_the_selector_says_method_preset_time_and_scan(person):
    ui = person.ui
    ui.resultsButton.setProperty("collapsed", False)
    assert not ui.resultLabel.isVisible()
    ui.inputSelector.setCurrentNode(person.loadScan("HEAD"))
    before = datetime.now().replace(second=0, microsecond=0)
    first, second = runOf(person), runOf(person, "DiffDeuR", "Standard")
    method, preset, time, scan = ui.resultLabel.text().split(", ")
    assert (method, preset, scan) == ("DiffDeuR", "Standard", "of 'HEAD'") and ui.resultLabel.isVisible()
    assert before <= datetime.strptime(time, "%Y-%m-%d %H:%M") <= before + timedelta(minutes=5)
    ui.resultSelector.setCurrentNode(first)
    assert ui.resultLabel.text().startswith("Bridged diffusion, Fast, ")
    slicer.mrmlScene.RemoveNode(person.parameters.inputVolume)
    assert result_line.resultLine(second).endswith(", of 'HEAD'"), "the scan has gone, its result has not"


def test_the_line_below_the_comparison_selector_says_time_and_scan(person, stub, tmp_path, monkeypatch):
    stub.set(STUB_COMPARISON=str(writeEverything(tmp_path, 8.0)[1]))
    ui = person.ui
    ui.compareSectionButton.setProperty("collapsed", False)
    assert not ui.comparisonLabel.isVisible()
    before = datetime.now().replace(second=0, microsecond=0)
    first = person.logic.compare(person.loadScan("HEAD"), "cubic").nodes
    monkeypatch.setattr(marks, "datetime", Later)
    second = person.logic.compare(first.table.GetNodeReference(marks.INPUT_ROLE), "cubic").nodes
    person.parameters.comparisonTable = second.table
    assert ui.comparisonLabel.text() == "2031-02-03 04:05, of 'HEAD'" and ui.comparisonLabel.isVisible()
    person.parameters.comparisonTable = first.table
    time, scan = ui.comparisonLabel.text().split(", ")
    assert scan == "of 'HEAD'" == result_line.resultLine(first.page).split(", ")[1]
    assert before <= datetime.strptime(time, "%Y-%m-%d %H:%M") <= before + timedelta(minutes=5)
    slicer.mrmlScene.RemoveNode(person.logic.inputOf(first.table))
    assert result_line.resultLine(second.table) == "2031-02-03 04:05, of 'HEAD'"
    person.parameters.comparisonTable = None
    assert not ui.comparisonLabel.isVisible()


def test_a_result_that_says_little_has_a_short_line(scene):
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    assert result_line.resultLine(node) == ""
    node.SetAttribute("LowFieldEnhance.method", "of another version")
    node.SetAttribute("LowFieldEnhance.made", "yesterday")
    assert result_line.resultLine(node) == "of another version"


def test_an_earlier_result_that_is_filled_by_another_method_is_called_so_unless_the_user_named_it(person):
    person.ui.inputSelector.setCurrentNode(person.loadScan("HEAD"))
    node = runOf(person)
    person.ui.outputVolumeSelector.setCurrentNode(node)
    assert runOf(person) is node and node.GetName() == f"HEAD bridged fast {MARK}"
    assert runOf(person, "DiffDeuR") is node and node.GetName() == f"HEAD diffdeur fast {MARK}"
    node.SetName("Mine")
    assert runOf(person) is node and node.GetName() == f"Mine {MARK}"
