"""``slicer.app`` and the main window."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import shiboken6
import slicer
from PySide6 import QtCore, QtWidgets

from .layout_manager import LayoutManager
from .modules import ModuleManager, ModuleSelector

VERSION = "5.12.0"


class MainWindow(QtWidgets.QMainWindow):
    """The window that ``slicer.util.mainWindow()`` finds."""

    def __init__(self, manager: ModuleManager) -> None:
        super().__init__()
        self.setObjectName("qSlicerMainWindow")
        self._selector = ModuleSelector(manager)

    def moduleSelector(self) -> ModuleSelector:
        return self._selector


class qSlicerApplication(QtWidgets.QApplication):
    """The one application of the process; a session lends it a scene and a folder."""

    startupCompleted = QtCore.Signal()
    aboutToQuit = QtCore.Signal()  # Qt's own has receivers of Qt's own

    revision = "00000"
    repositoryRevision = "00000"
    majorVersion = 5
    minorVersion = 12
    releaseType = "Stable"

    def __init__(self) -> None:
        super().__init__(["Slicer"])
        self.setApplicationName("Slicer")
        self.setOrganizationName("slicer.org")
        self.setApplicationVersion(VERSION)
        self.setQuitOnLastWindowClosed(False)
        self._renderPauses = 0

    # The session
    def open(self, scene: slicer.vtkMRMLScene, logic: slicer.vtkMRMLApplicationLogic, folder: Path) -> None:
        self._scene, self._logic, self._folder = scene, logic, folder
        QtCore.QSettings.setDefaultFormat(QtCore.QSettings.Format.IniFormat)
        for scope in (QtCore.QSettings.Scope.UserScope, QtCore.QSettings.Scope.SystemScope):
            QtCore.QSettings.setPath(QtCore.QSettings.Format.IniFormat, scope, str(folder / "settings"))
        (folder / "temporary").mkdir()
        self._modules = ModuleManager()
        self._layout = LayoutManager(scene, logic)
        self._mainWindow = MainWindow(self._modules)

    def close(self) -> None:
        self._modules.unloadAll()
        for name in ("startupCompleted", "aboutToQuit"):
            if self.receivers(QtCore.SIGNAL(f"{name}()")):
                getattr(self, name).disconnect()
        while self.overrideCursor():
            self.restoreOverrideCursor()
        for widget in self.topLevelWidgets():
            widget.hide()
            widget.deleteLater()
        self.sendPostedEvents(None, QtCore.QEvent.Type.DeferredDelete)
        self.processEvents()
        self.closeMainWindow()
        del self._modules, self._layout, self._mainWindow, self._scene, self._logic

    def closeMainWindow(self) -> None:
        """At its end Slicer deletes the window with its views first, and unloads the modules after that."""
        if self._layout is not None:
            self._layout.close()
            if shiboken6.isValid(self._mainWindow):
                shiboken6.delete(self._mainWindow)
        self._layout = self._mainWindow = None

    def connect(self, signal: str, slot: Callable[..., Any]) -> bool:
        """PythonQt's ``app.connect("startupCompleted()", f)``; undone, as the other form is, at the session's end."""
        getattr(self, signal.partition("(")[0]).connect(slot)
        return True

    def disconnect(self, signal: str, slot: Callable[..., Any]) -> bool:
        getattr(self, signal.partition("(")[0]).disconnect(slot)
        return True

    # What Slicer's application offers
    def mrmlScene(self) -> slicer.vtkMRMLScene:
        return self._scene

    def applicationLogic(self) -> slicer.vtkMRMLApplicationLogic:
        return self._logic

    def layoutManager(self) -> LayoutManager | None:
        return self._layout

    def moduleManager(self) -> ModuleManager:
        return self._modules

    def mainWindow(self) -> MainWindow | None:
        return self._mainWindow

    def settings(self) -> QtCore.QSettings:
        return QtCore.QSettings()

    userSettings = settings

    def testingEnabled(self) -> bool:
        """False: dialogs appear, and are recorded, as for a user."""
        return False

    def startupEnvironment(self) -> QtCore.QProcessEnvironment:
        return QtCore.QProcessEnvironment.systemEnvironment()

    def pauseRender(self) -> None:
        self._renderPauses += 1

    def resumeRender(self) -> None:
        self._renderPauses -= 1

    def moduleDocumentationUrl(self, moduleName: str) -> str:
        return f"https://slicer.readthedocs.io/en/v5.12/user_guide/modules/{moduleName.lower()}.html"

    def _path(name: str) -> QtCore.Property:  # noqa: N805
        return QtCore.Property(str, lambda self: str(self._folder / name))

    temporaryPath = _path("temporary")
    slicerHome = _path("home")
    extensionsInstallPath = _path("extensions")
    del _path
    launcherExecutableFilePath = QtCore.Property(str, lambda self: sys.executable)


def application() -> qSlicerApplication:
    """The application of this process, made on first use.

    Raises:
        RuntimeError: another Qt application is there already.
    """
    existing = QtWidgets.QApplication.instance()
    if existing is None:
        return _make()
    if not isinstance(existing, qSlicerApplication):
        raise RuntimeError("The process has a Qt application that is not the test host's")
    return existing


def _make() -> qSlicerApplication:
    made = qSlicerApplication()
    # Qt keeps no reference from Python: the application lives as long as this module.
    globals()["_instance"] = made
    QtCore.qInstallMessageHandler(_onQtMessage)
    return made


def _onQtMessage(kind: QtCore.QtMsgType, context: QtCore.QMessageLogContext, text: str) -> None:
    """Qt's warnings go to the log; what the offscreen platform cannot do is no news."""
    if "This plugin does not support" not in text:
        logging.getLogger("qt").warning(text)
