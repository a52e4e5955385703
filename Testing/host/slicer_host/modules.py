"""Scripted modules: loading, ``slicer.modules``, the module manager and the choice of the shown module."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer
from PySide6 import QtCore, QtGui, QtWidgets

from .mrml_widgets import qMRMLWidget


class qSlicerScriptedLoadableModuleWidget(qMRMLWidget):
    """The panel of a scripted module; ``self()`` is the object of its Python class."""

    def __init__(self, module: qSlicerScriptedLoadableModule) -> None:
        super().__init__()
        self._module = module
        self._self: Any = None
        self.setLayout(QtWidgets.QVBoxLayout())
        self.setMRMLScene(slicer.mrmlScene)

    def self(self) -> Any:  # noqa: N805
        return self._self

    def reload(self) -> None:
        """A new object of the class, as it is in ``sys.modules`` now."""
        name = self._module.name
        self._self = getattr(sys.modules[name], f"{name}Widget")(self)
        setattr(slicer.modules, f"{name}Widget", self._self)
        self._self.setup()


class qSlicerScriptedLoadableModule:
    """A loaded module, and what its Python class says of it."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.path = str(path)
        self.title = name
        self.categories: list[str] = []
        self.dependencies: list[str] = []
        self.contributors: list[str] = []
        self.helpText = ""
        self.acknowledgementText = ""
        self.icon = QtGui.QIcon()
        self.hidden = False
        self._widget: qSlicerScriptedLoadableModuleWidget | None = None
        self._self: Any = None
        self._logic = slicer.vtkMRMLAbstractLogic()

    def logic(self) -> slicer.vtkMRMLAbstractLogic:
        """The C++ logic, as in Slicer: the Python one is the widget's."""
        return self._logic

    def widgetRepresentation(self) -> qSlicerScriptedLoadableModuleWidget | None:
        """The panel, set up on first use; None if the module has none."""
        if self._widget is None and hasattr(sys.modules[self.name], f"{self.name}Widget"):
            self._widget = qSlicerScriptedLoadableModuleWidget(self)
            self._widget.reload()
        return self._widget

    def unload(self) -> None:
        if self._widget is not None:
            self._widget.hide()
            self._widget.deleteLater()
            self._widget = None


class ModuleManager:
    """The loaded modules by name."""

    def __init__(self) -> None:
        self._modules: dict[str, qSlicerScriptedLoadableModule] = {}
        self._aboutToBeUnloaded: list[Callable[[str], Any]] = []

    def connect(self, signal: str, slot: Callable[[str], Any]) -> bool:
        self._check(signal)
        self._aboutToBeUnloaded.append(slot)
        return True

    def disconnect(self, signal: str, slot: Callable[[str], Any]) -> bool:
        self._check(signal)
        self._aboutToBeUnloaded.remove(slot)
        return True

    def _check(self, signal: str) -> None:
        if signal != "moduleAboutToBeUnloaded(QString)":
            raise AttributeError(signal)

    def module(self, name: str) -> qSlicerScriptedLoadableModule | None:
        return self._modules.get(name)

    def factoryManager(self) -> ModuleManager:
        return self

    def loadedModuleNames(self) -> list[str]:
        return list(self._modules)

    def modulesNames(self) -> list[str]:
        return list(self._modules)

    def load(self, path: Path) -> qSlicerScriptedLoadableModule:
        """Import a scripted module by its file, as Slicer does at its start; its panel is made later."""
        name = path.stem
        if str(path.parent) not in sys.path:
            sys.path.insert(0, str(path.parent))
        specification = importlib.util.spec_from_file_location(name, path)
        source = importlib.util.module_from_spec(specification)
        sys.modules[name] = source
        specification.loader.exec_module(source)
        module = qSlicerScriptedLoadableModule(name, path)
        self._modules[name] = module
        setattr(slicer.modules, name.lower(), module)
        module._self = getattr(source, name)(module)
        setattr(slicer.modules, f"{name}Instance", module._self)
        return module

    def unload(self, name: str) -> None:
        for slot in list(self._aboutToBeUnloaded):
            slot(name)
        self._modules.pop(name).unload()
        for attribute in (name.lower(), f"{name}Instance", f"{name}Widget"):
            vars(slicer.modules).pop(attribute, None)
        getattr(slicer, "selfTests", {}).pop(name, None)
        sys.modules.pop(name, None)

    def unloadAll(self) -> None:
        for name in reversed(list(self._modules)):
            self.unload(name)


class ModuleSelector(QtCore.QObject):
    """Shows one module at a time: its ``exit()`` and the other's ``enter()`` are called as on a person's choice."""

    def __init__(self, manager: ModuleManager) -> None:
        super().__init__()
        self._manager = manager
        self.selectedModule = ""

    def selectModule(self, name: str) -> None:
        if name == self.selectedModule:
            return
        self._call(self.selectedModule, "exit", show=False)
        self.selectedModule = name
        self._call(name, "enter", show=True)

    def _call(self, name: str, method: str, show: bool) -> None:
        module = self._manager.module(name)
        widget = module.widgetRepresentation() if module is not None else None
        if widget is not None:
            widget.setVisible(show)
            getattr(widget.self(), method, lambda: None)()
