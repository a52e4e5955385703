"""Which state of CSS-Diff's generator ships: several states on heads that are in no table of CSS-Diff.

    python Testing/benchmarks/cssdiff_choice.py --data DATA --runs NAME=FOLDER NAME=FOLDER

Heads: the T1w images of brats/test and openms/test, simulated as in ULF-sim v1 (see quality.py); no network has seen
them, and CSS-Diff's own tables use oasis/test alone. A state is a folder of css_generator, finished or stopped.
Rule, fixed before the first run: among the states within 0.3 dB of the best PSNR, the one with the least sum of the
white matter's and the cortex's volume error. Training against pairs raises PSNR while it thins the cortex, so neither
figure alone may decide.
The recorded states: minutes of training with pairs (pairing full), then with pairs found by SGP as it ships (weak).
A state that listened to an SGP of another kind than the one at hand is shown, but cannot be taken any more.
Results go to cssdiff_choice.json and cssdiff_choice.md beside this file, state by state.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from cssdiff import network_of
from diffdeur import load
from quality import COLUMNS, PROTOCOL, score_method, table

from LowFieldEnhanceLib.evaluation.lpips import Lpips
from LowFieldEnhanceLib.methods.cssdiff import PRESETS, CssDiff
from LowFieldEnhanceLib.segmentation.segmenter import Segmenter
from LowFieldEnhanceLib.training.data import data_root, head_names

FOLDER = Path(__file__).resolve().parent
TOLERANCE_DB = 0.3
SHOWN = ("psnr", "ssim", "lpips", "volume_error", "white_matter_error", "cortex_error")


def chosen(rows: dict[str, dict[str, dict[str, Any]]]) -> str:
    """Name of the state that the rule takes; ``rows`` holds the scores by state and head."""

    def mean(name: str, *keys: str) -> float:
        return float(np.mean([sum(scores[key] for key in keys) for scores in rows[name].values()]))

    best = max(mean(name, "psnr") for name in rows)
    near = [name for name in rows if mean(name, "psnr") >= best - TOLERANCE_DB]
    return min(near, key=lambda name: mean(name, "white_matter_error", "cortex_error"))


def main() -> None:
    """Score the states given and merge them into the recorded ones."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="default: LOWFIELDENHANCE_DATA")
    parser.add_argument("--runs", nargs="+", required=True, metavar="NAME=FOLDER", help="run folders of css_generator")
    parser.add_argument("--preset", default="fast", choices=list(PRESETS))
    parser.add_argument("--limit", type=int, help="heads at most")
    parser.add_argument("--out", type=Path, default=FOLDER / "cssdiff_choice.json")
    options = parser.parse_args()
    root = data_root(options.data)
    lpips, segmenter = Lpips(root / "lpips" / "squeezenet1_1.pth"), Segmenter()
    recorded = json.loads(options.out.read_text(encoding="utf-8")) if options.out.exists() else {}
    rows, earlier = recorded.get("rows", {}), recorded.get("earlier", {})  # earlier: with another SGP
    runs = {name: Path(folder) for name, folder in (pair.split("=", 1) for pair in options.runs)}
    for name in runs:
        rows.pop(name, None)
    folders = [root / data_set / "test" for data_set in ("brats", "openms")]
    heads = [(folder, name) for folder in folders for name in head_names(folder)]
    for number, (folder, head) in enumerate(heads[: options.limit]):
        name = f"{folder.parent.name}/{head}"
        subject = load(name, folder / f"{head}_T1w.nii.gz", "T1w", PROTOCOL, 2000 + number, segmenter)
        for state, run in runs.items():
            method = CssDiff(PRESETS[options.preset], network_of(run))
            scores = score_method(method, options.preset, subject, segmenter, lpips)
            rows.setdefault(state, {})[name] = scores
            print(name, state, " ".join(f"{key}={scores[key]:.4g}" for key in SHOWN), flush=True)
    results = {"preset": options.preset, "chosen": chosen(rows), "rows": rows, "earlier": earlier}
    options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    shown = {f"{name} (earlier SGP)": scores for name, scores in earlier.items()} | rows
    text = table("state", shown, [column for column in COLUMNS if column[0] in SHOWN])
    text += f"\nTaken by the rule: {results['chosen']}.\n"
    options.out.with_suffix(".md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
