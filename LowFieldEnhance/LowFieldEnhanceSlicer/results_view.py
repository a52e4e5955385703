"""The section of the panel that works on a result: compare, report, surfaces, repeat, remove."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from . import hierarchy, layout
from .lesion_table import PLACE
from .loading import LESION_TABLE, REPORT_ROLE
from .marks import BEFORE_AFTER_CHART, ENHANCED, OUTPUT_ATTRIBUTE, STRUCTURE_TABLE, VOLUME_CHART
from .overlay_view import OverlayView
from .overlays import MAPS
from .parameters import LowFieldEnhanceParameterNode
from .removal import confirmRemoval
from .result_actions import ResultActions
from .result_line import resultLine
from .surfaces import SurfaceMaker
from .table_view import TableView

BUTTONS = ("sideBySideButton", "axialButton", "blinkButton", "checkerboardButton", "reportButton", "surfaceButton",
           "chartButton", "beforeAfterButton", "againButton", "runAgainButton", "removeButton")  # fmt: skip


class ResultsView:
    """The section "Results" of the panel.

    Args:
        ui: the widgets of the panel by name.
        actions: what the buttons do.
        parameters: returns the panel's parameters, or None while there are none.
        onSettings: called with the node whose settings are wanted.
        onRunAgain: called with the node that shall be made once more.
        openUrl: opens a page in the browser.
    """

    def __init__(
        self,
        ui: Any,
        actions: ResultActions,
        parameters: Callable[[], LowFieldEnhanceParameterNode | None],
        onSettings: Callable[[slicer.vtkMRMLNode], None],
        onRunAgain: Callable[[slicer.vtkMRMLNode], None],
        openUrl: Callable[[Any], Any] = qt.QDesktopServices.openUrl,
    ) -> None:
        self._ui = ui
        self._actions = actions
        self._parameters = parameters
        self._onSettings = onSettings
        self._onRunAgain = onRunAgain
        self._openUrl = openUrl
        self._structures = TableView(ui.structuresTable, self._onStructure)
        self._lesions = TableView(ui.lesionsTable, self._onLesion)
        self._overlays = OverlayView(ui.overlayComboBox, self._onOverlay)
        self._surfaces = SurfaceMaker(self._showSurfaceProgress)
        ui.resultSelector.addAttribute("vtkMRMLScalarVolumeNode", OUTPUT_ATTRIBUTE, ENHANCED)
        layout.onComparisonEnd(self._showMode)
        ui.sideBySideButton.clicked.connect(self._onSideBySide)
        ui.axialButton.clicked.connect(self._onAxial)
        ui.blinkButton.clicked.connect(self._onBlink)
        ui.checkerboardButton.clicked.connect(self._onCheckerboard)
        ui.earlierButton.clicked.connect(self._onEarlier)
        ui.reportButton.clicked.connect(self._onReport)
        ui.surfaceButton.clicked.connect(self._onSurface)
        ui.chartButton.clicked.connect(self._onChart)
        ui.beforeAfterButton.clicked.connect(self._onBeforeAfter)
        ui.againButton.clicked.connect(self._onUseSettings)
        ui.runAgainButton.clicked.connect(self._onAgain)
        ui.removeButton.clicked.connect(self._onRemove)

    def refresh(self) -> None:
        """Enable what can be done with the chosen result."""
        node = self._node()
        self._ui.resultLabel.text = resultLine(node) if node is not None else ""
        self._ui.resultLabel.visible = bool(self._ui.resultLabel.text)
        named = self._actions.namedOutputs(node)
        self._structures.show(named.get(STRUCTURE_TABLE))
        self._lesions.show(named.get(LESION_TABLE))
        if self._parameters() is not None:  # else a scene is being loaded or closed, and what is shown is its matter
            self._overlays.show({name: named[name] for name in MAPS if name in named})
        for name in BUTTONS:
            getattr(self._ui, name).enabled = node is not None
        if node is not None:
            hasInput = self._actions.inputOf(node) is not None
            for name in BUTTONS[:4]:
                getattr(self._ui, name).enabled = hasInput
            self._ui.reportButton.enabled = node.GetNodeReference(REPORT_ROLE) is not None
            self._ui.chartButton.enabled = VOLUME_CHART in named
            self._ui.beforeAfterButton.enabled = BEFORE_AFTER_CHART in named
            self._ui.removeButton.enabled = hierarchy.runFolderOf(node) != 0
        self._showSurfaceProgress()
        self._showMode()

    def close(self) -> None:
        """Stop what goes on by itself."""
        self._surfaces.stop()
        layout.onComparisonEnd(None)

    def _node(self) -> slicer.vtkMRMLScalarVolumeNode | None:
        parameters = self._parameters()
        return parameters.resultVolume if parameters is not None else None

    def _onStructure(self, row: dict[str, str]) -> None:
        self._actions.jumpToStructure(self._node(), next(iter(row.values())))

    def _onLesion(self, row: dict[str, str]) -> None:
        self._actions.jumpToPoint(self._node(), [float(row[place]) for place in PLACE])

    def _onSideBySide(self) -> None:
        self._actions.showSideBySide(self._node())
        self._showMode()

    def _onAxial(self) -> None:
        self._actions.showSideBySide(self._node(), axialOnly=True)
        self._showMode()

    def _onBlink(self) -> None:
        self._actions.setBlink(self._node(), self._ui.blinkButton.checked)
        self._showMode()

    def _onCheckerboard(self) -> None:
        self._actions.setCheckerboard(self._node(), self._ui.checkerboardButton.checked)
        self._showMode()

    def _showMode(self) -> None:
        """One of the two at most: the buttons follow what is on the screen."""
        mode = layout.comparisonMode()
        self._ui.blinkButton.checked = mode == "blink"
        self._ui.checkerboardButton.checked = mode == "checkerboard"

    def _onEarlier(self) -> None:
        self._actions.restoreLayout()
        self._showMode()

    def _onReport(self) -> None:
        self._actions.openReport(self._node(), self._openUrl)

    def _onSurface(self) -> None:
        if self._surfaces.progress is None:
            self._surfaces.start(self._actions.segmentationOf(self._node()))
        else:
            self._surfaces.stop()
            self._showSurfaceProgress()

    def _showSurfaceProgress(self) -> None:
        """What the button says, and whether it can be pressed."""
        button, node, progress = self._ui.surfaceButton, self._node(), self._surfaces.progress
        button.enabled = progress is not None or (node is not None and self._actions.segmentationOf(node) is not None)
        counted = progress is not None and progress[1] > 0
        button.text = (
            _("Surface {done} of {count} - cancel").format(done=min(progress[0] + 1, progress[1]), count=progress[1])
            if counted
            else _("Show in 3-D")
        )

    def _onChart(self) -> None:
        self._actions.showChart(self._node())

    def _onBeforeAfter(self) -> None:
        self._actions.showChart(self._node(), beforeAfter=True)

    def _onOverlay(self, name: str) -> None:
        self._actions.showOverlay(self._node(), name)
        self._showMode()

    def _onUseSettings(self) -> None:
        self._onSettings(self._node())

    def _onAgain(self) -> None:
        self._onRunAgain(self._node())

    def _onRemove(self) -> None:
        node = self._node()
        if not confirmRemoval(node):
            return
        self._surfaces.stop()
        self._actions.removeRun(node)
        self._showMode()
