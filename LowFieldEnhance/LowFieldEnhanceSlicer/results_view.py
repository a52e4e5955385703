"""The buttons of the panel that work on a result: compare, report, surfaces, repeat, remove."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
import slicer

from . import hierarchy
from .loading import ENHANCED, OUTPUT_ATTRIBUTE, REPORT_ROLE
from .parameters import LowFieldEnhanceParameterNode
from .request import NODE_ROLE
from .structures_view import StructuresView

BUTTONS = ("sideBySideButton", "axialButton", "blinkButton", "checkerboardButton", "reportButton", "surfaceButton",
           "againButton", "removeButton")  # fmt: skip


class ResultsView:
    """The section "Results" of the panel.

    Args:
        ui: the widgets of the panel by name.
        parameters: returns the panel's parameters, or None while there are none.
        onRunAgain: called with the node whose settings are wanted.
        openUrl: opens a page in the browser.
    """

    def __init__(
        self,
        ui: Any,
        parameters: Callable[[], LowFieldEnhanceParameterNode | None],
        onRunAgain: Callable[[slicer.vtkMRMLNode], None],
        openUrl: Callable[[Any], Any] = qt.QDesktopServices.openUrl,
    ) -> None:
        self._ui = ui
        self._parameters = parameters
        self._onRunAgain = onRunAgain
        self._openUrl = openUrl
        self._structures = StructuresView(ui.structuresTable)
        ui.resultSelector.addAttribute("vtkMRMLScalarVolumeNode", OUTPUT_ATTRIBUTE, ENHANCED)
        ui.sideBySideButton.clicked.connect(self._onSideBySide)
        ui.axialButton.clicked.connect(self._onAxial)
        ui.blinkButton.clicked.connect(self._onBlink)
        ui.checkerboardButton.clicked.connect(self._onCheckerboard)
        ui.earlierButton.clicked.connect(self._onEarlier)
        ui.reportButton.clicked.connect(self._onReport)
        ui.surfaceButton.clicked.connect(self._onSurface)
        ui.againButton.clicked.connect(self._onAgain)
        ui.removeButton.clicked.connect(self._onRemove)

    def refresh(self) -> None:
        """Enable what can be done with the chosen result."""
        node = self._node()
        self._structures.show(*self._tableOf(node))
        for name in BUTTONS:
            getattr(self._ui, name).enabled = node is not None
        if node is not None:
            hasInput = self._inputOf(node) is not None
            for name in BUTTONS[:4]:
                getattr(self._ui, name).enabled = hasInput
            self._ui.reportButton.enabled = node.GetNodeReference(REPORT_ROLE) is not None
            self._ui.surfaceButton.enabled = self._segmentationOf(node) is not None
            self._ui.removeButton.enabled = self._folderOf(node) != 0

    def _node(self) -> slicer.vtkMRMLScalarVolumeNode | None:
        parameters = self._parameters()
        return parameters.resultVolume if parameters is not None else None

    @staticmethod
    def _inputOf(node: slicer.vtkMRMLNode) -> slicer.vtkMRMLScalarVolumeNode | None:
        return node.GetNodeReference(NODE_ROLE + "inputVolume")

    @staticmethod
    def _folderOf(node: slicer.vtkMRMLNode) -> int:
        tree = hierarchy.subjectHierarchy(node.GetScene())
        item = tree.GetItemByDataNode(node)
        while item and not tree.GetItemAttribute(item, hierarchy.RUN_ATTRIBUTE):
            item = tree.GetItemParent(item)
        return item

    def _outputOf(self, node: slicer.vtkMRMLNode, className: str) -> slicer.vtkMRMLNode | None:
        """The first output of this class of the run that made the node."""
        folder = self._folderOf(node)
        nodes = hierarchy.runNodes(folder, node.GetScene()) if folder else []
        return next((item for item in nodes if item.IsA(className)), None)

    def _tableOf(self, node: slicer.vtkMRMLNode | None) -> tuple[Any, Any]:
        """The report table of the run, and the segmentation that it is about."""
        if node is None:
            return None, None
        return self._outputOf(node, "vtkMRMLTableNode"), self._segmentationOf(node)

    def _segmentationOf(self, node: slicer.vtkMRMLNode) -> slicer.vtkMRMLSegmentationNode | None:
        return self._outputOf(node, "vtkMRMLSegmentationNode")

    def _onSideBySide(self) -> None:
        self._compare()

    def _onAxial(self) -> None:
        self._compare(axialOnly=True)

    def _compare(self, axialOnly: bool = False) -> None:
        from . import layout

        layout.showSideBySide(self._inputOf(self._node()), self._node(), axialOnly=axialOnly)
        self._showMode()

    def _onBlink(self) -> None:
        from . import layout

        self._setMode(layout.setBlink, self._ui.blinkButton.checked)

    def _onCheckerboard(self) -> None:
        from . import layout

        self._setMode(layout.setCheckerboard, self._ui.checkerboardButton.checked)

    def _setMode(self, change: Callable[[bool], bool], on: bool) -> None:
        """Both ways of comparing need the side-by-side layout, which is shown first."""
        if not change(on) and on:
            self._compare()
            change(on)
        self._showMode()

    def _showMode(self) -> None:
        """One of the two at most: the buttons follow what is on the screen."""
        from . import layout

        mode = layout.comparisonMode()
        self._ui.blinkButton.checked = mode == "blink"
        self._ui.checkerboardButton.checked = mode == "checkerboard"

    def _onEarlier(self) -> None:
        from . import layout

        layout.restoreLayout()
        self._showMode()

    def _onReport(self) -> None:
        page = self._node().GetNodeReference(REPORT_ROLE)
        path = Path(slicer.app.temporaryPath, f"LowFieldEnhance-report-{page.GetID()}.html")
        path.write_text(page.GetText(), encoding="utf-8")
        self._openUrl(qt.QUrl.fromLocalFile(str(path)))

    def _onSurface(self) -> None:
        segmentation = self._segmentationOf(self._node())
        segmentation.CreateClosedSurfaceRepresentation()
        segmentation.GetDisplayNode().SetVisibility3D(True)

    def _onAgain(self) -> None:
        self._onRunAgain(self._node())

    def _onRemove(self) -> None:
        self._onEarlier()
        node = self._node()
        hierarchy.removeRun(self._folderOf(node), node.GetScene())
