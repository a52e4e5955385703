"""The section "Compare methods" of the panel: which methods, how long, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from . import hierarchy
from .catalogue import ALL_METHODS, METHODS
from .estimate import estimateComparison, looksOf
from .marks import OUTPUT_ATTRIBUTE
from .method_comparison import (
    COMPARISON_TABLE,
    ComparisonNodes,
    choicesOf,
    comparisonRequest,
    disagreementText,
    pageOf,
)
from .method_texts import methodSummary, methodTitle
from .pages import openPage
from .parameters import LowFieldEnhanceParameterNode
from .removal import confirmRemoval
from .request import Request
from .request_checks import reasonAgainst
from .result_line import resultLine
from .table_view import TableView


class CompareView:
    """Which methods are compared, and the comparisons that were made.

    Args:
        ui: the widgets of the panel by name.
        parameters: returns the panel's parameters, or None while there are none.
        openUrl: opens a page in the browser.
    """

    def __init__(
        self,
        ui: Any,
        parameters: Callable[[], LowFieldEnhanceParameterNode | None],
        openUrl: Callable[[Any], Any] = qt.QDesktopServices.openUrl,
    ) -> None:
        self._ui = ui
        self._parameters = parameters
        self._openUrl = openUrl
        self._filling = False
        self._items: dict[str, Any] = {}
        for name in METHODS:
            item = qt.QListWidgetItem(methodTitle(name))
            item.setToolTip(methodSummary(name))
            item.setFlags(qt.Qt.ItemIsUserCheckable | qt.Qt.ItemIsEnabled)
            item.setCheckState(qt.Qt.Checked)
            ui.methodsList.addItem(item)
            self._items[name] = item
        self._table = TableView(ui.comparisonTable)
        ui.comparisonSelector.addAttribute("vtkMRMLTableNode", OUTPUT_ATTRIBUTE, COMPARISON_TABLE)
        ui.methodsList.itemChanged.connect(self._onItemChanged)
        ui.comparisonPageButton.clicked.connect(self._onPage)
        ui.removeComparisonButton.clicked.connect(self._onRemove)

    def refresh(self, request: Request | None) -> None:
        """Follow the settings and the chosen comparison."""
        ui, parameters = self._ui, self._parameters()
        reason = self._showMethods(parameters.comparedMethods, request) if parameters is not None else ""
        ui.compareButton.enabled = request is not None and not reason
        ui.compareButton.toolTip = reason or _(
            "Run all chosen methods on the scan, each with the preset named or its first"
        )
        table = parameters.comparisonTable if parameters is not None else None
        self._table.show(table)
        ui.comparisonLabel.text = resultLine(table) if table is not None else ""
        ui.comparisonLabel.visible = bool(ui.comparisonLabel.text)
        ui.disagreementLabel.text = disagreementText(table) if table is not None else ""
        ui.disagreementLabel.visible = bool(ui.disagreementLabel.text)
        ui.comparisonPageButton.enabled = table is not None and pageOf(table) is not None
        ui.removeComparisonButton.enabled = table is not None and hierarchy.runFolderOf(table) != 0

    def show(self, nodes: ComparisonNodes) -> None:
        """A comparison has been made: show it, and open its page."""
        parameters = self._parameters()
        if parameters is not None and nodes.table is not None:
            parameters.comparisonTable = nodes.table
            self._ui.compareSectionButton.collapsed = False
            self._onPage()

    def _showMethods(self, methods: str, request: Request | None) -> str:
        """Check what is chosen; returns why it cannot be compared, "" if it can."""
        presets = dict.fromkeys(METHODS, "") if methods == ALL_METHODS else _presets(methods)
        self._filling = True
        try:
            for name, item in self._items.items():
                item.setCheckState(qt.Qt.Checked if name in presets else qt.Qt.Unchecked)
                title, first, preset = methodTitle(name), METHODS[name].presets[0], presets.get(name, "")
                item.setText(title if preset in ("", first) else f"{title}: {preset}")
        finally:
            self._filling = False
        common = comparisonRequest(request) if request is not None else None
        reason = reasonAgainst(common) if common is not None else ""
        self._ui.comparisonEstimateLabel.text = ""
        try:
            choices = choicesOf(methods)
        except ValueError as error:
            return reason or str(error)
        if not reason and common is not None:
            once = 1 + (common.referenceVolume is not None and common.referenceSegmentation is None)
            found = estimateComparison(
                common.inputVolume, choices, common.device, common.spacing, once, looksOf(common)
            )
            self._ui.comparisonEstimateLabel.text = found.text + "."
        return reason

    def _onItemChanged(self, item: Any) -> None:
        parameters = self._parameters()
        if self._filling or parameters is None:
            return
        ticked = [name for name, item in self._items.items() if item.checkState() == qt.Qt.Checked]
        presets = _presets(parameters.comparedMethods)
        names = [f"{name}:{presets[name]}" if presets.get(name) else name for name in ticked]
        parameters.comparedMethods = ALL_METHODS if names == list(METHODS) else ",".join(names)

    def _onPage(self) -> None:
        page = pageOf(self._parameters().comparisonTable)
        if page is not None:
            openPage(page, self._openUrl)

    def _onRemove(self) -> None:
        table: slicer.vtkMRMLTableNode = self._parameters().comparisonTable
        if confirmRemoval(table):
            hierarchy.removeRun(hierarchy.runFolderOf(table), table.GetScene())


def _presets(methods: str) -> dict[str, str]:
    """By method; "" where none is named, as by the list itself: earlier comparisons may have had others."""
    parts = (name.strip().partition(":") for name in methods.split(","))
    return {method: preset for method, _colon, preset in parts}
