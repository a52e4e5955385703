"""Comparing methods on one scan: from the choice in the panel to the table and the page in the scene."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import slicer
from panel_support import SPACING, optionsOf
from panel_tools import press
from PySide6.QtCore import Qt
from slicer_host.properties import useSlicerProperties
from test_panel_trust import drawnLesions, labelMapNode, scanWithLesions

from LowFieldEnhanceSlicer import hierarchy, method_comparison, volumes
from LowFieldEnhanceSlicer.catalogue import METHODS
from LowFieldEnhanceSlicer.job import JobState
from LowFieldEnhanceSlicer.logic import RunFailed
from LowFieldEnhanceSlicer.method_comparison import choicesOf, disagreementText, provenanceOf, tableOf
from LowFieldEnhanceSlicer.parameters import requestOf
from LowFieldEnhanceSlicer.request import requestFromProvenance
from LowFieldEnhanceSlicer.run_progress import OverallProgress, stagesOf
from LowFieldEnhanceSlicer.scene import writeMrb

pytest_plugins = ["panel_fixtures"]
useSlicerProperties(__name__, False)

DOCUMENT = {
    "columns": {"method": "Method", "preset": "Preset", "share_above_3": "Share above 3 SD, %", "seconds": "Seconds"},
    "rows": [
        {"method": "input", "preset": "", "failure": None},
        {"method": "cubic", "preset": "fast", "share_above_3": 0.0125, "seconds": 1.5, "verdict": "Usable."},
        {"method": "bm4d", "preset": "fast", "failure": {"kind": "BadInput", "message": "bm4d is not installed"}},
    ],
    "disagreement": {
        "text": 'SD among the 2 results: 3.5 (0.7 times the scan\'s noise); "most" at Left Thalamus, 3 %.'
    },
}


@pytest.fixture
def opened(person):
    """The pages that were opened in the browser."""
    urls = []
    person.panel.compareView._openUrl = urls.append
    return urls


@pytest.fixture
def prepared(stub, results, tmp_path):
    """The stub leaves this comparison."""
    folder = tmp_path / "prepared"
    folder.mkdir()
    (folder / "compare.json").write_text(json.dumps(DOCUMENT), encoding="utf-8")
    (folder / "compare.html").write_text("<html><body>Methods on one scan</body></html>", encoding="utf-8")
    stub.set(STUB_COMPARISON=str(folder))
    return stub


def openSection(person):
    person.ui.compareSectionButton.setProperty("collapsed", False)


def chooseMethods(person, *names: str) -> None:
    listed = person.ui.methodsList
    for n, name in enumerate(METHODS):
        listed.item(n).setCheckState(Qt.CheckState.Checked if name in names else Qt.CheckState.Unchecked)


def cells(table) -> dict[str, list]:
    columns = [table.GetTable().GetColumn(n) for n in range(table.GetNumberOfColumns())]
    return {column.GetName(): [column.GetValue(row) for row in range(table.GetNumberOfRows())] for column in columns}


def test_methods_are_compared_by_the_real_child(person, library, opened, monkeypatch):
    documents = []
    monkeypatch.setattr(method_comparison, "provenanceOf", lambda told: documents.append(told) or provenanceOf(told))
    registry = Path(os.environ["LOWFIELDENHANCE_MODELS"], "models.json")
    document = json.loads(registry.read_text())
    document["models"]["regression_unet"] = {**document["models"]["segmenter"], "file": "absent.safetensors"}
    registry.write_text(json.dumps(document))
    ui = person.ui
    scan = volumes.addVolume(slicer.mrmlScene, scanWithLesions(), "Head T1w")
    ui.inputSelector.setCurrentNode(scan)
    ui.lesionsSelector.setCurrentNode(drawnLesions())
    ui.spacingSpinBox.setValue(SPACING)
    person.parameters.segmentMirrored = True
    openSection(person)
    chooseMethods(person, "cubic", "linear", "regression")
    press(ui.compareButton)
    assert ui.applyButton.text() == "Cancel"
    person.waitForEnd(120)
    assert ui.messageLabel.text().startswith("2 methods were compared on Head T1w. Not run: regression:fast."), (
        ui.logText.toPlainText()
    )
    table = person.parameters.comparisonTable
    found = cells(table)
    # The weights of the third method are absent, so its row says so.
    assert found["Method"] == ["Input", "Regression U-Net", "Cubic interpolation", "Linear interpolation"]
    assert found["Note"][1].startswith("not run:") and found["Seconds"][2] > 0
    assert 0 <= found["Share above 3 SD, %"][2] <= 100
    # Interpolation on the scan's own grid changes nothing: all that was drawn survives, and the two agree.
    assert found["Marked regions that survive"] == ["-", "-", "2 of 2", "2 of 2"]
    assert ui.comparisonTable.isVisible() and ui.comparisonTable.rowCount() == 4
    assert ui.disagreementLabel.isVisible()
    assert "among the 2 results inside the brain: 0 in" in ui.disagreementLabel.text()
    assert len(opened) == 1 and "data:image/png;base64," in Path(opened[0].toLocalFile()).read_text(encoding="utf-8")
    tree = hierarchy.subjectHierarchy(slicer.mrmlScene)
    folder = tree.GetItemParent(tree.GetItemByDataNode(table))
    assert tree.GetItemName(folder) == "LowFieldEnhance: Head T1w methods compared"
    assert all(name.startswith("LowFieldEnhance-pages-") for name in person.leftFolders())
    # Whatever the library says of a run stands on the table, but for what it says of a method alone.
    first, _second = (report["provenance"] for report in documents[0]["reports"].values())
    silent = {key for key in first if table.GetAttribute(f"LowFieldEnhance.{key}") is None}
    assert silent == {"method", "title", "citation", "preset", "settings", "method_spacing"}
    assert table.GetAttribute("LowFieldEnhance.mirrored") == "true"
    press(ui.removeComparisonButton)
    assert person.outputs() == [] and person.parameters.comparisonTable is None and scan.GetScene() is not None
    assert not ui.disagreementLabel.isVisible()


def test_the_command_line_of_a_comparison(person, prepared, opened):
    ui = person.ui
    ui.inputSelector.setCurrentNode(person.loadScan())
    ui.referenceSelector.setCurrentNode(person.loadScan("Reference"))
    ui.registerCheckBox.click()
    ui.seedSpinBox.setValue(5)
    openSection(person)
    chooseMethods(person, "bridged", "cubic")
    press(ui.compareButton)
    person.waitForEnd()
    options = optionsOf(prepared)
    assert options.methods == "bridged:fast,cubic:fast" and options.contrast == "T1w"
    assert options.reference and options.register and options.seed == 5 and options.lesions is None
    assert options.brain_mask is None


@pytest.mark.parametrize("make", [drawnLesions, labelMapNode])
def test_chosen_lesions_are_handed_to_the_comparison_and_found_again(person, prepared, opened, make):
    ui = person.ui
    ui.inputSelector.setCurrentNode(person.loadScan())
    lesions = make()
    ui.lesionsSelector.setCurrentNode(lesions)
    openSection(person)
    chooseMethods(person, "cubic")
    press(ui.compareButton)
    person.waitForEnd()
    assert Path(optionsOf(prepared).lesions).name == "lesions.nrrd"
    table = person.parameters.comparisonTable
    assert requestFromProvenance(table).lesions is lesions
    job = person.logic.compare(ui.inputSelector.currentNode(), "cubic", lesions=lesions)
    assert job.state is JobState.FINISHED and optionsOf(prepared).lesions


def test_a_comparison_of_one_method_says_nothing_of_disagreement(person, prepared, opened, tmp_path):
    for between in (None, {}, {"methods": ["cubic:fast"]}):
        file = tmp_path / "prepared" / "compare.json"
        file.write_text(json.dumps({**DOCUMENT, "disagreement": between}), encoding="utf-8")
        table = person.logic.compare(person.loadScan(), "cubic").nodes.table
        assert disagreementText(table) == ""
        person.parameters.comparisonTable = table
        openSection(person)
        assert person.ui.comparisonTable.isVisible() and not person.ui.disagreementLabel.isVisible()


def test_the_table_has_titles_shares_in_percent_and_failures_as_notes():
    headings, rows = tableOf(DOCUMENT)
    assert list(headings.values()) == ["Method", "Preset", "Share above 3 SD, %", "Seconds", "Note"]
    assert [row["method"] for row in rows] == ["Input", "Cubic interpolation", "Cubic interpolation + BM4D"]
    assert rows[1]["share_above_3"] == pytest.approx(1.25) and rows[1]["note"] == "Usable."
    assert rows[2]["note"] == "not run: bm4d is not installed" and rows[2]["seconds"] is None


def test_the_console_compares_too_and_the_page_is_the_scenes(person, prepared):
    logic = slicer.util.getModuleLogic("LowFieldEnhance")
    job = logic.compare(person.loadScan(), methods=["cubic", "bm4d:fast"])
    assert job.state is JobState.FINISHED and "Methods on one scan" in job.nodes.page.GetText()
    assert job.summary == "1 method was run on Head T1w. Not run: bm4d:fast."
    assert cells(job.nodes.table)["Method"][1] == "Cubic interpolation"
    asked = []
    job = logic.compare(person.loadScan(), waitForCompletion=False, onFinished=asked.append)
    assert not job.done
    person.waitForEnd()
    assert (
        asked == [job] and prepared.calls[-1][prepared.calls[-1].index("--methods") + 1].count(",") == len(METHODS) - 1
    )
    for methods, reason in (("magic", "no method 'magic'"), ("cubic:paper", "no method"), ([], "Choose the methods"),
                            ("cubic,cubic:fast", "twice")):  # fmt: skip
        with pytest.raises(ValueError, match=reason):
            logic.compare(person.loadScan(), methods=methods)
    with pytest.raises(TypeError, match="no setting samples"):
        logic.compare(person.loadScan(), samples=3)


def test_a_comparison_is_cancelled_like_any_run(person, stub, opened):
    stub.set(STUB_MODE="slow")
    ui = person.ui
    ui.inputSelector.setCurrentNode(person.loadScan())
    openSection(person)
    press(ui.compareButton)
    job = person.panel.runView.job
    person.cancel()
    person.waitForEnd()
    assert job.state is JobState.CANCELLED and job.nodes.table is None
    assert person.outputs() == [] and opened == [] and person.leftFolders() == []


def test_a_comparison_that_fails_is_one_sentence(person, stub, opened):
    stub.set(STUB_MODE="bad")
    with pytest.raises(RunFailed, match="12 voxels are NaN"):
        person.logic.compare(person.loadScan())


def test_why_nothing_can_be_compared_stands_in_the_tooltip(person, stub):
    ui = person.ui
    assert not ui.compareButton.isEnabled() and ui.compareButton.toolTip() == "Choose an input volume."
    ui.inputSelector.setCurrentNode(person.loadScan())
    assert ui.compareButton.isEnabled() and "memory" in ui.comparisonEstimateLabel.text()
    chooseMethods(person)
    assert not ui.compareButton.isEnabled() and ui.compareButton.toolTip() == "Choose the methods to compare."


def test_the_choice_and_the_table_survive_saving(application, person, prepared, opened, tmp_path):
    ui = person.ui
    ui.inputSelector.setCurrentNode(person.loadScan())
    openSection(person)
    chooseMethods(person, "cubic", "linear")
    press(ui.compareButton)
    person.waitForEnd()
    path = writeMrb(application.scene, tmp_path / "scene.mrb")
    application.scene.Clear(0)
    assert choicesOf(person.parameters.comparedMethods) == choicesOf("all") and not ui.comparisonTable.isVisible()
    assert application.scene.ReadFromMRB(str(path), False)
    assert person.parameters.comparedMethods == "cubic,linear" and ui.comparisonTable.rowCount() == 3
    assert ui.disagreementLabel.text() == DOCUMENT["disagreement"]["text"]
    listed = [ui.methodsList.item(n) for n in range(ui.methodsList.count())]
    assert [item.text() for item in listed if item.checkState() is Qt.CheckState.Checked] == [
        "Cubic interpolation", "Linear interpolation",
    ]  # fmt: skip
    press(ui.comparisonPageButton)
    assert len(opened) == 2
    assert requestOf(person.parameters).inputVolume.GetName() == "Head T1w"


def test_methods_that_a_script_names_with_blanks_are_ticked(person):
    openSection(person)
    person.parameters.comparedMethods = "cubic, linear"
    listed = [person.ui.methodsList.item(n) for n in range(person.ui.methodsList.count())]
    assert [item.text() for item in listed if item.checkState() is Qt.CheckState.Checked] == [
        "Cubic interpolation", "Linear interpolation",
    ]  # fmt: skip


def test_the_progress_of_a_comparison_never_falls_and_follows_the_methods():
    line = ["compare", "a.nii", "-o", "out", "--methods", "cubic:fast,irem:fast"]
    overall = OverallProgress(stagesOf(line), lambda: 0.0)
    fractions = []
    for stage in ("read", "segment the input", "cubic:fast (1 of 2): enhance", "cubic:fast (1 of 2): report",
                  "irem:fast (2 of 2): enhance", "irem:fast (2 of 2): report"):  # fmt: skip
        overall.update({"event": "progress", "stage": stage, "done": 1, "total": 1})
        fractions.append(overall.overallProgress()[0])
    assert fractions == sorted(fractions) and fractions[-1] == 1.0
    assert fractions[4] - fractions[3] > 5 * (fractions[2] - fractions[1]), "IREM takes longer than interpolation"
