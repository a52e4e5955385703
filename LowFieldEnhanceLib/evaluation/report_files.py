"""The report as files: strict JSON for machines; for spreadsheets the structures in one table, all else in another."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..safe_files import replaced
from .report_structures import INPUT_ONLY_COLUMNS
from .report_values import COLUMNS, value_rows

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a cell that a spreadsheet computes begins with


def write_json(report: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write the report as UTF-8 JSON (strict, no NaN); a half-written file never carries the name.

    Raises:
        BadInput: the folder does not exist.
    """
    text = json.dumps(plain(report), indent=2, ensure_ascii=False, allow_nan=False)
    with replaced(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")


def write_csv(report: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write the structures, one a row, six significant digits, an empty cell for None; the last column is the notice.

    Raises:
        BadInput: the folder does not exist.
    """
    rows = report["structures"]
    columns = list(dict.fromkeys(key for row in rows for key in row)) or list(INPUT_ONLY_COLUMNS)
    cells = [[*(row.get(column) for column in columns), report.get("notice")] for row in rows]
    _write_table([*columns, "notice"], cells, path)


def write_values_csv(report: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write everything but the structures as a long table, with the notice and the provenance (see report_values).

    Raises:
        BadInput: the folder does not exist.
    """
    _write_table(COLUMNS, value_rows(report), path)


def _write_table(columns: Sequence[str], rows: Iterable[Iterable[Any]], path: str | os.PathLike[str]) -> None:
    with (
        replaced(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="backslashreplace") as stream,
    ):
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([csv_cell(value) for value in row] for row in rows)


def plain(value: Any) -> Any:  # noqa: ANN401
    """Values as strict JSON knows them: numpy scalars and arrays unpacked, NaN and infinity None, the rest text."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def csv_cell(value: Any) -> str:  # noqa: ANN401
    """A cell of a table: six significant digits, empty for None, true or false, text as :func:`spreadsheet_text`."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else spreadsheet_text(value)


def spreadsheet_text(value: Any) -> str:  # noqa: ANN401
    """Text that no spreadsheet takes for a formula: names of files may begin with ``=``, and then it would be run.

    An apostrophe goes before it (owasp.org, CSV injection). Numbers keep their sign.
    """
    text = str(value)
    return f"'{text}" if isinstance(value, str) and text.startswith(FORMULA) else text
