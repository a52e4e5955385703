"""Bridged diffusion taken apart: what bridge and prior add, and how far (K), how often (J) and how long (steps).

    python Testing/benchmarks/ablation.py --data DATA --heads 1000 1001

Runs ULF-sim v1 (see quality.py) on heads of oasis/train, because the presets are chosen from it; the test heads stay
for the benchmark. Writes ablation.json and ablation.md beside this file, after every setting, so that a run can be
stopped.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from quality import COLUMNS, load_subject, score_method, table

from LowFieldEnhanceLib.evaluation.lpips import Lpips
from LowFieldEnhanceLib.methods.bridged import BridgedDiffusion, BridgedSettings
from LowFieldEnhanceLib.segmentation.segmenter import Segmenter
from LowFieldEnhanceLib.training.data import data_root

FOLDER = Path(__file__).resolve().parent
SETTINGS = {
    "none": BridgedSettings(use_bridge=False, use_prior=False),
    "bridge (fast)": BridgedSettings(use_prior=False),
    "prior, K=100, 4 steps": BridgedSettings(use_bridge=False, prior_time=100, steps=4),
    "both, K=15, 1 step": BridgedSettings(prior_time=15, steps=1),
    "both, K=30, 1 step (standard)": BridgedSettings(prior_time=30, steps=1),
    "both, K=60, 1 step": BridgedSettings(prior_time=60, steps=1),
    "both, K=60, 4 steps": BridgedSettings(prior_time=60, steps=4),
    "both, K=100, 1 step": BridgedSettings(prior_time=100, steps=1),
    "both, K=100, 4 steps": BridgedSettings(prior_time=100, steps=4),
    "both, K=100, 4 steps, J=3": BridgedSettings(prior_time=100, steps=4, repeats=3),
    "both, K=200, 4 steps": BridgedSettings(prior_time=200, steps=4),
    "both, K=400, 8 steps": BridgedSettings(prior_time=400, steps=8),
}
SHOWN = ("psnr", "ssim", "lpips", "volume_error", "dice", "residual_rms", "evaluations")


def markdown(rows: dict[str, Any]) -> str:
    """One row a setting, means over the heads."""
    return table("setting", rows, [column for column in COLUMNS if column[0] in SHOWN])


def main() -> None:
    """Run the settings asked for (all without --rows)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="default: LOWFIELDENHANCE_DATA")
    parser.add_argument("--heads", nargs="+", default=["1000", "1001"])
    parser.add_argument("--rows", nargs="+", default=list(SETTINGS), help="names of the settings")
    parser.add_argument("--out", type=Path, default=FOLDER / "ablation.json")
    options = parser.parse_args()
    root = data_root(options.data)
    lpips, segmenter = Lpips(root / "lpips" / "squeezenet1_1.pth"), Segmenter()
    subjects = [load_subject(root, name, 500 + n, segmenter, "train") for n, name in enumerate(options.heads)]
    results: dict[str, Any] = {"protocol": "ULF-sim v1 on oasis/train", "heads": options.heads, "rows": {}}
    for name in options.rows:
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


if __name__ == "__main__":
    main()
