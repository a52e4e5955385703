"""Does the report notice what an output invents or loses? Real lesions taken out, and spots planted.

    python Testing/benchmarks/added_detail.py --data DATA

Protocol: heads with MS lesions marked by hand (openms), scanned as in lesions.py. Outputs: the high-field image itself
(what a perfect method would give) and the results of methods. In each of them

- every marked lesion of at least 5 mm that survives there (evaluation/lesions.py) is filled with its surroundings;
- spots of 4, 5 and 6 mm, 30 % brighter or darker, are added in even tissue.

A place is in the overlay if at least 15 mm3 of it exceed the report's limit in the right direction (evaluation/
added_detail.py), and contradicted if the part that the scan speaks against does so alone: then the report names it. The
same places in the untouched output tell how often that happens without cause.
The lesion check has ``missed`` a filled lesion if it no longer survives. Results go to added_detail.json and .md beside
this file, row by row.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lesions import MIN_MM3, enhanced, load, marks
from scipy import ndimage

from LowFieldEnhanceLib.evaluation.added_detail import FLAG_PERCENT, MIN_SPOT_MM3, added_detail
from LowFieldEnhanceLib.evaluation.lesions import lesion_report, marked_regions
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.preprocess.prepare import Prepared
from LowFieldEnhanceLib.segmentation.labels import LabelMap
from LowFieldEnhanceLib.training.data import data_root

FOLDER = Path(__file__).resolve().parent
HIGH_FIELD = "high field"
ROWS = (HIGH_FIELD, "cubic", "bridged:fast")
HEADS = ("openms/train/ms07", "openms/train/ms19")
DIAMETERS = (4.0, 5.0, 6.0)
SPOTS = 12  # of each diameter
HEIGHT = 0.3
APART_MM, EDGE_MM = 14.0, 8.0
FILL_SIGMA, GROW = 2.5, 2  # mm, voxels: of the Gaussian that fills, and how far beyond the mark a lesion may reach


MAPS = ("overlay", "contradicted")


def maps_of(prepared: Prepared, output: Image) -> dict[str, np.ndarray]:
    """The report's overlay, and the part of it that the scan speaks against, % of the local contrast."""
    found = added_detail(prepared.on_grid, output, prepared.acquired, prepared.sigma, prepared.brain)
    return dict(zip(MAPS, (found.percent.array, found.contradicting.array), strict=True))


def flagged(found: dict[str, np.ndarray], places: Sequence[tuple[np.ndarray, float]]) -> dict[str, int]:
    """How many places, each with its sign, have enough voxels beyond the limit in each map; 1 mm voxels."""
    return {
        name: sum(bool((sign * found[name][at] > FLAG_PERCENT).sum() >= MIN_SPOT_MM3) for at, sign in places)
        for name in MAPS
    }


def surviving(prepared: Prepared, output: Image, region: LabelMap, truth: Image) -> list[dict[str, Any]]:
    """The marked lesions of at least 5 mm that the output shows."""
    rows = lesion_report(prepared.on_grid, output, region, prepared.brain, truth, None, MIN_MM3)
    return [row for row in rows if row["survives"]]


def places_of(rows: list[dict[str, Any]], region: np.ndarray, affine: np.ndarray) -> list[np.ndarray]:
    """The connected region of each row, grown by what a lesion may reach beyond its mark."""
    parts, _ = ndimage.label(region, np.ones((3, 3, 3)))
    centres = {n: np.argwhere(parts == n).mean(axis=0) for n in range(1, parts.max() + 1)}
    found = []
    for row in rows:
        centre = np.linalg.solve(affine[:3, :3], np.asarray(row["centre_ras_mm"]) - affine[:3, 3])
        nearest = min(centres, key=lambda n: float(np.linalg.norm(centres[n] - centre)))
        found.append(ndimage.binary_dilation(parts == nearest, iterations=GROW))
    return found


def filled(output: Image, places: list[np.ndarray], brain: np.ndarray) -> Image:
    """The places taken out: normalised convolution of the brain around them."""
    gone = np.any(places, axis=0)
    known = (brain & ~gone).astype(np.float32)
    weight = ndimage.gaussian_filter(known, FILL_SIGMA)
    smooth = ndimage.gaussian_filter(output.array * known, FILL_SIGMA) / np.maximum(weight, 1e-6)
    return output.with_array(np.where(gone & (weight > 1e-3), smooth, output.array))


def sites(truth: Image, brain: np.ndarray, avoid: np.ndarray, count: int) -> list[np.ndarray]:
    """Voxels in even tissue, away from the border of the brain, from lesions and from each other."""
    mean = ndimage.uniform_filter(truth.array, 9)
    spread = np.sqrt(np.maximum(ndimage.uniform_filter(truth.array**2, 9) - mean**2, 0))
    inner = ndimage.distance_transform_edt(brain & ~avoid) > EDGE_MM
    inner &= spread < np.quantile(spread[inner], 0.3)
    candidates = np.random.default_rng(0).permutation(np.argwhere(inner))
    chosen: list[np.ndarray] = []
    for place in candidates:
        if all(np.linalg.norm(place - other) > APART_MM for other in chosen):
            chosen.append(place)
        if len(chosen) == count:
            break
    return chosen


def planted(output: Image, centres: list[np.ndarray]) -> tuple[Image, list[tuple[float, np.ndarray, float]]]:
    """Spots in turn of each diameter, in turn brighter and darker; with diameter, voxels and sign of each."""
    array, spots = output.array.copy(), []
    for n, centre in enumerate(centres):
        diameter, sign = DIAMETERS[n % len(DIAMETERS)], 1.0 if n // len(DIAMETERS) % 2 == 0 else -1.0
        box = tuple(slice(c - 8, c + 9) for c in centre)
        distance = np.linalg.norm(np.indices((17, 17, 17)) - 8, axis=0)
        ball = np.clip(diameter / 2 + 0.5 - distance, 0, 1)  # an edge one voxel wide
        array[box] += sign * HEIGHT * float(output.array[box][ball > 0].mean()) * ball
        place = np.zeros(array.shape, dtype=bool)
        place[box] = ball > 0
        spots.append((diameter, place, sign))
    return output.with_array(array), spots


def judge(prepared: Prepared, truth: Image, region: LabelMap, output: Image) -> dict[str, Any]:
    """All that one output of one scan is asked."""
    intact = maps_of(prepared, output)
    marked = marked_regions(region, prepared.on_grid, prepared.brain) > 0
    lesions = surviving(prepared, output, region, truth)
    places = places_of(lesions, marked, truth.affine)
    # a bright one that is gone is darker
    own = [(at, -np.sign(row["enhanced"]["contrast_percent"])) for at, row in zip(places, lesions, strict=True)]
    result: dict[str, Any] = {"lesions": len(lesions), "left": flagged(intact, own)}
    without = filled(output, places, prepared.brain) if lesions else output
    kept = {tuple(row["centre_ras_mm"]) for row in surviving(prepared, without, region, truth)}
    result["missed"] = sum(tuple(row["centre_ras_mm"]) not in kept for row in lesions)
    result["gone"] = flagged(maps_of(prepared, without), own) if lesions else result["left"]
    with_spots, spots = planted(output, sites(truth, prepared.brain, marked, SPOTS * len(DIAMETERS)))
    found = maps_of(prepared, with_spots)
    for diameter in DIAMETERS:
        those = [(place, sign) for size, place, sign in spots if size == diameter]
        result[f"planted_{diameter:g}"] = {"spots": len(those), **flagged(found, those)}
    result["unplanted"] = {"spots": len(spots), **flagged(intact, [(place, sign) for _, place, sign in spots])}
    return result


def markdown(results: dict[str, Any]) -> str:
    """One line an output: counts over all heads and contrasts, in the overlay / contradicted, of all."""
    sizes = [f"{d:g} mm spot ↑" for d in DIAMETERS]
    names = ["output", "lesions there", "taken out, seen by the lesion check ↑", "taken out ↑", "left in ↓",
             *sizes, "no spot ↓"]  # fmt: skip
    lines = ["Places in the overlay / contradicted, of all.", "", "| " + " | ".join(names) + " |"]
    lines.append("|---" * len(names) + "|")
    for row, scans in results["rows"].items():
        found = list(scans.values())
        lesions = sum(scan["lesions"] for scan in found)
        cells = [row, str(lesions), f"{sum(scan['missed'] for scan in found)} of {lesions}"]
        for key in ("gone", "left", *(f"planted_{d:g}" for d in DIAMETERS), "unplanted"):
            counts = [sum(scan[key][name] for scan in found) for name in MAPS]
            whole = sum(scan[key].get("spots", scan["lesions"]) for scan in found)
            cells.append(f"{counts[0]} / {counts[1]} of {whole}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run the rows asked for and merge them into the recorded results, scan by scan."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="default: LOWFIELDENHANCE_DATA")
    parser.add_argument("--rows", nargs="+", default=list(ROWS))
    parser.add_argument("--heads", nargs="+", default=list(HEADS), choices=HEADS)
    parser.add_argument("--contrasts", nargs="+", default=["FLAIR", "T2w"])
    parser.add_argument("--out", type=Path, default=FOLDER / "added_detail.json")
    options = parser.parse_args()
    root = data_root(options.data)
    results: dict[str, Any] = {"protocol": "ULF-sim v1 on heads with lesions", "rows": {}}
    if options.out.exists():
        results = json.loads(options.out.read_text(encoding="utf-8"))
    for head in options.heads:
        region = marks(root, head)
        for contrast in options.contrasts:
            prepared, truth = load(root, head, contrast, 3000 + HEADS.index(head))
            for row in options.rows:
                output = truth if row == HIGH_FIELD else enhanced(row, prepared, contrast)
                found = judge(prepared, truth, region, output)
                results["rows"].setdefault(row, {})[f"{head} {contrast}"] = found
                print(head, contrast, row, found, flush=True)
            options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
            options.out.with_suffix(".md").write_text(markdown(results), encoding="utf-8")
    print(markdown(results))


if __name__ == "__main__":
    main()
