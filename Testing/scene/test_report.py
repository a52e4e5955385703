"""The table says what the report says, and calls it an error only against a reference."""

from __future__ import annotations

import math

import pytest
import slicer

from LowFieldEnhanceSlicer import charts, report


def columns(tableNode):
    """Heading -> (VTK class, values)."""
    table = tableNode.GetTable()
    arrays = [table.GetColumn(n) for n in range(table.GetNumberOfColumns())]
    return {
        a.GetName(): (a.GetDataTypeAsString(), [a.GetValue(r) for r in range(a.GetNumberOfValues())]) for a in arrays
    }


def test_the_table_holds_the_rows_in_typed_columns_with_missing_numbers_as_nan(scene, rows):
    found = columns(report.addReportTable(scene, rows, "report", hasReference=True))
    assert list(found) == [
        "Structure",
        "Label",
        "Volume input (ml)",
        "Volume enhanced (ml)",
        "Volume reference (ml)",
        "Error enhanced (%)",
        "HD95 (mm)",
    ]
    assert found["Structure"] == ("string", ["Left Hippocampus", "Right 'Hippocampus'"])
    assert found["Label"] == ("int", [17, 53])
    assert found["Volume enhanced (ml)"] == ("double", [3.5, 2.75])
    kind, (value, missing) = found["Volume reference (ml)"]
    assert (kind, value, math.isnan(missing)) == ("double", 4.0, True)


def test_without_a_reference_a_difference_is_headed_change_and_reference_columns_are_gone(scene, rows):
    found = columns(report.addReportTable(scene, rows, "report", hasReference=False))
    assert list(found) == [
        "Structure",
        "Label",
        "Volume input (ml)",
        "Volume enhanced (ml)",
        "Change enhanced (%)",
        "HD95 (mm)",
    ]
    assert not any("error" in text.lower() for text in found)


@pytest.mark.parametrize(
    ("key", "withReference", "without"),
    [
        ("volume_difference_ml", "Volume error (ml)", "Volume change (ml)"),
        ("change_percent", "Change (%)", "Change (%)"),
        ("terror_ml", "Terror (ml)", "Terror (ml)"),
        ("assd_mm", "ASSD (mm)", "ASSD (mm)"),
        ("simulated_input_percent", "Off in simulation: input (%)", "Off in simulation: input (%)"),
    ],
)
def test_headings_name_the_unit_and_never_call_a_change_an_error(key, withReference, without):
    assert (report.heading(key, True), report.heading(key, False)) == (withReference, without)


def test_columns_without_a_value_and_nested_values_are_left_out(scene):
    rows = [{"dice": None, "name": "CSF", "posterior": [1, 2]}, {"name": "", "note": "a\tb\nc", "visible": True}]
    found = columns(report.addReportTable(scene, rows, "report", hasReference=False))
    assert found == {
        "Structure": ("string", ["CSF", "-"]),
        "Note": ("string", ["-", "a b c"]),
        "Visible": ("string", ["-", "yes"]),
    }


@pytest.mark.parametrize(
    ("hasReference", "legends"), [(True, ["Input", "Enhanced", "Reference"]), (False, ["Input", "Enhanced"])]
)
def test_the_chart_shows_the_volumes_as_bars_over_the_structures(scene, rows, hasReference, legends):
    tableNode = report.addReportTable(scene, rows, "report", hasReference)
    chartNode, *series = charts.addVolumeChart(scene, tableNode, "Structure volumes", hasReference)
    assert (chartNode.GetTitle(), chartNode.GetXAxisTitle(), chartNode.GetYAxisTitle()) == (
        "Structure volumes",
        "Structure",
        "Volume (ml)",
    )
    assert [
        chartNode.GetNthPlotSeriesNode(n).GetName() for n in range(chartNode.GetNumberOfPlotSeriesNodes())
    ] == legends
    for node in series:
        assert node.GetPlotType() == slicer.vtkMRMLPlotSeriesNode.PlotTypeBar
        assert node.GetTableNode() is tableNode
        assert tableNode.GetColumnIndex(node.GetYColumnName()) > 0
        assert tableNode.GetColumnIndex(node.GetLabelColumnName()) == 0


@pytest.mark.parametrize("hasReference", [False, True])
def test_the_before_after_chart_sets_each_structure_against_itself(scene, hasReference):
    """Points on the dashed line have equal volumes; a structure that is missing on one side has no point."""
    keys = ("volume_input_ml", "volume_enhanced_ml", "volume_reference_ml")
    given = {"Left Thalamus": (7.0, 6.5, 6.4), "Brain Stem": (20.0, 21.0, 22.0), "Left Amygdala": (0.0, 1.2, 1.1)}
    rows = [{"name": name, **dict(zip(keys, values, strict=True))} for name, values in given.items()]
    chart, *others = charts.addBeforeAfterChart(scene, rows, "Before and after", hasReference)
    series = {node.GetName(): node for node in others if node.IsA("vtkMRMLPlotSeriesNode")}
    assert list(series) == (["Before", "After", "Equal"] if hasReference else ["After", "Equal"])
    assert chart.GetNumberOfPlotSeriesNodes() == len(series)
    assert chart.GetXAxisLogScale() and chart.GetYAxisLogScale()
    points = {name: values for name, (_, values) in columns(series["After"].GetTableNode()).items()}
    across, up = (points[series["After"].GetXColumnName()], points[series["After"].GetYColumnName()])
    assert across == ([6.4, 22.0] if hasReference else [7.0, 20.0]) and up == [6.5, 21.0]
    assert points[series["After"].GetLabelColumnName()] == ["Left Thalamus", "Brain Stem"]
    low, high = (values for _, values in columns(series["Equal"].GetTableNode()).values())
    assert low == high and low[0] < min(across + up) and low[1] > max(across + up)
    assert chart.GetXAxisTitle() == f"Volume {'reference' if hasReference else 'input'} (ml)"


def test_without_volumes_there_is_no_before_after_chart(scene):
    assert charts.addBeforeAfterChart(scene, [{"name": "Brain Stem", "volume_input_ml": 1.0}], "Chart", False) == []
    assert scene.GetNumberOfNodesByClass("vtkMRMLPlotChartNode") == 0
