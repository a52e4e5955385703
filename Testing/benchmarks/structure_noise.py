"""Structure volume errors of ULF-sim v1 over several draws of the scan's noise, and how fine the measure is at all.

    python Testing/benchmarks/structure_noise.py --data DATA --seeds 5

The benchmark draws the noise of each head once. Here each of its five heads is scanned several times; the errors are
means over heads, sides and scans, in % of the volume in the segmentation of the high-field image, and the interval
holds the mean in 95 % of drawings of persons (two of the five heads are one) and scans with replacement. The last rows
are the floor of the measure: the high-field image itself in the place of an enhanced scan, moved by half a voxel along
each axis and back by interpolation, or with noise of SNR 40. Writes structure_noise.json and structure_noise.md beside
this file.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from quality import CORTEX, HEADS, SAME_PERSON, WHITE, Subject, enhance, load_subject, named
from scipy import ndimage

from LowFieldEnhanceLib.evaluation.volumes import compare_structures
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.segmentation.segmenter import Segmenter
from LowFieldEnhanceLib.training.data import data_root
from LowFieldEnhanceLib.weights import model_info

FOLDER = Path(__file__).resolve().parent
ROWS = ("linear", "cubic", "regression", "bridged:fast", "bridged:standard")
GROUPS = {"white matter": WHITE, "cortex": CORTEX}
FLOOR_SNR = 40.0
DRAWS = 4000


def moved(subject: Subject) -> Image:
    """The high-field image after half a voxel there and back, by cubic splines."""
    there = ndimage.shift(subject.truth.array, 0.5, order=3, mode="nearest")
    return subject.truth.with_array(ndimage.shift(there, -0.5, order=3, mode="nearest").astype(np.float32))


def noised(subject: Subject, seed: int) -> Image:
    """The high-field image with Gaussian noise of FLOOR_SNR inside the brain."""
    truth = subject.truth.array
    white = np.isin(subject.manual.array, WHITE)
    noise = np.random.default_rng(seed).standard_normal(truth.shape) * float(truth[white].mean()) / FLOOR_SNR
    return subject.truth.with_array(np.where(truth > 0, truth + noise, 0).astype(np.float32))


def errors(subject: Subject, image: Image, segmenter: Segmenter) -> dict[str, dict[str, float]]:
    """Group to structure to signed error, %."""
    rows = compare_structures(subject.low_labels, segmenter.segment(image), subject.truth_labels)
    found = {r.label: (r.name, r.error_enhanced_percent) for r in rows if r.error_enhanced_percent is not None}
    return {group: dict(found[label] for label in labels if label in found) for group, labels in GROUPS.items()}


def mean_and_interval(heads: Mapping[str, Sequence[float]]) -> tuple[float, float, float]:
    """Mean over heads of the means over their scans, and its 95 % interval by drawing persons, then scans of each head.

    Args:
        heads: name to one value a scan.
    """
    persons: dict[str, list[Sequence[float]]] = {}
    for name, scans in heads.items():
        persons.setdefault(SAME_PERSON.get(name, name), []).append(scans)
    groups, rng = list(persons.values()), np.random.default_rng(0)
    drawn = []
    for _ in range(DRAWS):
        chosen = [scans for n in rng.integers(len(groups), size=len(groups)) for scans in groups[n]]
        drawn.append(np.mean([rng.choice(scans, len(scans)).mean() for scans in chosen]))
    low, high = np.percentile(drawn, (2.5, 97.5))
    return float(np.mean([np.mean(scans) for scans in heads.values()])), float(low), float(high)


def interval(heads: dict[str, list[dict[str, dict[str, float]]]], group: str) -> tuple[float, float, float]:
    """Mean absolute error over heads, scans and sides, and its 95 % interval."""
    return mean_and_interval(
        {
            name: [float(np.mean([abs(v) for v in scan[group].values()])) for scan in scans]
            for name, scans in heads.items()
        }
    )


def table(rows: dict[str, Any]) -> str:
    """Markdown: one line a row, mean and interval of each group."""
    lines = ["| scan | " + " | ".join(f"{group} % ↓ (95 % interval)" for group in GROUPS) + " | scans |"]
    lines.append("|---" * (len(GROUPS) + 2) + "|")
    for name, heads in rows.items():
        cells = ["{:.2f} ({:.2f} to {:.2f})".format(*interval(heads, group)) for group in GROUPS]
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {sum(len(scans) for scans in heads.values())} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Scan every head several times; results are written after every head."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="default: LOWFIELDENHANCE_DATA")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--heads", nargs="+", default=list(HEADS))
    parser.add_argument("--rows", nargs="+", default=list(ROWS))
    parser.add_argument("--out", type=Path, default=FOLDER / "structure_noise.json")
    options = parser.parse_args()
    root, segmenter = data_root(options.data), Segmenter()
    kinds: dict[str, Callable[[Subject, int], Image]] = {
        **{row: lambda subject, _, row=row: enhance(*named(row), subject)[0] for row in options.rows},
        "high-field image, moved": lambda subject, _: moved(subject),
        "high-field image, noise of SNR 40": noised,
    }
    weights = {name: model_info(name)[0].sha256[:12] for name in ("bridged_bridge", "bridged_prior", "segmenter")}
    results: dict[str, Any] = {"seeds": options.seeds, "weights": weights, "rows": {kind: {} for kind in kinds}}
    for name in options.heads:
        for number in range(options.seeds):
            # number 0 is the scan of the benchmark
            subject = load_subject(root, name, 1000 + HEADS.index(name) + 100 * number, segmenter)
            for kind, image in kinds.items():
                if kind.endswith("moved") and number:
                    continue  # nothing is drawn
                scans = results["rows"][kind].setdefault(name, [])
                scans.append(errors(subject, image(subject, number), segmenter))
        options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        options.out.with_suffix(".md").write_text(table(results["rows"]), encoding="utf-8")
        print(name, flush=True)
    print(table(results["rows"]))


if __name__ == "__main__":
    main()
