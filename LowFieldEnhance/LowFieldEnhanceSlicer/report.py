"""The report's rows, one a structure, as a table node."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import slicer
import vtk

NAME_KEY = "name"
_FIXED_HEADINGS = {
    NAME_KEY: "Structure",
    "label_id": "Label",
    "simulated_input_percent": "Off in simulation: input (%)",
    "simulated_enhanced_percent": "Off in simulation: enhanced (%)",
}
_UNITS = {"ml": "ml", "mm": "mm", "mm3": "mm³", "percent": "%"}
_ACRONYMS = {"hd95": "HD95", "hd": "HD", "assd": "ASSD", "csf": "CSF", "sd": "SD", "cv": "CV"}


def heading(key: str, hasReference: bool) -> str:
    """The column heading of a row's key: ``volume_input_ml`` -> ``Volume input (ml)``.

    Only a reference makes a difference an error: "error" and "difference" are headed "error" with one and "change"
    without.
    """
    if key in _FIXED_HEADINGS:
        return _FIXED_HEADINGS[key]
    words = key.split("_")
    unit = _UNITS.get(words[-1]) if len(words) > 1 else None
    words = words[:-1] if unit else words
    text = " ".join(_ACRONYMS.get(word.lower(), word) for word in words)
    text = re.sub(r"\b(?:error|difference)\b", "error" if hasReference else "change", text)
    return text[:1].upper() + text[1:] + (f" ({unit})" if unit else "")


def reportColumns(rows: Sequence[dict[str, Any]], hasReference: bool) -> list[str]:
    """The keys worth a column, structure first, then in the order of the rows.

    Left out: keys without any value (their measure does not apply to this run), nested values, and without a reference
    whatever is named after one.
    """
    keys = dict.fromkeys(key for row in rows for key in row)
    kept = [key for key in keys if not all(_isMissing(row.get(key)) for row in rows)]
    kept = [key for key in kept if not any(isinstance(row.get(key), dict | list | tuple) for row in rows)]
    if not hasReference:
        kept = [key for key in kept if "reference" not in key]
    return sorted(kept, key=lambda key: key != NAME_KEY)


def addReportTable(
    scene: slicer.vtkMRMLScene,
    rows: Sequence[dict[str, Any]],
    name: str,
    hasReference: bool,
    columns: Sequence[str] | None = None,
) -> slicer.vtkMRMLTableNode:
    """The structures of a report as a table, see :func:`addTable`.

    Args:
        rows: one dict a structure.
        columns: the keys to show, in order; by default those of :func:`reportColumns`.
    """
    headings: dict[str, str] = {}
    for key in reportColumns(rows, hasReference) if columns is None else columns:
        text = heading(key, hasReference)
        if text in headings.values():
            logging.warning("The report's column '%s' is not shown: another one is headed '%s' already.", key, text)
            continue
        headings[key] = text
    return addTable(scene, rows, headings, name)


def addTable(
    scene: slicer.vtkMRMLScene, rows: Sequence[dict[str, Any]], headings: dict[str, str], name: str
) -> slicer.vtkMRMLTableNode:
    """A read-only table node with a typed column for each key.

    Args:
        rows: values are str, int, float, bool or None.
        headings: of the columns by their keys, in order; no two alike.

    Numbers become doubles (integers if all are), in which a missing one is NaN, the null value of these columns; a
    missing text is "-", because Slicer's table reader drops empty cells and then shifts the row.
    """
    tableNode = scene.AddNewNodeByClass("vtkMRMLTableNode", scene.GetUniqueNameByString(name))
    for key, text in headings.items():
        array = _columnArray([row.get(key) for row in rows])
        array.SetName(text)
        tableNode.AddColumn(array)
        tableNode.SetColumnTitle(text, text)
        if array.IsA("vtkDoubleArray"):
            tableNode.SetColumnNullValue(text, "nan")
    tableNode.SetUseColumnTitleAsColumnHeader(True)
    tableNode.SetUseFirstColumnAsRowHeader(next(iter(headings), "") == NAME_KEY)
    tableNode.SetLocked(True)
    return tableNode


def _isMissing(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, Real) and math.isnan(value))


def _columnArray(values: list[Any]) -> vtk.vtkAbstractArray:
    given = [value for value in values if not _isMissing(value)]
    isNumber = bool(given) and all(isinstance(value, Real) and not isinstance(value, bool) for value in given)
    if not isNumber:
        array = vtk.vtkStringArray()
        for value in values:
            array.InsertNextValue(_cellText(value))
        return array
    isInteger = len(given) == len(values) and all(isinstance(value, Integral) for value in values)
    array = vtk.vtkIntArray() if isInteger else vtk.vtkDoubleArray()
    for value in values:
        array.InsertNextValue(math.nan if _isMissing(value) else value)
    return array


def _cellText(value: Any) -> str:
    """One line without the characters that Slicer's table files cannot hold (tab, line break, double quote)."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = "" if _isMissing(value) else " ".join(str(value).replace('"', "'").split())
    return text or "-"
