"""The report as a long table, one value a row: what the table of the structures has no place for.

Columns: ``section`` (a block of the report, ``report`` for what stands at its top), ``key`` (names inside the block,
joined by dots; lists count from 1), ``value`` and ``unit`` (empty for text, counts, shares of 1 and Dice).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

COLUMNS = ("section", "key", "value", "unit")
WHOLE = "report"
BY_ENDING = {"_ml": "mL", "_mm": "mm", "_mm3": "mm3", "_percent": "%", "_degrees": "degrees"}
OF_SCAN = "unit of the scan"
BY_NAME = {
    "psnr": "dB", "data_range": "unit of the reference", "spacing": "mm", "method_spacing": "mm", "seconds": "s",
    "sigma": OF_SCAN, "intercept": OF_SCAN, "deviation_mean": OF_SCAN, "deviation_p95": OF_SCAN,
    "rms": "noise SD", "deviation_mean_in_noise": "noise SD", "difference_sd": "SD of the surroundings",
}  # fmt: skip


def value_rows(report: Mapping[str, Any]) -> list[tuple[str, str, Any, str]]:
    """Section, key, value and unit of everything in the report but its structures, in its order.

    Args:
        report: see report.build_report; its structures are the rows of report_files.write_csv.
    """
    rows = []
    for name, block in report.items():
        if name == "structures":
            continue
        inside = isinstance(block, Mapping | list)
        for path, value in _leaves(block, () if inside else (name,)):
            unit = "" if value is None or isinstance(value, str | bool) else _unit(path)
            rows.append((name if inside else WHOLE, ".".join(path), value, unit))
    return [row for row in rows if row[2] is not None or row[0] != WHOLE]  # a block that was not measured is absent


def _leaves(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:  # noqa: ANN401
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, (*path, key))
    elif isinstance(value, list):
        for number, item in enumerate(value, start=1):
            yield from _leaves(item, (*path, str(number)))
    else:
        yield path, value


def _unit(path: tuple[str, ...]) -> str:
    """By the last name that tells one: ``centre_ras_mm.1`` is in mm, ``rms_percent.all`` in %."""
    for name in reversed(path):
        ending = next((unit for end, unit in BY_ENDING.items() if name.endswith(end)), None)
        unit = BY_NAME.get(name, ending)
        if unit is not None:
            return unit
    return ""
