"""The widgets of CTK that a panel uses, with CTK's names of properties and signals."""

from __future__ import annotations

from PySide6 import QtCore, QtWidgets

HIDDEN_BY_COLLAPSE = "_hiddenByCollapse"


class ctkCollapsibleButton(QtWidgets.QWidget):
    """A header to click on; the child widgets below it are hidden while it is collapsed."""

    contentsCollapsed = QtCore.Signal(bool)

    def __init__(self, *arguments) -> None:
        texts = [argument for argument in arguments if isinstance(argument, str)]
        super().__init__(*(argument for argument in arguments if not isinstance(argument, str)))
        self._header = QtWidgets.QToolButton(self)
        self._header.setToolButtonStyle(QtCore.Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self._header.clicked.connect(self._toggle)
        self._collapsed = False
        self._setText("".join(texts))
        self._update()

    def _getText(self) -> str:
        return self._header.text()

    def _setText(self, text: str) -> None:
        self._header.setText(text)

    def _getCollapsed(self) -> bool:
        return self._collapsed

    def _setCollapsed(self, collapsed: bool) -> None:
        if collapsed != self._collapsed:
            self._collapsed = collapsed
            self._update()
            self.contentsCollapsed.emit(collapsed)

    def _toggle(self) -> None:
        self._setCollapsed(not self._collapsed)

    text = QtCore.Property(str, _getText, _setText)
    collapsed = QtCore.Property(bool, _getCollapsed, _setCollapsed)

    def _update(self) -> None:
        arrows = QtCore.Qt.ArrowType
        self._header.setArrowType(arrows.RightArrow if self._collapsed else arrows.DownArrow)
        self.setContentsMargins(0, self._header.sizeHint().height(), 0, 0)
        self.setMinimumHeight(self._header.sizeHint().height())
        self._updateChildren()

    def _updateChildren(self) -> None:
        for child in self.findChildren(QtWidgets.QWidget, options=QtCore.Qt.FindChildOption.FindDirectChildrenOnly):
            if child is self._header:
                continue
            if self._collapsed and not child.isHidden():
                child.setProperty(HIDDEN_BY_COLLAPSE, True)
                child.hide()
            elif not self._collapsed and child.property(HIDDEN_BY_COLLAPSE):
                child.setProperty(HIDDEN_BY_COLLAPSE, None)
                child.show()

    def resizeEvent(self, event) -> None:
        self._header.setGeometry(0, 0, self.width(), self._header.sizeHint().height())
        super().resizeEvent(event)

    def showEvent(self, event) -> None:
        self._updateChildren()
        super().showEvent(event)

    def event(self, event) -> bool:
        if event.type() == QtCore.QEvent.Type.LayoutRequest:
            self._updateChildren()
        return super().event(event)


class ctkSliderWidget(QtWidgets.QWidget):
    """A slider and a spin box of one real value."""

    valueChanged = QtCore.Signal(float)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._slider = QtWidgets.QSlider(QtCore.Qt.Orientation.Horizontal)
        self._spinBox = QtWidgets.QDoubleSpinBox()
        self._spinBox.setRange(0.0, 99.0)
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._slider)
        row.addWidget(self._spinBox)
        self._slider.valueChanged.connect(self._onSlider)
        self._spinBox.valueChanged.connect(self._onSpinBox)
        self._fitSlider()

    def _onSlider(self, position: int) -> None:
        self._spinBox.setValue(self._spinBox.minimum() + position * self._spinBox.singleStep())

    def _onSpinBox(self, value: float) -> None:
        self._fitSlider()
        self.valueChanged.emit(value)

    def _fitSlider(self) -> None:
        """The slider counts the steps from the minimum; the spin box holds the value."""
        box = self._spinBox
        step = box.singleStep() or 1.0
        blocker = QtCore.QSignalBlocker(self._slider)
        self._slider.setRange(0, round((box.maximum() - box.minimum()) / step))
        self._slider.setValue(round((box.value() - box.minimum()) / step))
        blocker.unblock()

    def setRange(self, minimum: float, maximum: float) -> None:
        self._spinBox.setRange(minimum, maximum)
        self._fitSlider()

    def _forward(kind: type, name: str) -> QtCore.Property:  # noqa: N805
        def get(self: ctkSliderWidget) -> kind:
            return kind(self._spinBox.property(name))

        def put(self: ctkSliderWidget, value: kind) -> None:
            self._spinBox.setProperty(name, value)
            self._fitSlider()

        return QtCore.Property(kind, get, put)

    value = _forward(float, "value")
    minimum = _forward(float, "minimum")
    maximum = _forward(float, "maximum")
    singleStep = _forward(float, "singleStep")
    decimals = _forward(int, "decimals")
    suffix = _forward(str, "suffix")
    prefix = _forward(str, "prefix")
    del _forward


class ctkPathLineEdit(QtWidgets.QWidget):
    """A line with a path in it; the host keeps the filters, and shows no browse button.

    As CTK's with its default name filters: any text is a valid path, and an empty line is none, of which
    ``currentPathChanged`` does not tell.
    """

    # QDir's filters under CTK's names.
    Dirs, Files, Readable, Writable = 0x001, 0x002, 0x010, 0x020

    currentPathChanged = QtCore.Signal(str)
    validInputChanged = QtCore.Signal(bool)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._line = QtWidgets.QLineEdit()
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._line)
        self._line.textChanged.connect(self._onText)
        self._filters, self._valid = self.Dirs | self.Files, False

    def _onText(self, text: str) -> None:
        before, self._valid = self._valid, bool(text)
        if self._valid:
            self.currentPathChanged.emit(text)
        if self._valid != before:
            self.validInputChanged.emit(self._valid)

    def _getPath(self) -> str:
        return self._line.text()

    def _setPath(self, path: str) -> None:
        self._line.setText(path)

    def _getFilters(self) -> int:
        return self._filters

    def _setFilters(self, filters: int) -> None:
        self._filters = filters

    currentPath = QtCore.Property(str, _getPath, _setPath)
    filters = QtCore.Property(int, _getFilters, _setFilters)


WIDGETS = (ctkCollapsibleButton, ctkPathLineEdit, ctkSliderWidget)
