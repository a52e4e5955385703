"""Several methods on one scan, which is prepared once: every one is run and judged, and one table holds what they did.

A method that cannot run (weights not installed, an optional package missing, too little memory) is a row that says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from . import pipeline
from .errors import BadInput, Cancelled, LowFieldEnhanceError, known_failure
from .evaluation.disagreement import Disagreement, disagreement
from .evaluation.lesions import survivors
from .evaluation.report import in_noise_units
from .events import Events
from .image import Image
from .methods.base import check_preset
from .methods.registry import METHODS, get_method
from .segmentation.labels import LabelMap

ALL = "all"
INPUT = "input"
Choice = tuple[str, str]  # method, preset
Opener = Callable[..., Any]  # (image, options, ...) -> what the runner takes first
Runner = Callable[..., pipeline.Result]


@dataclass(frozen=True)
class Comparison:
    """What :func:`compare` returns.

    Attributes:
        rows: the input, then one row a method in the order asked for, JSON-serialisable (see comparison_files).
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
    rows.insert(0, _input_row(first.report, list(reports.values())))
    columns = {
        key: heading
        for key, heading in _columns(first.report["has_reference"], first.report["images"] is not None).items()
        if any(row.get(key) is not None for row in rows)
    }
    structures = [report.get("structures", []) for report in reports.values()]
    sigma = in_noise_units(first.report["fidelity"]).get("sigma")
    between = disagreement(results, structures, first.brain, sigma)
    pipeline.tell_doubts(subject, list(reports.values()), events)
    return Comparison(rows, columns, first.before, results, first.brain, first.reference, reports, between)


def _figures(report: Mapping[str, Any]) -> dict[str, Any]:
    """The report's own numbers, under its own names."""
    summary, provenance = report["summary"] or {}, report["provenance"]
    names = ("mean_absolute_change_percent", "mean_absolute_error_enhanced_percent", "structures_closer")
    images = (report["images"] or {}).get("enhanced", {})
    fidelity = in_noise_units(report["fidelity"])
    return {
        **{name: summary[name] for name in names if name in summary},
        "simulated_percent": (report.get("simulated") or {}).get("mean_enhanced_percent"),
        **_scores(images),
        "residual_rms": fidelity.get("rms"),
        "share_above_3": fidelity.get("share_above_3"),
        "share_contradicting": (report.get("added_detail") or {}).get("share_flagged", {}).get("contradicting"),
        "lesions_surviving": survivors(report.get("lesions")),
        "seconds": provenance["seconds"],
        "evaluations": provenance.get("settings", {}).get("evaluations"),
        "verdict": report["verdict"],
    }


def _input_row(report: Mapping[str, Any], reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What is known of the input itself: with a reference its own error, else what simulated scans showed.

    Args:
        report: any; all are of the same input.
        reports: of all methods; those that were measured on simulated scans have the input's figure too.
    """
    summary, images = report["summary"] or {}, (report["images"] or {}).get("input", {})
    row: dict[str, Any] = {"method": INPUT, "preset": "", "failure": None}
    simulated = next(filter(None, (one.get("simulated") for one in reports)), None)
    if simulated is not None:
        row["simulated_percent"] = simulated["mean_input_percent"]
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
        columns["simulated_percent"] = "Volumes off in simulated scans, %"
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
