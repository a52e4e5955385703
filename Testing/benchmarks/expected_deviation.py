"""Does the expected deviation of a single result hold what it says? On scans like the training's, and on others.

    python Testing/benchmarks/expected_deviation.py --data DATA

Groups of scans, none of whose heads any training saw: ``v1`` (ULF-sim v1, five heads, see quality.py), ``unlike`` (one
of them, degraded in the ways of generalisation.py), ``contrasts`` (T1w, T2w and FLAIR of the tumour heads of
contrasts.py), ``others`` (results of methods that the network has never seen), and ``lesions`` (the dark spheres of
generalisation.py and the tumours: the voxels inside them alone). Inside the true brain, after a linear intensity fit to
the reference: the rank correlation (Spearman) of |error| with the expected standard deviation, the share of true values
within 1.96 of it on either side (0.95 is best), and the factor that would make it 0.95. Results go to
expected_deviation.json and .md beside this file, group by group.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import contrasts
import numpy as np
import torch
from calibration import calibrated
from generalisation import VARIATIONS, WHITE, on_working_grid
from lesions import marks
from quality import HEADS, load_subject, named, table

from LowFieldEnhanceLib.events import Events
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.image_io import read_image, read_labels
from LowFieldEnhanceLib.methods.base import Case, run_method
from LowFieldEnhanceLib.methods.expected_deviation import NETWORK
from LowFieldEnhanceLib.physics.simulate import simulate
from LowFieldEnhanceLib.preprocess.grid import Grid, resample
from LowFieldEnhanceLib.preprocess.prepare import Prepared
from LowFieldEnhanceLib.samples import expected_of
from LowFieldEnhanceLib.segmentation.segmenter import Segmenter
from LowFieldEnhanceLib.training.data import data_root
from LowFieldEnhanceLib.weights import model_info

FOLDER = Path(__file__).resolve().parent
METHODS = ("regression", "bridged:fast", "bridged:standard")
ONE_METHOD = "bridged:fast"
OTHERS = ("cubic", "latent:fast", "cssdiff:fast", "diffdeur:fast")
GROUPS = ("v1", "unlike", "contrasts", "others")
COLUMNS = (
    ("spearman", "Spearman ↑", "{:.3f}"),
    ("coverage", "within 1.96 SD (best 0.95)", "{:.3f}"),
    ("factor", "SD factor (best 1)", "{:.2f}"),
    ("deviation_mean", "mean SD / σ", "{:.2f}"),
)
Found = dict[str, dict[str, dict[str, Any]]]  # line of the table, scan, figures


def judged(row: str, prepared: Prepared, truth: Image, parts: dict[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    """The figures of one method on one scan, for each of several masks by name."""
    method, preset = named(row)
    case, brain = Case.of(prepared), parts["brain"]
    array = run_method(method, case, preset, torch.Generator().manual_seed(0), Events()).array
    result = prepared.back(array)
    deviation = expected_of(case, prepared, array).deviation
    return {
        what: {
            **asdict(calibrated(truth, brain, result, deviation, mask)),
            "deviation_mean": float(deviation.array[mask].mean()) / prepared.sigma,
        }
        for what, mask in parts.items()
        if mask.any()
    }


def v1(root: Path, segmenter: Segmenter) -> Found:
    """ULF-sim v1."""
    found: Found = {}
    for index, name in enumerate(HEADS):
        subject = load_subject(root, name, 1000 + index, segmenter)
        for row in METHODS:
            scores = judged(row, subject.prepared, subject.truth, {"brain": subject.brain})
            found.setdefault(row, {})[name] = scores["brain"]
            print(name, row, scores["brain"], flush=True)
    return found


def others(root: Path, segmenter: Segmenter) -> Found:
    """ULF-sim v1, results of methods that the network has never seen."""
    subject = load_subject(root, HEADS[0], 1000, segmenter)
    found = {}
    for row in OTHERS:
        found[row] = {HEADS[0]: judged(row, subject.prepared, subject.truth, {"brain": subject.brain})["brain"]}
        print(row, found[row], flush=True)
    return found


def unlike(root: Path, segmenter: Segmenter) -> tuple[Found, Found]:
    """Scans unlike the training's; the second is the inside of painted lesions."""
    name = HEADS[0]
    high = read_image(root / "oasis" / "test" / f"{name}_T1w.nii.gz", "T1w")
    manual = read_labels(root / "oasis" / "test" / f"{name}_aseg.nii.gz")
    found, lesions = {}, {}
    for variation, (protocol, change) in VARIATIONS.items():
        head, labels = change(high, manual)
        prepared, truth, brain = on_working_grid(head, simulate(head, protocol, 1000, labels), segmenter)
        parts = {"brain": brain}
        if "lesions" in variation:
            changed = head.with_array(((head.array != high.array) & np.isin(manual.array, WHITE)).astype(np.float32))
            parts["lesions"] = resample(changed, Grid.of(truth), "nearest").array > 0.5
        scores = judged(ONE_METHOD, prepared, truth, parts)
        found[variation] = {name: scores["brain"]}
        if "lesions" in scores:
            lesions[variation] = {name: scores["lesions"]}
        print(variation, scores, flush=True)
    return found, lesions


def tumours(root: Path) -> tuple[Found, Found]:
    """T1w, T2w and FLAIR of the tumour heads; the second is the inside of the tumours."""
    found: Found = {}
    lesions: Found = {}
    for contrast, name, (prepared, truth, brain) in _scans(root):
        tumour = marks(root, f"brats/test/{name}").as_image()
        inside = resample(tumour, Grid.of(truth), "nearest").array > 0.5
        scores = judged(ONE_METHOD, prepared, truth, {"brain": brain, "tumour": inside & brain})
        found.setdefault(contrast, {})[name] = scores["brain"]
        lesions.setdefault(f"tumours, {contrast}", {})[name] = scores["tumour"]
        print(name, contrast, scores, flush=True)
    return found, lesions


def _scans(root: Path) -> Iterator[tuple[str, str, tuple[Prepared, Image, np.ndarray]]]:
    for name in contrasts.HEADS:
        head = contrasts.load(root, name)
        for contrast in head:
            yield contrast, name, contrasts.case_of(head, contrast, beside=False)[1:]


def markdown(results: dict[str, Any]) -> str:
    """A table for each group; means over its scans."""
    titles = {
        "v1": "method",
        "unlike": f"scan ({ONE_METHOD})",
        "contrasts": f"contrast ({ONE_METHOD})",
        "lesions": f"inside of ({ONE_METHOD})",
        "others": "method that it never saw",
    }
    return "\n".join(table(title, results[group], COLUMNS) for group, title in titles.items() if group in results)


def main() -> None:
    """Run the groups asked for and merge them into the recorded results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="default: LOWFIELDENHANCE_DATA")
    parser.add_argument("--groups", nargs="+", default=list(GROUPS), choices=GROUPS)
    parser.add_argument("--out", type=Path, default=FOLDER / "expected_deviation.json")
    options = parser.parse_args()
    root, segmenter = data_root(options.data), Segmenter()
    results = json.loads(options.out.read_text(encoding="utf-8")) if options.out.exists() else {}
    sha256 = model_info(NETWORK)[0].sha256
    if results.get("weights") != sha256:
        results = {"weights": sha256}  # those of other weights are not kept
    for group in options.groups:
        lesions: Found = {}
        if group in ("v1", "others"):
            results[group] = (v1 if group == "v1" else others)(root, segmenter)
        else:
            results[group], lesions = unlike(root, segmenter) if group == "unlike" else tumours(root)
        if lesions:
            results["lesions"] = {**results.pop("lesions", {}), **lesions}
        options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        options.out.with_suffix(".md").write_text(markdown(results), encoding="utf-8")
    print(markdown(results))


if __name__ == "__main__":
    main()
