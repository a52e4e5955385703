"""Scans degraded in ways that no network was trained on: which method stays ahead of plain interpolation?

    python Testing/benchmarks/generalisation.py --data DATA

Each line changes one thing of ULF-sim v1 (see quality.py): slices in another axis or thicker, more noise, noise that a
filter smeared over its neighbours, a slice profile of another shape and width than assumed, another tone curve, strong
bias, the contrast of 64 mT (relaxation times of 50 mT), a
tilted head, a field of view that cuts the brain, and lesions. Scores are those of
quality.py. Writes generalisation.json and generalisation.md beside this file: PSNR and LPIPS of each method, and how
much it gains over cubic interpolation.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from quality import FOLDER, HEADS, PROTOCOL

from LowFieldEnhanceLib.evaluation.intensity import score_images
from LowFieldEnhanceLib.evaluation.lpips import Lpips
from LowFieldEnhanceLib.events import Events
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.image_io import read_image, read_labels
from LowFieldEnhanceLib.methods.base import Case, run_method
from LowFieldEnhanceLib.methods.registry import get_method
from LowFieldEnhanceLib.physics.simulate import Protocol, simulate
from LowFieldEnhanceLib.preprocess.grid import Grid, resample
from LowFieldEnhanceLib.preprocess.prepare import Prepared, prepare, to_working_grid
from LowFieldEnhanceLib.segmentation.labels import LabelMap
from LowFieldEnhanceLib.segmentation.segmenter import Segmenter
from LowFieldEnhanceLib.training.data import brain_of, data_root

ROWS = ("cubic", "regression", "bridged:fast")
WHITE = (2, 41)
Change = Callable[[Image, LabelMap], tuple[Image, LabelMap]]


def unchanged(image: Image, labels: LabelMap) -> tuple[Image, LabelMap]:
    """The head as it is."""
    return image, labels


def gamma(power: float) -> Change:
    """Another tone curve; the brightest tissue stays."""

    def change(image: Image, labels: LabelMap) -> tuple[Image, LabelMap]:
        top = float(np.percentile(image.array, 99.5))
        return image.with_array(top * (np.maximum(image.array, 0) / top) ** power), labels

    return change


def tilted(degrees: float) -> Change:
    """The head turned about the left-right axis under the same field of view."""

    def change(image: Image, labels: LabelMap) -> tuple[Image, LabelMap]:
        angle = np.deg2rad(degrees)
        turn = np.eye(4)
        turn[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        centre = np.eye(4)
        centre[:3, 3] = (image.affine @ [*(np.array(image.shape) / 2), 1])[:3]
        seen = Grid(image.shape, centre @ turn @ np.linalg.inv(centre) @ image.affine)
        inside = resample(image.with_array(brain_of(image.array).astype(np.float32)), seen, "linear").array > 0.5
        moved = resample(image, seen, "cubic").array * inside  # whose overshoot off the brain would pass for brain
        names = resample(labels.as_image(), seen, "nearest").array.astype(np.uint8)
        return Image(np.maximum(moved, 0), image.affine, image.contrast), LabelMap(names, image.affine, {})

    return change


def cut(share: float) -> Change:
    """The lowest ``share`` of the brain outside the field of view."""

    def change(image: Image, labels: LabelMap) -> tuple[Image, LabelMap]:
        levels = np.nonzero((labels.array > 0).any(axis=(0, 1)))[0]
        first = int(levels[0] + share * (levels[-1] - levels[0]))
        affine = image.affine.copy()
        affine[:3, 3] = (image.affine @ [0, 0, first, 1])[:3]
        return Image(image.array[..., first:], affine, image.contrast), LabelMap(labels.array[..., first:], affine, {})

    return change


def with_lesions(count: int, radius: float) -> Change:
    """Dark spheres in the white matter, at 60 % of its intensity (voxels of 1 mm)."""

    def change(image: Image, labels: LabelMap) -> tuple[Image, LabelMap]:
        rng = np.random.default_rng(5)
        white = np.argwhere(np.isin(labels.array, WHITE))
        array = image.array.copy()
        places = np.stack(np.meshgrid(*map(np.arange, array.shape), indexing="ij"), -1)
        for centre in white[rng.integers(0, len(white), count)]:
            ball = ((places - centre) ** 2).sum(-1) <= radius**2
            array[ball & np.isin(labels.array, WHITE)] *= 0.6
        return image.with_array(array), labels

    return change


VARIATIONS: dict[str, tuple[Protocol, Change]] = {
    "ULF-sim v1, for scale": (PROTOCOL, unchanged),
    "sagittal slices of 5 mm": (replace(PROTOCOL, spacing=(5.0, 1.6, 1.6)), unchanged),
    "coronal slices of 5 mm": (replace(PROTOCOL, spacing=(1.6, 5.0, 1.6)), unchanged),
    "slices of 8 mm": (replace(PROTOCOL, spacing=(1.6, 1.6, 8.0)), unchanged),
    "filter of 2 voxels": (replace(PROTOCOL, filtered=2.0), unchanged),
    "SNR 6": (replace(PROTOCOL, snr=6.0), unchanged),
    "box profile, a third wider": (replace(PROTOCOL, profile="box", fwhm=(2.1, 2.1, 6.7)), unchanged),
    "gamma 0.7": (PROTOCOL, gamma(0.7)),
    "gamma 1.4": (PROTOCOL, gamma(1.4)),
    "bias field of 40 %": (replace(PROTOCOL, bias=0.4), unchanged),
    "contrast of 64 mT": (replace(PROTOCOL, contrast=1.0), unchanged),
    "head tilted by 20 degrees": (PROTOCOL, tilted(20.0)),
    "lower third cut off": (PROTOCOL, cut(0.33)),
    "twelve lesions of 8 mm": (PROTOCOL, with_lesions(12, 4.0)),
}


def on_working_grid(high: Image, low: Image, segmenter: Segmenter) -> tuple[Prepared, Image, np.ndarray]:
    """The scan, prepared, and ``high`` and its brain on the pipeline's working grid."""
    on_grid = to_working_grid(low, 1.0)
    grid = Grid.of(on_grid)
    truth = resample(high, grid, "cubic")
    inside = high.with_array(brain_of(high.array).astype(np.float32))
    brain = resample(inside, grid, "nearest").array > 0.5
    prepared = prepare(low, on_grid, segmenter.segment(on_grid))
    return prepared, truth.with_array(np.maximum(truth.array, 0)), brain


def score(high: Image, low: Image, rows: list[str], segmenter: Segmenter, lpips: Lpips) -> dict[str, Any]:
    """All methods on one scan; the truth is ``high`` on the pipeline's working grid."""
    prepared, truth, brain = on_working_grid(high, low, segmenter)
    result = {}
    for row in rows:
        name, _, preset = row.partition(":")
        method = get_method(name)
        outcome = run_method(
            method, Case.of(prepared), preset or method.presets[0], torch.Generator().manual_seed(0), Events()
        )
        enhanced = prepared.back(outcome.array)
        scores = score_images(truth.array, enhanced.array, brain, lpips)
        result[row] = {k: getattr(scores, k) for k in ("psnr", "ssim", "lpips")}
    return result


def markdown(variations: dict[str, Any], rows: list[str]) -> str:
    """One line a variation: PSNR / LPIPS of each method, means over the heads."""
    lines = ["| scan | " + " | ".join(f"{row}: PSNR dB / LPIPS" for row in rows) + " |", "|---" * (len(rows) + 1) + "|"]
    for name, heads in variations.items():
        cells = []
        for row in rows:
            mean = {k: float(np.mean([head[row][k] for head in heads.values()])) for k in ("psnr", "lpips")}
            cells.append(f"{mean['psnr']:.2f} / {mean['lpips']:.4f}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run everything and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="default: LOWFIELDENHANCE_DATA")
    parser.add_argument("--heads", nargs="+", default=list(HEADS[:1]))
    parser.add_argument("--rows", nargs="+", default=list(ROWS))
    parser.add_argument("--out", type=Path, default=FOLDER / "generalisation.json")
    options = parser.parse_args()
    root = data_root(options.data)
    lpips, segmenter = Lpips(root / "lpips" / "squeezenet1_1.pth"), Segmenter()
    variations: dict[str, Any] = {}
    for name, (protocol, change) in VARIATIONS.items():
        for head in options.heads:
            folder = root / "oasis" / "test"
            high, labels = change(
                read_image(folder / f"{head}_T1w.nii.gz", "T1w"), read_labels(folder / f"{head}_aseg.nii.gz")
            )
            low = simulate(high, protocol, 3000 + HEADS.index(head), labels)
            variations.setdefault(name, {})[head] = score(high, low, options.rows, segmenter, lpips)
        print(markdown({name: variations[name]}, options.rows).splitlines()[-1], flush=True)
    options.out.write_text(json.dumps({"rows": options.rows, "variations": variations}, indent=1) + "\n", "utf-8")
    options.out.with_suffix(".md").write_text(markdown(variations, options.rows), "utf-8")


if __name__ == "__main__":
    main()
