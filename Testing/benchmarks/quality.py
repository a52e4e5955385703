"""The public benchmark ULF-sim v1: every method on the same simulated low-field heads.

    python Testing/benchmarks/quality.py --data DATA --rows linear cubic bm4d regression bridged:fast bridged:standard

Protocol (fixed): the five oasis/test heads, of four persons; PSF of full width at half maximum = spacing along each
axis; grid 1.6 x 1.6 x 5 mm; Rician noise at SNR 20 (white-matter mean over sigma); seed 1000 + position of the head in
the list.
The whole way of the pipeline runs (our segmenter finds the brain); scores are taken inside the true brain after a
linear intensity fit to the reference. Structure scores: our segmenter on both sides, and Dice against manual labels.
Results go to quality.json and quality.md beside this file, row by row, so that a run can be repeated for some rows.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from LowFieldEnhanceLib.evaluation.data_consistency import measure_fidelity
from LowFieldEnhanceLib.evaluation.fidelity import FidelitySummary
from LowFieldEnhanceLib.evaluation.intensity import score_images
from LowFieldEnhanceLib.evaluation.lpips import Lpips
from LowFieldEnhanceLib.evaluation.report_structures import LEFT_OUT_OF_SUMMARY
from LowFieldEnhanceLib.evaluation.volumes import compare_structures
from LowFieldEnhanceLib.events import Events
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.image_io import read_image, read_labels
from LowFieldEnhanceLib.methods.base import Case, Method, models_of, run_method
from LowFieldEnhanceLib.methods.bridged import BridgedDiffusion, BridgedSettings
from LowFieldEnhanceLib.methods.registry import get_method
from LowFieldEnhanceLib.physics.simulate import Protocol, simulate
from LowFieldEnhanceLib.preprocess.grid import Grid, resample
from LowFieldEnhanceLib.preprocess.prepare import Prepared, prepare, to_working_grid
from LowFieldEnhanceLib.segmentation.labels import LabelMap
from LowFieldEnhanceLib.segmentation.segmenter import Segmenter
from LowFieldEnhanceLib.training.data import brain_of, data_root
from LowFieldEnhanceLib.weights import model_info

FOLDER = Path(__file__).resolve().parent
HEADS = ("1018", "1038", "1101", "1113", "1125")
SAME_PERSON = {"1038": "1018"}  # scanned twice: five heads of four persons
PROTOCOL = Protocol(spacing=(1.6, 1.6, 5.0), snr=20.0)
SMALL_OR_OPEN = set(LEFT_OUT_OF_SUMMARY)  # of the means
CORTEX, WHITE = (3, 42), (2, 41)
STRUCTURE_FIELDS = ("volume_error", "white_matter_error", "cortex_error", "dice", "hd95", "dice_manual", "structures")


@dataclass(frozen=True)
class Subject:
    """One head of the benchmark, prepared once for all rows."""

    name: str
    truth: Image
    brain: np.ndarray
    manual: LabelMap
    truth_labels: LabelMap
    low_labels: LabelMap
    prepared: Prepared


def load_subject(
    root: Path, name: str, seed: int, segmenter: Segmenter, split: str = "test", protocol: Protocol = PROTOCOL
) -> Subject:
    """Simulate the scan, and bring truth and labels onto the pipeline's working grid."""
    high = read_image(root / "oasis" / split / f"{name}_T1w.nii.gz", "T1w")
    manual = read_labels(root / "oasis" / split / f"{name}_aseg.nii.gz")
    low = simulate(high, protocol, seed, manual)
    on_grid = to_working_grid(low, 1.0)
    grid = Grid.of(on_grid)
    truth = resample(high, grid, "cubic")
    truth = truth.with_array(np.maximum(truth.array, 0))
    brain = resample(high.with_array(brain_of(high.array).astype(np.float32)), grid, "nearest").array > 0.5
    labels = LabelMap(resample(manual.as_image(), grid, "nearest").array.astype(np.uint8), grid.affine, {})
    low_labels = segmenter.segment(on_grid)
    return Subject(name, truth, brain, labels, segmenter.segment(truth), low_labels, prepare(low, on_grid, low_labels))


def run_row(row: str, subject: Subject, segmenter: Segmenter, lpips: Lpips) -> dict[str, Any]:
    """One method and preset on one head."""
    return score_method(*named(row), subject, segmenter, lpips)


def named(row: str) -> tuple[Method, str]:
    """``bridged:standard``, or a name alone for its first preset -> method and preset; see also APART."""
    if row in APART:
        return APART[row], "standard"
    name, _, preset = row.partition(":")
    method = get_method(name)
    return method, preset or method.presets[0]


def enhance(method: Method, preset: str, subject: Subject) -> tuple[Image, dict[str, Any]]:
    """The result on one head in the scan's intensities, with the benchmark's seed, and the method's details."""
    outcome = run_method(method, Case.of(subject.prepared), preset, torch.Generator().manual_seed(0), Events())
    return subject.prepared.back(outcome.array), outcome.details


def score_method(method: Method, preset: str, subject: Subject, segmenter: Segmenter, lpips: Lpips) -> dict[str, Any]:
    """Run a method on one head and score its result."""
    started = time.monotonic()
    enhanced, details = enhance(method, preset, subject)
    seconds = time.monotonic() - started
    scores = score_images(subject.truth.array, enhanced.array, subject.brain, lpips)
    _, fidelity = measure_fidelity(enhanced, subject.prepared)
    return {
        **{k: getattr(scores, k) for k in ("psnr", "ssim", "lpips", "mae", "nmse", "ulf_enc")},
        **structure_scores(subject, segmenter.segment(enhanced)),
        **fidelity_fields(fidelity),
        "seconds": seconds,
        "evaluations": details.get("evaluations", 0),
    }


def structure_scores(subject: Subject, labels: LabelMap) -> dict[str, Any]:
    """Volume error against our segmentation of the truth, and overlap against the manual labels."""
    rows = [
        r for r in compare_structures(subject.low_labels, labels, subject.truth_labels) if r.label not in SMALL_OR_OPEN
    ]
    errors = {r.label: abs(r.error_enhanced_percent) for r in rows if r.error_enhanced_percent is not None}
    manual = [r for r in compare_structures(subject.low_labels, labels, subject.manual) if r.label not in SMALL_OR_OPEN]
    return {
        "volume_error": float(np.mean(list(errors.values()))),
        "white_matter_error": float(np.mean([errors[i] for i in WHITE if i in errors])),
        "cortex_error": float(np.mean([errors[i] for i in CORTEX if i in errors])),
        "dice": _mean([r.dice_enhanced for r in rows]),
        "hd95": _mean([r.hd95_mm for r in rows]),
        "dice_manual": _mean([r.dice_enhanced for r in manual]),
        "structures": {r.name: r.error_enhanced_percent for r in rows},
    }


def forget_structures(results: dict[str, Any], segmenter: str) -> None:
    """Take the structure scores of another segmenter out of the recorded rows, and record this one's checksum."""
    if results.get("segmenter") != segmenter:
        for heads in results["rows"].values():
            for scores in heads.values():
                for key in STRUCTURE_FIELDS:
                    scores.pop(key, None)
    results["segmenter"] = segmenter


def weights_of(method: Method, preset: str, companions: bool = False) -> dict[str, str]:
    """SHA-256 of the networks that a row runs, by their names, which are recorded with it."""
    return {name: model_info(name)[0].sha256 for name in models_of(method, preset, companions)}


def fidelity_fields(summary: FidelitySummary) -> dict[str, float]:
    """Residual |y - A x| in units of the noise."""
    return {"residual_rms": summary.rms, "share_above_3": summary.share_above_3}


def _mean(values: list[float | None]) -> float:
    known = [v for v in values if v is not None]
    return float(np.mean(known)) if known else float("nan")


ROWS = (
    "linear", "cubic", "bm4d", "irem", "dps", "regression", "bridged:fast", "bridged:standard", "prior without bridge",
    "diffdeur:fast", "diffdeur:standard", "latent:fast", "latent:standard", "cssdiff:fast", "cssdiff:standard",
)  # fmt: skip
APART = {"prior without bridge": BridgedDiffusion(BridgedSettings(use_bridge=False, prior_time=100, steps=4))}
COLUMNS = (
    ("psnr", "PSNR dB ↑", "{:.2f}"),
    ("ssim", "SSIM ↑", "{:.3f}"),
    ("lpips", "LPIPS ↓", "{:.4f}"),
    ("mae", "MAE ↓", "{:.4f}"),
    ("nmse", "NMSE ↓", "{:.4f}"),
    ("ulf_enc", "ULF-EnC ↑", "{:.3f}"),
    ("volume_error", "volume error % ↓", "{:.1f}"),
    ("white_matter_error", "white matter % ↓", "{:.1f}"),
    ("cortex_error", "cortex % ↓", "{:.1f}"),
    ("dice", "Dice ↑", "{:.3f}"),
    ("hd95", "HD95 mm ↓", "{:.2f}"),
    ("dice_manual", "Dice manual ↑", "{:.3f}"),
    ("residual_rms", "residual σ", "{:.2f}"),
    ("evaluations", "NFE", "{:.0f}"),
    ("seconds", "s", "{:.1f}"),
)


def table(title: str, rows: dict[str, Any], columns: Sequence[tuple[str, str, str]]) -> str:
    """Markdown: one line a row, the mean of each column over the row's heads (heads without the value left out).

    A column that is known of none of them, as the structures of a row that was scored with an earlier segmenter, is a
    dash.
    """
    lines = [f"| {title} | " + " | ".join(name for _, name, _ in columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for row, heads in rows.items():
        known = {k: [h[k] for h in heads.values() if h.get(k) is not None] for k, _, _ in columns}
        cells = [form.format(float(np.mean(known[k]))) if known[k] else "-" for k, _, form in columns]
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def markdown(results: dict[str, Any]) -> str:
    """The table of all rows, the protocol's first and in its order."""
    rows = results["rows"]
    order = [*(row for row in ROWS if row in rows), *(row for row in rows if row not in ROWS)]
    return table("method", {row: rows[row] for row in order}, COLUMNS)


def main() -> None:
    """Run the rows asked for and merge them into the recorded results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="default: LOWFIELDENHANCE_DATA")
    parser.add_argument("--rows", nargs="+", default=list(ROWS))
    parser.add_argument("--heads", nargs="+", default=list(HEADS))
    parser.add_argument("--out", type=Path, default=FOLDER / "quality.json")
    options = parser.parse_args()
    root = data_root(options.data)
    lpips = Lpips(root / "lpips" / "squeezenet1_1.pth")
    segmenter = Segmenter()
    results: dict[str, Any] = {"protocol": "ULF-sim v1", "rows": {}}
    if options.out.exists():
        results = json.loads(options.out.read_text(encoding="utf-8"))
    for row in options.rows:
        results["rows"].pop(row, None)
        results.setdefault("weights", {})[row] = weights_of(*named(row))
    forget_structures(results, segmenter.provenance["sha256"])
    for name in options.heads:
        subject = load_subject(root, name, 1000 + HEADS.index(name), segmenter)
        for row in options.rows:
            results["rows"].setdefault(row, {})[name] = run_row(row, subject, segmenter, lpips)
            scores = results["rows"][row][name]
            shown = ("psnr", "ssim", "lpips", "volume_error", "seconds")
            print(name, row, " ".join(f"{k}={scores[k]:.4g}" for k in shown), flush=True)
    options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    options.out.with_suffix(".md").write_text(markdown(results), encoding="utf-8")
    print(markdown(results))


if __name__ == "__main__":
    main()
