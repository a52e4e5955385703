"""What half precision and 8 bits a weight cost: one network after the other with its weights as they were trained.

    python Testing/benchmarks/precision.py --data DATA --runs regression_unet=RUN latent_teacher=RUN css_lsc=RUN

RUN is the folder of a finished training, whose checkpoint holds the averaged weights in float32 (where the shipped
weights are the mean of several runs, one of them). Networks that enhance run on the first head of ULF-sim v1 (see
quality.py), the teacher with one step, the encoder of further contrasts on all contrasts of the first head of
brats/test (see contrasts.py): PSNR and LPIPS against the truth, and the root mean square by which the image differs
from that of the float32 weights, in units of the scan's noise. For the segmenter, on that scan of ULF-sim v1, it is
Dice against the labels drawn by hand and the share of the brain's voxels that are labelled otherwise than by float32;
for css_lsc the L1 of repaired slices, over the same batches; for expected_deviation the share of true values within
1.96 expected deviations of the bridge's result, and the change of the map in % of its mean. Writes precision.json and
precision.md beside this file; other networks' lines are kept.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import contrasts
import numpy as np
import torch
from calibration import calibrated
from latent import load
from quality import FOLDER, HEADS, PROTOCOL, SMALL_OR_OPEN

from LowFieldEnhanceLib.evaluation.intensity import score_images
from LowFieldEnhanceLib.evaluation.lpips import Lpips
from LowFieldEnhanceLib.evaluation.volumes import compare_structures
from LowFieldEnhanceLib.events import Events
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.image_io import read_image, read_labels
from LowFieldEnhanceLib.methods.base import Case, Method, run_method
from LowFieldEnhanceLib.methods.bridged import BridgedDiffusion
from LowFieldEnhanceLib.methods.cssdiff import CssDiff
from LowFieldEnhanceLib.methods.expected_deviation import NETWORK
from LowFieldEnhanceLib.methods.latent import DistilledLatent, LatentSettings
from LowFieldEnhanceLib.methods.registry import get_method
from LowFieldEnhanceLib.physics.simulate import simulate
from LowFieldEnhanceLib.preprocess.grid import Grid, resample
from LowFieldEnhanceLib.preprocess.prepare import Prepared, to_working_grid
from LowFieldEnhanceLib.samples import expected_of
from LowFieldEnhanceLib.segmentation.labels import LabelMap
from LowFieldEnhanceLib.segmentation.segmenter import Segmenter
from LowFieldEnhanceLib.training import css_lsc
from LowFieldEnhanceLib.training.data import data_root
from LowFieldEnhanceLib.training.register import EIGHT_BITS
from LowFieldEnhanceLib.weight_files import save_weights
from LowFieldEnhanceLib.weights import OVERRIDE, RESEARCH_ONLY, load_network

METHODS: dict[str, tuple[Callable[[], Method], str]] = {  # that shows the network, and its preset
    "regression_unet": (lambda: get_method("regression"), "fast"),
    "bridged_bridge": (BridgedDiffusion, "fast"),
    "bridged_companions": (BridgedDiffusion, "fast"),
    "bridged_prior": (BridgedDiffusion, "standard"),
    "slice_prior": (lambda: get_method("diffdeur"), "fast"),
    "css_generator": (CssDiff, "fast"),
    "css_sgp": (CssDiff, "fast"),
    "latent_autoencoder": (DistilledLatent, "fast"),
    "latent_teacher": (lambda: DistilledLatent(LatentSettings("teacher", 1)), "fast"),
    "latent_student": (DistilledLatent, "fast"),
}
BATCHES = 12
Measure = Callable[[], dict[str, Any]]


def installed(folder: Path, name: str, run: Path, bits: int) -> int:
    """Put a run's averaged weights into a model folder with 32, 16 or 8 bits a weight; returns the file's size."""
    record = json.loads((run / "training.json").read_text(encoding="utf-8"))
    tensors = torch.load(run / "checkpoint.pt", map_location="cpu", weights_only=True)["average"]
    path = folder / f"{name}.safetensors"
    checksum = save_weights(tensors, path, bits)
    entry = {
        "file": path.name, "sha256": checksum, "architecture": record["architecture"], "licence": RESEARCH_ONLY,
        "title": name, "card": f"{name}.md",
    }  # fmt: skip
    (folder / "models.json").write_text(json.dumps({"models": {name: entry}}), encoding="utf-8")
    return path.stat().st_size


def scan_for(name: str, root: Path) -> tuple[Case, Prepared, Image, np.ndarray]:
    """Case, scan, truth and brain that the network is shown."""
    if name == "bridged_companions":
        return contrasts.case_of(contrasts.load(root, contrasts.HEADS[0]), "T1w", beside=True)
    prepared, truth, brain = load(root, HEADS[0], PROTOCOL)
    return Case.of(prepared), prepared, truth, brain


def enhancing(name: str, root: Path) -> Measure:
    """What enhances the head, and scores the image."""
    case, prepared, truth, brain = scan_for(name, root)
    method, preset = METHODS[name]
    lpips = Lpips(root / "lpips" / "squeezenet1_1.pth")
    first: list[np.ndarray] = []

    def measure() -> dict[str, Any]:
        outcome = run_method(method(), case, preset, torch.Generator().manual_seed(0), Events())
        image = prepared.back(outcome.array).array
        first.append(image)
        scores = score_images(truth.array, image, brain, lpips)
        change = float(np.sqrt(np.mean((image - first[0])[brain] ** 2))) / prepared.sigma
        return {"psnr": scores.psnr, "lpips": scores.lpips, "change": change}

    return measure


def labelling(root: Path) -> Measure:
    """Dice of the scan's labels, and where they differ from the first ones."""
    folder = root / "oasis" / "test"
    manual = read_labels(folder / f"{HEADS[0]}_aseg.nii.gz")
    scan = simulate(read_image(folder / f"{HEADS[0]}_T1w.nii.gz", "T1w"), PROTOCOL, 1000, manual)
    on_grid = to_working_grid(scan, 1.0)
    grid = Grid.of(on_grid)
    known = LabelMap(resample(manual.as_image(), grid, "nearest").array.astype(np.uint8), grid.affine, {})
    first: list[np.ndarray] = []

    def measure() -> dict[str, Any]:
        found = Segmenter().segment(on_grid)
        first.append(found.array)
        rows = [row for row in compare_structures(found, found, known) if row.label not in SMALL_OR_OPEN]
        dice = float(np.mean([row.dice_enhanced for row in rows if row.dice_enhanced is not None]))
        relabelled = 100 * float(np.mean((found.array != first[0])[first[0] > 0]))
        return {"dice": dice, "relabelled": relabelled}

    return measure


def repairing(root: Path) -> Measure:
    """The L1 of repaired slices."""

    def measure() -> dict[str, Any]:
        _, loss, _ = css_lsc.recipe(root, 5, "cpu")
        network = load_network("css_lsc")[0]
        with torch.no_grad():
            return {"l1": float(np.mean([float(loss(network)) for _ in range(BATCHES)]))}

    return measure


def expecting(root: Path) -> Measure:
    """How many true values the expected deviation of the bridge's result holds, and how the map changes."""
    prepared, truth, brain = load(root, HEADS[0], PROTOCOL)
    case = Case.of(prepared)
    result = run_method(BridgedDiffusion(), case, "fast", torch.Generator().manual_seed(0), Events()).array
    first: list[np.ndarray] = []

    def measure() -> dict[str, Any]:
        deviation = expected_of(case, prepared, result).deviation
        inside = deviation.array[brain]
        first.append(inside)
        change = 100 * float(np.sqrt(np.mean((inside - first[0]) ** 2)) / first[0].mean())
        return {"held": calibrated(truth, brain, prepared.back(result), deviation).coverage, "map_change": change}

    return measure


def measure_of(name: str, root: Path) -> Measure:
    """How the network is measured."""
    apart = {"css_lsc": repairing, "segmenter": labelling, NETWORK: expecting}
    return apart[name](root) if name in apart else enhancing(name, root)


COLUMNS = (
    ("psnr", "PSNR dB ↑", "{:.3f}"),
    ("lpips", "LPIPS ↓", "{:.5f}"),
    ("change", "change of the image, σ", "{:.4f}"),
    ("dice", "Dice manual ↑", "{:.5f}"),
    ("relabelled", "relabelled %", "{:.3f}"),
    ("l1", "L1 ↓", "{:.4f}"),
    ("held", "within 1.96 SD (best 0.95)", "{:.4f}"),
    ("map_change", "change of the map %", "{:.2f}"),
)


def markdown(results: dict[str, Any]) -> str:
    """One line a network and precision."""
    head = ("network", "bits", "MB", *(title for _, title, _ in COLUMNS))
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for name, rows in results.items():
        for bits, row in rows.items():
            cells = [form.format(row[key]) if key in row else "-" for key, _, form in COLUMNS]
            shipped = " (shipped)" if int(bits) == (8 if name in EIGHT_BITS else 16) else ""
            lines.append(f"| {name} | {bits}{shipped} | {row['bytes'] / 1e6:.1f} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure the runs asked for and merge them into the recorded results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="default: LOWFIELDENHANCE_DATA")
    parser.add_argument("--runs", nargs="+", required=True, metavar="NETWORK=RUN")
    parser.add_argument("--out", type=Path, default=FOLDER / "precision.json")
    options = parser.parse_args()
    root = data_root(options.data)
    results: dict[str, Any] = json.loads(options.out.read_text(encoding="utf-8")) if options.out.exists() else {}
    for pair in options.runs:
        name, _, run = pair.partition("=")
        measure = measure_of(name, root)
        rows = {}
        for bits in (32, 16, 8):
            with tempfile.TemporaryDirectory() as folder:
                size = installed(Path(folder), name, Path(run), bits)
                os.environ[OVERRIDE] = folder
                rows[str(bits)] = {**measure(), "bytes": size}
            print(name, bits, rows[str(bits)], flush=True)
        results[name] = rows
        options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        options.out.with_suffix(".md").write_text(markdown(results), encoding="utf-8")


if __name__ == "__main__":
    main()
