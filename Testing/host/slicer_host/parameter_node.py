"""``slicer.parameterNodeWrapper``: a parameter node with typed attributes, bound to the widgets of a panel."""

from __future__ import annotations

import logging
import typing
import weakref
from collections.abc import Callable
from typing import Any

import slicer
import vtk
from PySide6 import QtWidgets

from .parameter_checks import Choice, Default, Exclude, Maximum, Minimum, NotNone, Validator, WithinRange
from .parameter_gui import Connector, Decimals, SingleStep, createGuiConnector
from .parameter_types import makeSerializer, split

__all__ = [
    "Choice",
    "Decimals",
    "Default",
    "Exclude",
    "Maximum",
    "Minimum",
    "NotNone",
    "SingleStep",
    "SlicerParameterNamePropertyName",
    "Validator",
    "WithinRange",
    "createGuiConnector",
    "findChildWidgetForParameter",
    "isParameterNodeWrapper",
    "parameterNodeWrapper",
]

SlicerParameterNamePropertyName = "SlicerParameterName"


class Parameter:
    """A declared attribute: how it is kept, checked and started."""

    def __init__(self, name: str, annotated: Any, default: Default | None) -> None:
        annotations = split(annotated)[1]
        self.name, self.annotated = name, annotated
        self.serializer = makeSerializer(annotated)
        self.validators = [annotation for annotation in annotations if isinstance(annotation, Validator)]
        given = [annotation for annotation in annotations if isinstance(annotation, Default)]
        self.default = default or next(iter(given), Default(self.serializer.default))
        used = Validator if default is not None else (Validator, Default)
        unused = [annotation for annotation in annotations if not isinstance(annotation, used)]
        if unused:  # Slicer's words; what is for the widgets is among it
            logging.warning("Unused annotations: %s", unused)

    def write(self, node: Any, key: str, value: Any) -> None:
        self.serializer.check(value)
        for validator in self.validators:
            validator.validate(value)
        self.serializer.write(node, key, value)

    def read(self, node: Any, key: str) -> Any:
        if not self.serializer.isIn(node, key):
            self.write(node, key, self.default.value)
        return self.serializer.read(node, key)


class _Wrapper:
    """The methods that the decorator adds to a class; ``allParameters`` is set on each class."""

    allParameters: dict[str, Parameter]

    def __init__(self, parameterNode: slicer.vtkMRMLScriptedModuleNode, prefix: str | None = None) -> None:
        self.parameterNode = parameterNode
        self._prefix = prefix or ""
        self._connectors: dict[int, dict[str, Connector]] = {}
        self._nextTag = 0
        self._updatingGui = False
        self._writing = False
        self._cache: dict[str, Any] = {}
        with slicer.util.NodeModify(parameterNode):
            self._readAll()
        # By a weak reference: the node must not keep a wrapper alive that nobody uses.
        wrapper = weakref.ref(self)

        def onModified(caller: Any, event: str) -> None:
            if (alive := wrapper()) is not None and not alive._writing:
                alive._readAll()

        tag = parameterNode.AddObserver(vtk.vtkCommand.ModifiedEvent, onModified)
        weakref.finalize(self, parameterNode.RemoveObserver, tag).atexit = False

    def _readAll(self) -> None:
        for name, parameter in self.allParameters.items():
            self._cache[name] = parameter.read(self.parameterNode, self._prefix + name)

    def _parameter(self, name: str) -> Parameter:
        self.dataType(name)
        return self.allParameters[name]

    def getValue(self, name: str) -> Any:
        self._parameter(name)
        return self._cache[name]

    def setValue(self, name: str, value: Any) -> None:
        parameter = self._parameter(name)
        self._writing = True
        try:
            with slicer.util.NodeModify(self.parameterNode):
                parameter.write(self.parameterNode, self._prefix + name, value)
                self._cache[name] = parameter.read(self.parameterNode, self._prefix + name)
        finally:
            self._writing = False

    def default(self, name: str) -> Default:
        return self._parameter(name).default

    @classmethod
    def dataType(cls, name: str) -> Any:
        if name not in cls.allParameters:
            raise ValueError(f"Cannot find a param with the given name: {name}")
        return cls.allParameters[name].annotated

    def connectGui(self, gui: Any) -> None:
        """Connect the widgets that have the property SlicerParameterName: a widget's children or ``self.ui``.

        Returns None, as in Slicer 5.12: who wants to disconnect uses :meth:`connectParametersToGui`, which has a tag.
        """
        if isinstance(gui, QtWidgets.QWidget):
            widgets = gui.findChildren(QtWidgets.QWidget)
        else:
            widgets = list(vars(gui).values())
        named = {widget.property(SlicerParameterNamePropertyName): widget for widget in widgets}
        self.connectParametersToGui({name: widget for name, widget in named.items() if name})

    def connectParametersToGui(self, mapping: dict[str, Any]) -> int:
        """Connect widgets by the names of parameters; the tag is for :meth:`disconnectGui`."""
        connectors = {
            name: createGuiConnector(widget, self._parameter(name).annotated) for name, widget in mapping.items()
        }
        tag = self._nextTag
        self._nextTag += 1
        self._connectors[tag] = connectors
        for name, connector in connectors.items():
            connector.write(self.getValue(name))
            connector.onChanged(self._guiCallback(name, connector))
        self.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda caller, event: self._updateGui())
        return tag

    def disconnectGui(self, guiTag: int | None) -> None:
        for connector in self._connectors.pop(guiTag, {}).values():
            connector.onChanged(None)

    def _guiCallback(self, name: str, connector: Connector) -> Callable[[], None]:
        def onChanged() -> None:
            if not self._updatingGui:
                self.setValue(name, connector.read())

        return onChanged

    def _updateGui(self) -> None:
        if self._updatingGui:
            return
        self._updatingGui = True
        try:
            with slicer.util.NodeModify(self.parameterNode):
                for connectors in list(self._connectors.values()):
                    for name, connector in connectors.items():
                        connector.write(self.getValue(name))
        finally:
            self._updatingGui = False

    def StartModify(self) -> int:
        return self.parameterNode.StartModify()

    def EndModify(self, wasModified: int) -> int:
        return self.parameterNode.EndModify(wasModified)

    def AddObserver(self, event: Any, callback: Callable[..., Any], priority: float = 0.0) -> int:
        return self.parameterNode.AddObserver(event, callback, priority)

    def RemoveObserver(self, tag: int) -> None:
        self.parameterNode.RemoveObserver(tag)

    def Modified(self) -> None:
        self.parameterNode.Modified()


def _attribute(name: str) -> property:
    return property(lambda self: self.getValue(name), lambda self, value: self.setValue(name, value))


def parameterNodeWrapper(classtype: type | None = None) -> Any:
    """Class decorator: annotated attributes become parameters.

    Raises:
        ValueError: the class uses a name that the wrapper needs.
        TypeError: an attribute has a type that cannot be kept.
    """
    if classtype is None:
        return parameterNodeWrapper
    parameters = {}
    for name, annotated in typing.get_type_hints(classtype, include_extras=True).items():
        default = Default(getattr(classtype, name)) if hasattr(classtype, name) else None
        parameters[name] = Parameter(name, annotated, default)
    for name, item in vars(_Wrapper).items():
        if name.startswith("__") and name != "__init__":
            continue
        if name in vars(classtype) and name != "__init__":
            raise ValueError(f"Cannot use reserved name '{name}' in a parameterNodeWrapper")
        setattr(classtype, name, item)
    classtype.allParameters = parameters
    for name in parameters:
        setattr(classtype, name, _attribute(name))
    return classtype


def isParameterNodeWrapper(classOrObject: Any) -> bool:
    return hasattr(classOrObject, "allParameters")


def findChildWidgetForParameter(widget: QtWidgets.QWidget, parameter: str) -> QtWidgets.QWidget | None:
    children = widget.findChildren(QtWidgets.QWidget)
    return next((child for child in children if child.property(SlicerParameterNamePropertyName) == parameter), None)
