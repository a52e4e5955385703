"""The test host itself: the property style, the dialogs, the node selector, the scene's layout and the tools."""

from __future__ import annotations

import subprocess
import sys
import time
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import qt
import slicer
from panel_tools import EventLoopWatch, grab, press, waitUntil
from PySide6 import QtCore, QtWidgets
from slicer_application import slicerApplication
from slicer_host.properties import strayAttributes, useSlicerProperties

useSlicerProperties(__name__, False)

VOLUME = "vtkMRMLScalarVolumeNode"


def styledModule(name: str) -> ModuleType:
    """A module whose function disables a widget in the property style."""
    module = ModuleType(name)
    exec("def disable(widget):\n    widget.enabled = False", vars(module))
    return module


def test_the_property_style_is_switched_by_module(application):
    plain, styled = styledModule("plainStyle"), styledModule("slicerStyle")
    useSlicerProperties("slicerStyle")
    first, second = QtWidgets.QPushButton(), QtWidgets.QPushButton()
    plain.disable(first)
    styled.disable(second)
    assert first.isEnabled() and first.enabled is False, "a plain attribute of the Python object"
    assert not second.isEnabled() and "enabled" not in vars(second)


def test_the_property_style_can_be_switched_off_again(application):
    styled = styledModule("slicerStyle")
    useSlicerProperties("slicerStyle", on=False)
    button = QtWidgets.QPushButton()
    styled.disable(button)
    assert button.isEnabled()


def test_the_module_of_this_project_is_switched_on_import(application, tmp_path, monkeypatch):
    name = "LowFieldEnhanceSlicer.hostcheck"
    (tmp_path / "hostcheck.py").write_text("def disable(widget):\n    widget.enabled = False\n", encoding="utf-8")
    package = __import__("LowFieldEnhanceSlicer")
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    module = __import__(name, fromlist=["disable"])
    monkeypatch.delitem(sys.modules, name)
    button = QtWidgets.QPushButton()
    module.disable(button)
    assert not button.isEnabled()


def test_names_are_those_of_pythonqt(application):
    button = qt.QPushButton("Apply")
    button.name = "applyButton"
    assert button.objectName() == button.name == "applyButton" and button.className() == "QPushButton"
    assert qt.QTimer is QtCore.QTimer and qt.QPushButton is QtWidgets.QPushButton
    for absent in ("Signal", "Slot", "Property", "nothing"):
        assert not hasattr(qt, absent)


def test_dialogs_are_recorded_and_answered_by_the_script(application):
    ok, cancel = qt.QMessageBox.Ok, qt.QMessageBox.Cancel
    application.dialogs.answer(ok, cancel)
    assert slicer.util.confirmOkCancelDisplay("Install?", "Question") is True
    assert slicer.util.confirmOkCancelDisplay("Install?") is False
    slicer.util.errorDisplay("No volume", detailedText="line 3")
    shown = application.dialogs.messages
    assert [message.text for message in shown] == ["Install?", "Install?", "No volume"]
    assert [message.answer for message in shown] == [ok, cancel, ok]
    assert shown[0].windowTitle == "Question" and shown[1].windowTitle == "Slicer confirmation"
    assert shown[2].icon == qt.QMessageBox.Critical and shown[2].detailedText == "line 3"


def test_an_answer_that_the_box_does_not_offer_fails(application):
    application.dialogs.answer(qt.QMessageBox.Retry)
    with pytest.raises(AssertionError, match="no button Retry"):
        slicer.util.infoDisplay("Done")


def test_file_dialogs_return_text(application):
    application.dialogs.choosePath("/data/report.html")
    assert qt.QFileDialog.getSaveFileName(None, "Save report") == "/data/report.html"
    assert qt.QFileDialog.getSaveFileName(None, "Save report") == ""


def test_an_unknown_widget_of_a_ui_file_is_named(application, tmp_path):
    path = tmp_path / "panel.ui"
    custom = "<customwidget><class>ctkStrange</class><extends>QWidget</extends></customwidget>"
    path.write_text(f'<ui version="4.0"><widget class="QWidget" name="w"/><customwidgets>{custom}</customwidgets></ui>')
    with pytest.raises(RuntimeError, match="ctkStrange"):
        slicer.util.loadUI(str(path))


def test_the_slider_clamps_and_signals(application):
    slider = sys.modules["ctk"].ctkSliderWidget()
    slider.minimum, slider.maximum, slider.singleStep = 0.0, 1.0, 0.05
    values = []
    slider.valueChanged.connect(values.append)
    slider.value = 0.3
    slider.findChild(QtWidgets.QSlider).setValue(9)
    slider.value = 7.0
    assert values == pytest.approx([0.3, 0.45, 1.0])


def test_an_emptied_path_is_told_as_no_valid_one_alone_as_ctk_does(application):
    edit = sys.modules["ctk"].ctkPathLineEdit()
    told = []
    edit.currentPathChanged.connect(told.append)
    edit.validInputChanged.connect(told.append)
    for path in ("/a", "/ab", "", ""):
        edit.currentPath = path
    assert told == ["/a", True, "/ab", False] and edit.currentPath == ""


def test_a_new_layout_makes_its_slice_views(application, scene):
    manager = slicer.app.layoutManager()
    view = '<layout type="horizontal"><item><view class="vtkMRMLSliceNode" singletontag="Left"/></item></layout>'
    node = manager.layoutLogic().GetLayoutNode()
    node.AddLayoutDescription(561, view)
    changes = []
    manager.layoutChanged.connect(changes.append)
    manager.setLayout(561)
    assert changes == [561] and manager.layout == 561
    assert manager.sliceViewNames() == ["Red", "Green", "Yellow", "Left"]
    volume = slicer.util.addVolumeFromArray(np.zeros((4, 5, 6), np.float32))
    slicer.util.setSliceViewerLayers(background=volume, fit=True)
    left = manager.sliceWidget("Left")
    assert left.mrmlSliceCompositeNode().GetBackgroundVolumeID() == volume.GetID()
    assert left.sliceLogic().GetBackgroundLayer().GetVolumeNode() is volume


def test_folders_and_settings_are_those_of_the_session(application):
    folder = slicer.util.tempDirectory()
    assert folder.startswith(application.session.temporaryPath)
    slicer.app.settings().setValue("LowFieldEnhance/Device", "cpu")
    assert slicer.util.settingsValue("LowFieldEnhance/Device", "") == "cpu"
    assert slicer.app.settings().fileName().startswith(application.session.temporaryPath)


def test_a_child_process_reports_in_the_main_thread(application):
    thread, lines, codes = QtCore.QThread.currentThread(), [], []
    command = [sys.executable, "-c", "print('one'); print('two'); raise SystemExit(3)"]
    process = slicer.util.launchConsoleProcess(
        command,
        useStartupEnvironment=False,
        blocking=False,
        logCallback=lambda line: lines.append((line, QtCore.QThread.currentThread() == thread)),
        completedCallback=codes.append,
    )
    waitUntil(lambda: codes)
    process.stdout.close()
    assert lines == [("one", True), ("two", True)] and codes == [3]


def test_packages_are_asked_for_and_never_installed(application, tmp_path):
    path = tmp_path / "requirements.txt"
    path.write_text("# needed\nmonai>=1.3\n--pre\neinops\n", encoding="utf-8")
    wanted = slicer.packaging.load_requirements(path)
    assert slicer.packaging.pip_ensure(wanted, requester="Demo") is None and application.dialogs.messages == []
    application.packages.missing = {"monai"}
    application.dialogs.answer(qt.QMessageBox.Cancel)
    with pytest.raises(RuntimeError, match="declined"):
        slicer.packaging.pip_ensure(wanted, requester="Demo")
    application.packages.fails = True
    with pytest.raises(subprocess.CalledProcessError):
        slicer.packaging.pip_ensure(wanted, requester="Demo")
    application.packages.fails = False
    slicer.packaging.pip_ensure(wanted, requester="Demo")
    assert application.packages.installed == ["monai>=1.3"] * 2 and slicer.packaging.pip_check("monai")
    assert application.packages.ensured[0]["requirements"] == ["monai>=1.3", "einops"]


def test_torch_comes_through_the_extension(application):
    logic = sys.modules["PyTorchUtils"].PyTorchUtilsLogic()
    application.torch.installed = False
    application.dialogs.answer(qt.QMessageBox.Cancel, qt.QMessageBox.Ok)
    assert logic.installTorch(askConfirmation=True) is None and not logic.torchInstalled()
    assert logic.installTorch(askConfirmation=True, torchVersionRequirement=">=2.8") is not None
    assert logic.torchInstalled() and application.torch.requested[1]["torchVersionRequirement"] == ">=2.8"


def test_sample_data_is_kept_by_category(application):
    register = sys.modules["SampleData"].SampleDataLogic.registerCustomSampleDataSource
    register(category="Low field", sampleName="Head", checksums="SHA256:00")
    expected = {"category": "Low field", "sampleName": "Head", "checksums": "SHA256:00"}
    assert slicer.modules.sampleDataSources == {"Low field": [expected]}


def test_a_stall_of_the_event_loop_is_measured(application):
    with EventLoopWatch() as watch:
        qt.QTimer.singleShot(20, lambda: time.sleep(0.12))
        end = time.monotonic() + 0.3
        waitUntil(lambda: time.monotonic() > end)
    assert 0.12 <= watch.longestStall < 0.3
    with pytest.raises(TimeoutError):
        waitUntil(lambda: False, 0.05)


def test_hidden_buttons_cannot_be_pressed(application, tmp_path):
    button = QtWidgets.QPushButton("Apply")
    clicks = []
    button.clicked.connect(lambda: clicks.append(True))
    button.show()
    press(button)
    button.hide()
    with pytest.raises(AssertionError, match="hidden"):
        press(button)
    assert len(clicks) == 1 and grab(button, tmp_path / "a" / "button.png").stat().st_size > 0


def test_exceptions_of_slots_and_observers_are_not_lost(application, scene):
    def fail(*arguments: object) -> None:
        raise ValueError("from a callback")

    button = QtWidgets.QPushButton()
    button.clicked.connect(fail)
    button.click()
    tag = scene.AddObserver(scene.NodeAddedEvent, fail)
    scene.AddNewNodeByClass(VOLUME)
    scene.RemoveObserver(tag)
    assert [str(error) for error in application.errors] == ["from a callback"] * 2
    application.errors.clear()


def test_an_exception_of_a_slot_fails_the_session():
    with pytest.raises(AssertionError, match="lost"), slicerApplication():
        button = QtWidgets.QPushButton()
        button.clicked.connect(lambda: {}["lost"])
        button.click()


def test_nothing_of_the_application_is_left_behind():
    assert not any(hasattr(slicer, name) for name in ("app", "mrmlScene", "modules", "selfTests"))


def test_a_property_that_qt_does_not_have_is_noticed(application):
    button = QtWidgets.QPushButton(objectName="applyButton")
    ui = SimpleNamespace(applyButton=button)
    styled = styledModule("propertyNames")
    useSlicerProperties("propertyNames")
    styled.disable(button)
    assert strayAttributes(ui) == []
    exec("def misspell(widget):\n    widget.enable = False", vars(styled))
    styled.misspell(button)
    assert strayAttributes(ui) == ["applyButton.enable"]
