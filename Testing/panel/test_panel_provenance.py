"""Every output says how it was made, can be made again, and is found in a scene that was made elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import slicer
from panel_support import head, writeEverything
from panel_tools import press
from PySide6.QtCore import Qt
from slicer_host.properties import useSlicerProperties
from test_panel_trust import labelMapNode

from LowFieldEnhanceLib.image_io import write_image
from LowFieldEnhanceSlicer import export, hierarchy, layout
from LowFieldEnhanceSlicer.method_comparison import provenanceOf
from LowFieldEnhanceSlicer.parameters import Method
from LowFieldEnhanceSlicer.scene import writeMrb

ROOT = Path(__file__).resolve().parents[2]

pytest_plugins = ["panel_fixtures"]
useSlicerProperties(__name__, False)

PREFIX = "LowFieldEnhance."
WEIGHTS = {"bridged_bridge": "ab" * 32}
RUN = {"derived": "ENHANCED - not for diagnosis", "method": "bridged", "preset": "fast", "seed": 7, "weights": WEIGHTS,
       "segmenter": {"name": "segmenter", "sha256": "cd" * 32}, "input_sha256": "ef" * 32, "seconds": 2.5,
       "versions": {"lowfield-enhance": "0.1.0"}, "device": "cpu"}  # fmt: skip
OTHER = {**RUN, "method": "diffdeur", "weights": {"slice_prior": "12" * 32}, "seconds": 4.0}


@pytest.fixture
def logic(person, stub, tmp_path, monkeypatch):
    """Of runs that leave everything, with the provenance of real ones; the weights that made them are installed."""
    results, comparison = writeEverything(tmp_path / "prepared", 8.0)
    for path, change in (
        (results / "report.json", {"provenance": RUN}),
        (comparison / "compare.json",
         {"reports": {"bridged:fast": {"provenance": RUN}, "diffdeur:fast": {"provenance": OTHER}}}),
    ):  # fmt: skip
        path.write_text(json.dumps({**json.loads(path.read_text()), **change}), encoding="utf-8")
    stub.set(STUB_RESULTS=str(results), STUB_COMPARISON=str(comparison))
    present = {**WEIGHTS, "slice_prior": "12" * 32, "segmenter": "cd" * 32}
    monkeypatch.setattr(export, "installed", present.get)
    person.present = present
    return person.logic


def runNodes(node) -> list:
    return hierarchy.runNodes(hierarchy.runFolderOf(node), slicer.mrmlScene)


def test_every_output_of_a_run_has_its_provenance_and_is_made_again(person, logic, stub):
    settings = {"referenceVolume": person.loadScan("3T"), "registerReference": True, "samples": 2}
    nodes = logic.process(person.loadScan(), lesions=labelMapNode(), seed=7, **settings).nodes
    found = [getattr(nodes, field.name) for field in fields(nodes)]
    assert None not in found, "lesion table, registration and report among them"
    assert set(found) <= set(runNodes(nodes.enhanced))
    for node in runNodes(nodes.enhanced):
        said = {key: node.GetAttribute(PREFIX + key) for key in RUN}
        expected = {key: value if isinstance(value, str) else json.dumps(value) for key, value in RUN.items()}
        assert {**said, "segmenter": None} == {**expected, "segmenter": None}, node.GetName()
        assert json.loads(said["segmenter"]) == RUN["segmenter"]
        assert node.GetAttribute("LowFieldEnhance.input_name") == "Head T1w"
        assert logic.inputOf(node).GetName() == "Head T1w"
    for node in (nodes.lesionTable, nodes.report, nodes.registration):
        logic.runAgain(node)
    assert len({json.dumps([part for part in call if "-" not in part[1:]]) for call in stub.calls}) == 1


def test_the_table_and_the_page_of_a_comparison_have_theirs(person, logic, stub):
    nodes = logic.compare(person.loadScan(), "bridged,diffdeur:fast", seed=7).nodes
    assert runNodes(nodes.table) == [nodes.table, nodes.page]
    for node in (nodes.table, nodes.page):
        assert json.loads(node.GetAttribute(PREFIX + "methods")) == [["bridged", "fast"], ["diffdeur", "fast"]]
        assert json.loads(node.GetAttribute(PREFIX + "weights")) == {**WEIGHTS, "slice_prior": "12" * 32}
        for key in ("seed", "versions", "segmenter"):
            assert json.loads(node.GetAttribute(PREFIX + key)) == RUN[key]
        assert node.GetAttribute(PREFIX + "input_sha256") == RUN["input_sha256"]
        assert json.loads(node.GetAttribute(PREFIX + "seconds")) == 6.5
        again = logic.runAgain(node)
        assert again.nodes.page is not nodes.page
        assert not any("no repetition" in text for text in again.warnings)
    assert [call[0] for call in stub.calls] == ["compare"] * 3
    assert len({call[call.index("--methods") + 1] for call in stub.calls}) == 1


def test_a_comparison_says_what_all_its_runs_say_alike_and_the_weights_and_licences_of_all():
    licence = {"segmenter": "Apache-2.0"}
    made = {"mirrored": True, "sigma": 21.5, "profile": "box", "segmenter": RUN["segmenter"], "brain_mask_sha256": None}
    runs = [
        {**made, "method": "cubic", "weights": {}, "licences": licence, "samples": 1, "seconds": 1.5},
        {**made, "method": "bridged", "weights": WEIGHTS, "licences": {**licence, "bridged_bridge": "CC BY-NC-SA 4.0"},
         "samples": 8, "seconds": 4.0},
    ]  # fmt: skip
    found = provenanceOf({"reports": {run["method"]: {"provenance": run} for run in runs}})
    assert found == {**made, "weights": WEIGHTS, "licences": runs[1]["licences"], "seconds": 5.5}
    assert provenanceOf({"reports": {"cubic": {"provenance": runs[0]}}}) == {
        key: value for key, value in runs[0].items() if key != "method"
    }
    assert provenanceOf({}) == {}


def test_run_again_with_other_weights_says_so_and_runs(person, logic):
    nodes = logic.process(person.loadScan()).nodes
    compared = logic.compare(person.loadScan(), "bridged,diffdeur").nodes
    for node in (nodes.enhanced, compared.page):
        assert not any("no repetition" in text for text in logic.runAgain(node).warnings)
    person.present["slice_prior"] = "0" * 64
    assert not any("no repetition" in text for text in logic.runAgain(nodes.enhanced).warnings)
    (said,) = (text for text in logic.runAgain(compared.table).warnings if "no repetition" in text)
    assert said.endswith("with other weights of 'slice_prior'")
    person.present |= {"bridged_bridge": "0" * 64, "segmenter": "1" * 64}
    (said,) = (text for text in logic.runAgain(nodes.report).warnings if "no repetition" in text)
    assert "bridged_bridge" in said and "segmenter" in said and "slice_prior" not in said
    del person.present["bridged_bridge"], person.present["segmenter"]  # the run itself will say that
    assert not any("no repetition" in text for text in logic.runAgain(nodes.enhanced).warnings)


def test_installed_weights_are_those_of_the_registry(application):
    from LowFieldEnhanceLib.weights import model_info

    assert export.installed("segmenter") == model_info("segmenter")[0].sha256
    assert export.installed("no network of ours") is None


def test_provenance_and_run_again_survive_saving(application, person, logic, tmp_path):
    nodes = logic.compare(person.loadScan(), "bridged,diffdeur").nodes
    name = nodes.page.GetName()
    path = writeMrb(application.scene, tmp_path / "scene.mrb")
    application.scene.Clear(0)
    assert application.scene.ReadFromMRB(str(path), False)
    person.present["bridged_bridge"] = "0" * 64
    (said,) = (text for text in logic.runAgain(slicer.util.getNode(name)).warnings if "no repetition" in text)
    assert said.endswith("other weights of 'bridged_bridge'")


def test_the_settings_of_a_result_leave_alone_where_the_next_one_goes(person, logic, tmp_path):
    enhanced = logic.process(person.loadScan(), seed=7).nodes.enhanced
    chosen = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Mine")
    person.parameters.outputVolume, person.parameters.dicomFolder = chosen, str(tmp_path)
    logic.parametersFromProvenance(enhanced)
    assert person.parameters.seed == 7
    assert person.parameters.outputVolume is chosen and person.parameters.dicomFolder == str(tmp_path)
    assert person.ui.dicomPathLineEdit.currentPath == str(tmp_path)


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        ({"seed": 2**40}, "The panel cannot be set to the seed 1099511627776, only to one from 0 to 2147483647; "
         "'Run again' takes it as it is."),
        ({"seed": -1}, "The panel cannot be set to the seed -1, only to one from 0 to 2147483647; 'Run again' takes it "
         "as it is."),
        ({"method": "magic"}, "The panel cannot be set to the method 'magic', which this version does not have."),
        ({"sliceProfile": "sinc"}, "The panel cannot be set to the slice profile 'sinc', which this version does not "
         "have."),
    ],
)  # fmt: skip
def test_settings_that_the_panel_cannot_show_leave_it_as_it_was(person, logic, made, sentence):
    first, ui = person.loadScan("First T1w"), person.ui
    enhanced = logic.process(first, referenceVolume=person.loadScan("3T"), seed=made.get("seed", 0)).nodes.enhanced
    attribute = PREFIX + "request"
    enhanced.SetAttribute(attribute, json.dumps(json.loads(enhanced.GetAttribute(attribute)) | made))
    person.parameters.inputVolume = second = person.loadScan("Second T2w")
    person.parameters.resultVolume = enhanced
    ui.resultsButton.setProperty("collapsed", False)
    press(ui.againButton)
    assert ui.messageLabel.text() == sentence
    assert person.parameters.inputVolume is second and person.parameters.contrast.value == "T2w"
    assert person.parameters.referenceVolume is None and person.parameters.seed == 0


def test_the_settings_of_a_comparison_are_its_methods_and_what_it_heeds(person, logic):
    """It makes no maps and has no method of its own, and knows of no samples: those of the panel stay."""
    table = logic.compare(person.loadScan(), "diffdeur:standard,cubic", seed=7).nodes.table
    parameters, ui = person.parameters, person.ui
    parameters.method, parameters.samples, parameters.n4 = Method.CSSDIFF, 3, True
    before = {name: getattr(parameters, name) for name in ("method", "preset", "samples", "n4", "makeSegmentation",
              "makeFidelity", "makeUncertainty", "makeAddedDetail")}  # fmt: skip
    assert list(before.values())[-4:] == [True] * 4
    logic.parametersFromProvenance(table)
    assert {name: getattr(parameters, name) for name in before} == before
    assert parameters.seed == 7 and parameters.inputVolume is logic.inputOf(table)
    items = [ui.methodsList.item(n) for n in range(ui.methodsList.count())]
    ticked = [item for item in items if item.checkState() == Qt.CheckState.Checked]
    assert [item.text() for item in ticked] == ["DiffDeuR: standard", "Cubic interpolation"]
    ticked[1].setCheckState(Qt.CheckState.Unchecked)
    assert parameters.comparedMethods == "diffdeur:standard"


@pytest.fixture(scope="module")
def demoScene(tmp_path_factory, results: Path) -> Path:
    """The scene file of ``make demo``, written as it does it: by a process of its own."""
    folder = tmp_path_factory.mktemp("demo")
    write_image(head((8.0, 8.0, 8.0)), folder / "input.nii.gz", "scan")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "LowFieldEnhance"), str(ROOT)])}
    line = ["--input", folder / "input.nii.gz", "--enhanced", results / "enhanced.nrrd", "--segmentation",
            results / "segmentation.nrrd", "--report-json", results / "report.json", "--output",
            folder / "scene.mrb"]  # fmt: skip
    command = [sys.executable, "-m", "LowFieldEnhanceSlicer", *map(str, line)]
    subprocess.run(command, check=True, env=environment, capture_output=True)
    return folder / "scene.mrb"


def test_the_results_of_the_demos_scene_are_listed_and_can_be_compared(application, person, demoScene):
    assert application.scene.ReadFromMRB(str(demoScene), False)
    selector = person.ui.resultSelector
    (enhanced,) = (selector.nodeFromIndex(n) for n in range(selector.nodeCount()))
    assert enhanced.GetName() == "input bridged fast (ENHANCED - not for diagnosis)"
    scan = slicer.util.getNode("input")
    assert person.logic.inputOf(enhanced) is scan
    person.parameters.resultVolume = enhanced
    person.ui.resultsButton.setProperty("collapsed", False)
    assert person.ui.structuresTable.isVisible() and person.ui.structuresTable.rowCount() == 3
    for button in (person.ui.chartButton, person.ui.beforeAfterButton, person.ui.removeButton):
        assert button.isEnabled()
    press(person.ui.sideBySideButton)
    assert layout.shownPair() == (scan, enhanced)
    person.picture("panel-demo-scene")
    press(person.ui.runAgainButton)
    assert person.ui.messageLabel.text() == (
        "'input bridged fast (ENHANCED - not for diagnosis)' was not made in Slicer and does not say how it was made, "
        "so it cannot be made again."
    )
