"""Loads the .ui files of Slicer's Designer, with the widgets of CTK and MRML in them."""

from __future__ import annotations

from xml.etree import ElementTree

from PySide6 import QtCore, QtUiTools, QtWidgets

from . import ctk_widgets
from .mrml_widgets import qMRMLNodeComboBox, qMRMLWidget

CUSTOM_WIDGETS = (*ctk_widgets.WIDGETS, qMRMLNodeComboBox, qMRMLWidget)
SCENE = "vtkMRMLScene*"


class QUiLoader(QtUiTools.QUiLoader):
    """Knows the widgets of :data:`CUSTOM_WIDGETS`; connects scenes as the .ui file says, and only so."""

    def __init__(self, parent: QtCore.QObject | None = None) -> None:
        super().__init__(parent)
        for widget in CUSTOM_WIDGETS:
            self.registerCustomWidget(widget)

    def load(self, device: QtCore.QIODevice, parentWidget: QtWidgets.QWidget | None = None) -> QtWidgets.QWidget:
        """As Qt's.

        Raises:
            RuntimeError: the file names a widget that the host does not have.
        """
        # Qt cannot carry a scene through a signal of the .ui file: those connections are made here.
        root = ElementTree.fromstring(bytes(device.readAll().data()))
        self._checkCustomWidgets(root)
        connections = root.find("connections")
        ofScene = [item for item in root.iter("connection") if SCENE in item.findtext("signal", "")]
        for connection in ofScene:
            connections.remove(connection)
        buffer = QtCore.QBuffer()
        buffer.setData(ElementTree.tostring(root))
        buffer.open(QtCore.QIODevice.OpenModeFlag.ReadOnly)
        widget = super().load(buffer, parentWidget)
        for connection in ofScene:
            self._connectScene(widget, connection)
        return widget

    def _checkCustomWidgets(self, root: ElementTree.Element) -> None:
        known = {widget.__name__ for widget in CUSTOM_WIDGETS}
        unknown = {item.findtext("class") for item in root.iter("customwidget")} - known
        if unknown:
            raise RuntimeError(f"The test host has no widget {', '.join(sorted(unknown))}")

    def _connectScene(self, widget: QtWidgets.QWidget, connection: ElementTree.Element) -> None:
        sender, receiver = (_child(widget, connection.findtext(end)) for end in ("sender", "receiver"))
        signal, slot = (connection.findtext(end).partition("(")[0] for end in ("signal", "slot"))
        getattr(sender, signal).connect(getattr(receiver, slot))


def _child(widget: QtWidgets.QWidget, name: str) -> QtWidgets.QWidget:
    if widget.objectName() == name:
        return widget
    child = widget.findChild(QtWidgets.QWidget, name)
    if child is None:
        raise RuntimeError(f"A connection of the .ui file names the widget '{name}', which it does not have")
    return child
