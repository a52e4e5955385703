"""The Markdown tables of cssdiff.py."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from quality import COLUMNS, CORTEX, SMALL_OR_OPEN, WHITE, table

SHOWN = ("psnr", "ssim", "lpips", "volume_error", "white_matter_error", "cortex_error", "dice", "evaluations")
FIRST = (*WHITE, *CORTEX)


def tables(results: dict[str, Any]) -> dict[str, str]:
    """Part to its table, for all parts that were run and scored."""
    found = {}
    if "sgp" in results:
        found["sgp"] = perception_table(results["sgp"])
    if "ablation" in results:
        title = f"pairing {results['ablation']['pairing']}, {results['ablation']['preset']}"
        found["ablation"] = table(title, results["ablation"]["rows"], [c for c in COLUMNS if c[0] in SHOWN])
    if "anatomy" in results:
        found["anatomy"] = anatomy_table(results["anatomy"])
    return found


def perception_table(rows: dict[str, Any]) -> str:
    """Share of slices found, mean over heads and axes."""
    if not rows:
        return ""
    columns = [key for key in next(iter(next(iter(rows.values())).values())) if key != "slices"]
    lines = ["| shuffled slices | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for row, scans in rows.items():
        cells = []
        for column in columns:
            value = _mean(figures[column] for figures in scans.values())
            cells.append(f"{value:.1f}" if column.endswith("mm") and "within" not in column else f"{100 * value:.0f} %")
        lines.append(f"| {row} ({len(scans)} stacks) | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def anatomy_table(part: dict[str, Any]) -> str:
    """Absolute and signed volume error of every structure, white matter and cortex first; means over the heads."""
    heads = list(part["heads"].values())
    labels = {name: row["label"] for head in heads for name, row in head.items()}
    first = [name for wanted in FIRST for name, label in labels.items() if label == wanted]
    order = [*first, *(name for name in labels if name not in first)]
    lines = [
        "| structure | reference mL | low field error % | enhanced error % | low field signed % | enhanced signed % "
        "| Dice low field | Dice enhanced |",
        "|---|---|---|---|---|---|---|---|",
    ]
    counted: dict[str, list[float]] = {"low_error": [], "enhanced_error": []}
    for name in order:
        rows = [head[name] for head in heads if name in head]
        errors = {key: [row[key] for row in rows if row[key] is not None] for key in counted}
        absolute = {key: _mean(abs(e) for e in values) for key, values in errors.items()}
        if labels[name] not in SMALL_OR_OPEN:
            for key in counted:
                counted[key].append(absolute[key])
        cells = [_mean(row["reference_ml"] for row in rows), *absolute.values(), *(_mean(e) for e in errors.values())]
        dice = [_mean(row[key] for row in rows if row[key] is not None) for key in ("dice_low", "dice_enhanced")]
        texts = [f"{cells[0]:.1f}", *(f"{c:.1f}" for c in cells[1:3]), *(f"{c:+.1f}" for c in cells[3:])]
        lines.append(f"| {name} | " + " | ".join([*texts, *(f"{d:.3f}" for d in dice)]) + " |")
    means = " | ".join(f"{_mean(v for v in values if not np.isnan(v)):.1f}" for values in counted.values())
    lines.append(f"| mean without free CSF and inferior horns | | {means} | | | | |")
    lines[0] = lines[0].replace("structure", f"structure ({len(heads)} heads, preset {part['preset']})", 1)
    return "\n".join(lines) + "\n"


def _mean(values: Iterable[float]) -> float:
    known = list(values)
    return float(np.mean(known)) if known else float("nan")
