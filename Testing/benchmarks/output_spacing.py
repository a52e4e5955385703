"""At which voxels should the networks work when the output is to have another spacing than their 1 mm?

    python Testing/benchmarks/output_spacing.py --data DATA

The scan of ULF-sim v1 of one head, brought to outputs of 0.7, 1.5 and 2 mm: the networks work on 1 mm and the result is
interpolated (as the pipeline does), or they work on the output's own voxels. Scored inside the brain against the
high-field image on the output's grid (cubic; for coarser grids after a Gaussian of 0.35 voxels). At 0.7 mm that truth
is the 1 mm image interpolated, so it says nothing of finer detail. Writes output_spacing.json and output_spacing.md
beside this file.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from quality import HEADS, PROTOCOL, named
from scipy import ndimage

from LowFieldEnhanceLib import pipeline
from LowFieldEnhanceLib.evaluation.intensity import score_images
from LowFieldEnhanceLib.events import Events
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.image_io import read_image, read_labels
from LowFieldEnhanceLib.methods.base import run_method
from LowFieldEnhanceLib.physics.simulate import simulate
from LowFieldEnhanceLib.preprocess.grid import Grid, resample
from LowFieldEnhanceLib.training.data import brain_of, data_root
from LowFieldEnhanceLib.weights import model_info

FOLDER = Path(__file__).resolve().parent
SPACINGS = (0.7, 1.5, 2.0)
ROWS = ("bridged:fast", "latent:fast")
BLUR = 0.35  # voxels of a coarser grid: about the profile of a voxel
WAYS = {"1 mm, interpolated": 1.0, "the output's voxels": None}


def truth_on(high: Image, grid: Grid, spacing: float) -> np.ndarray:
    """The high-field image on a grid, blurred first where that is coarser."""
    blurred = high.with_array(ndimage.gaussian_filter(high.array, BLUR * spacing)) if spacing > 1 else high
    return resample(blurred, grid, "cubic").array


def main() -> None:
    """All rows, spacings and ways of one head."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="default: LOWFIELDENHANCE_DATA")
    parser.add_argument("--head", default=HEADS[0])
    parser.add_argument("--rows", nargs="+", default=list(ROWS))
    options = parser.parse_args()
    folder = data_root(options.data) / "oasis" / "test"
    high = read_image(folder / f"{options.head}_T1w.nii.gz", "T1w")
    low = simulate(
        high, PROTOCOL, 1000 + HEADS.index(options.head), read_labels(folder / f"{options.head}_aseg.nii.gz")
    )
    brain = high.with_array(brain_of(high.array).astype(np.float32))
    results: dict[str, Any] = {"head": options.head, "weights": {}, "rows": []}
    for spacing in SPACINGS:
        subject = pipeline.subject_of(low, pipeline.Options(spacing=spacing), brain=brain)
        before = subject.prepared.on_grid
        truth = truth_on(high, Grid.of(before), spacing)
        inside = resample(brain, Grid.of(before), "nearest").array > 0.5
        images = {"cubic": {"": before.array}}
        for row in options.rows:
            method, preset = named(row)
            results["weights"] |= {name: model_info(name)[0].sha256[:12] for name in method.models}
            for way, grid_mm in WAYS.items():
                case = subject.case_on(grid_mm)
                made = run_method(method, case, preset, torch.Generator().manual_seed(0), Events())
                landed = subject.prepared.landing(case.grid, case.mask)(made.array)
                images.setdefault(row, {})[way] = subject.prepared.back(landed).array
        for row, ways in images.items():
            for way, array in ways.items():
                scores = score_images(truth, array, inside)
                found = {"row": row, "way": way, "spacing": spacing, "psnr": scores.psnr, "ssim": scores.ssim}
                results["rows"].append(found)
                print(found, flush=True)
    lines = ["| output | method | networks work on | PSNR dB ↑ | SSIM ↑ |", "|---|---|---|---|---|"]
    lines += [
        f"| {r['spacing']:g} mm | {r['row']} | {r['way'] or '-'} | {r['psnr']:.2f} | {r['ssim']:.3f} |"
        for r in results["rows"]
    ]
    (FOLDER / "output_spacing.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    (FOLDER / "output_spacing.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
