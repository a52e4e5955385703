"""What half precision and 8 bits a weight cost: one network after the other with its weights as they were trained.

    python Testing/benchmarks/precision.py --data DATA --runs regression_unet=RUN latent_teacher=RUN css_lsc=RUN

RUN is the folder of a finished training, whose checkpoint holds the averaged weights in float32. Networks that enhance
run on the first head of ULF-sim v1 (see quality.py), the teacher with one step: PSNR and LPIPS against the truth, and
the root mean square by which the image differs from that of the float32 weights, in units of the scan's noise. For
css_lsc it is the L1 of repaired slices, over the same batches. Writes precision.json and precision.md beside this file;
other networks' lines are kept.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from latent import load
from quality import FOLDER, HEADS, PROTOCOL

from LowFieldEnhanceLib.evaluation.intensity import score_images
from LowFieldEnhanceLib.evaluation.lpips import Lpips
from LowFieldEnhanceLib.events import Events
from LowFieldEnhanceLib.methods.base import Case, run_method
from LowFieldEnhanceLib.methods.bridged import BridgedDiffusion
from LowFieldEnhanceLib.methods.cssdiff import CssDiff
from LowFieldEnhanceLib.methods.latent import DistilledLatent, LatentSettings
from LowFieldEnhanceLib.methods.registry import get_method
from LowFieldEnhanceLib.training import css_lsc
from LowFieldEnhanceLib.training.data import data_root
from LowFieldEnhanceLib.training.register import EIGHT_BITS
from LowFieldEnhanceLib.weight_files import save_weights
from LowFieldEnhanceLib.weights import OVERRIDE, RESEARCH_ONLY, load_network

METHODS = {
    "regression_unet": lambda: get_method("regression"),
    "bridged_bridge": BridgedDiffusion,
    "css_generator": CssDiff,
    "css_sgp": CssDiff,
    "latent_teacher": lambda: DistilledLatent(LatentSettings("teacher", 1)),
    "latent_student": DistilledLatent,
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


def enhancing(name: str, root: Path) -> Measure:
    """What enhances the head, and scores the image."""
    prepared, truth, brain = load(root, HEADS[0], PROTOCOL)
    lpips = Lpips(root / "lpips" / "squeezenet1_1.pth")
    first: list[np.ndarray] = []

    def measure() -> dict[str, Any]:
        method = METHODS[name]()
        outcome = run_method(method, Case.of(prepared), "fast", torch.Generator().manual_seed(0), Events())
        image = prepared.back(outcome.array, brain_only=False).array
        first.append(image)
        scores = score_images(truth.array, image, brain, lpips)
        change = float(np.sqrt(np.mean((image - first[0])[brain] ** 2))) / prepared.sigma
        return {"psnr": scores.psnr, "lpips": scores.lpips, "change": change}

    return measure


def repairing(root: Path) -> Measure:
    """The L1 of repaired slices."""

    def measure() -> dict[str, Any]:
        _, loss, _ = css_lsc.recipe(root, 5, "cpu")
        network = load_network("css_lsc")[0]
        with torch.no_grad():
            return {"l1": float(np.mean([float(loss(network)) for _ in range(BATCHES)]))}

    return measure


def markdown(results: dict[str, Any]) -> str:
    """One line a network and precision."""
    lines = ["| network | bits | MB | PSNR dB ↑ | LPIPS ↓ | change of the image, σ | L1 ↓ |", "|---" * 7 + "|"]
    forms = (("psnr", "{:.3f}"), ("lpips", "{:.5f}"), ("change", "{:.4f}"), ("l1", "{:.4f}"))
    for name, rows in results.items():
        for bits, row in rows.items():
            cells = [form.format(row[key]) if key in row else "-" for key, form in forms]
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
        measure = repairing(root) if name == "css_lsc" else enhancing(name, root)
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
