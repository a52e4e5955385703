"""Bridged diffusion taken apart: what bridge and prior add, and how far (K), how often (J) and how long (steps).

    python Testing/benchmarks/ablation.py --data DATA --heads 1000

Runs ULF-sim v1 (see quality.py) on heads of oasis/train, because the presets are chosen from it; the test heads stay
for the benchmark. Writes ablation.json and ablation.md beside this file, after every setting, so that a run can be
stopped, and the curves over K, steps and J as Resources/Screenshots/bridged_curves.png. With ``--resume`` settings that
are recorded with the same weights and heads are left out.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from quality import COLUMNS, load_subject, score_method, table

from LowFieldEnhanceLib.evaluation.lpips import Lpips
from LowFieldEnhanceLib.methods.bridged import PRESETS, BridgedDiffusion, BridgedSettings
from LowFieldEnhanceLib.segmentation.segmenter import Segmenter
from LowFieldEnhanceLib.training.data import data_root
from LowFieldEnhanceLib.weights import model_info

FOLDER = Path(__file__).resolve().parent
PICTURE = FOLDER.parents[1] / "Resources" / "Screenshots" / "bridged_curves.png"


def both(prior_time: int, steps: int, repeats: int = 1) -> tuple[str, BridgedSettings]:
    """Name and settings of bridge and prior together."""
    name = f"both, K={prior_time}, {steps} step{'s' * (steps > 1)}{f', J={repeats}' if repeats > 1 else ''}"
    settings = BridgedSettings(prior_time=prior_time, steps=steps, repeats=repeats)
    return name + (" (standard)" if settings == PRESETS["standard"] else ""), settings


TIMES, TIME_STEPS = (8, 15, 30, 50, 100, 200, 400, 600), (1, 4, 10)
STEPS_AT, STEPS = 100, (1, 2, 4, 10, 25, 50)
REPEATS_AT, REPEATS = (100, 4), (1, 2, 3)
SETTINGS = {
    "none": BridgedSettings(use_bridge=False, use_prior=False),
    "bridge (fast)": BridgedSettings(use_prior=False),
    "prior, K=100, 4 steps": BridgedSettings(use_bridge=False, prior_time=100, steps=4),
    **dict(both(time, steps) for steps in TIME_STEPS for time in TIMES if steps == 1 or time >= 50),
    **dict(both(STEPS_AT, steps) for steps in STEPS),
    **dict(both(*REPEATS_AT, repeats) for repeats in REPEATS),
}
SHOWN = ("psnr", "ssim", "lpips", "volume_error", "dice", "residual_rms", "evaluations")


def markdown(rows: dict[str, Any]) -> str:
    """One row a setting, means over the heads."""
    return table("setting", rows, [column for column in COLUMNS if column[0] in SHOWN])


def curves(rows: dict[str, Any], path: Path) -> None:
    """PSNR, LPIPS and volume error over K (one line a number of steps), over the steps, and over J."""
    figure = Figure(figsize=(11, 8.5), layout="constrained")
    FigureCanvasAgg(figure)
    families = [
        ("K", [(f"{n} step{'s' * (n > 1)}", [(t, both(t, n)[0]) for t in TIMES]) for n in TIME_STEPS]),
        (f"steps, K={STEPS_AT}", [("", [(n, both(STEPS_AT, n)[0]) for n in STEPS])]),
        (f"J, K={REPEATS_AT[0]}, {REPEATS_AT[1]} steps", [("", [(n, both(*REPEATS_AT, n)[0]) for n in REPEATS])]),
    ]
    figures = (("psnr", "PSNR, dB"), ("lpips", "LPIPS"), ("volume_error", "volume error, %"))
    for row, (key, label) in enumerate(figures):
        for column, (axis, lines) in enumerate(families):
            panel = figure.add_subplot(len(figures), len(families), row * len(families) + column + 1)
            for name, line in lines:
                points = [(x, mean_of(rows[setting], key)) for x, setting in line if setting in rows]
                panel.plot(*zip(*points, strict=True), marker="o", label=name or "bridge and prior")
            for name, style in (("bridge (fast)", "--"), ("none", ":")):
                panel.axhline(mean_of(rows[name], key), color="grey", linestyle=style, label=name, zorder=0)
            panel.set_xlabel(axis)
            panel.set_ylabel(label)
            panel.grid(alpha=0.3)
            if not row:
                panel.legend(fontsize=8)
    figure.savefig(path, dpi=110)


def mean_of(heads: dict[str, Any], key: str) -> float:
    """Mean of a figure over the heads of a row."""
    return float(np.mean([head[key] for head in heads.values()]))


def main() -> None:
    """Run the settings asked for (all without --rows)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="default: LOWFIELDENHANCE_DATA")
    parser.add_argument("--heads", nargs="+", default=["1000", "1001"])
    parser.add_argument("--rows", nargs="+", default=list(SETTINGS), help="names of the settings")
    parser.add_argument("--out", type=Path, default=FOLDER / "ablation.json")
    parser.add_argument("--resume", action="store_true")
    options = parser.parse_args()
    root = data_root(options.data)
    lpips, segmenter = Lpips(root / "lpips" / "squeezenet1_1.pth"), Segmenter()
    subjects = [load_subject(root, name, 500 + n, segmenter, "train") for n, name in enumerate(options.heads)]
    weights = {name: model_info(name)[0].sha256[:12] for name in (*BridgedDiffusion.models, "segmenter")}
    results: dict[str, Any] = {"protocol": "ULF-sim v1 on oasis/train", "heads": options.heads, "weights": weights}
    recorded = json.loads(options.out.read_text(encoding="utf-8")) if options.out.exists() else {}
    same = all(recorded.get(key) == value for key, value in results.items())
    results["rows"] = recorded["rows"] if same and options.resume else {}
    for name in options.rows:
        if name in results["rows"]:
            continue
        method = BridgedDiffusion(SETTINGS[name])
        results["rows"][name] = {
            subject.name: {
                **score_method(method, "standard", subject, segmenter, lpips),
                "settings": asdict(SETTINGS[name]),
            }
            for subject in subjects
        }
        options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        options.out.with_suffix(".md").write_text(markdown(results["rows"]), encoding="utf-8")
        print(markdown({name: results["rows"][name]}).splitlines()[-1], flush=True)
    if set(SETTINGS) <= set(results["rows"]):
        curves(results["rows"], PICTURE)


if __name__ == "__main__":
    main()
