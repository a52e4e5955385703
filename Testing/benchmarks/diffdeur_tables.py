"""The tables of diffdeur.py."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from diffdeur_steps import reached
from quality import COLUMNS, table

COMPARISON = ("ulf-sim", "3mm", "T2w", "FLAIR")
SHOWN = ("psnr", "ssim", "lpips", "volume_error", "dice", "residual_rms", "share_above_3", "evaluations", "seconds")
FIELD = (
    ("field_psnr", "whole field: PSNR dB ↑", "{:.2f}"),
    ("field_ssim", "SSIM ↑", "{:.3f}"),
    ("field_lpips", "LPIPS ↓", "{:.4f}"),
)
SHARE = ("share_above_3", "above 3 σ", "{:.4f}")
# What DiffDeuR's paper reports on its own data (PSNR dB, SSIM, LPIPS): the margins that are asked after.
PAPER = {
    "cubic + BM3D": (20.708, 0.6747, 0.2665),
    "irem": (27.019, 0.8236, 0.1839),
    "dps": (27.717, 0.8198, 0.1632),
}
PAPER_DIFFDEUR = (28.130, 0.9146, 0.0905)
OURS = ("diffdeur:standard", "diffdeur:fast")  # the first that was run is the paper's method here


def columns(*names: str) -> list[tuple[str, str, str]]:
    """Columns of the comparison by name."""
    known = {column[0]: column for column in (*COLUMNS, SHARE)}
    return [known[name] for name in names]


def mean(heads: dict[str, Any], key: str) -> float:
    """Of one figure over the heads."""
    return float(np.mean([scores[key] for scores in heads.values()]))


def margins(rows: dict[str, Any]) -> str:
    """How far DiffDeuR is ahead of the paper's baselines, inside the brain, over the whole field, and in the paper."""
    ours = next((row for row in OURS if row in rows), None)
    lines = [
        f"| {ours} ahead of | PSNR dB, brain | whole field | paper | SSIM, brain | whole field | paper "
        "| LPIPS, brain | whole field | paper |",
        "|---" * 10 + "|",
    ]
    for baseline, figures in PAPER.items():
        if ours is None or baseline not in rows:
            continue
        shared = {name: scores for name, scores in rows[ours].items() if name in rows[baseline]}
        cells = []
        for n, (key, form) in enumerate((("psnr", "{:+.2f}"), ("ssim", "{:+.3f}"), ("lpips", "{:+.4f}"))):
            for name in (key, f"field_{key}"):
                other = {head: rows[baseline][head] for head in shared}
                cells.append(form.format(mean(shared, name) - mean(other, name)) if shared else "-")
            cells.append(form.format(PAPER_DIFFDEUR[n] - figures[n]))
        lines.append(f"| {baseline} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n" if len(lines) > 2 else ""


def steps_table(rows: dict[str, Any]) -> str:
    """Every step of every run, and how often a step did what it is there for."""
    parts = []
    for row, heads in rows.items():
        for head, found in heads.items():
            records = found["records"]
            lines = [
                f"| {row}, {head} | level σ | PSNR dB ↑ | LPIPS ↓ | residual, σ of the noise ↓ |", "|---" * 5 + "|"
            ]  # fmt: skip
            for record in records:
                figures = "{level:.2f} | {psnr:.2f} | {lpips:.4f} | {residual:.2f}".format(**record)
                lines.append(f"| {record['step']} | {figures} |")
            told = []
            for kind, key, what in (("data", "residual", "the residual"), ("prior", "lpips", "LPIPS")):
                pairs = [(a, b) for a, b in pairwise(records) if b["step"] == kind]
                lower = sum(b[key] < a[key] for a, b in pairs)
                told.append(f"The {kind} step lowers {what} in {lower} of {len(pairs)} steps.")
            parts.append("\n".join(lines) + "\n\n" + " ".join(told) + "\n")
    return "\n".join(parts)


def warm_start_table(rows: dict[str, Any]) -> str:
    """Epochs and seconds to the residual, and to the objective, that the warm start ends with."""
    lines = [
        "| steps, head | residual, σ | warm: epochs, s | from scratch to that residual: epochs, s | times faster "
        "| from scratch to that objective: epochs, s | times faster |",
        "|---" * 7 + "|",
    ]
    for row, heads in rows.items():
        for head, found in heads.items():
            goal = found["warm"][-1]
            cells = [f"{len(found['warm'])}, {goal['seconds']:.1f}"]
            for key in ("residual", "objective"):
                scratch = reached(found["scratch"], key, goal[key])
                if scratch is None:
                    last = found["scratch"][-1]["seconds"]
                    cells += [f"not in {len(found['scratch'])}, {last:.1f}", f"> {last / goal['seconds']:.1f}"]
                else:
                    cells += [f"{scratch[0]}, {scratch[1]:.1f}", f"{scratch[1] / goal['seconds']:.1f}"]
            lines.append(f"| {row}, {head} | {goal['residual']:.3f} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def tables(results: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Suffix of the file and its Markdown; the comparison has none."""
    shown = columns(*SHOWN)
    yield "", "\n".join(table(part, results[part], shown) for part in COMPARISON if part in results)
    for part in ("ablation", "data-step"):
        if part in results:
            yield part.replace("-", "_"), table(part, results[part], shown)
    if "steps" in results:
        yield "steps", steps_table(results["steps"])
    if "warm-start" in results:
        yield "warm_start", warm_start_table(results["warm-start"])
    for part, title in (
        ("margin", "3 x 3 x 5 mm, inside the brain"),
        ("margin-thin", "3 x 3 x 1 mm, inside the brain"),
    ):
        if part in results:
            figures = [*columns("psnr", "ssim", "lpips"), *FIELD, *columns("residual_rms", "evaluations", "seconds")]
            told = margins(results[part])
            yield part.replace("-", "_"), table(title, results[part], figures) + (f"\n{told}" if told else "")
