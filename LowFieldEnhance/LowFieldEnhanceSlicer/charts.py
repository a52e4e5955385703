"""Charts of a run's structure volumes: bars of each volume, and volumes before against volumes after."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

import slicer
import vtk

from .report import NAME_KEY, heading

# Key, legend and colour of each series; the colours (Okabe and Ito) stay apart for colour-blind readers.
VOLUME_SERIES = (
    ("volume_input_ml", "Input", (0.55, 0.55, 0.55)),
    ("volume_enhanced_ml", "Enhanced", (0.0, 0.447, 0.698)),
    ("volume_reference_ml", "Reference", (0.902, 0.624, 0.0)),
)
IDENTITY_COLOUR = (0.55, 0.55, 0.55)
IDENTITY_COLUMNS = ("Volume (ml)", "Equal volume (ml)")
MARGIN = 1.2  # the line of equal volumes goes that much beyond the smallest and largest structure


def addVolumeChart(
    scene: slicer.vtkMRMLScene, tableNode: slicer.vtkMRMLTableNode, name: str, hasReference: bool
) -> list[slicer.vtkMRMLNode]:
    """Bars of the structures' volumes (ml): input, enhanced and, with a reference, reference.

    Series without a column in the table are left out.

    Returns:
        The chart, then its series.
    """
    chartNode = scene.AddNewNodeByClass("vtkMRMLPlotChartNode", scene.GetUniqueNameByString(name))
    chartNode.SetTitle(name)
    chartNode.SetXAxisTitle(heading(NAME_KEY, hasReference))
    chartNode.SetYAxisTitle("Volume (ml)")
    chartNode.SetLegendVisibility(True)
    seriesNodes = []
    for key, legend, colour in VOLUME_SERIES:
        column = heading(key, hasReference)
        if tableNode.GetColumnIndex(column) < 0:
            continue
        # The legend shows the series' name, so it is short and may occur once a run.
        seriesNode = scene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", legend)
        seriesNode.SetAndObserveTableNodeID(tableNode.GetID())
        seriesNode.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeBar)
        seriesNode.SetLabelColumnName(heading(NAME_KEY, hasReference))
        seriesNode.SetYColumnName(column)
        seriesNode.SetColor(*colour)
        chartNode.AddAndObservePlotSeriesNodeID(seriesNode.GetID())
        seriesNodes.append(seriesNode)
    return [chartNode, *seriesNodes]


def addBeforeAfterChart(
    scene: slicer.vtkMRMLScene,
    rows: Sequence[dict[str, Any]],
    name: str,
    hasReference: bool,
) -> list[slicer.vtkMRMLNode]:
    """A point for each structure: its volume after enhancement against the one before, with the line of equal volumes.

    With a reference the horizontal axis is the reference's volume, and there are two points a structure, before and
    after: the nearer to the line, the smaller the error. Both axes are logarithmic, because volumes span three orders
    of magnitude; a structure that is missing on one side is left out.

    Returns:
        The chart, then the nodes that it needs (the table of the line is hidden); empty without structures that have
        all volumes.
    """
    across = "volume_reference_ml" if hasReference else "volume_input_ml"
    shown = [entry for entry in VOLUME_SERIES if entry[0] in ("volume_input_ml", "volume_enhanced_ml")]
    shown = [entry for entry in shown if entry[0] != across]
    keys = [across, *(key for key, _, _ in shown)]
    complete = [row for row in rows if all(_isPositive(row.get(key)) for key in keys)]
    if not complete:
        return []
    points = _pointTable(scene, complete, keys, f"{name} points", hasReference)
    limits = [row[key] for row in complete for key in keys]
    line = _identityTable(scene, min(limits) / MARGIN, max(limits) * MARGIN, f"{name} line")
    chart = scene.AddNewNodeByClass("vtkMRMLPlotChartNode", scene.GetUniqueNameByString(name))
    chart.SetTitle(name)
    chart.SetXAxisTitle(heading(across, hasReference))
    chart.SetYAxisTitle("Volume (ml)" if hasReference else heading(shown[0][0], hasReference))
    chart.SetXAxisLogScale(True)
    chart.SetYAxisLogScale(True)
    chart.SetLegendVisibility(True)
    names = {"volume_input_ml": "Before", "volume_enhanced_ml": "After"}
    series = []
    for key, _, colour in shown:
        node = _addSeries(scene, points, names[key], heading(across, hasReference), heading(key, hasReference), colour)
        node.SetLabelColumnName(heading(NAME_KEY, hasReference))
        node.SetLineStyle(slicer.vtkMRMLPlotSeriesNode.LineStyleNone)
        node.SetMarkerStyle(slicer.vtkMRMLPlotSeriesNode.MarkerStyleCircle)
        series.append(node)
    node = _addSeries(scene, line, "Equal", *IDENTITY_COLUMNS, IDENTITY_COLOUR)
    node.SetLineStyle(slicer.vtkMRMLPlotSeriesNode.LineStyleDash)
    node.SetMarkerStyle(slicer.vtkMRMLPlotSeriesNode.MarkerStyleNone)
    series.append(node)
    for node in series:
        chart.AddAndObservePlotSeriesNodeID(node.GetID())
    return [chart, *series, points, line]


def _isPositive(value: Any) -> bool:
    return isinstance(value, Real) and math.isfinite(value) and value > 0


def _addSeries(
    scene: slicer.vtkMRMLScene,
    tableNode: slicer.vtkMRMLTableNode,
    name: str,
    across: str,
    up: str,
    colour: tuple[float, float, float],
) -> slicer.vtkMRMLPlotSeriesNode:
    node = scene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", name)
    node.SetAndObserveTableNodeID(tableNode.GetID())
    node.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeScatter)
    node.SetXColumnName(across)
    node.SetYColumnName(up)
    node.SetColor(*colour)
    return node


def _pointTable(
    scene: slicer.vtkMRMLScene, rows: list[dict[str, Any]], keys: list[str], name: str, hasReference: bool
) -> slicer.vtkMRMLTableNode:
    names = vtk.vtkStringArray()
    names.SetName(heading(NAME_KEY, hasReference))
    for row in rows:
        names.InsertNextValue(str(row[NAME_KEY]))
    columns = [_column(heading(key, hasReference), [row[key] for row in rows]) for key in keys]
    return _hiddenTable(scene, [names, *columns], name)


def _identityTable(scene: slicer.vtkMRMLScene, low: float, high: float, name: str) -> slicer.vtkMRMLTableNode:
    return _hiddenTable(scene, [_column(column, [low, high]) for column in IDENTITY_COLUMNS], name)


def _column(name: str, values: list[float]) -> vtk.vtkDoubleArray:
    array = vtk.vtkDoubleArray()
    array.SetName(name)
    for value in values:
        array.InsertNextValue(value)
    return array


def _hiddenTable(scene: slicer.vtkMRMLScene, columns: list[Any], name: str) -> slicer.vtkMRMLTableNode:
    """A table that only a chart needs."""
    node = slicer.vtkMRMLTableNode()
    node.SetName(scene.GetUniqueNameByString(name))
    node.SetHideFromEditors(True)
    scene.AddNode(node)
    for column in columns:
        node.AddColumn(column)
    node.SetLocked(True)
    return node
