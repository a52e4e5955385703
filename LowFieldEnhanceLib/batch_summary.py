"""The summary of a batch: one row a scan as CSV, JSON and a page, from the scans' own reports.

Every key of ``summary.json`` is described in ``Resources/batch-schema.json``. As in a report, the word "error" occurs
only where a reference is.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .batch_scans import Scan
from .errors import BadInput
from .evaluation.batch_page import render_batch
from .evaluation.input_checks import failed_checks
from .evaluation.lesions import survivors
from .evaluation.report import in_noise_units
from .evaluation.report_files import csv_cell
from .image_io import DERIVED
from .safe_files import replaced

SCHEMA = "lowfieldenhance-batch/1"
FAILED, WAITING, DONE, KEPT = "failed", "waiting", "done", "kept"
STATES = (FAILED, WAITING, DONE, KEPT)  # in the order of the page
MEANS = (
    "mean_absolute_change_percent", "mean_absolute_error_input_percent", "mean_absolute_error_enhanced_percent",
)  # fmt: skip
VOLUMES = ("volume_input_ml", "volume_enhanced_ml", "volume_reference_ml")


@dataclass
class State:
    """What became of a scan.

    Attributes:
        scan: the scan.
        state: one of :data:`STATES`; "kept" is a scan that was finished when the batch began.
        failure: ``kind`` and ``message``.
        warnings: of its run, sentences.
        figures: of its report.
    """

    scan: Scan
    state: str = WAITING
    failure: dict[str, str] | None = None
    warnings: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)

    def fail(self, kind: str, message: str) -> None:
        """It failed; one sentence says why."""
        self.state, self.failure, self.figures = FAILED, {"kind": kind, "message": " ".join(message.split())}, {}

    def finish(self, state: str, report: Mapping[str, Any] | None, warnings: list[str]) -> None:
        """It is done, now or before, and this is its report."""
        self.state, self.failure, self.warnings = state, None, warnings
        self.figures = {} if report is None else figures_of(report)


def figures_of(report: Mapping[str, Any]) -> dict[str, Any]:
    """The report's own numbers and words, under its own names."""
    provenance, fidelity = report["provenance"], report["fidelity"]
    return {
        **{key: provenance.get(key) for key in ("method", "preset", "seconds")},
        "has_reference": report["has_reference"],
        "verdict": report["verdict"],
        "fidelity": {key: fidelity[key] for key in ("rms", "share_above_3", "noise_plausible")},
        "outside_range": [check["text"] for check in failed_checks([report])],
        "lesions": survivors(report.get("lesions")),
        "summary": report["summary"],
        "structures": [{key: row[key] for key in ("name", *VOLUMES) if key in row} for row in report["structures"]],
    }


def rows_of(states: Sequence[State], folder: Path) -> list[dict[str, Any]]:
    """The scans as in ``summary.json``, in their order."""
    rows = []
    for state in states:
        report = f"{state.scan.name}/report.html"
        there = bool(state.figures) and (folder / report).is_file()
        rows.append(
            {
                "name": state.scan.name,
                "input": str(state.scan.input),
                "state": state.state,
                "failure": state.failure,
                "warnings": state.warnings,
                "report": report if there else None,
                **state.figures,
            }
        )
    return rows


def to_json(rows: Sequence[Mapping[str, Any]], settings: Mapping[str, Any]) -> str:
    """See the head of this file."""
    counts = Counter(row["state"] for row in rows)
    document = {
        "schema": SCHEMA,
        "notice": DERIVED,
        "settings": settings,
        "counts": {state: counts[state] for state in STATES},
        "scans": rows,
    }
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def to_csv(rows: Sequence[Mapping[str, Any]], settings: Mapping[str, Any]) -> str:
    """One row a scan, six significant digits, an empty cell for what is unknown; volumes by structure in mL.

    The columns of change are there if a scan has no reference, those of error if one has.
    """
    flat = [_flat(row, settings) for row in rows]
    means = [key for key in MEANS if any(key in (row.get("summary") or {}) for row in rows)]
    volumes = dict.fromkeys(key for row in rows for key in _volumes(row))
    columns = [
        "name", "state", "seconds", "method", "preset", "verdict", "residual_rms", "share_above_3", *means, "lesions",
        "outside_range", "message", "input", "report", "notice", *volumes,
    ]  # fmt: skip
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([csv_cell(row.get(column)) for column in columns] for row in flat)
    return stream.getvalue()


def _flat(row: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    seen = in_noise_units(row.get("fidelity", {}))
    return {
        **{key: settings.get(key) for key in ("method", "preset")},
        **row,
        "residual_rms": seen.get("rms"),
        "share_above_3": seen.get("share_above_3"),
        "outside_range": "; ".join(row.get("outside_range", [])),
        "message": (row["failure"] or {}).get("message"),
        "notice": DERIVED,
        **(row.get("summary") or {}),
        **_volumes(row),
    }


def _volumes(row: Mapping[str, Any]) -> dict[str, float]:
    """``Left Thalamus volume_input_ml`` -> mL, and so on for what the report has."""
    structures = row.get("structures", [])
    return {f"{item['name']} {key}": item[key] for item in structures for key in VOLUMES if key in item}


def write_summary(states: Sequence[State], folder: Path, settings: Mapping[str, Any]) -> None:
    """Write ``summary.json``, ``.csv`` and ``.html`` into the batch's folder; each is replaced at once.

    Raises:
        OSError, BadInput: one of them cannot be written; the others are.
    """
    rows = rows_of(states, folder)
    ordered = sorted(rows, key=lambda row: STATES.index(row["state"]))
    texts = {
        "json": to_json(rows, settings),
        "csv": to_csv(rows, settings),
        "html": render_batch(ordered, settings, folder.resolve().name, DERIVED),
    }
    failure: Exception | None = None
    for ending, text in texts.items():
        try:
            with replaced(folder / f"summary.{ending}") as temporary:
                temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
        except (OSError, BadInput) as error:
            failure = error
    if failure is not None:
        raise failure


class Summary:
    """The summary while the batch works: one that is open in another program does not stop the work.

    Args:
        states, folder, settings: see :func:`write_summary`.
        warn: called with a sentence when it cannot be written, once.
    """

    def __init__(
        self, states: Sequence[State], folder: Path, settings: Mapping[str, Any], warn: Callable[[str], object]
    ) -> None:
        self._write = lambda: write_summary(states, folder, settings)
        self._warn, self._warned = warn, False

    def update(self) -> None:
        """Write it if that is possible."""
        try:
            self._write()
        except (OSError, BadInput) as error:
            if not self._warned:
                self._warn(f"the summary cannot be written now, which is tried again after every scan: {error}")
            self._warned = True

    def finish(self) -> None:
        """Write it for the last time; the errors of :func:`write_summary`."""
        self._write()
