"""The test host runs a scripted module as Slicer does: loading, panel, parameter node, reload and the end."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Optional

import pytest
import slicer
from panel_tools import choose, grab, press
from PySide6 import QtWidgets
from slicer.parameterNodeWrapper import Choice, Decimals, Default, Minimum, WithinRange, parameterNodeWrapper
from slicer_host.properties import useSlicerProperties

from LowFieldEnhanceSlicer.scene import writeMrb

DEMO = Path(__file__).parent / "demo" / "HostDemo.py"
useSlicerProperties("HostDemo")
useSlicerProperties(__name__, False)


@pytest.fixture
def panel(application):
    application.loadModule(DEMO)
    return application.showModule("HostDemo")


def addVolume(name: str) -> slicer.vtkMRMLScalarVolumeNode:
    return slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)


def test_a_module_is_found_where_slicer_puts_it(application):
    module = application.loadModule(DEMO)
    assert slicer.modules.hostdemo is module and module.title == "Host demo"
    assert slicer.util.modulePath("HostDemo") == str(DEMO)
    assert slicer.modules.HostDemoInstance.started == 0
    application.finishStartup()
    assert slicer.modules.HostDemoInstance.started == 1
    slicer.selfTests["HostDemo"]()
    assert vars(slicer).pop("hostDemoWasTested")


def test_the_python_logic_is_reached_by_the_widget_only(panel):
    assert slicer.util.getModuleLogic("HostDemo") is panel.logic
    assert slicer.util.getModuleWidget("HostDemo") is panel is slicer.modules.HostDemoWidget
    assert slicer.modules.hostdemo.logic() is not panel.logic


def test_enter_exit_and_cleanup_are_called_in_turn(application, panel):
    slicer.util.selectModule("")
    slicer.util.selectModule("HostDemo")
    slicer.mrmlScene.Clear(0)
    application.unloadModule("HostDemo")
    assert panel.calls == ["enter", "exit", "enter", "close", "cleanup"]
    assert not hasattr(slicer.modules, "hostdemo") and panel.Observations == []


def test_the_end_of_the_application_is_told_before_modules_are_unloaded(application, panel):
    def onQuit() -> None:
        panel.calls.append("quit")

    slicer.app.connect("aboutToQuit()", onQuit)
    application.quit()
    assert panel.calls == ["enter", "quit", "cleanup"]


def test_a_reload_makes_a_new_panel_with_the_same_parameters(panel):
    panel.ui.samplesSpinBox.setValue(7)
    reloaded = slicer.util.reloadScriptedModule("HostDemo")
    renewed = slicer.util.getModuleWidget("HostDemo")
    assert type(renewed) is reloaded.HostDemoWidget and renewed is not panel
    assert panel.calls == ["enter", "cleanup"]
    assert renewed.ui.samplesSpinBox.value() == 7


def test_the_property_style_works_in_the_module(panel, tmp_path):
    """Apply starts disabled with its reason, and a click changes texts, bar and visibility of the real widgets."""
    ui = panel.ui
    assert not ui.applyButton.isEnabled() and ui.applyButton.toolTip() == "Choose an input volume"
    with pytest.raises(AssertionError, match="Choose an input volume"):
        press(ui.applyButton)
    ui.inputSelector.setCurrentNode(addVolume("Head"))
    assert ui.applyButton.isEnabled() and ui.applyButton.toolTip() == ""
    assert ui.progressBar.isHidden()
    press(ui.applyButton)
    assert ui.statusLabel.text() == "bicubic Bicubic"
    assert ui.progressBar.value() == 40 and ui.progressBar.isVisible()
    assert grab(panel.parent, tmp_path / "panel.png").read_bytes().startswith(b"\x89PNG")


def test_scene_reaches_only_the_selectors_that_the_ui_file_connects(panel):
    volume = addVolume("Head")
    assert panel.ui.inputSelector.nodeFromIndex(0) is volume
    assert panel.ui.unconnectedSelector.mrmlScene() is None


def test_children_of_a_collapsed_section_are_hidden(panel):
    ui = panel.ui
    assert ui.advancedButton.property("collapsed") and not ui.brainCheckBox.isVisible()
    ui.advancedButton.collapsed = False
    assert ui.brainCheckBox.isVisible()


def test_widgets_write_the_parameters(panel):
    ui, node = panel.ui, panel.parameterNode
    volume = addVolume("Head")
    ui.inputSelector.setCurrentNode(volume)
    choose(ui.methodComboBox, "Bridged diffusion")
    choose(ui.presetComboBox, "paper")
    ui.samplesSpinBox.setValue(5)
    ui.strengthSlider.value = 0.75
    ui.brainCheckBox.click()
    ui.noteEdit.setText("second scan")
    ui.folderEdit.currentPath = "/data/head"
    assert node.inputVolume is volume and node.method.value == "bridged" and node.preset == "paper"
    assert (node.samples, node.strength, node.brainOnly) == (5, 0.75, False)
    assert (node.note, node.folder) == ("second scan", Path("/data/head"))


def test_parameters_write_the_widgets(panel):
    ui, node = panel.ui, panel.parameterNode
    node.inputVolume = volume = addVolume("Head")
    node.method = sys.modules["HostDemo"].Method.BRIDGED
    node.samples, node.strength, node.brainOnly = 9, 0.5, False
    assert ui.inputSelector.currentNode() is volume
    assert ui.methodComboBox.currentText() == "Bridged diffusion"
    assert ui.samplesSpinBox.value() == 9 and ui.samplesSpinBox.maximum() == 20
    assert ui.strengthSlider.value == 0.5 and not ui.brainCheckBox.isChecked()


def test_a_change_of_the_bare_node_reaches_the_widgets_one_modification_later(panel):
    """VTK calls the latest observer first: the widgets are written before the wrapper has read the new text."""
    panel.logic.getParameterNode().SetParameter("samples", "11")
    assert panel.parameterNode.samples == 11 and panel.ui.samplesSpinBox.value() == 2
    panel.parameterNode.Modified()
    assert panel.ui.samplesSpinBox.value() == 11


def test_defaults_limits_and_types_are_checked(panel):
    node = panel.parameterNode
    assert node.strength == 0.25 and node.seed is None and list(node.names) == []
    for name, value in (("samples", 21), ("samples", None), ("preset", "slow")):
        with pytest.raises(ValueError):
            setattr(node, name, value)
    for name, value in (("samples", 1.5), ("method", "bridged"), ("inputVolume", panel.logic.getParameterNode())):
        with pytest.raises(TypeError):
            setattr(node, name, value)
    assert node.samples == 2


def test_values_are_text_in_the_node_and_survive_a_bundle(panel, tmp_path):
    node = panel.parameterNode
    volume = addVolume("Head")
    node.inputVolume, node.seed = volume, 4
    node.names = ["a", "b"]
    node.names.append("c")
    bare = node.parameterNode
    assert bare.GetParameter("method") == "BICUBIC" and bare.GetParameter("brainOnly") == "True"
    assert bare.GetNodeReferenceID("inputVolume") == volume.GetID()
    path = writeMrb(slicer.mrmlScene, tmp_path / "scene.mrb")
    slicer.mrmlScene.Clear(0)
    assert slicer.mrmlScene.ReadFromMRB(str(path), False, None)
    loaded = sys.modules["HostDemo"].HostDemoParameterNode(panel.logic.getParameterNode())
    assert loaded.inputVolume.GetName() == "Head"
    assert (list(loaded.names), loaded.seed, loaded.brainOnly) == (["a", "b", "c"], 4, True)


def test_connecting_by_name_can_be_undone_and_connect_gui_has_no_tag(panel):
    """connectGui returns nothing in Slicer 5.12, so only connectParametersToGui can be disconnected."""
    assert panel.guiTag is None
    box = QtWidgets.QSpinBox()
    tag = panel.parameterNode.connectParametersToGui({"samples": box})
    box.setValue(3)
    panel.parameterNode.disconnectGui(tag)
    box.setValue(8)
    assert panel.parameterNode.samples == 3 == panel.ui.samplesSpinBox.value()
    with pytest.raises(ValueError, match="nothing"):
        panel.parameterNode.connectParametersToGui({"nothing": box})


@pytest.mark.parametrize(
    ("kind", "widget"),
    [
        (Annotated[int, WithinRange(0, 1)], QtWidgets.QDoubleSpinBox),
        (Annotated[int, Minimum(0)], QtWidgets.QSlider),
        (str, QtWidgets.QComboBox),
        (bool, QtWidgets.QGroupBox),
    ],
)
def test_only_pairs_that_slicer_knows_are_connected(application, kind, widget):
    wrapped = parameterNodeWrapper(type("Node", (), {"__annotations__": {"item": kind}}))
    box = widget()
    box.setProperty("SlicerParameterName", "item")
    with pytest.raises(RuntimeError):
        wrapped(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")).connectGui(SimpleNamespace(box=box))


def test_a_default_must_pass_the_checks(application):
    wrapped = parameterNodeWrapper(type("Node", (), {"__annotations__": {"item": Annotated[str, Choice(["a"])]}}))
    with pytest.raises(ValueError, match="Choice"):
        wrapped(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode"))


def test_annotations_of_widgets_are_warned_of_though_they_are_heeded(application, caplog):
    kind = Annotated[float, WithinRange(0.0, 9.0), Decimals(3)]
    wrapped = parameterNodeWrapper(type("Node", (), {"__annotations__": {"item": kind}, "item": 1.0}))
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert caplog.messages[0].startswith("Unused annotations: [") and "Decimals" in caplog.messages[0]
    box = QtWidgets.QDoubleSpinBox()
    wrapped(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")).connectParametersToGui({"item": box})
    assert box.decimals() == 3
    caplog.clear()
    parameterNodeWrapper(type("Node", (), {"__annotations__": {"item": Annotated[int, Default(3)]}}))
    assert not caplog.records


def test_types_that_slicer_cannot_keep_are_refused(application):
    for kind in (object, set[str], int | None):
        with pytest.raises(TypeError):
            parameterNodeWrapper(type("Node", (), {"__annotations__": {"item": kind}}))
    parameterNodeWrapper(type("Node", (), {"__annotations__": {"item": Optional[int]}}))  # noqa: UP045
    with pytest.raises(ValueError, match="reserved"):
        parameterNodeWrapper(type("Node", (), {"getValue": 1}))
