"""Put trained weights into the model registry: ``python -m LowFieldEnhanceLib.training.register RUN [RUN ...]``.

Copies ``<run>/<name>.safetensors`` to Resources/Models (or ``--models``), the networks of ``EIGHT_BITS`` with 8 bits a
weight, and writes the entry in models.json. The checksum in the registry is that of the file there. What the former
weights were measured at is dropped (Testing/benchmarks/model_figures.py writes it anew). ``--ranges`` alone takes over
what has changed in ``RANGES`` below.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import BadInput, LowFieldEnhanceError
from ..resources import resource
from ..safe_files import replaced
from ..weight_files import file_sha256, read_weights, save_weights
from ..weights import RESEARCH_ONLY

TITLES = {
    "regression_unet": "Plain regression U-Net (baseline)",
    "segmenter": "Anatomy on any contrast, field and resolution",
    "bridged_bridge": "Bridged diffusion: the bridge",
    "bridged_companions": "Bridged diffusion: what further contrasts add",
    "bridged_prior": "Bridged diffusion: the high-field prior",
    "slice_prior": "DiffDeuR: the high-field prior of slices",
    "css_generator": "CSS-Diff: the generator from low to high field",
    "css_sgp": "CSS-Diff: slice-wise gap perception",
    "css_lsc": "CSS-Diff: local structure correction (for training)",
    "latent_autoencoder": "Distilled latent super-resolution: the autoencoder",
    "latent_teacher": "Distilled latent super-resolution: the teacher",
    "latent_student": "Distilled latent super-resolution: the student",
    "expected_deviation": "How far results of U-Net and bridge probably lie from the truth",
}
# Networks of slices, whose errors the average over three orientations evens out, and one that only trains: half the
# size for the loss of precision in Testing/benchmarks/precision.md.
EIGHT_BITS = ("css_lsc", "css_sgp", "expected_deviation", "latent_student", "latent_teacher")
# Least and greatest of Testing/benchmarks/intensity_range.json with a margin; see evaluation.input_intensity.
INTENSITY = {
    "T1w": {"clipped_percent": [0, 1], "white_level": [0.62, 0.8], "grey_to_white": [0.6, 0.97]},
    "T2w": {"clipped_percent": [0, 3], "white_level": [0.35, 0.64], "grey_to_white": [1.02, 1.35]},
    "FLAIR": {"clipped_percent": [0, 1], "white_level": [0.59, 0.76], "grey_to_white": [0.78, 1.07]},
}
# the voxels of all pairs and slices that they were trained on; the segmenter resamples by itself
ENHANCEMENT = {"contrasts": ["T1w", "T2w", "FLAIR"], "grid_mm": [1.0, 1.0]}
# The fields of the scanners that they are meant for. Pairs are simulated from high-field heads, so a field shows in no
# training but by what comes with it: coarse voxels and noise. Its tissue contrast does not.
DEGRADED = {**ENHANCEMENT, "field_t": [0.05, 0.5], "spacing_mm": [1.0, 6.0], "snr": [8, 40], "intensity": INTENSITY}
RANGES = {
    "regression_unet": DEGRADED,
    "bridged_bridge": DEGRADED,
    "bridged_companions": DEGRADED,
    "bridged_prior": ENHANCEMENT,
    # a scan is pulled towards the contrast of the heads it saw, so the scan must look like theirs
    "slice_prior": {**ENHANCEMENT, "intensity": INTENSITY},
    "css_generator": DEGRADED,
    "css_sgp": DEGRADED,
    "css_lsc": ENHANCEMENT,
    "latent_autoencoder": ENHANCEMENT,
    "latent_teacher": DEGRADED,
    "latent_student": DEGRADED,
    "expected_deviation": DEGRADED,
    # noise of 0 to 8 % of the brightest voxel (training.synthetic); white matter of real heads has half of it and more
    "segmenter": {
        "contrasts": ["any"],
        "field_t": ["any"],
        "spacing_mm": [1.0, 6.0],
        "snr": [6, None],
        "intensity": ["any"],
    },
}


def register(run: Path, models: Path) -> dict[str, Any]:
    """Register one finished run; returns its entry.

    Raises:
        BadInput: no training.json or a damaged one, unfinished training, weights that are not the run's, or of a
            network that is not known.
    """
    record_path = run / "training.json"
    if not record_path.is_file():
        raise BadInput(f"{run} holds no finished training run (no training.json)")
    try:
        record = json.loads(record_path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadInput(f"{record_path} is damaged: {error}") from error
    if record.get("finished") is not True or not record.get("steps"):
        raise BadInput(f"the training in {run} is not finished; go on with --resume until its minutes are used up")
    name = record.pop("recipe")
    if name not in RANGES:
        raise BadInput(f"{run} holds a network '{name}' that no method loads")
    target = models / f"{name}.safetensors"
    weights = run / f"{name}.safetensors"
    if not weights.is_file() or file_sha256(weights) != record.pop("sha256", None):
        raise BadInput(f"{weights} is not what the training wrote (its SHA-256 is another one)")
    bits = 8 if name in EIGHT_BITS else 16
    entry = {
        "file": target.name,
        "sha256": save_weights(read_weights(weights), target, bits),
        "architecture": record.pop("architecture"),
        "licence": RESEARCH_ONLY,
        "title": TITLES[name],
        "card": f"{name}.md",
        "training": record,
        "valid_range": _valid_range(name, record),
    }
    path = models / "models.json"
    registry = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"schema": 1, "models": {}}
    former = registry["models"].get(name, {})
    if former.get("sha256") == entry["sha256"] and "measured" in former:
        entry["measured"] = former["measured"]
    registry["models"][name] = entry
    registry["models"] = dict(sorted(registry["models"].items()))
    _write(path, registry)
    return entry


def _valid_range(name: str, training: dict[str, Any]) -> dict[str, Any]:
    """That of the recipe, narrowed to what this training saw."""
    seen = training.get("valid_range", {})
    return {key: seen.get(key, value) for key, value in RANGES[name].items()}


def _write(path: Path, registry: dict[str, Any]) -> None:
    with replaced(path) as partial:
        partial.write_text(json.dumps(registry, indent=2) + "\n", encoding="utf-8")


def refresh_ranges(models: Path) -> None:
    """Write the ranges of :data:`RANGES` into the entries of networks that are registered already."""
    path = models / "models.json"
    registry = json.loads(path.read_text(encoding="utf-8"))
    for name, entry in registry["models"].items():
        entry["valid_range"] = _valid_range(name, entry["training"])
    _write(path, registry)


def record_measured(models: Path, figures: Mapping[str, Mapping[str, Any]]) -> None:
    """Write what networks were measured at into their entries; nothing for one takes away what stood there.

    Args:
        models: folder of models.json.
        figures: by name of the network, see weights.ModelInfo.
    """
    path = models / "models.json"
    registry = json.loads(path.read_text(encoding="utf-8"))
    for name, measured in figures.items():
        entry = registry["models"][name]
        entry.pop("measured", None)
        if measured:
            entry["measured"] = dict(measured)
    _write(path, registry)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="*", type=Path)
    parser.add_argument("--models", type=Path, default=None)
    parser.add_argument("--ranges", action="store_true", help="write the ranges of the networks that are there anew")
    options = parser.parse_args()
    models = options.models or resource("Models")
    try:
        models.mkdir(parents=True, exist_ok=True)
        for run in options.runs:
            register(run, models)
        if options.ranges:
            refresh_ranges(models)
    except (LowFieldEnhanceError, OSError) as error:
        parser.exit(2, f"{error}\n")


if __name__ == "__main__":
    main()
