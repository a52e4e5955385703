"""Do lesions survive? MS lesions and tumours in simulated low-field scans, by every method.

    python Testing/benchmarks/lesions.py --data DATA --rows cubic regression bridged:fast bridged:standard

Protocol: the scans of ULF-sim v1 (see quality.py: 1.6 x 1.6 x 5 mm, SNR 20) of the heads with marked lesions, one
contrast at a time: openms (MS lesions, marked by hand) and brats/test (tumours; all tumour labels together). The SNR
refers to the 75th percentile of the head, because these heads have no manual anatomy. The brain is the true one.
Lesions below 5 mm (diameter of the sphere of the same volume) are left out. Contrast, volume, edge and the criterion
of survival are those of evaluation/lesions.py, with the high-field image as the base; the tissue of the shell is from
our segmentation of the high-field T1w image.

The openms heads are in the training set of the networks, so their rows are optimistic; those of brats/test are not.
Results go to lesions.json and lesions.md beside this file, row by row, so that a run can be repeated for some rows.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from quality import PROTOCOL

from LowFieldEnhanceLib.evaluation.lesions import CRITERION, lesion_report, lesion_section
from LowFieldEnhanceLib.events import Events
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.image_io import read_image
from LowFieldEnhanceLib.methods.base import Case, run_method
from LowFieldEnhanceLib.methods.registry import get_method
from LowFieldEnhanceLib.physics.simulate import simulate
from LowFieldEnhanceLib.preprocess.grid import Grid, resample
from LowFieldEnhanceLib.preprocess.prepare import Prepared, prepare, to_working_grid
from LowFieldEnhanceLib.segmentation.labels import LabelMap
from LowFieldEnhanceLib.segmentation.segmenter import Segmenter
from LowFieldEnhanceLib.training.data import brain_of, data_root

FOLDER = Path(__file__).resolve().parent
ROWS = ("cubic", "regression", "bridged:fast", "bridged:standard")
HEADS = (
    "openms/train/ms07", "openms/train/ms19",
    "brats/test/2013_3_1", "brats/test/CBICA_AME_1", "brats/test/TCIA01_378_1",
)  # fmt: skip
MARKS = {"openms": "lesions", "brats": "tumour"}
CONTRASTS = ("FLAIR", "T2w")
MIN_DIAMETER_MM = 5.0
MIN_MM3 = math.pi / 6 * MIN_DIAMETER_MM**3


def load(root: Path, head: str, contrast: str, seed: int) -> tuple[Prepared, Image]:
    """The simulated scan, prepared, and the high-field image on the working grid."""
    high = read_image(root / f"{head}_{contrast}.nii.gz", contrast)
    scan = simulate(high, PROTOCOL, seed)
    on_grid = to_working_grid(scan, 1.0)
    grid = Grid.of(on_grid)
    truth = resample(high, grid, "cubic")
    inside = high.with_array(brain_of(high.array).astype(np.float32))
    brain = resample(inside, grid, "nearest").array > 0.5
    return prepare(scan, on_grid, None, brain), truth.with_array(np.maximum(truth.array, 0))


def marks(root: Path, head: str) -> LabelMap:
    """All lesion labels of a head as one."""
    image = read_image(root / f"{head}_{MARKS[head.split('/')[0]]}.nii.gz", "other")
    return LabelMap((image.array > 0.5).astype(np.uint8), image.affine, {})


def enhanced(row: str, prepared: Prepared, contrast: str) -> Image:
    """One method and preset on one scan."""
    name, _, preset = row.partition(":")
    method = get_method(name)
    case = Case.of(prepared)
    outcome = run_method(method, case, preset or method.presets[0], torch.Generator().manual_seed(0), Events())
    return prepared.back(outcome.array)


def pooled(sections: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Counts and medians over all regions of several heads."""
    regions = [region for section in sections for region in section["regions"]]
    judged = [region for region in regions if region["survives"] is not None]

    def median(values: list[float | None]) -> float | None:
        known = [v for v in values if v is not None]
        return float(np.median(known)) if known else None

    return {
        "marked": len(regions),
        "judged": len(judged),
        "surviving": sum(region["survives"] for region in judged),
        "contrast_change": median([region["contrast_change_percent"] for region in judged]),
        "volume_change": median([region["volume_change_percent"] for region in judged]),
        "absolute_volume_change": median([_size(region["volume_change_percent"]) for region in judged]),
        "edge_mm": median([region["enhanced"]["edge_mm"] for region in judged]),
        "edge_reference_mm": median([region["reference"]["edge_mm"] for region in judged]),
    }


def _size(value: float | None) -> float | None:
    return None if value is None else abs(value)


COLUMNS = (
    ("marked", "≥ 5 mm", "{}"),
    ("judged", "visible at high field", "{}"),
    ("surviving", "survive ↑", "{}"),
    ("contrast_change", "contrast change %", "{:+.1f}"),
    ("volume_change", "volume change %", "{:+.1f}"),
    ("absolute_volume_change", "size of volume change %", "{:.1f}"),
    ("edge_mm", "edge mm", "{:.1f}"),
    ("edge_reference_mm", "edge at high field mm", "{:.1f}"),
)


def markdown(results: dict[str, Any]) -> str:
    """One table: a line for each set, contrast and method; changes are medians over the visible lesions."""
    order = [*(r for r in ROWS if r in results["rows"]), *(r for r in results["rows"] if r not in ROWS)]
    lines = ["| heads | contrast | method | " + " | ".join(name for _, name, _ in COLUMNS) + " |"]
    lines.append("|---" * (len(COLUMNS) + 3) + "|")
    for kind in MARKS:
        for contrast in CONTRASTS:
            for row in order:
                found = {
                    head: contrasts[contrast]
                    for head, contrasts in results["rows"][row].items()
                    if head.startswith(f"{kind}/") and contrast in contrasts
                }
                if not found:
                    continue
                numbers = pooled(list(found.values()))
                cells = ["" if numbers[k] is None else form.format(numbers[k]) for k, _, form in COLUMNS]
                lines.append(f"| {kind} ({len(found)}) | {contrast} | {row} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", CRITERION, "Changes are medians against the high-field image.", ""])


def main() -> None:
    """Run the rows asked for and merge them into the recorded results, head by head."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="default: LOWFIELDENHANCE_DATA")
    parser.add_argument("--rows", nargs="+", default=list(ROWS))
    parser.add_argument("--heads", nargs="+", default=list(HEADS), choices=HEADS)
    parser.add_argument("--contrasts", nargs="+", default=list(CONTRASTS), choices=CONTRASTS)
    parser.add_argument("--out", type=Path, default=FOLDER / "lesions.json")
    options = parser.parse_args()
    root = data_root(options.data)
    segmenter = Segmenter()
    results: dict[str, Any] = {"protocol": "ULF-sim v1 on heads with lesions", "criterion": CRITERION, "rows": {}}
    if options.out.exists():
        results = json.loads(options.out.read_text(encoding="utf-8"))
    for head in options.heads:
        region, labels = marks(root, head), None
        for contrast in options.contrasts:
            prepared, truth = load(root, head, contrast, 2000 + HEADS.index(head))
            if labels is None:  # the contrasts of a head share one grid
                t1 = read_image(root / f"{head}_T1w.nii.gz", "T1w")
                labels = segmenter.segment(resample(t1, Grid.of(truth), "cubic"))
            for row in options.rows:
                after = enhanced(row, prepared, contrast)
                rows = lesion_report(prepared.on_grid, after, region, prepared.brain, truth, labels, MIN_MM3)
                found = lesion_section(rows)
                results["rows"].setdefault(row, {}).setdefault(head, {})[contrast] = found
                print(head, contrast, row, f"{found['surviving']} of {found['judged']} survive", flush=True)
        options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        options.out.with_suffix(".md").write_text(markdown(results), encoding="utf-8")
    print(markdown(results))


if __name__ == "__main__":
    main()
