"""Put trained weights into the model registry: ``python -m LowFieldEnhanceLib.training.register RUN [RUN ...]``.

Copies ``<run>/<name>.safetensors`` to Resources/Models (or ``--models``), and writes the entry in models.json. The
checksum in the registry is that of the copied file.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

from ..errors import BadInput
from ..resources import resource
from ..weights import RESEARCH_ONLY, file_sha256

TITLES = {
    "regression_unet": "Plain regression U-Net (baseline)",
    "segmenter": "Anatomy on any contrast, field and resolution",
    "bridged_bridge": "Bridged diffusion: the bridge",
    "bridged_prior": "Bridged diffusion: the high-field prior (first version)",
    "slice_prior": "DiffDeuR: the high-field prior of slices",
}
DEGRADED = {"contrasts": ["T1w", "T2w", "FLAIR"], "spacing_mm": [1.0, 6.0], "snr": [8, 40]}
RANGES = {
    "regression_unet": DEGRADED,
    "bridged_bridge": DEGRADED,
    "bridged_prior": {"contrasts": ["T1w", "T2w", "FLAIR"]},
    "slice_prior": {"contrasts": ["T1w", "T2w", "FLAIR"]},
    "segmenter": {"contrasts": ["any"], "spacing_mm": [1.0, 6.0]},
}


def register(run: Path, models: Path) -> dict[str, Any]:
    """Register one finished run; returns its entry.

    Raises:
        BadInput: no training.json, or unfinished training.
    """
    record_path = run / "training.json"
    if not record_path.is_file():
        raise BadInput(f"{run} holds no finished training run (no training.json)")
    record = json.loads(record_path.read_text(encoding="utf-8"))
    name = record.pop("recipe")
    target = models / f"{name}.safetensors"
    shutil.copyfile(run / f"{name}.safetensors", target)
    record.pop("sha256")
    entry = {
        "file": target.name,
        "sha256": file_sha256(target),
        "architecture": record.pop("architecture"),
        "licence": RESEARCH_ONLY,
        "title": TITLES[name],
        "card": f"{name}.md",
        "training": record,
        "valid_range": RANGES[name],
    }
    path = models / "models.json"
    registry = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"schema": 1, "models": {}}
    registry["models"][name] = entry
    registry["models"] = dict(sorted(registry["models"].items()))
    path.write_text(json.dumps(registry, indent=2) + "\n", encoding="utf-8")
    return entry


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--models", type=Path, default=None)
    options = parser.parse_args()
    for run in options.runs:
        register(run, options.models or resource("Models"))


if __name__ == "__main__":
    main()
