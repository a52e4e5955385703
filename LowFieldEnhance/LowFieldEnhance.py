"""3D Slicer module: enhances low-field MRI of the head and reports how far to trust the result."""

import functools
import importlib.util
import logging
import sys
from pathlib import Path

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

# Run from a checkout, Slicer puts only this folder on the path.
if importlib.util.find_spec("LowFieldEnhanceLib") is None:
    sys.path.append(str(Path(__file__).resolve().parents[1]))

from LowFieldEnhanceSlicer import layout
from LowFieldEnhanceSlicer.folder_watch import installFolderWatch, removeFolderWatch
from LowFieldEnhanceSlicer.logic import EnhancementLogic
from LowFieldEnhanceSlicer.method_comparison import SETTINGS as COMPARISON_SETTINGS
from LowFieldEnhanceSlicer.method_comparison import comparedMethods
from LowFieldEnhanceSlicer.pages import PREFIX as PAGES_PREFIX
from LowFieldEnhanceSlicer.pages import placeOfPages, removePages
from LowFieldEnhanceSlicer.panel import Panel
from LowFieldEnhanceSlicer.parameters import LowFieldEnhanceParameterNode, forgetUnknownChoices, setFromRequest


def offerOnModuleLogic(moduleLogic):
    """Let ``slicer.modules.lowfieldenhance.logic().process(...)`` and the like reach the Python logic.

    ``logic()`` of a scripted module is an object of Slicer's own that knows nothing of the Python logic. What it is
    given here stays with it as long as the module lives, and finds the logic of after a reload too.
    """
    if moduleLogic is None or isinstance(moduleLogic, EnhancementLogic):
        return
    for name in set(dir(EnhancementLogic)) - set(dir(VTKObservationMixin)):
        if not name.startswith("_") and not hasattr(moduleLogic, name):
            setattr(moduleLogic, name, functools.partial(_callLogic, name))


def _callLogic(name, *arguments, **settings):
    logic = slicer.util.getModuleLogic("LowFieldEnhance")
    if isinstance(logic, slicer.vtkMRMLAbstractLogic):  # it would lead back here
        raise RuntimeError("The module has no panel here; use LowFieldEnhanceLogic of the module LowFieldEnhance.")
    return getattr(logic, name)(*arguments, **settings)


class LowFieldEnhance(ScriptedLoadableModule):
    """What Slicer shows of the module."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Low-Field Enhance")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Filtering")]
        self.parent.dependencies = []
        self.parent.contributors = ["The LowFieldEnhance contributors"]
        self.parent.helpText = _(
            "Enhances a low-field MRI scan of a head by diffusion models, segments the anatomy, and reports how far the"
            " result can be trusted. ENHANCED - not for diagnosis."
        )
        self.parent.acknowledgementText = _(
            "The trained weights are for research only (CC BY-NC-SA 4.0); the code is under the Apache License 2.0."
        )
        slicer.app.startupCompleted.connect(self.onStartupCompleted)
        slicer.app.aboutToQuit.connect(self.onAboutToQuit)

    def onStartupCompleted(self):
        from LowFieldEnhanceSlicer import leftovers, sample_data

        # First what marks derived pictures: whatever fails below, they are marked.
        layout.install()
        installFolderWatch()
        offerOnModuleLogic(self.parent.logic())
        sample_data.registerSampleData(str(Path(__file__).parent))
        leftovers.removeOld(slicer.app.temporaryPath)
        leftovers.removeOld(placeOfPages(), prefix=PAGES_PREFIX)

    def onAboutToQuit(self):
        layout.close()
        removeFolderWatch()
        removePages()


class LowFieldEnhanceWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Connects the panel with Slicer: scene, module selector, clean-up."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.panel = None

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/LowFieldEnhance.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = LowFieldEnhanceLogic()
        self.panel = Panel(self.ui, self.logic)
        scene = slicer.mrmlScene
        for event in (scene.StartCloseEvent, scene.StartImportEvent):
            self.addObserver(scene, event, self.onSceneAboutToChange)
        for event in (scene.EndCloseEvent, scene.EndImportEvent):
            self.addObserver(scene, event, self.onSceneChanged)
        self.initializeParameterNode()
        layout.install()
        installFolderWatch()
        offerOnModuleLogic(slicer.modules.lowfieldenhance.logic())

    def enter(self):
        self.initializeParameterNode()
        self.panel.resume()
        self.panel.chooseFirstInput()

    def exit(self):
        self.panel.pause()

    def cleanup(self):
        self.removeObservers()
        if self.panel is not None:
            self.panel.close()
            self.logic.close()
            layout.close()
            removeFolderWatch()

    def onSceneAboutToChange(self, caller, event):
        # Selectors that lose or have not yet got their nodes must not write that into the parameters.
        self.panel.setParameters(None)

    def onSceneChanged(self, caller, event):
        self.logic.forgetParameters()
        self.initializeParameterNode()

    def initializeParameterNode(self):
        self.panel.setParameters(self.logic.getParameterNode())


class LowFieldEnhanceLogic(EnhancementLogic, ScriptedLoadableModuleLogic):
    """``slicer.util.getModuleLogic("LowFieldEnhance").process(volume)``; see :class:`EnhancementLogic`."""

    def __init__(self, **injected):
        ScriptedLoadableModuleLogic.__init__(self)
        EnhancementLogic.__init__(self, **injected)
        self._parameters = None

    def getParameterNode(self):
        """The settings of the panel, one wrapper for all who read or write them."""
        node = ScriptedLoadableModuleLogic.getParameterNode(self)
        if self._parameters is None or self._parameters.parameterNode is not node:
            unknown = forgetUnknownChoices(node)
            if unknown:
                logging.getLogger(__name__).warning("settings of another version are not known: %s", ", ".join(unknown))
            self._parameters = LowFieldEnhanceParameterNode(node)
        return self._parameters

    def forgetParameters(self):
        """Read the node anew: what it refers to may have come into the scene after it."""
        self._parameters = None

    def parametersFromProvenance(self, node):
        """Set the panel to what the run that made this output was asked for; returns the request.

        Where results go stays as it is, and so does what a comparison of methods does not heed.

        Raises:
            ValueError: the node is not an output of this module.
        """
        request = EnhancementLogic.parametersFromProvenance(self, node)
        parameters, methods = self.getParameterNode(), comparedMethods(node)
        setFromRequest(parameters, request, COMPARISON_SETTINGS if methods else None)
        if methods:
            parameters.comparedMethods = ",".join(methods)
        return request


class LowFieldEnhanceTest(ScriptedLoadableModuleTest):
    """What the button "Reload and Test" runs: the tests in Testing/slicer, where the sources are."""

    def runTest(self):
        path = Path(__file__).resolve().parents[1] / "Testing" / "slicer" / "LowFieldEnhanceSelfTest.py"
        if not path.is_file():
            self.delayDisplay("The tests are part of the sources, not of the installed extension")
            return
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        module.LowFieldEnhanceSelfTest().runTest()
