"""The summary of a batch as one self-contained page: failures first, each scan with a link to its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from .html import MISSING
from .page_templates import page_environment
from .report_text import percent


def render_batch(rows: Sequence[Mapping[str, Any]], settings: Mapping[str, Any], folder: str, notice: str) -> str:
    """The page's text; everything that was given is escaped.

    Args:
        rows: scans as in ``summary.json``, in the order of the page.
        settings: method, preset, seed, and options that are set.
        folder: name of the batch's folder.
        notice: that marks every output.
    """
    environment = page_environment()
    environment.filters.update(number=_number, share=percent, link=quote)
    return environment.get_template("batch.html.j2").render(
        rows=rows, settings=settings, folder=folder, notice=notice, missing=MISSING, columns=_columns(rows)
    )


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Keys of the reports' means with their headings: change without a reference, error only with one."""
    headings = {
        "mean_absolute_change_percent": "Mean volume change, %",
        "mean_absolute_error_input_percent": "Mean volume error input, %",
        "mean_absolute_error_enhanced_percent": "Mean volume error enhanced, %",
    }
    return {key: text for key, text in headings.items() if any(key in (row.get("summary") or {}) for row in rows)}


def _number(value: float | None, digits: int = 1) -> str:
    return MISSING if value is None else f"{value:.{digits}f}"
