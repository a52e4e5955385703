"""The anatomical report of one run as plain data: JSON for machines, CSV for spreadsheets; html.py makes it a page.

With a reference it speaks of error. Without one (the usual clinical case) it speaks of change and of fidelity to the
acquired scan only: the words "error" and "accuracy" then occur nowhere, neither in keys nor in sentences.
"""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from ..errors import BadInput
from ..image import Image
from ..image_io import DERIVED, replaced
from ..segmentation.labels import LabelMap
from .checks import check_same_shape
from .fidelity import GAUSSIAN_SHARE_ABOVE_3, FidelitySummary
from .input_checks import input_checks
from .intensity import score_images
from .volumes import StructureComparison, compare_structures

SCHEMA = "lowfieldenhance-report/1"
NOTICE = DERIVED
WHITE_MATTER = (2, 41)  # left and right cerebral white matter: the signal of the SNR
# Free CSF ends where the skull stripping or the field of view ends, so its volume says little about a method. It has
# its row in the table and stays out of the summary's means.
LEFT_OUT_OF_SUMMARY = (24,)
NOTABLE_PERCENT = 24.6  # the relative volume difference that NEUROShield (FDA K220034) was cleared with
LOW_CONFIDENCE = 0.5  # below, the segmenter gives the label less than half of its posterior on average
NAMED_CHANGES = 3
NAMED_MIN_ML = 1.0  # smaller structures change by large percentages through a few voxels

COMMON_COLUMNS = ("label_id", "name", "side", "volume_input_ml", "volume_enhanced_ml")
REFERENCE_COLUMNS = (
    "volume_reference_ml", "error_input_percent", "error_enhanced_percent", "dice_input", "dice_enhanced",
    "hd95_mm", "assd_mm", "surface_dice",
)  # fmt: skip
LAST_COLUMNS = ("change_percent", "confidence_input", "confidence_enhanced", "note")
INPUT_ONLY_COLUMNS = ("label_id", "name", "side", "volume_input_ml", "confidence_input")


def build_report(
    *,
    before: Image,
    enhanced: Image,
    brain: np.ndarray,
    acquired: Image,
    labels_before: LabelMap,
    labels_after: LabelMap | None,
    reference: Image | None,
    reference_labels: LabelMap | None,
    fidelity: FidelitySummary,
    sigma_source: str,
    provenance: dict[str, Any],
    valid_range: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Everything that can be said about one run, JSON-serialisable (strict: None instead of NaN and infinity).

    Args:
        before: the scan interpolated to the working grid [i, j, k], RAS-like.
        enhanced: the result on the same grid, same intensity unit.
        brain: bool on the same grid.
        acquired: the scan on its own grid.
        labels_before, labels_after: segmentations on the working grid; after is None if it was switched off, and then
            the structures have the input's volumes only.
        reference: a high-field scan resampled to the working grid; its voxels outside of its field of view are 0.
        reference_labels: its labels on the working grid.
        fidelity: see evaluation.fidelity.
        sigma_source: ``background``, ``difference`` or ``user``.
        provenance: method, preset, seed, weights ... (see pipeline); values that JSON lacks become text.
        valid_range: what the models were trained for (see evaluation.input_checks).

    Returns:
        Keys schema, notice, has_reference, verdict, summary, input, input_checks, fidelity, structures, images
        (None without a reference image) and provenance. Volumes in mL, distances in mm, percentages signed.

    Raises:
        BadInput: arrays of different shapes, or label maps on different grids.
    """
    grids = {"the enhanced scan": enhanced.array, "the brain mask": brain, "its labels": labels_before.array}
    for what, array in {**grids, **({} if reference is None else {"the reference": reference.array})}.items():
        check_same_shape(before.array, array, f"the input and {what}")
    brain = np.asarray(brain) != 0
    has_reference = reference is not None or (reference_labels is not None and labels_after is not None)
    structures = _structures(labels_before, labels_after, reference_labels)
    source = _input(before, brain, acquired, labels_before, fidelity, sigma_source)
    report: dict[str, Any] = {
        "schema": SCHEMA,
        "notice": NOTICE,
        "has_reference": has_reference,
        "verdict": "",
        "summary": _summary(structures, reference_labels is not None, labels_after is not None),
        "input": source,
        "input_checks": input_checks(source, before, brain, reference, valid_range),
        "fidelity": _fidelity(fidelity),
        "structures": structures,
        "images": None if reference is None else _images(reference, before, enhanced, brain),
        "provenance": provenance,
    }
    report["verdict"] = _verdict(report)
    return _plain(report)


def write_json(report: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write the report as UTF-8 JSON (strict, no NaN); a half-written file never carries the name.

    Raises:
        BadInput: the folder does not exist.
    """
    text = json.dumps(_plain(report), indent=2, ensure_ascii=False, allow_nan=False)
    with replaced(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def write_csv(report: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write the structures, one a row, six significant digits, an empty cell for None.

    Raises:
        BadInput: the folder does not exist.
    """
    rows = report["structures"]
    columns = list(dict.fromkeys(key for row in rows for key in row)) or list(INPUT_ONLY_COLUMNS)
    with replaced(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([_cell(row.get(column)) for column in columns] for row in rows)


def _structures(before: LabelMap, after: LabelMap | None, reference: LabelMap | None) -> list[dict[str, Any]]:
    if after is None:
        return [_row(item, INPUT_ONLY_COLUMNS) for item in compare_structures(before, before)]
    columns = (*COMMON_COLUMNS, *(REFERENCE_COLUMNS if reference is not None else ()), *LAST_COLUMNS)
    return [_row(item, columns) for item in compare_structures(before, after, reference)]


def _row(item: StructureComparison, columns: tuple[str, ...]) -> dict[str, Any]:
    values = {**asdict(item), "label_id": item.label, "note": _note(item)}
    return {column: values[column] for column in columns}


def _note(item: StructureComparison) -> str | None:
    """What a reader should look at in this structure; None if nothing."""
    off = item.change_percent if item.volume_reference_ml is None else item.error_enhanced_percent
    notes = []
    if item.volume_enhanced_ml == 0:
        notes.append("not found in the enhanced scan")
    elif item.volume_input_ml == 0:
        notes.append("not found in the input")
    if off is not None and abs(off) > NOTABLE_PERCENT and item.volume_enhanced_ml > 0:
        verb = "changed" if item.volume_reference_ml is None else "off"
        notes.append(f"{verb} by more than {NOTABLE_PERCENT} %")
    if item.confidence_enhanced is not None and item.confidence_enhanced < LOW_CONFIDENCE:
        notes.append("low confidence")
    return "; ".join(notes) or None


def _summary(rows: list[dict[str, Any]], against_reference: bool, segmented: bool) -> dict[str, Any] | None:
    """Means over the structures; None if the enhanced scan was not segmented."""
    if not segmented:
        return None
    keys = ("error_input_percent", "error_enhanced_percent") if against_reference else ("change_percent",)
    kept = [row for row in rows if row["label_id"] not in LEFT_OUT_OF_SUMMARY]
    kept = [row for row in kept if all(row[key] is not None for key in keys)]
    left_out = [row["name"] for row in rows if row not in kept]
    summary: dict[str, Any] = {"structures": len(kept), "left_out": left_out}
    for key in keys:
        summary[f"mean_absolute_{key}"] = float(np.mean([abs(row[key]) for row in kept])) if kept else None
    if against_reference:
        closer = [abs(row["error_enhanced_percent"]) < abs(row["error_input_percent"]) for row in kept]
        summary["structures_closer"] = sum(closer)
    return summary


def _input(
    before: Image, brain: np.ndarray, acquired: Image, labels: LabelMap, fidelity: FidelitySummary, sigma_source: str
) -> dict[str, Any]:
    white_matter = before.array[np.isin(labels.array, WHITE_MATTER)]
    measurable = white_matter.size > 0 and fidelity.sigma > 0
    return {
        "file": str(acquired.meta.get("file", "")),
        "contrast": acquired.contrast,
        "shape": list(acquired.shape),
        "spacing": [round(step, 4) for step in acquired.spacing],
        "sigma": fidelity.sigma,
        "sigma_source": sigma_source,
        "snr": float(white_matter.mean(dtype=np.float64)) / fidelity.sigma if measurable else None,
        "brain_ml": float(np.count_nonzero(brain)) * before.voxel_volume_ml,
    }


def _fidelity(fidelity: FidelitySummary) -> dict[str, Any]:
    return {
        **asdict(fidelity),
        "share_above_3_noise_alone": GAUSSIAN_SHARE_ABOVE_3,
        "text": (
            "Seen through a model of the low-field scanner, the enhanced scan differs from the acquired one by more "
            f"than 3 times the noise in {percent(fidelity.share_above_3)} of the brain's voxels (noise alone: "
            f"{percent(GAUSSIAN_SHARE_ABOVE_3)}); a large share contradicts the scan, a small one does not prove that "
            "added detail is true."
        ),
    }


def _images(reference: Image, before: Image, enhanced: Image, brain: np.ndarray) -> dict[str, Any] | None:
    """Image scores of both against the reference inside the brain; None where the reference shows nothing there."""
    try:
        scores = {
            name: asdict(score_images(reference.array, image.array, brain))
            for name, image in (("input", before), ("enhanced", enhanced))
        }
    except BadInput:  # an empty or constant reference must not cost the user the finished run
        return None
    return {"mask": "brain", "fit": "linear, inside the mask", **scores}


def _verdict(report: Mapping[str, Any]) -> str:
    summary, images = report["summary"], report["images"]
    if not report["has_reference"]:
        share, alone = percent(report["fidelity"]["share_above_3"]), percent(GAUSSIAN_SHARE_ABOVE_3)
        seen = f"{share} of the brain's voxels differ from the acquired scan by more than 3 times its noise"
        changes = "its structures were not measured" if summary is None else _largest_changes(report["structures"])
        opening = "Without a reference nobody can say whether the enhanced scan is right"
        return f"{opening}: {changes}, and {seen} (noise alone: {alone})."
    if summary is not None and summary.get("mean_absolute_error_enhanced_percent") is not None:
        low, high = summary["mean_absolute_error_input_percent"], summary["mean_absolute_error_enhanced_percent"]
        order = "lower than" if high < low else "higher than" if high > low else "the same as"
        return (
            f"Against the reference, the mean absolute volume error over {summary['structures']} structures is "
            f"{high:.1f} % in the enhanced scan, {order} the {low:.1f} % in the input, and "
            f"{summary['structures_closer']} of them came closer to the reference."
        )
    if images is not None:
        low, high = (_decibel(images[name]["psnr"]) for name in ("input", "enhanced"))
        return (
            f"Against the reference, the PSNR inside the brain is {high} in the enhanced scan and {low} in the input; "
            "structures were not compared."
        )
    return "The reference has nothing in common with the brain in this scan, so nothing can be said against it."


def _largest_changes(rows: list[dict[str, Any]]) -> str:
    """The structures of at least 1 mL that changed most, those that appear or vanish first."""
    sizes = ("volume_input_ml", "volume_enhanced_ml")
    kept = [row for row in rows if row["label_id"] not in LEFT_OUT_OF_SUMMARY]
    large = [row for row in kept if max(row[key] for key in sizes) >= NAMED_MIN_ML and row["change_percent"] != 0]
    large.sort(key=lambda row: -math.inf if 0 in (row[sizes[0]], row[sizes[1]]) else -abs(row["change_percent"]))
    named = [f"{row['name']} {_change(row)}" for row in large[:NAMED_CHANGES]]
    if not named:
        return f"no structure of {NAMED_MIN_ML:g} mL or more changed its volume"
    return f"the largest volume changes from the input are {', '.join(named)}"


def _change(row: Mapping[str, Any]) -> str:
    if row["volume_input_ml"] == 0:
        return f"(new, {row['volume_enhanced_ml']:.1f} mL)"
    return "(gone)" if row["volume_enhanced_ml"] == 0 else f"{row['change_percent']:+.1f} %"


def _decibel(value: float) -> str:
    return f"{value:.1f} dB" if math.isfinite(value) else "perfect"


def percent(share: float | None) -> str:
    """0.0027 -> ``0.27 %``, 0.123 -> ``12.3 %``: two decimals below 1 %, one above."""
    if share is None:
        return "an unknown share"
    value = 100.0 * share
    return f"{value:.2f} %" if value < 1 else f"{value:.1f} %"


def _cell(value: Any) -> str:  # noqa: ANN401
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _plain(value: Any) -> Any:  # noqa: ANN401
    """Values as strict JSON knows them: numpy scalars and arrays unpacked, NaN and infinity None, the rest text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)
