"""Does a method know where it is wrong? Uncertainty and data consistency on ULF-sim v1 (see quality.py).

    python Testing/benchmarks/calibration.py --data DATA --heads 5 --samples 8 --methods bridged:fast bridged:standard

For every method: several results of one scan (other seeds, or the mirrored scan for a method that draws nothing), and
inside the true brain, after a linear intensity fit to the reference: the rank correlation (Spearman) of |error| with
the voxels' standard deviation, the share of true values within 1.96 standard deviations of the mean (0.95 is best), the
factor that would make it 0.95, and the PSNR of a single result and of the mean. Then what the projection onto the
acquired scan does to the result's scores: those of the images, and those of our segmenter's structures. Results go to
calibration.json and calibration.md beside this file, row by row, so that a run can be repeated for some rows.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from quality import HEADS, Subject, fidelity_fields, load_subject, structure_scores, table

from LowFieldEnhanceLib.evaluation.data_consistency import make_consistent, measure_fidelity
from LowFieldEnhanceLib.evaluation.intensity import linear_coefficients, psnr, reference_range, score_images
from LowFieldEnhanceLib.evaluation.lpips import Lpips
from LowFieldEnhanceLib.evaluation.uncertainty import Calibration, calibration
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.methods.base import Case
from LowFieldEnhanceLib.methods.registry import get_method
from LowFieldEnhanceLib.samples import run_samples
from LowFieldEnhanceLib.segmentation.segmenter import Segmenter
from LowFieldEnhanceLib.training.data import data_root

FOLDER = Path(__file__).resolve().parent
METHODS = ("regression", "bridged:fast", "bridged:standard")
CALIBRATION = (
    ("results", "results", "{:.0f}"),
    ("spearman", "Spearman ↑", "{:.3f}"),
    ("coverage", "within 1.96 SD (best 0.95)", "{:.3f}"),
    ("factor", "SD factor (best 1)", "{:.2f}"),
    ("deviation_mean", "mean SD / σ", "{:.2f}"),
    ("psnr_one", "PSNR of one dB ↑", "{:.2f}"),
    ("psnr_mean", "PSNR of the mean dB ↑", "{:.2f}"),
    ("seconds", "s", "{:.1f}"),
)
CONSISTENCY = (
    ("psnr", "PSNR dB ↑", "{:.2f}"),
    ("ssim", "SSIM ↑", "{:.3f}"),
    ("lpips", "LPIPS ↓", "{:.4f}"),
    ("mae", "MAE ↓", "{:.4f}"),
    ("nmse", "NMSE ↓", "{:.4f}"),
    ("ulf_enc", "ULF-EnC ↑", "{:.3f}"),
    ("volume_error", "volume error % ↓", "{:.1f}"),
    ("dice", "Dice ↑", "{:.3f}"),
    ("hd95", "HD95 mm ↓", "{:.2f}"),
    ("residual_rms", "residual σ (best 1)", "{:.2f}"),
    ("share_above_3", "share above 3 σ", "{:.4f}"),
)


def run_row(row: str, samples: int, subject: Subject, segmenter: Segmenter, lpips: Lpips) -> dict[str, Any]:
    """One method and preset on one head."""
    name, _, preset = row.partition(":")
    method, prepared = get_method(name), subject.prepared
    case = Case.of(prepared)
    started = time.monotonic()
    result = run_samples(method, case, prepared, preset or method.presets[0], 0, samples)
    seconds = time.monotonic() - started
    spread = result.uncertainty
    assert spread is not None  # at least two results, see main
    projected, projection = make_consistent(result.enhanced, prepared)
    return {
        "kind": spread.kind,
        "results": spread.samples,
        "seeds": list(spread.seeds),
        **asdict(calibrated(subject.truth, subject.brain, result.mean, spread.deviation)),
        "deviation_mean": float(spread.deviation.array[subject.brain].mean()) / prepared.sigma,
        "psnr_one": _psnr(subject, result.first),
        "psnr_mean": _psnr(subject, result.mean),
        "result": _scores(subject, result.enhanced, segmenter, lpips),
        "projected": {**_scores(subject, projected, segmenter, lpips), "regularisation": projection.regularisation},
        "seconds": seconds,
    }


def calibrated(
    truth: Image, brain: np.ndarray, mean: Image, deviation: Image, inside: np.ndarray | None = None
) -> Calibration:
    """Mean and deviation, brought to the reference's intensity scale in the brain, judged there or inside a part."""
    slope, intercept = linear_coefficients(truth.array, mean.array, brain)
    fitted = slope * mean.array + intercept
    return calibration(truth.array, fitted, abs(slope) * deviation.array, brain if inside is None else inside)


def _psnr(subject: Subject, image: Image) -> float:
    """As in score_images, alone."""
    slope, intercept = linear_coefficients(subject.truth.array, image.array, subject.brain)
    width = reference_range(subject.truth.array, subject.brain)
    return psnr(subject.truth.array, slope * image.array + intercept, subject.brain, width)


def _scores(subject: Subject, image: Image, segmenter: Segmenter, lpips: Lpips) -> dict[str, Any]:
    scores = score_images(subject.truth.array, image.array, subject.brain, lpips)
    _, fidelity = measure_fidelity(image, subject.prepared)
    structures = structure_scores(subject, segmenter.segment(image))
    return {
        **{k: getattr(scores, k) for k in ("psnr", "ssim", "lpips", "mae", "nmse", "ulf_enc")},
        **{k: structures[k] for k in ("volume_error", "dice", "hd95")},
        **fidelity_fields(fidelity),
    }


def markdown(results: dict[str, Any]) -> str:
    """Two tables: the calibration, and the scores before and after the projection; means over the heads."""
    rows = results["rows"]
    named = {f"{row} ({next(iter(heads.values()))['kind']})": _without_none(heads) for row, heads in rows.items()}
    pairs: dict[str, Any] = {}
    for row, heads in rows.items():
        for suffix, key in (("", "result"), (" + data consistency", "projected")):
            pairs[row + suffix] = {head: scores[key] for head, scores in heads.items()}
    return table("method", named, CALIBRATION) + "\n" + table("method", pairs, CONSISTENCY)


def _without_none(heads: dict[str, Any]) -> dict[str, Any]:
    """NaN for what is undefined: a method that never doubts has neither a rank correlation nor a factor."""
    return {head: {k: math.nan if v is None else v for k, v in scores.items()} for head, scores in heads.items()}


def main() -> None:
    """Run the methods asked for and merge them into the recorded results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="default: LOWFIELDENHANCE_DATA")
    parser.add_argument("--heads", type=int, default=len(HEADS), choices=range(1, len(HEADS) + 1), help="how many")
    parser.add_argument("--samples", type=int, default=8, help="2 to 64")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), metavar="METHOD[:PRESET]")
    parser.add_argument("--out", type=Path, default=FOLDER / "calibration.json")
    options = parser.parse_args()
    if options.samples < 2:
        parser.error("a spread needs at least 2 samples")
    root = data_root(options.data)
    lpips, segmenter = Lpips(root / "lpips" / "squeezenet1_1.pth"), Segmenter()
    results: dict[str, Any] = {"protocol": "ULF-sim v1", "rows": {}}
    if options.out.exists():
        results = json.loads(options.out.read_text(encoding="utf-8"))
    for row in options.methods:
        results["rows"].pop(row, None)
    for index, name in enumerate(HEADS[: options.heads]):
        subject = load_subject(root, name, 1000 + index, segmenter)
        for row in options.methods:
            scores = run_row(row, options.samples, subject, segmenter, lpips)
            results["rows"].setdefault(row, {})[name] = scores
            shown = ("kind", "spearman", "coverage", "psnr_one", "psnr_mean")
            print(name, row, " ".join(f"{key}={scores[key]}" for key in shown), flush=True)
        # after every head, so that a run that is cut short leaves what it has
        options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        options.out.with_suffix(".md").write_text(markdown(results), encoding="utf-8")
    print(markdown(results))


if __name__ == "__main__":
    main()
