"""Slicer's way of reading and setting Qt properties (``label.text = "..."``), switched on module by module.

PySide6 has it as the feature ``true_property``: inside a module that asks for it, getters are properties. Without it
``widget.enabled = False`` sets an attribute of the Python object and the widget stays as it was.
"""

from __future__ import annotations

import contextlib
import importlib.abc
import sys
from collections.abc import Iterable, Iterator, Sequence
from types import ModuleType
from typing import Any

import shiboken6
from PySide6 import QtCore, QtWidgets
from shibokensupport import feature

TRUE_PROPERTY = 2


def useSlicerProperties(moduleName: str, on: bool = True) -> None:
    """Switch the property style for the code of one module, imported already or not yet.

    A test module that uses Qt says which style it is in, mostly ``useSlicerProperties(__name__, False)``: pytest
    imports it without an import statement, so PySide6 may not know of it, and then it would be in the style of
    whichever module touched Qt before.
    """
    with _withoutTorch():
        feature.set_selection(TRUE_PROPERTY if on else 0, moduleName)
    # The choice of the module that touched Qt last is kept until another module does; this one does.
    QtCore.QObject.objectName  # noqa: B018


@contextlib.contextmanager
def _withoutTorch() -> Iterator[None]:
    """PySide6 asks every loaded module for its source; torch's made-up ones (torch.classes) raise an exception."""
    hidden = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "torch"}
    for name in hidden:
        del sys.modules[name]
    try:
        yield
    finally:
        sys.modules.update(hidden)


class PropertySwitch(importlib.abc.MetaPathFinder):
    """Switches the style on for modules of given names, and for what lies in packages of these names, on import."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = tuple(names)

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        """Finds nothing itself: the ordinary finders go on."""
        if self._matches(fullname):
            useSlicerProperties(fullname)

    def _matches(self, moduleName: str) -> bool:
        return any(moduleName == name or moduleName.startswith(name + ".") for name in self._names)

    def install(self) -> None:
        for name in (*self._names, *sys.modules):
            if self._matches(name):
                useSlicerProperties(name)
        sys.meta_path.insert(0, self)

    def remove(self) -> None:
        sys.meta_path.remove(self)


def addPythonQtNames() -> None:
    """Give Qt's objects what PythonQt gives them: ``name`` for the objectName, ``className()``, and ``exec_()``.

    They stay for the life of the process: Qt's classes are the same for all sessions.
    """
    if not hasattr(QtCore.QObject, "className"):
        QtCore.QObject.className = _className
        QtCore.QObject.name = property(_name, _setName)
        for widget in (QtWidgets.QDialog, QtWidgets.QMenu):
            # PySide6 has it as well, but calls it deprecated.
            widget.exec_ = widget.exec


def strayAttributes(ui: Any) -> list[str]:
    """What was set on widgets of Qt and is no property of theirs: PySide6 takes it for an attribute of Python."""
    return [
        f"{widget.objectName()}.{name}"
        for widget in vars(ui).values()
        if type(widget).__module__.startswith("PySide6") and shiboken6.isValid(widget)
        for name, value in vars(widget).items()
        if not isinstance(value, QtCore.SignalInstance)  # PySide6 keeps them there itself
    ]


def _className(item: QtCore.QObject) -> str:
    return item.metaObject().className()


def _name(item: QtCore.QObject) -> str:
    return QtCore.QObject.property(item, "objectName")


def _setName(item: QtCore.QObject, name: Any) -> None:
    QtCore.QObject.setProperty(item, "objectName", str(name))
