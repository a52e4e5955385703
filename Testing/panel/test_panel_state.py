"""What the panel keeps: through scene files, scene close and reload; what it guesses; and running again."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import slicer
from panel_support import head
from panel_tools import choose, press, waitUntil
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QTextBrowser
from slicer_host.properties import useSlicerProperties

from LowFieldEnhanceLib.formats.field_strength import field_strength_t
from LowFieldEnhanceLib.image_io import read_image
from LowFieldEnhanceSlicer import catalogue, layout, navigation, volumes
from LowFieldEnhanceSlicer.estimate import duration, estimate
from LowFieldEnhanceSlicer.export import InputCopies
from LowFieldEnhanceSlicer.parameters import Method, Preset, requestOf
from LowFieldEnhanceSlicer.request import Request
from LowFieldEnhanceSlicer.scene import writeMrb

pytest_plugins = ["panel_fixtures"]
useSlicerProperties(__name__, False)


def setUp(person):
    """Settings that differ from the defaults and from what would be guessed."""
    ui = person.ui
    ui.inputSelector.setCurrentNode(person.loadScan("Head T1w"))
    choose(ui.contrastComboBox, "FLAIR")
    choose(ui.methodComboBox, "Regression U-Net")
    choose(ui.deviceComboBox, "CPU")
    ui.seedSpinBox.setValue(11)
    ui.fidelityCheckBox.click()


def settings(person):
    request = requestOf(person.parameters)
    return (request.inputVolume.GetName(), request.contrast, request.method, request.device, request.seed,
            request.makeFidelity)  # fmt: skip


EXPECTED = ("Head T1w", "FLAIR", "regression", "cpu", 11, False)


def test_settings_survive_saving_closing_and_loading_the_scene(application, person, tmp_path):
    setUp(person)
    path = writeMrb(application.scene, tmp_path / "scene.mrb")
    application.scene.Clear(0)
    assert person.parameters.inputVolume is None and person.ui.seedSpinBox.value() == 0
    assert application.scene.ReadFromMRB(str(path), False)
    assert settings(person) == EXPECTED
    assert person.ui.contrastComboBox.currentText() == "FLAIR" and person.ui.applyButton.isEnabled()
    assert person.ui.inputSelector.currentNode().GetName() == "Head T1w"


def test_settings_survive_a_reload_of_the_module(person):
    setUp(person)
    slicer.util.reloadScriptedModule("LowFieldEnhance")
    renewed = slicer.util.getModuleWidget("LowFieldEnhance")
    assert renewed is not person.widget and renewed.ui.seedSpinBox.value() == 11
    assert requestOf(renewed.panel.parameters).contrast == "FLAIR"


def test_contrast_is_guessed_from_dicom_tags_then_the_name(person, monkeypatch):
    ui = person.ui
    for name, expected in (("sub-01_T2w", "T2w"), ("axial FLAIR", "FLAIR"), ("Head", "Other (taken for T1w)")):
        ui.inputSelector.setCurrentNode(person.loadScan(name))
        assert ui.contrastComboBox.currentText() == expected
    tags = {"0008,103e": "AXI T2 Gray White", "0008,0060": "MR"}
    database = SimpleNamespace(isOpen=True, instanceValue=lambda uid, tag: tags.get(tag, ""))
    monkeypatch.setattr(slicer, "dicomDatabase", database, raising=False)
    scan = person.loadScan("6: T1 named wrongly")
    scan.SetAttribute("DICOM.instanceUIDs", "1.2.3 1.2.4")
    ui.inputSelector.setCurrentNode(scan)
    assert ui.contrastComboBox.currentText() == "T2w"


def test_the_field_strength_goes_along_from_dicom_tags_or_a_sidecar(person, monkeypatch, tmp_path):
    def handedOver(scan, folder: str) -> float | None:
        (tmp_path / folder).mkdir()
        copies = InputCopies(Request(scan), tmp_path / folder)
        copies.write()
        return field_strength_t(read_image(copies.files["input"]).meta)

    scan = person.loadScan("Head T1w")
    assert handedOver(scan, "unknown") is None
    scan.AddDefaultStorageNode()
    scan.GetStorageNode().SetFileName(str(tmp_path / "sub-01_T1w.nii.gz"))
    (tmp_path / "sub-01_T1w.json").write_text('{"MagneticFieldStrength": 0.064}')
    assert handedOver(scan, "sidecar") == 0.064
    database = SimpleNamespace(isOpen=True, instanceValue=lambda uid, tag: "3" if tag == "0018,0087" else "")
    monkeypatch.setattr(slicer, "dicomDatabase", database, raising=False)
    scan.SetAttribute("DICOM.instanceUIDs", "1.2.3")
    assert handedOver(scan, "DICOM") == 3.0


def test_the_input_contrast_cannot_be_given_twice(person):
    person.ui.inputSelector.setCurrentNode(person.loadScan("Head T1w"))
    assert not person.ui.t1wSelector.isEnabled() and person.ui.t2wSelector.isEnabled()
    choose(person.ui.contrastComboBox, "T2w")
    assert person.ui.t1wSelector.isEnabled() and not person.ui.t2wSelector.isEnabled()


def test_entering_the_module_takes_the_only_scan(application, person):
    slicer.util.selectModule("")
    scan = person.loadScan("Head T2w")
    slicer.util.selectModule("LowFieldEnhance")
    assert person.parameters.inputVolume is scan and person.ui.contrastComboBox.currentText() == "T2w"


def test_a_hidden_panel_works_nothing_out_and_shows_all_when_it_is_seen_again(application, person, stub, monkeypatch):
    scan, ui = person.loadScan(), person.ui
    ui.inputSelector.setCurrentNode(scan)
    drawn = []
    slicer.util.selectModule("")
    monkeypatch.setattr(person.panel.methodView, "refresh", drawn.append)
    slicer.util.arrayFromVolumeModified(scan)
    person.parameters.seed = 9
    job = person.logic.process(scan, waitForCompletion=False)
    person.parameters.inputVolume = other = person.loadScan("Sagittal T2w")
    person.waitForEnd()
    assert drawn == [] and job.nodes.enhanced is not None
    monkeypatch.undo()
    slicer.util.selectModule("LowFieldEnhance")
    assert ui.seedSpinBox.value() == 9 and ui.inputSelector.currentNode() is other
    assert ui.contrastComboBox.currentText() == "T2w", "it is guessed for a volume that was chosen meanwhile"
    assert ui.applyButton.isEnabled()
    choose(ui.contrastComboBox, "T1w")
    assert not ui.t1wSelector.isEnabled() and ui.t2wSelector.isEnabled()


def test_a_run_that_ends_while_the_panel_is_hidden_is_its_result_all_the_same(application, person, stub):
    person.ui.inputSelector.setCurrentNode(person.loadScan())
    press(person.ui.applyButton)
    job, timer = person.panel.runView.job, person.panel.runView._timer
    assert timer.isActive()
    slicer.util.selectModule("")
    assert not timer.isActive(), "it only draws"
    person.waitForEnd()
    slicer.util.selectModule("LowFieldEnhance")
    assert person.parameters.resultVolume is job.nodes.enhanced is person.ui.resultSelector.currentNode()
    assert person.ui.messageLabel.text().startswith("Head T1w is enhanced.")
    assert not person.ui.progressBar.isVisible() and person.ui.applyButton.text() == "Apply"
    press(person.ui.applyButton)
    slicer.util.selectModule("")
    slicer.util.selectModule("LowFieldEnhance")
    assert timer.isActive() and person.ui.progressBar.isVisible() and person.ui.applyButton.text() == "Cancel"
    person.waitForEnd()


def test_a_scene_that_is_loaded_while_the_panel_is_hidden_is_shown_by_it(application, person, tmp_path):
    person.ui.inputSelector.setCurrentNode(person.loadScan())
    person.ui.seedSpinBox.setValue(4)
    path = writeMrb(application.scene, tmp_path / "scene.mrb")
    slicer.util.selectModule("")
    application.scene.Clear(0)
    assert application.scene.ReadFromMRB(str(path), False)
    slicer.util.selectModule("LowFieldEnhance")
    assert person.ui.seedSpinBox.value() == 4 and person.ui.applyButton.isEnabled()
    assert person.ui.estimateLabel.text()


def test_run_again_sets_the_panel_to_what_made_a_result(application, person, stub, tmp_path):
    """Also after saving and loading the scene under other node ids."""
    setUp(person)
    press(person.ui.applyButton)
    person.waitForEnd()
    path = writeMrb(application.scene, tmp_path / "scene.mrb")
    application.scene.Clear(0)
    person.loadScan("Takes the first id")
    assert application.scene.ReadFromMRB(str(path), False)
    choose(person.ui.methodComboBox, "Bridged diffusion")
    person.ui.inputSelector.setCurrentNode(slicer.util.getNode("Takes the first id"))
    press(person.ui.againButton)
    assert settings(person) == EXPECTED
    assert person.logic.parametersFromProvenance(person.parameters.resultVolume) == requestOf(person.parameters)
    press(person.ui.applyButton)
    person.waitForEnd()
    first, second = ([part for part in call if "LowFieldEnhance-" not in part] for call in stub.calls)
    assert first == second


def test_a_node_without_provenance_cannot_be_run_again(person):
    with pytest.raises(ValueError, match="does not say how it was made"):
        person.logic.parametersFromProvenance(person.loadScan())


def test_the_buttons_of_a_result_work_on_it(person, stub, monkeypatch):
    shown, opened = [], []
    monkeypatch.setattr(layout, "showSideBySide", lambda *nodes, axialOnly=False: shown.append((*nodes, axialOnly)))
    monkeypatch.setattr(person.panel.resultsView, "_openUrl", lambda url: opened.append(url.toLocalFile()))
    ui = person.ui
    scan = person.loadScan()
    ui.inputSelector.setCurrentNode(scan)
    assert not ui.sideBySideButton.isEnabled()
    press(ui.applyButton)
    person.waitForEnd()
    result = person.parameters.resultVolume
    press(ui.sideBySideButton)
    press(ui.axialButton)
    assert shown == [(scan, result, False), (scan, result, True)]
    press(ui.reportButton)
    assert "Report of the run" in Path(opened[0]).read_text(encoding="utf-8")
    press(ui.surfaceButton)
    segmentation = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    waitUntil(lambda: ui.surfaceButton.text() == "Show in 3-D")
    assert segmentation.GetSegmentation().ContainsRepresentation("Closed surface")


def test_blink_and_checkerboard_exclude_each_other_and_show_the_layout(person, stub):
    ui = person.ui
    ui.inputSelector.setCurrentNode(person.loadScan())
    press(ui.applyButton)
    person.waitForEnd()
    assert not layout.isShown()
    press(ui.blinkButton)
    assert layout.isShown() and layout.comparisonMode() == "blink" and ui.blinkButton.isChecked()
    press(ui.checkerboardButton)
    assert layout.comparisonMode() == "checkerboard" and not ui.blinkButton.isChecked()
    press(ui.earlierButton)
    assert not layout.isShown() and not ui.checkerboardButton.isChecked()


def test_a_row_of_the_structures_leads_there_however_it_is_sorted(person, stub, monkeypatch):
    asked = []
    monkeypatch.setattr(navigation, "jumpToStructure", lambda node, name: asked.append((node, name)))
    ui = person.ui
    ui.inputSelector.setCurrentNode(person.loadScan())
    press(ui.applyButton)
    person.waitForEnd()
    table = ui.structuresTable
    headings = [table.horizontalHeaderItem(n).text() for n in range(table.columnCount())]
    column = headings.index("Volume enhanced (ml)")
    table.sortItems(column, Qt.SortOrder.DescendingOrder)
    assert [table.item(row, column).data(Qt.ItemDataRole.DisplayRole) for row in range(3)] == [59.5, 20.5, 12.5]
    table.cellClicked.emit(0, column)
    segmentation = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    assert asked == [(segmentation, "Right-Thalamus")]
    press(ui.removeButton)
    assert not table.isVisible() and table.rowCount() == 0


def test_the_model_card_opens_beside_the_panel(application, person):
    press(person.ui.cardButton)
    card = person.panel.methodView.card
    assert card.isVisible() and card.windowTitle() == "Model card: Bridged diffusion"
    assert "Where it departs from the paper" in card.findChild(QTextBrowser).toPlainText()
    choose(person.ui.methodComboBox, "Linear interpolation")
    assert not person.ui.cardButton.isEnabled() and "no network" in person.ui.cardButton.toolTip()
    assert not person.ui.presetComboBox.isEnabled()


def test_sample_data_is_registered_at_the_end_of_the_startup(application, person):
    application.finishStartup()
    assert slicer.modules.sampleDataSources


def test_catalogue_says_what_the_library_says():
    """Methods, sentences, presets, networks and cost, compared with the registry that needs torch."""
    from LowFieldEnhanceLib import image
    from LowFieldEnhanceLib.methods import base
    from LowFieldEnhanceLib.methods.registry import METHODS

    scan = head((4.0, 4.0, 4.0))
    voxels = scan.array.size
    assert list(catalogue.METHODS) == [method.value for method in Method]
    assert set(catalogue.METHODS) == set(METHODS) and catalogue.CONTRASTS == image.CONTRASTS
    assert {preset for method in METHODS.values() for preset in method.presets} == {preset.value for preset in Preset}
    for name, entry in catalogue.METHODS.items():
        method = METHODS[name]
        said = (entry.title, entry.summary, entry.presets, entry.models)
        assert said == (method.title, method.summary, method.presets, method.models)
        for preset, evaluations in entry.evaluations.items():
            cost = method.cost(base.Case({"T1w": scan}, "T1w", np.ones(scan.shape, dtype=bool), scan, 1.0), preset)
            seconds = entry.seconds + entry.workOf(preset) * voxels / 1e9 * catalogue.SECONDS_PER_GIGAVOXEL["cpu"]
            assert (cost.evaluations, cost.peak_bytes) == (evaluations, voxels * entry.bytesPerVoxel)
            assert seconds == pytest.approx(cost.seconds)
    assert catalogue.SECONDS_PER_GIGAVOXEL == base.SECONDS_PER_GIGAVOXEL
    assert all(catalogue.cardPaths(name) or not entry.models for name, entry in catalogue.METHODS.items())


def test_estimate_grows_with_the_preset_and_shrinks_with_the_device(person):
    scan = volumes.addVolume(slicer.mrmlScene, head((4.0, 4.0, 4.0)), "Head")
    fast, paper = (estimate(scan, "bridged", preset, "cpu") for preset in ("fast", "paper"))
    assert paper.seconds["cpu"] > 100 * fast.seconds["cpu"] > estimate(scan, "bridged", "fast", "cuda").seconds["cuda"]
    assert fast.memory == pytest.approx(600e6 + 176 * 208 * 176 * catalogue.BYTES_PER_VOXEL)
    coarse = estimate(scan, "bridged", "fast", "cpu", spacing=2.0)  # networks work on 1 mm
    assert coarse.seconds == fast.seconds and coarse.memory == fast.memory
    with_network, plain = (estimate(scan, name, "fast", "cpu", spacing=0.3).memory for name in ("bridged", "cubic"))
    assert plain > estimate(scan, "cubic", "fast", "cpu").memory and with_network == fast.memory
    assert estimate(scan, "bridged", "fast").text.startswith("Roughly 10 s on an NVIDIA card, ")
    assert [duration(seconds) for seconds in (1, 57, 58, 600, 3569, 3571)] == [
        "5 s", "55 s", "1 min", "10 min", "59 min", "1.0 h",
    ]  # fmt: skip
