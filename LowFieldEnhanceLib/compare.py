"""Several methods on one scan, which is prepared once: every one is run and judged, and one table holds what they did.

A method that cannot run (weights not installed, an optional package missing, too little memory) is a row that says so.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from . import pipeline
from .dicom.files import new_folder
from .errors import BadInput, Cancelled, LowFieldEnhanceError, known_failure
from .evaluation.disagreement import Disagreement, disagreement
from .evaluation.lesions import survivors
from .evaluation.report import in_noise_units
from .evaluation.report_files import spreadsheet_text
from .events import Events
from .image import Image
from .image_io import DERIVED, write_image
from .methods.base import check_preset
from .methods.registry import METHODS, get_method
from .ours import sidecar_of, sidecar_text
from .segmentation.labels import LabelMap

SCHEMA = "lowfieldenhance-comparison/1"
ALL = "all"
INPUT = "input"
WHAT = "the comparison"
Choice = tuple[str, str]  # method, preset
Opener = Callable[..., Any]  # (image, options, ...) -> what the runner takes first
Runner = Callable[..., pipeline.Result]


@dataclass(frozen=True)
class Comparison:
    """What :func:`compare` returns.

    Attributes:
        rows: the input, then one row a method in the order asked for, JSON-serialisable; see :func:`table_rows`.
        columns: keys of the rows that the table shows, with their headings; error instead of change with a reference,
            and none that is empty in all rows.
        before: the scan on the working grid.
        results: title and enhanced image of each method that ran.
        brain: bool on the working grid.
        reference: on the working grid, if one was given.
        reports: the whole report of each method that ran, by ``method:preset``.
        disagreement: among the results; None for fewer than two.
    """

    rows: list[dict[str, Any]]
    columns: dict[str, str]
    before: Image
    results: list[tuple[str, Image]]
    brain: np.ndarray
    reference: Image | None
    reports: dict[str, dict[str, Any]]
    disagreement: Disagreement | None = None


def parse_methods(text: str) -> list[Choice]:
    """``all``, or a list such as ``cubic,bridged:standard``; without a preset the method's first.

    Raises:
        BadInput: an unknown method or preset, a method named twice with the same preset, or nothing named.
    """
    if text.strip() == ALL:
        return [(method.name, method.presets[0]) for method in METHODS.values()]
    choices = []
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, _, preset = part.partition(":")
        method = get_method(name)
        if preset:
            check_preset(method, preset)
        choices.append((name, preset or method.presets[0]))
    if not choices:
        raise BadInput("no method was named; give 'all' or a list such as cubic,bridged:fast")
    if len(set(choices)) != len(choices):
        raise BadInput(f"a method was named twice in '{text}'")
    return choices


def compare(
    image: Image,
    choices: Sequence[Choice],
    options: pipeline.Options | None = None,
    contrasts: Mapping[str, Image] | None = None,
    reference: Image | None = None,
    reference_labels: LabelMap | None = None,
    brain: Image | None = None,
    events: Events | None = None,
    lesions: LabelMap | None = None,
    start: Opener = pipeline.subject_of,
    run: Runner = pipeline.enhance_subject,
) -> Comparison:
    """Run every method on the same scan.

    Args:
        image, contrasts, reference, reference_labels, brain, events, lesions: as in :func:`pipeline.enhance`.
        choices: method and preset pairs, see :func:`parse_methods`.
        options: of every run; its method and preset are replaced.
        start, run: what prepares the scan, and what enhances and judges it (tests replace them).

    Raises:
        BadInput: nothing to compare, or the scan itself is refused. LowFieldEnhanceError: every method failed; it is
            the first one's failure. Cancelled: through ``events``; a method's rows are then lost.
    """
    options, events = options or pipeline.Options(), events or Events()
    if not choices:
        raise BadInput("no method was named; there is nothing to compare")
    subject = start(image, options, contrasts, reference, reference_labels, brain, events, lesions)
    rows: list[dict[str, Any]] = []
    results, reports = [], {}
    first: pipeline.Result | None = None
    failure: LowFieldEnhanceError | None = None
    for number, (name, preset) in enumerate(choices, start=1):
        title = f"{name}:{preset}"
        events.check()
        try:
            with events.scope(f"{title} ({number} of {len(choices)})"):
                result = run(subject, replace(options, method=name, preset=preset), events)
        except Cancelled:
            raise
        except Exception as error:
            known = known_failure(error)
            if known is None:
                raise
            failure = failure or known
            rows.append({"method": name, "preset": preset, "failure": {"kind": known.kind, "message": str(known)}})
            events.warning(f"{title} was left out: {known}")
            continue
        first = first or result
        results.append((title, result.enhanced))
        reports[title] = result.report
        rows.append({"method": name, "preset": preset, **_figures(result.report), "failure": None})
    if first is None:
        assert failure is not None  # every run either returned or failed
        raise failure
    rows.insert(0, _input_row(first.report))
    columns = {
        key: heading
        for key, heading in _columns(first.report["has_reference"], first.report["images"] is not None).items()
        if any(row.get(key) is not None for row in rows)
    }
    structures = [report.get("structures", []) for report in reports.values()]
    sigma = in_noise_units(first.report["fidelity"]).get("sigma")
    between = disagreement(results, structures, first.brain, sigma)
    return Comparison(rows, columns, first.before, results, first.brain, first.reference, reports, between)


def _figures(report: Mapping[str, Any]) -> dict[str, Any]:
    """The report's own numbers, under its own names."""
    summary, provenance = report["summary"] or {}, report["provenance"]
    names = ("mean_absolute_change_percent", "mean_absolute_error_enhanced_percent", "structures_closer")
    images = (report["images"] or {}).get("enhanced", {})
    fidelity = in_noise_units(report["fidelity"])
    return {
        **{name: summary[name] for name in names if name in summary},
        **_scores(images),
        "residual_rms": fidelity.get("rms"),
        "share_above_3": fidelity.get("share_above_3"),
        "share_contradicting": (report.get("added_detail") or {}).get("share_flagged", {}).get("contradicting"),
        "lesions_surviving": survivors(report.get("lesions")),
        "seconds": provenance["seconds"],
        "evaluations": provenance.get("settings", {}).get("evaluations"),
        "verdict": report["verdict"],
    }


def _input_row(report: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of the input itself: with a reference its own error, else nothing but its place as a base."""
    summary, images = report["summary"] or {}, (report["images"] or {}).get("input", {})
    row: dict[str, Any] = {"method": INPUT, "preset": "", "failure": None}
    if "mean_absolute_error_input_percent" in summary:
        row["mean_absolute_error_enhanced_percent"] = summary["mean_absolute_error_input_percent"]
    return {**row, **_scores(images)}


def _scores(images: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a report's image scores that the table shows; LPIPS if it was asked for."""
    found = {name: images[name] for name in ("psnr", "ssim") if name in images}
    return found if images.get("lpips") is None else {**found, "lpips": images["lpips"]}


def _columns(has_reference: bool, has_images: bool) -> dict[str, str]:
    columns = {"method": "Method", "preset": "Preset"}
    if has_reference:
        columns["mean_absolute_error_enhanced_percent"] = "Mean absolute volume error, %"
        columns["structures_closer"] = "Structures closer to the reference"
    else:
        columns["mean_absolute_change_percent"] = "Mean absolute volume change, %"
    if has_images:
        columns |= {"psnr": "PSNR, dB", "ssim": "SSIM", "lpips": "LPIPS"}
    return {
        **columns,
        "residual_rms": "Residual, noise SD",
        "share_above_3": "Share above 3 SD, %",
        "share_contradicting": "Brain with contradicting detail, %",
        "lesions_surviving": "Marked regions that survive",
        "seconds": "Seconds",
        "evaluations": "Network evaluations",
    }


FORMATS: dict[str, Callable[[Any], str]] = {
    "mean_absolute_error_enhanced_percent": "{:.1f}".format,
    "mean_absolute_change_percent": "{:.1f}".format,
    "psnr": "{:.2f}".format,
    "ssim": "{:.3f}".format,
    "lpips": "{:.4f}".format,
    "residual_rms": "{:.2f}".format,
    "share_above_3": lambda share: f"{100 * share:.2f}",
    "share_contradicting": lambda share: f"{100 * share:.2f}",
    "seconds": "{:.1f}".format,
}


def table_rows(comparison: Comparison) -> list[list[str]]:
    """The cells as text, in the order of the columns, with the note (verdict or failure) last; unknown is empty."""
    table = []
    for row in comparison.rows:
        cells = [_cell(key, row.get(key)) for key in comparison.columns]
        failure = row["failure"]
        table.append([*cells, f"not run: {failure['message']}" if failure else row.get("verdict", "")])
    return table


def _cell(key: str, value: Any) -> str:  # noqa: ANN401
    return "" if value is None else FORMATS.get(key, str)(value)


def headings(comparison: Comparison) -> list[str]:
    """Of :func:`table_rows`."""
    return [*comparison.columns.values(), "Verdict"]


def outside_range(comparison: Comparison) -> list[str]:
    """Sentences of the input checks that failed; those of a single method's weights once, whoever's they are."""
    checks = (check for report in comparison.reports.values() for check in report.get("input_checks", []))
    return list(dict.fromkeys(check["text"] for check in checks if not check["ok"]))


def about_images(comparison: Comparison) -> str:
    """Mask and range of the image scores, a sentence; empty without them."""
    blocks = [report["images"] for report in comparison.reports.values() if report["images"]]
    if not blocks:
        return ""
    names = "PSNR, SSIM and LPIPS" if "lpips" in comparison.columns else "PSNR and SSIM"
    return (
        f"{names} count the {blocks[0]['mask']}, after a linear fit of the intensities there; they refer to the range "
        f"of the reference in it: its 99.9th percentile minus its minimum, {blocks[0]['enhanced']['data_range']:.4g} "
        "in its unit."
    )


def to_markdown(comparison: Comparison) -> str:
    """The notice as a line of its own, then the table, and what its scores refer to; a bar in a sentence is escaped."""
    lines = [headings(comparison), ["---"] * len(headings(comparison)), *table_rows(comparison)]
    table = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
    about = about_images(comparison)
    return "\n".join([f"**{DERIVED}**", "", *table, *(["", about] if about else [])]) + "\n"


def to_csv(comparison: Comparison) -> str:
    """Machine names as headings and full precision; ``failure`` holds its sentence, ``notice`` the mark, and
    ``about_images`` what the image scores refer to, if there are any."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    about = {"about_images": text} if (text := about_images(comparison)) else {}
    keys = [*comparison.columns, "verdict", "failure", "notice", *about]
    writer.writerow(keys)
    for row in comparison.rows:
        flat = {**row, "failure": (row["failure"] or {}).get("message"), "notice": DERIVED, **about}
        writer.writerow(["" if flat.get(key) is None else spreadsheet_text(flat[key]) for key in keys])
    return stream.getvalue()


def to_json(comparison: Comparison) -> str:
    """Schema, notice, columns, rows, the disagreement among the methods (None for one), and each method's report."""
    document = {
        "schema": SCHEMA,
        "notice": DERIVED,
        "columns": comparison.columns,
        "rows": comparison.rows,
        "disagreement": None if comparison.disagreement is None else comparison.disagreement.summary,
        "reports": comparison.reports,
    }
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_comparison(comparison: Comparison, folder: str | os.PathLike[str], volumes: bool = False) -> dict[str, Path]:
    """Write ``compare.md``, ``.csv``, ``.json``, ``.html`` and ``.png`` into a new folder, all of them or nothing.

    Args:
        folder: absent or empty; nothing is ever overwritten.
        volumes: also the enhanced volumes, ``<method>-<preset>.nii.gz``, each with the sidecar of a run of its own.

    Raises:
        BadInput: see dicom.files.check_new_folder.
    """
    from .evaluation.comparison_page import render_comparison
    from .evaluation.comparison_sheet import comparison_picture

    target = Path(folder)
    between = comparison.disagreement
    picture, narrow = (
        comparison_picture(
            comparison.before, comparison.results, comparison.brain, comparison.reference,
            None if between is None else between.deviation, small,
        )
        for small in (False, True)
    )  # fmt: skip
    page = render_comparison(
        headings(comparison), table_rows(comparison), comparison.before.meta.get("file"), picture, narrow,
        None if between is None else between.summary, outside_range(comparison), about_images(comparison),
    )  # fmt: skip
    texts = {"md": to_markdown(comparison), "csv": to_csv(comparison), "json": to_json(comparison), "html": page}
    with new_folder(target, WHAT) as temporary:
        for ending, text in texts.items():
            (temporary / f"compare.{ending}").write_text(text, encoding="utf-8", newline="\n")
        (temporary / "compare.png").write_bytes(picture)
        if volumes:
            for title, image in comparison.results:
                path = temporary / f"{title.replace(':', '-')}.nii.gz"
                write_image(image, path)
                sidecar = sidecar_text(comparison.reports[title]["provenance"])
                sidecar_of(path).write_text(sidecar, encoding="utf-8", newline="\n")
    return {ending: target / f"compare.{ending}" for ending in (*texts, "png")}
