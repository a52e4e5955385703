"""A Slicer application for tests of panels: slicer-core's scene and logics, and Qt by PySide6, without a display.

Inside the block a scripted module runs unchanged::

    with slicerApplication() as application:
        module = application.loadModule("LowFieldEnhance/LowFieldEnhance.py")
        panel = application.showModule("LowFieldEnhance")

The environment must say ``QT_QPA_PLATFORM=offscreen`` before PySide6 is loaded.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import slicer
from slicer_host import (
    dialogs,
    extensions,
    i18n,
    modules,
    mrml_widgets,
    namespaces,
    packaging,
    parameter_node,
    properties,
    references,
    scripted_module,
)
from slicer_host.application import application, qSlicerApplication
from slicer_session import Session, slicerSession

# slicer.util is written in the property style as well.
PROPERTY_MODULES = ("LowFieldEnhance", "LowFieldEnhanceSlicer", "slicer.util")
SUBMODULES = {
    "ScriptedLoadableModule": scripted_module,
    "i18n": i18n,
    "packaging": packaging,
    "parameterNodeWrapper": parameter_node,
}
CLASSES = (
    mrml_widgets.qMRMLNodeComboBox,
    mrml_widgets.qMRMLWidget,
    modules.qSlicerScriptedLoadableModule,
    modules.qSlicerScriptedLoadableModuleWidget,
)


@dataclass
class Application:
    """A session with its application.

    Attributes:
        dialogs: message boxes and file dialogs shown so far, and the answers to the next ones.
        packages: what ``slicer.packaging`` was asked for, and what is missing.
        torch: the same for the PyTorch extension.
        errors: exceptions of slots and observers, which Qt and VTK print and go on. What is in it at the end of the
            session fails the test; a test that expects one takes it out.
    """

    session: Session
    app: qSlicerApplication
    dialogs: dialogs.DialogScript
    packages: packaging.PackageScript
    torch: extensions.TorchScript
    errors: list[BaseException]

    @property
    def scene(self) -> slicer.vtkMRMLScene:
        return self.session.scene

    def loadModule(self, path: str | os.PathLike[str]) -> modules.qSlicerScriptedLoadableModule:
        """Load a scripted module by its file: ``slicer.modules.<name in lower case>``."""
        return self.app.moduleManager().load(Path(path).resolve())

    def showModule(self, name: str) -> Any:
        """Choose the module in the module selector; the object of its widget class."""
        slicer.util.selectModule(name)
        return slicer.util.getModuleWidget(name)

    def unloadModule(self, name: str) -> None:
        """What the end of the application does to a module: ``cleanup()`` and away."""
        self.app.moduleManager().unload(name)

    def quit(self) -> None:
        """The end of the application: ``slicer.app.aboutToQuit``, no window any more, then no modules."""
        self.app.aboutToQuit.emit()
        self.app.closeMainWindow()
        self.app.moduleManager().unloadAll()

    def finishStartup(self) -> None:
        """Slicer's signal that all modules are loaded."""
        self.app.startupCompleted.emit()


def mountNames() -> None:
    """Make ``qt``, ``ctk``, SampleData, PyTorchUtils and the submodules of ``slicer`` importable.

    They stay for the life of the process, so that what a test module imported goes on working in the next session.
    """
    if "qt" not in sys.modules:
        references.protectConstants()
    properties.addPythonQtNames()
    sys.modules["qt"] = namespaces.makeQt()
    sys.modules["ctk"] = namespaces.makeCtk()
    sys.modules["SampleData"] = extensions.makeSampleData()
    sys.modules["PyTorchUtils"] = extensions.makePyTorchUtils()
    for name, module in SUBMODULES.items():
        sys.modules[f"slicer.{name}"] = module
        setattr(slicer, name, module)
    for item in CLASSES:
        setattr(slicer, item.__name__, item)


@contextlib.contextmanager
def slicerApplication(propertyModules: Sequence[str] = PROPERTY_MODULES) -> Iterator[Application]:
    """The application on an empty scene: ``slicer.app`` and ``slicer.modules`` exist while the block runs.

    Args:
        propertyModules: names of modules and packages whose code is in the property style (``label.text = "..."``).

    Raises:
        AssertionError: at the end, if a slot or an observer raised an exception.
    """
    mountNames()
    app = application()
    scripts = (dialogs.script, packaging._script, extensions.torchScript)
    switch = properties.PropertySwitch(propertyModules)
    path = list(sys.path)
    with slicerSession() as session, _callbackErrors() as errors:
        for script in scripts:
            script.clear()
        slicer.app = app
        switch.install()
        app.open(session.scene, session.logics["Application"], Path(session.temporaryPath))
        try:
            yield Application(session, app, *scripts, errors)
        finally:
            app.close()
            switch.remove()
            sys.path[:] = path
            for name in ("app", "selfTests"):
                vars(slicer).pop(name, None)


@contextlib.contextmanager
def _callbackErrors() -> Iterator[list[BaseException]]:
    """Collects what Qt and VTK hand to the interpreter's hook for exceptions that nobody catches."""
    errors: list[BaseException] = []
    previous = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        errors.append(error)
        previous(kind, error, trace)

    sys.excepthook = hook
    try:
        yield errors
    finally:
        sys.excepthook = previous
    assert not errors, f"A slot or observer failed: {errors[0]!r}"
