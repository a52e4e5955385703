"""The noise level that is found in a scan without a background, against the one that was put in.

    python Testing/benchmarks/noise_level.py --data DATA

Heads of oasis/test, scanned at four spacings, three signal-to-noise ratios, and through filters of several widths (full
width at half maximum along every axis, voxels of the scan), as scanners deliver their images; then everything outside
the brain is set to 0. The level is taken in white matter (by the labels drawn by hand), and in the brain as a whole, as
where no segmentation is known. 1 is right. The widths that the filter is found to have are given beside. Writes
noise_level.json and noise_level.md beside this file.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from quality import FOLDER
from scipy import ndimage

from LowFieldEnhanceLib.image_io import read_image, read_labels
from LowFieldEnhanceLib.physics.noise import estimate_sigma, noise_widths
from LowFieldEnhanceLib.physics.simulate import Protocol, reference_level, simulate
from LowFieldEnhanceLib.preprocess.grid import Grid, resample
from LowFieldEnhanceLib.preprocess.prepare import white_matter_of
from LowFieldEnhanceLib.training.data import brain_of, data_root

HEADS = ("1101", "1113")
SPACINGS = ((1.6, 1.6, 5.0), (1.5, 1.5, 3.0), (2.0, 2.0, 2.0), (3.0, 3.0, 3.0))
SNRS = (8, 20, 40)
FILTERS = (0.0, 0.8, 1.0, 1.2, 1.6, 2.2, 3.0)
PLACES = ("white matter", "brain")


def measure(root: Path, head: str) -> list[dict[str, Any]]:
    """All scans of one head."""
    high = read_image(root / "oasis" / "test" / f"{head}_T1w.nii.gz", "T1w")
    labels = read_labels(root / "oasis" / "test" / f"{head}_aseg.nii.gz")
    level = reference_level(high, labels)
    brain = high.with_array(brain_of(high.array).astype(np.float32))
    found = []
    for spacing in SPACINGS:
        for snr in SNRS:
            for width in FILTERS:
                scan = simulate(high, Protocol(spacing=spacing, snr=snr, filtered=width), 1, signal_level=level)
                inside = resample(brain, Grid.of(scan), "linear").array > 0.5
                array = np.where(ndimage.binary_dilation(inside), scan.array, 0)
                white = white_matter_of(labels, scan)
                row: dict[str, Any] = {"head": head, "spacing": spacing, "snr": snr, "filter": width}
                for place, calm in zip(PLACES, (white, None), strict=True):
                    sigma, source = estimate_sigma(array, inside, calm)
                    assert source == "difference"
                    row[place] = sigma * snr / level
                    row[f"{place}, widths"] = noise_widths(array, inside, calm)
                found.append(row)
    return found


def markdown(rows: list[dict[str, Any]]) -> str:
    """Least and greatest over heads and signal-to-noise ratios, by spacing and filter."""
    head = ["voxels mm", "place", *(f"filter {width:g}" for width in FILTERS)]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for spacing in SPACINGS:
        for place in PLACES:
            cells = []
            for width in FILTERS:
                here = [r for r in rows if tuple(r["spacing"]) == spacing and r["filter"] == width]
                levels = [r[place] for r in here]
                widths = [w for r in here for w in r[f"{place}, widths"]]
                cells.append(f"{min(levels):.2f} to {max(levels):.2f} ({np.median(widths):.1f})")
            lines.append(f"| {' x '.join(f'{s:g}' for s in spacing)} | {place} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="default: LOWFIELDENHANCE_DATA")
    root = data_root(parser.parse_args().data)
    rows = [row for head in HEADS for row in measure(root, head)]
    (FOLDER / "noise_level.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    (FOLDER / "noise_level.md").write_text(markdown(rows), encoding="utf-8")
    print(markdown(rows))


if __name__ == "__main__":
    main()
