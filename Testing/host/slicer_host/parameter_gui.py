"""Which widget shows which type of parameter, as in Slicer: by the widget's exact class."""

from __future__ import annotations

import enum
import pathlib
import typing
from collections.abc import Callable
from typing import Any

import slicer
from PySide6 import QtWidgets

from .ctk_widgets import ctkPathLineEdit, ctkSliderWidget
from .mrml_widgets import qMRMLNodeComboBox
from .parameter_checks import Choice, Maximum, Minimum, WithinRange
from .parameter_types import split


class Decimals:
    """Decimals of a spin box or slider."""

    def __init__(self, value: int) -> None:
        self.value = value


class SingleStep:
    """Step of a spin box or slider."""

    def __init__(self, value: float) -> None:
        self.value = value


class Connector:
    """Couples one parameter with one property of a widget.

    Args:
        signal: the widget's signal that the property changed.
        values: the values by the property's value, where it is an index; None: the property is the value.
    """

    def __init__(
        self,
        widget: QtWidgets.QWidget,
        name: str,
        signal: str,
        values: list[Any] | None = None,
        fromWidget: Callable[[Any], Any] = lambda value: value,
        toWidget: Callable[[Any], Any] = lambda value: value,
    ) -> None:
        self._widget, self._name, self._signal = widget, name, getattr(widget, signal)
        self._values, self._fromWidget, self._toWidget = values, fromWidget, toWidget
        self._callback: Callable[[], None] | None = None

    def widget(self) -> QtWidgets.QWidget:
        return self._widget

    def read(self) -> Any:
        value = self._widget.property(self._name)
        return self._fromWidget(value) if self._values is None else self._values[value]

    def write(self, value: Any) -> None:
        if self._values is not None:
            # As in Slicer, a value that is no choice is an error and not an empty box.
            value = self._values.index(value)
        self._widget.setProperty(self._name, self._toWidget(value))

    def changed(self) -> None:
        if self._callback is not None:
            self._callback()

    def onChanged(self, callback: Callable[[], None] | None) -> None:
        """Call this on each change; None ends it."""
        if callback is None:
            self._signal.disconnect(self.changed)
        else:
            self._signal.connect(self.changed)
        self._callback = callback


class NodeConnector(Connector):
    """A node and a combo box of nodes."""

    def __init__(self, widget: qMRMLNodeComboBox, kind: Any) -> None:
        super().__init__(widget, "currentNodeID", "currentNodeChanged")
        widget.setProperty("nodeTypes", [node().GetClassName() for node in nodeClasses(kind)])

    def read(self) -> slicer.vtkMRMLNode | None:
        return self._widget.currentNode()

    def write(self, value: slicer.vtkMRMLNode | None) -> None:
        self._widget.setCurrentNode(value)


def nodeClasses(kind: Any) -> list[type]:
    """The node classes of a node type or of a union of them; empty for any other type."""
    members = typing.get_args(kind) if typing.get_origin(kind) is typing.Union else (kind,)
    classes = [split(member)[0] for member in members]
    nodes = [item for item in classes if isinstance(item, type) and issubclass(item, slicer.vtkMRMLNode)]
    return nodes if all(item in nodes or item is type(None) for item in classes) else []


def createGuiConnector(widget: QtWidgets.QWidget, annotated: Any) -> Connector:
    """The connector of a widget and a type.

    Raises:
        RuntimeError: Slicer could not connect them either.
    """
    kind, annotations = split(annotated)
    exact = type(widget)
    if kind is bool and exact is QtWidgets.QCheckBox:
        return Connector(widget, "checked", "stateChanged")
    if kind is bool and exact is QtWidgets.QPushButton:
        widget.setCheckable(True)
        return Connector(widget, "checked", "toggled")
    if kind is int and exact in (QtWidgets.QSpinBox, QtWidgets.QSlider):
        _setLimits(widget, annotations, int(-(2**31)), 2**31 - 1, mustBeBounded=exact is QtWidgets.QSlider)
        return Connector(widget, "value", "valueChanged")
    if kind is float and exact in (QtWidgets.QDoubleSpinBox, ctkSliderWidget):
        _setLimits(widget, annotations, float("-inf"), float("inf"), mustBeBounded=exact is ctkSliderWidget)
        return Connector(widget, "value", "valueChanged")
    if exact is QtWidgets.QComboBox:
        return _comboBoxConnector(widget, kind, annotations)
    if kind is str and exact is QtWidgets.QLineEdit:
        return Connector(widget, "text", "textChanged")
    if kind is str and exact is QtWidgets.QTextEdit:
        return Connector(widget, "plainText", "textChanged")
    if isinstance(kind, type) and issubclass(kind, pathlib.PurePath) and exact is ctkPathLineEdit:
        return Connector(widget, "currentPath", "currentPathChanged", None, kind, str)
    if exact is qMRMLNodeComboBox and nodeClasses(kind):
        return NodeConnector(widget, kind)
    raise _unable(widget, annotated)


def _unable(widget: QtWidgets.QWidget, annotated: Any) -> RuntimeError:
    return RuntimeError(f"Unable to create GUI connector from datatype '{annotated}' to widget type '{type(widget)}'")


def _comboBoxConnector(widget: QtWidgets.QComboBox, kind: Any, annotations: list[Any]) -> Connector:
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        values = list(kind)
        labels = [value.label() if hasattr(kind, "label") else value.name for value in values]
    elif kind in (int, float, str, bool):
        choice = _first(annotations, Choice)
        if choice is None:
            raise RuntimeError("A combo box of plain values needs the annotation Choice")
        values = list(choice.choices)
        labels = [str(value) for value in values]
    else:
        raise _unable(widget, kind)
    widget.clear()
    widget.addItems(labels)
    return Connector(widget, "currentIndex", "currentIndexChanged", values)


def _first(annotations: list[Any], kind: type) -> Any:
    return next((annotation for annotation in annotations if isinstance(annotation, kind)), None)


def _setLimits(
    widget: QtWidgets.QWidget, annotations: list[Any], lowest: float, highest: float, mustBeBounded: bool
) -> None:
    """Slicer sets the limits from the annotations and forgets those of the .ui file, so this does too."""
    for name, kind in (("decimals", Decimals), ("singleStep", SingleStep)):
        if (annotation := _first(annotations, kind)) is not None:
            widget.setProperty(name, annotation.value)
    both = _first(annotations, WithinRange)
    least, most = both or _first(annotations, Minimum), both or _first(annotations, Maximum)
    if mustBeBounded and (least is None or most is None):
        raise RuntimeError(f"A {type(widget).__name__} needs the annotation WithinRange, or Minimum and Maximum")
    widget.setProperty("minimum", least.minimum if least is not None else lowest)
    widget.setProperty("maximum", most.maximum if most is not None else highest)
