"""The rows of the report's structures, and their means."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from ..segmentation.labels import FREE_CSF, INFERIOR_HORNS, LabelMap, from_channels, label_table, to_channels
from .volumes import StructureComparison, compare_structures

# Free CSF ends where the skull stripping or the field of view ends, so its volume says little about a method. The
# inferior horns (1 mL) the segmenter hardly knows: Dice 0.6, and 0.3 to 0.4 on low-field scans. They have their rows in
# the table, and stay out of the summary's means, as of those of the benchmarks, and of the verdict.
LEFT_OUT_OF_SUMMARY = (FREE_CSF, *INFERIOR_HORNS)
# The relative volume difference, Dice and Hausdorff distance that NEUROShield (FDA K220034) was cleared with.
NOTABLE_PERCENT, NOTABLE_DICE, NOTABLE_MM = 24.6, 0.75, 6.1
LOW_CONFIDENCE = 0.5  # below, the segmenter gives the label less than half of its posterior on average

COMMON_COLUMNS = ("label_id", "name", "side", "volume_input_ml", "volume_enhanced_ml")
REFERENCE_COLUMNS = (
    "volume_reference_ml", "error_input_percent", "error_enhanced_percent", "absolute_error_input_percent",
    "absolute_error_enhanced_percent", "dice_input", "dice_enhanced", "hd95_mm", "assd_mm", "surface_dice",
    "hd95_input_mm", "assd_input_mm", "surface_dice_input",
)  # fmt: skip
LAST_COLUMNS = ("change_percent", "confidence_input", "confidence_enhanced", "note")
DERIVED_COLUMNS = ("absolute_error_input_percent", "absolute_error_enhanced_percent")  # properties, no fields
NOT_COMPARED = dict.fromkeys(column for column in REFERENCE_COLUMNS if column not in DERIVED_COLUMNS)
SURFACES = (("hd95_input_mm", "hd95_mm"), ("assd_input_mm", "assd_mm"), ("surface_dice_input", "surface_dice"))
MOST_OUTSIDE = 0.01  # share of a structure that may lie outside the field of view of a volume
INPUT_ONLY_COLUMNS = ("label_id", "name", "side", "volume_input_ml", "confidence_input")


def structure_rows(
    before: LabelMap,
    after: LabelMap | None,
    reference: LabelMap | None,
    unreferenced: Mapping[int, str] | None = None,
    check: Callable[[], object] | None = None,
    shown: np.ndarray | None = None,
) -> list[dict[str, Any]]:
    """One row a structure: of all three maps, or of the input alone if the result was not segmented.

    Args:
        before, after, reference: on one grid.
        unreferenced: label to the reason why the reference says nothing of it (see :func:`find_unreferenced`).
        check: called before every structure (raises to cancel).
        shown: bool on the grid, what the enhanced scan shows; None: everything. Of a structure that reaches out of it
            no change and no comparison is given.
    """
    if after is None:
        return [_row(item, INPUT_ONLY_COLUMNS) for item in compare_structures(before, before, check=check)]
    columns = (*COMMON_COLUMNS, *(REFERENCE_COLUMNS if reference is not None else ()), *LAST_COLUMNS)
    unreferenced = unreferenced or {}
    cut = set() if shown is None else _reaching_out((before, after), shown)
    rows = []
    for item in compare_structures(before, after, reference, check=check):
        reason = unreferenced.get(item.label)
        if item.label in cut:
            reason = "not wholly in the enhanced volume"
            item = replace(item, change_percent=None)
        rows.append(_row(item if reason is None else replace(item, **NOT_COMPARED), columns, reason))
    return rows


def _reaching_out(maps: Sequence[LabelMap], field: np.ndarray) -> set[int]:
    """The labels that lie by more than a hundredth outside a field of view (bool on the grid) in any of the maps."""
    arrays = [from_channels(to_channels(m.array)) for m in maps]
    size = max(label.id for label in label_table()) + 1
    whole, outside = (
        np.stack([np.bincount(array[place].ravel(), minlength=size) for array in arrays]) for place in (..., ~field)
    )
    return set(np.flatnonzero((outside > MOST_OUTSIDE * whole).any(axis=0)).tolist())


def find_unreferenced(
    before: LabelMap, after: LabelMap | None, reference: LabelMap, field: np.ndarray, given: bool
) -> dict[int, str]:
    """The structures of which a reference says nothing: label to the reason.

    Args:
        before, after, reference: on one grid.
        field: bool on it, where the reference was measured.
        given: whether the reference's labels are the user's; a structure that they lack was not drawn, whereas one that
            the segmenter does not find is not there.
    """
    cut = _reaching_out([m for m in (before, after, reference) if m is not None], field)
    drawn = np.unique(from_channels(to_channels(reference.array)))
    reasons = {}
    for label in label_table():
        if given and label.id not in drawn:
            reasons[label.id] = "not in the reference's labels"
        elif label.id in cut:
            reasons[label.id] = "not wholly in the reference's field of view"
    return reasons


def _row(item: StructureComparison, columns: tuple[str, ...], reason: str | None = None) -> dict[str, Any]:
    note = "; ".join(filter(None, (reason, _note(item)))) or None
    values = {**asdict(item), "label_id": item.label, "note": note}
    values |= {column: getattr(item, column) for column in DERIVED_COLUMNS}
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
    if item.volume_enhanced_ml > 0 and item.dice_enhanced is not None and item.dice_enhanced < NOTABLE_DICE:
        notes.append(f"Dice < {NOTABLE_DICE}")
    if item.hd95_mm is not None and item.hd95_mm > NOTABLE_MM:
        notes.append(f"HD95 > {NOTABLE_MM} mm")
    if item.confidence_enhanced is not None and item.confidence_enhanced < LOW_CONFIDENCE:
        notes.append("low confidence")
    return "; ".join(notes) or None


def with_columns(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[str], found: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The rows with further columns; ``found`` has their values by the structures' names, None where it has none."""
    return [{**row, **{key: found.get(row["name"], {}).get(key) for key in columns}} for row in rows]


def summary_of(rows: list[dict[str, Any]], against_reference: bool, segmented: bool) -> dict[str, Any] | None:
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
        for pair in SURFACES:
            both = [row for row in kept if all(row[key] is not None for key in pair)]  # found in all three maps
            for key in pair:
                summary[f"mean_{key}"] = float(np.mean([row[key] for row in both])) if both else None
    return summary
