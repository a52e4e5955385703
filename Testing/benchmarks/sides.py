"""White matter and cortex of the left and the right, by a segmenter that looks once and by one that looks twice.

    python Testing/benchmarks/sides.py --data DATA

Heads and scans of ULF-sim v1 (quality.py). Nothing makes a network treat left and right alike, so the segmenter may
read the same hemisphere otherwise when the head is mirrored; where an error of volume is 1 %, that counts. *twice* is
the mean of its posteriors of the head and of the head's mirror image (Segmenter(mirrored=True)). The first table holds
the mean error of volume against the high-field head by the same judge, by side; the second one what is left of that of
the linear input; the third one how far the volumes of the high-field head itself lie from those of its mirror image.
Writes sides.json and sides.md beside this file.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from quality import HEADS, SMALL_OR_OPEN, enhance, load_subject, named, table

from LowFieldEnhanceLib.evaluation.volumes import label_volumes_ml
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.segmentation.labels import label_by_id
from LowFieldEnhanceLib.segmentation.segmenter import Segmenter
from LowFieldEnhanceLib.training.data import data_root
from LowFieldEnhanceLib.weights import model_info

FOLDER = Path(__file__).resolve().parent
BASE = "linear"
ROWS = (BASE, "cubic", "regression", "bridged:fast", "bridged:standard")
SIDES = {"left white matter": 2, "right white matter": 41, "left cortex": 3, "right cortex": 42}
NETWORKS = ("segmenter", "regression_unet", "bridged_bridge", "bridged_prior")
TRUTH, MIRRORED = "high field", "high field, mirrored"
Volumes = dict[int, float]  # mL, by FreeSurfer id


def mirrored_volumes(volumes: Mapping[int, float]) -> Volumes:
    """Volumes of a mirrored head as those of the head: left and right exchanged."""
    return {label_by_id()[i].partner: volume for i, volume in volumes.items()}


def errors(found: Mapping[int, float], truth: Mapping[int, float]) -> dict[str, float]:
    """Signed error in % of each of :data:`SIDES`, and ``all``: mean size over all structures that are counted."""
    percent = {i: 100 * (found.get(i, 0.0) / truth[i] - 1) for i in truth if i in label_by_id()}
    counted = [abs(value) for i, value in percent.items() if i not in SMALL_OR_OPEN]
    return {**{name: percent[i] for name, i in SIDES.items()}, "all": float(np.mean(counted))}


def summary(heads: Mapping[str, Mapping[str, Mapping[str, Volumes]]]) -> dict[str, dict[str, dict[str, float]]]:
    """Judge to row to the mean size of each error over the heads, from head to judge to row to volumes."""
    found: dict[str, dict[str, dict[str, list[float]]]] = {}
    for judges in heads.values():
        for judge, rows in judges.items():
            for row in (row for row in rows if row != TRUTH):
                cells = found.setdefault(judge, {}).setdefault(row, {})
                for key, value in errors(rows[row], rows[TRUTH]).items():
                    cells.setdefault(key, []).append(abs(value))
    return {j: {r: {k: float(np.mean(v)) for k, v in c.items()} for r, c in rows.items()} for j, rows in found.items()}


def markdown(heads: Mapping[str, Mapping[str, Mapping[str, Volumes]]]) -> str:
    """The three tables."""
    errors_of, left, mirrored = {}, {}, {}
    for judge, rows in summary(heads).items():
        for row, found in rows.items():
            if row == MIRRORED:
                mirrored[judge] = {"mean": found}
                continue
            errors_of[f"{judge}, {row}"] = {"mean": found}
            if row != BASE:
                left[f"{judge}, {row}"] = {"mean": {key: 100 * found[key] / rows[BASE][key] for key in found}}
    titles = (*((key, f"{key} %") for key in SIDES), ("all", "all volumes %"))
    percent = [(key, title, "{:.2f}") for key, title in titles]
    parts = (
        table("judge, method", errors_of, percent),
        table("left of the linear input's, judge, method", left, [(key, title, "{:.0f}") for key, title in titles]),
        table("the high-field head and its mirror image, judge", mirrored, percent),
    )
    return "\n".join(parts)


def opposite(image: Image) -> Image:
    """The head mirrored from left to right; the working grid's first axis runs that way."""
    return image.with_array(np.ascontiguousarray(image.array[::-1]))


def main() -> None:
    """Judge every head; results are written after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="default: LOWFIELDENHANCE_DATA")
    parser.add_argument("--heads", nargs="+", default=list(HEADS), choices=HEADS)
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=ROWS)
    parser.add_argument("--out", type=Path, default=FOLDER / "sides.json")
    options = parser.parse_args()
    root, judges = data_root(options.data), {"once": Segmenter(), "twice": Segmenter(mirrored=True)}
    heads: dict[str, Any] = {}
    for name in options.heads:
        subject = load_subject(root, name, 1000 + HEADS.index(name), judges["once"])
        images = {row: enhance(*named(row), subject)[0] for row in options.rows}
        for judge, segmenter in judges.items():
            volumes = {
                row: label_volumes_ml(segmenter.segment(image))
                for row, image in {TRUTH: subject.truth, **images}.items()
            }
            volumes[MIRRORED] = mirrored_volumes(label_volumes_ml(segmenter.segment(opposite(subject.truth))))
            heads.setdefault(name, {})[judge] = volumes
        weights = {network: model_info(network)[0].sha256[:12] for network in NETWORKS}
        options.out.write_text(json.dumps({"weights": weights, "heads": heads}, indent=1) + "\n", encoding="utf-8")
        options.out.with_suffix(".md").write_text(markdown(heads), encoding="utf-8")
        print(f"{name}\n{markdown(heads)}", flush=True)


if __name__ == "__main__":
    main()
