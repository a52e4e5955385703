"""The buttons of the panel that work on a result: compare, report, surfaces, repeat, remove."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from . import hierarchy
from .lesion_table import PLACE
from .loading import (
    BEFORE_AFTER_CHART,
    ENHANCED,
    LESION_TABLE,
    OUTPUT_ATTRIBUTE,
    REPORT_ROLE,
    STRUCTURE_TABLE,
    VOLUME_CHART,
)
from .overlay_view import OverlayView
from .overlays import MAPS
from .pages import openPage
from .parameters import LowFieldEnhanceParameterNode
from .request import NODE_ROLE
from .surfaces import SurfaceMaker
from .table_view import TableView

BUTTONS = ("sideBySideButton", "axialButton", "blinkButton", "checkerboardButton", "reportButton", "surfaceButton",
           "chartButton", "beforeAfterButton", "againButton", "removeButton")  # fmt: skip
SHOW_SURFACES = "Show in 3-D"


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
        self._structures = TableView(ui.structuresTable, self._onStructure)
        self._lesions = TableView(ui.lesionsTable, self._onLesion)
        self._overlays = OverlayView(ui.overlayComboBox, self._endComparison)
        self._surfaces = SurfaceMaker(self._showSurfaceProgress)
        ui.resultSelector.addAttribute("vtkMRMLScalarVolumeNode", OUTPUT_ATTRIBUTE, ENHANCED)
        ui.sideBySideButton.clicked.connect(self._onSideBySide)
        ui.axialButton.clicked.connect(self._onAxial)
        ui.blinkButton.clicked.connect(self._onBlink)
        ui.checkerboardButton.clicked.connect(self._onCheckerboard)
        ui.earlierButton.clicked.connect(self._onEarlier)
        ui.reportButton.clicked.connect(self._onReport)
        ui.surfaceButton.clicked.connect(self._onSurface)
        ui.chartButton.clicked.connect(self._onChart)
        ui.beforeAfterButton.clicked.connect(self._onBeforeAfter)
        ui.againButton.clicked.connect(self._onAgain)
        ui.removeButton.clicked.connect(self._onRemove)

    def refresh(self) -> None:
        """Enable what can be done with the chosen result."""
        node = self._node()
        named = self._namedOutputs(node)
        self._structures.show(named.get(STRUCTURE_TABLE))
        self._lesions.show(named.get(LESION_TABLE))
        self._overlays.show({name: named[name] for name in MAPS if name in named})
        for name in BUTTONS:
            getattr(self._ui, name).enabled = node is not None
        if node is not None:
            hasInput = self._inputOf(node) is not None
            for name in BUTTONS[:4]:
                getattr(self._ui, name).enabled = hasInput
            self._ui.reportButton.enabled = node.GetNodeReference(REPORT_ROLE) is not None
            self._ui.chartButton.enabled = VOLUME_CHART in named
            self._ui.beforeAfterButton.enabled = BEFORE_AFTER_CHART in named
            self._ui.removeButton.enabled = hierarchy.runFolderOf(node) != 0
        self._showSurfaceProgress()

    def close(self) -> None:
        """Stop what goes on by itself."""
        self._surfaces.stop()

    def _node(self) -> slicer.vtkMRMLScalarVolumeNode | None:
        parameters = self._parameters()
        return parameters.resultVolume if parameters is not None else None

    @staticmethod
    def _inputOf(node: slicer.vtkMRMLNode) -> slicer.vtkMRMLScalarVolumeNode | None:
        return node.GetNodeReference(NODE_ROLE + "inputVolume")

    def _outputs(self, node: slicer.vtkMRMLNode | None) -> list[slicer.vtkMRMLNode]:
        """All outputs of the run that made the node."""
        folder = hierarchy.runFolderOf(node) if node is not None else 0
        return hierarchy.runNodes(folder, node.GetScene()) if folder else []

    def _namedOutputs(self, node: slicer.vtkMRMLNode | None) -> dict[str, slicer.vtkMRMLNode]:
        """Maps, tables and charts of the run by what they are."""
        named = {item.GetAttribute(OUTPUT_ATTRIBUTE): item for item in self._outputs(node)}
        return {name: item for name, item in named.items() if name}

    def _segmentationOf(self, node: slicer.vtkMRMLNode) -> slicer.vtkMRMLSegmentationNode | None:
        return next((item for item in self._outputs(node) if item.IsA("vtkMRMLSegmentationNode")), None)

    def _onStructure(self, row: dict[str, str]) -> None:
        from . import layout

        segmentation = self._segmentationOf(self._node())
        if segmentation is not None:
            layout.jumpToStructure(segmentation, next(iter(row.values())))

    def _onLesion(self, row: dict[str, str]) -> None:
        from . import layout

        layout.jumpToPoint(self._node(), [float(row[place]) for place in PLACE])

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
        openPage(self._node().GetNodeReference(REPORT_ROLE), self._openUrl)

    def _onSurface(self) -> None:
        self._surfaces.start(self._segmentationOf(self._node()))

    def _showSurfaceProgress(self) -> None:
        """What the button says, and whether it can be pressed."""
        button, node, progress = self._ui.surfaceButton, self._node(), self._surfaces.progress
        button.enabled = progress is None and node is not None and self._segmentationOf(node) is not None
        counted = progress is not None and progress[1] > 0
        button.text = (
            _("Surface {done} of {count}").format(done=min(progress[0] + 1, progress[1]), count=progress[1])
            if counted
            else _(SHOW_SURFACES)
        )

    def _onChart(self) -> None:
        self._showChart(VOLUME_CHART)

    def _onBeforeAfter(self) -> None:
        self._showChart(BEFORE_AFTER_CHART)

    def _showChart(self, name: str) -> None:
        """In a plot view; Slicer changes to a layout that has one, if the current one has none."""
        slicer.modules.plots.logic().ShowChartInLayout(self._namedOutputs(self._node())[name])

    def _endComparison(self) -> None:
        """Blinking and the checkerboard use the layer that an overlay takes."""
        from . import layout

        for change in (layout.setBlink, layout.setCheckerboard):
            change(False)
        self._showMode()

    def _onAgain(self) -> None:
        self._onRunAgain(self._node())

    def _onRemove(self) -> None:
        self._surfaces.stop()
        self._onEarlier()
        node = self._node()
        hierarchy.removeRun(hierarchy.runFolderOf(node), node.GetScene())
