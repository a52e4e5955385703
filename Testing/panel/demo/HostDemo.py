"""A small scripted module in Slicer's idioms, for the tests of the test host."""

import enum
from pathlib import Path
from typing import Annotated, Optional

import slicer
import vtk
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import Choice, Default, WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin


class Method(enum.Enum):
    BRIDGED = "bridged"
    BICUBIC = "bicubic"

    def label(self):
        return {"bridged": "Bridged diffusion", "bicubic": "Bicubic"}[self.value]


@parameterNodeWrapper
class HostDemoParameterNode:
    inputVolume: slicer.vtkMRMLScalarVolumeNode
    method: Method = Method.BICUBIC
    preset: Annotated[str, Choice(["fast", "paper"])] = "fast"
    samples: Annotated[int, WithinRange(0, 20)] = 2
    strength: Annotated[float, WithinRange(0.0, 1.0), Default(0.25)]
    brainOnly: bool = True
    note: str
    folder: Path
    names: list[str]
    seed: Optional[int]  # noqa: UP045


class HostDemo(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Host demo")
        self.parent.categories = ["Testing"]
        slicer.app.connect("startupCompleted()", self.onStartup)
        self.started = 0

    def onStartup(self):
        self.started += 1


class HostDemoWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.calls = []

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/HostDemo.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = HostDemoLogic()
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.ui.applyButton.clicked.connect(self.onApply)
        self.parameterNode = HostDemoParameterNode(self.logic.getParameterNode())
        self.guiTag = self.parameterNode.connectGui(self.ui)
        self.addObserver(self.parameterNode, vtk.vtkCommand.ModifiedEvent, self.onModified)
        self.onModified()

    def onModified(self, caller=None, event=None):
        self.ui.applyButton.enabled = self.parameterNode.inputVolume is not None
        self.ui.applyButton.toolTip = "" if self.ui.applyButton.enabled else "Choose an input volume"

    def onApply(self):
        self.ui.statusLabel.text = f"{self.parameterNode.method.value} {self.ui.methodComboBox.currentText}"
        self.ui.progressBar.value = 40
        self.ui.progressBar.visible = True

    def onSceneStartClose(self, caller, event):
        self.calls.append("close")

    def enter(self):
        self.calls.append("enter")

    def exit(self):
        self.calls.append("exit")

    def cleanup(self):
        self.calls.append("cleanup")
        self.removeObservers()


class HostDemoLogic(ScriptedLoadableModuleLogic):
    pass


class HostDemoTest(ScriptedLoadableModuleTest):
    def runTest(self):
        slicer.hostDemoWasTested = True
