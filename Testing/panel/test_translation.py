"""Texts of the catalogue of methods in another language: marked where they stand, translated where they are shown."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from panel_support import run
from panel_tools import choose
from slicer_host.properties import useSlicerProperties

from LowFieldEnhanceSlicer import catalogue, method_texts
from LowFieldEnhanceSlicer.method_comparison import tableOf

pytestmark = pytest.mark.usefixtures("stub")
pytest_plugins = ["panel_fixtures"]
useSlicerProperties(__name__, False)

SOURCE = Path(catalogue.__file__)
# As Slicer names the context of a file: after the package's folder and the file.
CONTEXT = f"{SOURCE.parent.name}.{SOURCE.stem}"


@pytest.fixture
def german(monkeypatch) -> dict[str, str]:
    """An application with a translation of all titles and sentences, each of which begins with DE."""
    texts = [text for entry in catalogue.METHODS.values() for text in (entry.title, entry.summary)]
    known = {(CONTEXT, text): f"DE {text}" for text in texts}
    monkeypatch.setattr(method_texts, "translate", lambda context, text: known.get((context, text), text))
    return {text: translated for (_context, text), translated in known.items()}


def test_a_tool_that_looks_for_marked_literals_finds_all_titles_and_sentences():
    calls = [node for node in ast.walk(ast.parse(SOURCE.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    marked = {
        call.args[0].value
        for call in calls
        if isinstance(call.func, ast.Name) and call.func.id == "_" and isinstance(call.args[0], ast.Constant)
    }
    assert marked == {text for entry in catalogue.METHODS.values() for text in (entry.title, entry.summary)}


def test_the_panel_shows_methods_in_the_language_of_the_application(german, request):
    person = request.getfixturevalue("person")
    ui, dps = person.ui, catalogue.METHODS["dps"]
    shown = [ui.methodComboBox.itemText(n) for n in range(ui.methodComboBox.count())]
    assert shown == [german[entry.title] for entry in catalogue.METHODS.values()]
    choose(ui.methodComboBox, german[dps.title])
    assert ui.methodLabel.text() == german[dps.summary]
    item = ui.methodsList.item(list(catalogue.METHODS).index("dps"))
    assert (item.text(), item.toolTip()) == (german[dps.title], german[dps.summary])
    ui.inputSelector.setCurrentNode(person.loadScan("HEAD"))
    run(person)
    assert ui.resultLabel.text().startswith(german[dps.title] + ", "), "what the results say of themselves"


def test_the_table_of_a_comparison_names_methods_in_that_language_and_others_as_they_are_called(german):
    document = {"columns": {"method": "Method"}, "rows": [{"method": "cubic"}, {"method": "input"}]}
    assert [row["method"] for row in tableOf(document)[1]] == [german["Cubic interpolation"], "Input"]
    assert method_texts.methodTitle("of another version") == "of another version"
