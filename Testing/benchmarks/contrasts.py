"""T1w, T2w and FLAIR of heads that no training saw: each contrast alone, and with the other two beside it.

    python Testing/benchmarks/contrasts.py --data DATA

brats/test, every contrast through the protocol of ULF-sim v1 (see quality.py), each with its own noise. "all three"
gives Bridged diffusion the low-field scans of all contrasts of the head, and scores the one named. Volume errors are
against our segmentation of the high-field image of the same contrast; tumours are not left out. Writes contrasts.json
and contrasts.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from quality import COLUMNS, CORTEX, PROTOCOL, SMALL_OR_OPEN, WHITE, forget_structures, named, table, weights_of

from LowFieldEnhanceLib.evaluation.data_consistency import measure_fidelity
from LowFieldEnhanceLib.evaluation.intensity import score_images
from LowFieldEnhanceLib.evaluation.lpips import Lpips
from LowFieldEnhanceLib.evaluation.volumes import compare_structures
from LowFieldEnhanceLib.events import Events
from LowFieldEnhanceLib.image import CHANNELS, Image
from LowFieldEnhanceLib.image_io import read_image
from LowFieldEnhanceLib.methods.base import Case, run_method
from LowFieldEnhanceLib.methods.registry import get_method
from LowFieldEnhanceLib.physics.simulate import simulate
from LowFieldEnhanceLib.preprocess.grid import Grid, resample
from LowFieldEnhanceLib.preprocess.prepare import Prepared, prepare, prepare_others, to_working_grid
from LowFieldEnhanceLib.segmentation.labels import LabelMap
from LowFieldEnhanceLib.segmentation.segmenter import Segmenter
from LowFieldEnhanceLib.training.data import brain_of, data_root

FOLDER = Path(__file__).resolve().parent
HEADS = ("2013_3_1", "CBICA_AME_1", "TCIA01_378_1")
ROWS = (
    "cubic", "regression", "bridged:fast", "bridged:fast, all three", "bridged:standard", "bridged:standard, all three",
    "latent:fast", "cssdiff:fast",
)  # fmt: skip
SHOWN = (
    "psnr", "ssim", "lpips", "nmse", "volume_error", "white_matter_error", "cortex_error", "residual_rms",
    "evaluations", "seconds",
)  # fmt: skip


def load(root: Path, name: str) -> dict[str, tuple[Image, Image]]:
    """Contrast to high-field image and simulated scan."""
    heads = {}
    for number, contrast in enumerate(CHANNELS):
        high = read_image(root / "brats" / "test" / f"{name}_{contrast}.nii.gz", contrast)
        heads[contrast] = (high, simulate(high, PROTOCOL, 2000 + 10 * HEADS.index(name) + number))
    return heads


def case_of(
    head: dict[str, tuple[Image, Image]], contrast: str, beside: bool
) -> tuple[Case, Prepared, Image, np.ndarray]:
    """The case of one contrast, alone or beside the others, with its truth and brain on the working grid."""
    high, scan = head[contrast]
    on_grid = to_working_grid(scan, 1.0)
    truth = resample(high, Grid.of(on_grid), "cubic")
    inside = high.with_array(brain_of(high.array).astype(np.float32))
    brain = resample(inside, Grid.of(on_grid), "nearest").array > 0.5
    prepared = prepare(scan, on_grid, None, brain)
    others = {c: low for c, (_, low) in head.items() if c != contrast} if beside else {}
    images, acquisitions = prepare_others(others, prepared)
    case = Case.of(prepared, images, acquisitions)
    return case, prepared, truth.with_array(np.maximum(truth.array, 0)), brain


def volume_errors(found: LabelMap, truth: LabelMap) -> dict[str, Any]:
    """Mean absolute error in % of all structures, of white matter and of cortex, and the signed one of each."""
    rows = [row for row in compare_structures(found, found, truth) if row.label not in SMALL_OR_OPEN]
    errors = {r.label: abs(r.error_enhanced_percent) for r in rows if r.error_enhanced_percent is not None}
    groups = {"volume_error": tuple(errors), "white_matter_error": WHITE, "cortex_error": CORTEX}
    means = {name: float(np.mean([errors[i] for i in ids if i in errors])) for name, ids in groups.items()}
    return {**means, "structures": {r.name: r.error_enhanced_percent for r in rows}}


def score(
    row: str, head: dict[str, tuple[Image, Image]], contrast: str, lpips: Lpips, segmenter: Segmenter, known: LabelMap
) -> dict[str, Any]:
    """One row on one contrast of one head, whose high-field image has the labels ``known``."""
    setting, _, beside = row.partition(", ")
    name, _, preset = setting.partition(":")
    case, prepared, truth, brain = case_of(head, contrast, bool(beside))
    method = get_method(name)
    started = time.monotonic()
    outcome = run_method(method, case, preset or method.presets[0], torch.Generator().manual_seed(0), Events())
    seconds = time.monotonic() - started
    enhanced = prepared.back(outcome.array)
    scores = score_images(truth.array, enhanced.array, brain, lpips)
    return {
        **{k: getattr(scores, k) for k in ("psnr", "ssim", "lpips", "nmse")},
        **volume_errors(segmenter.segment(enhanced), known),
        "residual_rms": measure_fidelity(enhanced, prepared)[1].rms,
        "seconds": seconds,
        "evaluations": outcome.details.get("evaluations", 0),
    }


def markdown(rows: dict[str, Any]) -> str:
    """One table of all contrasts."""
    return table("contrast, method", rows, [column for column in COLUMNS if column[0] in SHOWN])


def main() -> None:
    """Run the rows asked for and merge them into the recorded results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="default: LOWFIELDENHANCE_DATA")
    parser.add_argument("--heads", nargs="+", default=list(HEADS))
    parser.add_argument("--rows", nargs="+", default=list(ROWS))
    parser.add_argument("--out", type=Path, default=FOLDER / "contrasts.json")
    options = parser.parse_args()
    root = data_root(options.data)
    lpips, segmenter = Lpips(root / "lpips" / "squeezenet1_1.pth"), Segmenter()
    recorded = json.loads(options.out.read_text(encoding="utf-8")) if options.out.exists() else {}
    if "rows" in recorded:
        forget_structures(recorded, segmenter.provenance["sha256"])
    rows: dict[str, Any] = recorded["rows"] if recorded.get("heads") == options.heads else {}
    weights: dict[str, Any] = recorded.get("weights", {}) if rows else {}
    heads = {name: load(root, name) for name in options.heads}
    for contrast in CHANNELS:
        known = {name: segmenter.segment(case_of(head, contrast, False)[2]) for name, head in heads.items()}
        for row in options.rows:
            weights[f"{contrast}, {row}"] = weights_of(*named(row.partition(", ")[0]), bool(row.partition(", ")[2]))
            rows[f"{contrast}, {row}"] = {
                name: score(row, head, contrast, lpips, segmenter, known[name]) for name, head in heads.items()
            }
            print(markdown({f"{contrast}, {row}": rows[f"{contrast}, {row}"]}).splitlines()[-1], flush=True)
    order = [f"{contrast}, {row}" for contrast in CHANNELS for row in ROWS]
    rows = {row: rows[row] for row in (*order, *(set(rows) - set(order))) if row in rows}
    results = {
        "protocol": "ULF-sim v1 on brats/test",
        "heads": options.heads,
        "segmenter": segmenter.provenance["sha256"],
        "weights": weights,
        "rows": rows,
    }
    options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    options.out.with_suffix(".md").write_text(markdown(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
