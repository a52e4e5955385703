"""The modules ``qt`` and ``ctk`` as PythonQt offers them."""

from __future__ import annotations

from functools import cache
from types import ModuleType
from typing import Any

from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets

from . import ctk_widgets, dialogs, ui_loader

# PySide6's own: PythonQt has no such things, and the module under test must do without.
ABSENT = ("Signal", "Slot", "Property", "ClassInfo")


class QtModule(ModuleType):
    """All classes of Qt in one module; PySide6 makes them when they are first asked for."""

    def __getattr__(self, name: str) -> Any:
        if name not in ABSENT and not name.startswith("_"):
            for part in (QtCore, QtGui, QtWidgets, QtUiTools):
                if hasattr(part, name):
                    return getattr(part, name)
        raise AttributeError(f"module 'qt' has no attribute '{name}'")


@cache
def makeQt() -> ModuleType:
    """Qt; the blocking dialogs and the .ui loader are the host's."""
    qt = QtModule("qt")
    qt.QMessageBox = dialogs.QMessageBox
    qt.QFileDialog = dialogs.QFileDialog
    qt.QUiLoader = ui_loader.QUiLoader
    return qt


@cache
def makeCtk() -> ModuleType:
    """CTK, as far as a panel here uses it."""
    ctk = ModuleType("ctk")
    for item in (*ctk_widgets.WIDGETS, dialogs.ctkMessageBox):
        setattr(ctk, item.__name__, item)
    return ctk
