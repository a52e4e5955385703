"""The sentences of the report."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from .fidelity import GAUSSIAN_SHARE_ABOVE_3
from .input_checks import mismatch
from .report_structures import LEFT_OUT_OF_SUMMARY

NAMED_CHANGES = 3
NAMED_MIN_ML = 1.0  # smaller structures change by large percentages through a few voxels
LEAST_SHARE = 0.01  # percent
LEAST_CHANGE = 0.05  # percent; less would be written as 0.0


def verdict_of(report: Mapping[str, Any]) -> str:
    """One sentence that says the most important figure; of error only with a reference."""
    told = _verdict_on_image(report)
    lesions = report.get("lesions")
    if lesions and lesions["outside_brain"]["regions"]:
        told = f"{told.removesuffix('.')}; {lesions['outside_brain']['text']}."
    if not lesions or not lesions["judged"]:
        return told
    base = "reference" if "reference" in lesions["regions"][0] else "input"
    fate = f"{lesions['surviving']} of {lesions['judged']} marked regions that the {base} shows survive in it"
    return f"{told.removesuffix('.')}; {fate}."


def _verdict_on_image(report: Mapping[str, Any]) -> str:
    summary, images = report["summary"], report["images"]
    lies = report.get("registration") or {}
    left_out = lies.get("images_left_out")
    apart = mismatch(lies.get("brain_overlap_dice"), lies.get("white_matter_dice"))
    if apart is not None:
        return f"{apart[0].upper()}{apart[1:]}, so the comparison with it says little about the enhanced scan."
    if not report["has_reference"]:
        seen = _seen(report["fidelity"])
        changes = "its structures were not measured" if summary is None else _largest_changes(report["structures"])
        opening = "Without a reference nobody can say whether the enhanced scan is right"
        return f"{opening}: {changes}, and {seen}."
    if summary is not None and summary.get("mean_absolute_error_enhanced_percent") is not None:
        low, high = summary["mean_absolute_error_input_percent"], summary["mean_absolute_error_enhanced_percent"]
        # of what is printed: 6.53 against 6.54 % is no difference that a reader sees
        difference = round(high, 1) - round(low, 1)
        order = "lower than" if difference < 0 else "higher than" if difference > 0 else "the same as"
        count, closer = summary["structures"], summary["structures_closer"]
        over = "the one structure compared" if count == 1 else f"{count} structures"
        moved = ("it came" if closer else "it did not come") if count == 1 else f"{closer} of them came"
        return (
            f"Against the reference, the mean absolute volume error over {over} is {high:.1f} % in the enhanced scan, "
            f"{order} the {low:.1f} % in the input, and {moved} closer to the reference."
        )
    if images is not None:
        low, high = (_decibel(images[name]["psnr"]) for name in ("input", "enhanced"))
        return (
            f"Against the reference, the PSNR inside the brain is {high} in the enhanced scan and {low} in the input; "
            "structures were not compared."
        )
    if left_out is not None:
        return (
            f"The reference's intensities cannot be compared with the scan's ({left_out}), and structures were not "
            "measured."
        )
    return "The reference has nothing in common with the brain in this scan, so nothing can be said against it."


def _seen(fidelity: Mapping[str, Any]) -> str:
    if fidelity["slope"] <= 0:
        return "it is not brighter where the acquired scan is, so it is of another contrast or shows another head"
    if not fidelity["noise_plausible"]:
        return "it cannot be compared with the scan's noise, because the scan was interpolated or filtered before"
    share, alone = percent(fidelity["share_above_3"]), percent(GAUSSIAN_SHARE_ABOVE_3)
    return (
        f"{share} of the brain's voxels differ from the acquired scan by more than 3 times its noise "
        f"(noise alone: {alone})"
    )


def _largest_changes(rows: list[dict[str, Any]]) -> str:
    """The structures of at least 1 mL that changed most, those that appear or vanish first."""
    sizes = ("volume_input_ml", "volume_enhanced_ml")
    kept = [row for row in rows if row["label_id"] not in LEFT_OUT_OF_SUMMARY]
    kept = [row for row in kept if row["change_percent"] is not None or row[sizes[0]] == 0]  # the others were cut
    large = [row for row in kept if max(row[key] for key in sizes) >= NAMED_MIN_ML and _seen_to_change(row)]
    large.sort(key=lambda row: -math.inf if 0 in (row[sizes[0]], row[sizes[1]]) else -abs(row["change_percent"]))
    named = [f"{row['name']} {_change(row)}" for row in large[:NAMED_CHANGES]]
    if not named:
        return f"no structure of {NAMED_MIN_ML:g} mL or more changed its volume by {LEAST_CHANGE:g} % or more"
    large_ones = f"of structures of {NAMED_MIN_ML:g} mL or more"  # the table may have larger changes of smaller ones
    which, verb = ("change", "is") if len(named) == 1 else ("changes", "are")
    opening = f"the largest volume {which} from the input, {large_ones}, {verb}"
    return f"{opening} {', '.join(named)}"


def _seen_to_change(row: Mapping[str, Any]) -> bool:
    """Whether a change is more than the 0.0 % that a smaller one would be written as; None is a new structure's."""
    return row["change_percent"] is None or abs(row["change_percent"]) >= LEAST_CHANGE


def _change(row: Mapping[str, Any]) -> str:
    if row["volume_input_ml"] == 0:
        return f"(new, {row['volume_enhanced_ml']:.1f} mL)"
    return "(gone)" if row["volume_enhanced_ml"] == 0 else f"{row['change_percent']:+.1f} %"


def _decibel(value: float) -> str:
    return f"{value:.1f} dB" if math.isfinite(value) else "perfect"


def percent(share: float | None) -> str:
    """0.0027 -> ``0.27 %``, 0.123 -> ``12.3 %``: two decimals below 1 %, one above; what is little is not nothing."""
    if share is None:
        return "an unknown share"
    value = 100.0 * share
    if 0 < value < LEAST_SHARE:
        return f"less than {LEAST_SHARE:g} %"
    return f"{value:.2f} %" if value < 1 else f"{value:.1f} %"
