"""The report's structures in the panel: a table to sort, whose rows lead to the structure in the slice views."""

from __future__ import annotations

import math
from typing import Any

import qt
import slicer

DECIMALS = 3


class StructuresView:
    """Shows the report table of one run.

    Args:
        widget: a QTableWidget.
    """

    def __init__(self, widget: Any) -> None:
        self._widget = widget
        self._table: slicer.vtkMRMLTableNode | None = None
        self._segmentation: slicer.vtkMRMLSegmentationNode | None = None
        widget.cellClicked.connect(self._onCell)

    def show(self, table: slicer.vtkMRMLTableNode | None, segmentation: slicer.vtkMRMLSegmentationNode | None) -> None:
        """Show this table; None hides the widget. The segmentation is where the rows lead to."""
        self._segmentation = segmentation
        self._widget.visible = table is not None
        if table is self._table:
            return
        self._table = table
        widget = self._widget
        widget.sortingEnabled = False  # a row that is sorted in while it is filled would be torn apart
        columns = [table.GetTable().GetColumn(n) for n in range(table.GetNumberOfColumns())] if table else []
        widget.columnCount = len(columns)
        widget.rowCount = table.GetNumberOfRows() if table else 0
        widget.setHorizontalHeaderLabels([column.GetName() for column in columns])
        for number, column in enumerate(columns):
            for row in range(widget.rowCount):
                widget.setItem(row, number, _item(column.GetValue(row)))
        widget.sortingEnabled = True
        widget.resizeColumnsToContents()

    def _onCell(self, row: int, column: int) -> None:
        from . import layout

        if self._segmentation is not None:
            layout.jumpToStructure(self._segmentation, self._widget.item(row, 0).text())


def _item(value: Any) -> Any:
    """A cell that sorts by its number; empty where there is none."""
    item = qt.QTableWidgetItem()
    isMissing = isinstance(value, float) and math.isnan(value)
    if not isMissing:
        item.setData(qt.Qt.DisplayRole, round(value, DECIMALS) if isinstance(value, float) else value)
    return item
