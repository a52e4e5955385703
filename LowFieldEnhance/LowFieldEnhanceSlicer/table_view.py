"""A table node in the panel: a table to sort, whose rows can lead somewhere."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import qt
import slicer

DECIMALS = 3


class TableView:
    """Shows one table node.

    Args:
        widget: a QTableWidget.
        onRow: called with the texts of a row that was clicked, by their headings.
    """

    def __init__(self, widget: Any, onRow: Callable[[dict[str, str]], Any] = lambda row: None) -> None:
        self._widget = widget
        self._onRow = onRow
        self._table: slicer.vtkMRMLTableNode | None = None
        self._headings: list[str] = []
        widget.cellClicked.connect(self._onCell)

    def show(self, table: slicer.vtkMRMLTableNode | None) -> None:
        """Show this table; None hides the widget."""
        self._widget.visible = table is not None
        if table is self._table:
            return
        self._table = table
        widget = self._widget
        widget.sortingEnabled = False  # a row that is sorted in while it is filled would be torn apart
        columns = [table.GetTable().GetColumn(n) for n in range(table.GetNumberOfColumns())] if table else []
        self._headings = [column.GetName() for column in columns]
        widget.columnCount = len(columns)
        widget.rowCount = table.GetNumberOfRows() if table else 0
        widget.setHorizontalHeaderLabels(self._headings)
        for number, column in enumerate(columns):
            for row in range(widget.rowCount):
                widget.setItem(row, number, _item(column.GetValue(row)))
        widget.sortingEnabled = True
        widget.resizeColumnsToContents()

    def _onCell(self, row: int, column: int) -> None:
        self._onRow({text: self._widget.item(row, n).text() for n, text in enumerate(self._headings)})


def _item(value: Any) -> Any:
    """A cell that sorts by its number; empty where there is none."""
    item = qt.QTableWidgetItem()
    isMissing = isinstance(value, float) and math.isnan(value)
    if not isMissing:
        item.setData(qt.Qt.DisplayRole, round(value, DECIMALS) if isinstance(value, float) else value)
    return item
