"""Write how far each structure's volume was off in simulated scans, for reports without a reference.

    python Testing/benchmarks/simulated_volumes.py

Reads quality.json (T1w) and contrasts.json (T2w, FLAIR, and further contrasts beside the scan) and writes
Resources/Models/simulated-volumes.json: mean absolute volume difference from the high-field image by our segmenter, for
the interpolated and for the enhanced scan. Rows of other weights than the shipped ones are left out, and named. A test
compares the file with the results.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from quality import named, weights_of

from LowFieldEnhanceLib.evaluation.simulated import FILE
from LowFieldEnhanceLib.image import CHANNELS
from LowFieldEnhanceLib.methods.registry import METHODS
from LowFieldEnhanceLib.resources import resource
from LowFieldEnhanceLib.safe_files import replaced
from LowFieldEnhanceLib.weights import model_info

FOLDER = Path(__file__).resolve().parent
ACQUIRED = "1.6 x 1.6 x 5 mm, SNR 20"
HEADS = {"quality.json": "heads of four persons, brain alone", "contrasts.json": "heads with tumours, brain alone"}
BASE = "cubic"
ALL_THREE = ", all three"
Heads = dict[str, dict[str, Any]]


def entries() -> tuple[list[dict[str, Any]], list[str]]:
    """What goes into the file, and the rows that are of other weights or of another segmenter."""
    found, stale = [], []
    segmenter = model_info("segmenter")[0].sha256
    for file, heads in HEADS.items():
        results = json.loads((FOLDER / file).read_text(encoding="utf-8"))
        for row, scores in results["rows"].items():
            contrast, _, setting = ("T1w", "", row) if file == "quality.json" else row.partition(", ")
            setting, beside, _ = setting.partition(ALL_THREE)
            if setting == BASE or setting.partition(":")[0] not in METHODS or _known_elsewhere(file, contrast, beside):
                continue
            base = results["rows"][BASE if file == "quality.json" else f"{contrast}, {BASE}"]
            structures = off_by(base, scores)
            if not structures:
                continue
            method, preset = named(setting)
            weights = weights_of(method, preset, bool(beside))
            if results["segmenter"] != segmenter or results["weights"].get(row, {}) != weights:
                stale.append(f"{file}: {row}")
                continue
            further = sorted(set(CHANNELS) - {contrast}) if beside else []
            found.append({
                "contrast": contrast, "further_contrasts": further, "method": method.name, "preset": preset,
                "weights": weights, "segmenter": segmenter, "heads": heads, "scans": len(scores),
                "acquired": ACQUIRED, "structures": structures,
            })  # fmt: skip
    return found, stale


def _known_elsewhere(file: str, contrast: str, beside: str) -> bool:
    """T1w alone is of the five heads without a tumour."""
    return file == "contrasts.json" and contrast == "T1w" and not beside


def off_by(base: Heads, scores: Heads) -> dict[str, list[float]]:
    """Structure to the mean absolute difference (%) of the interpolated and of the enhanced scans."""
    pairs = [(base[head].get("structures", {}), scores[head].get("structures", {})) for head in scores]
    names = [name for name in pairs[0][1] if all(_has(before, name) and _has(after, name) for before, after in pairs)]
    return {
        name: [round(float(np.mean([abs(pair[side][name]) for pair in pairs])), 1) for side in (0, 1)] for name in names
    }


def _has(differences: dict[str, float | None], name: str) -> bool:
    return differences.get(name) is not None


def main() -> None:
    """Write the file; name the rows that are of other weights."""
    found, stale = entries()
    lines = ",\n".join(json.dumps(entry) for entry in found)
    with replaced(resource("Models", FILE)) as temporary:
        temporary.write_text(f'{{"schema": 1, "entries": [\n{lines}\n]}}\n', encoding="utf-8")
    print(f"{len(found)} rows")
    for row in stale:
        print(f"{row} is of other weights or another segmenter; run it again")


if __name__ == "__main__":
    main()
