"""The slice prior with DDPM's and with EDM's preconditioning and loss, trained equally long: which denoises better?

    lowfield-enhance train slice_prior --data DATA --minutes 12 --threads 1 --out ddpm
    lowfield-enhance train slice_prior --data DATA --minutes 12 --threads 1 --out edm --preconditioning edm
    python Testing/benchmarks/diffdeur_preconditioning.py --data DATA --runs DDPM=ddpm EDM=edm

Denoising error as in diffdeur_prior.py, on slices of one held-out head a contrast, means over the classes. What the
difference is worth in DiffDeuR: ``diffdeur.py --parts margin --priors DDPM=ddpm EDM=edm``. Writes
diffdeur_preconditioning.json and .md beside this file.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from diffdeur_prior import SETS, SIGMAS, errors, heads_of, slices_of
from diffdeur_trials import prior_of

from LowFieldEnhanceLib.diffusion.denoiser import slice_class
from LowFieldEnhanceLib.training.data import data_root
from LowFieldEnhanceLib.training.slice_prior import sharp_axes

FOLDER = Path(__file__).resolve().parent


def measure(run: Path, root: Path, slices: int) -> dict[str, Any]:
    """Errors of a run's network, class by class, and how it was trained."""
    network = prior_of(run)
    trained = json.loads((run / "training.json").read_text(encoding="utf-8"))
    classes = {}
    for contrast in SETS:
        head = heads_of(root, contrast, 1)[0]
        for axis in sharp_axes(head):
            stack = slices_of(head, contrast, axis, slices)
            classes[f"{contrast} {axis}"] = errors(network, [stack], slice_class(contrast, axis), SIGMAS)["error"]
    return {"minutes": trained["minutes"], "steps": trained["steps"], "sha256": trained["sha256"], "classes": classes}


def markdown(results: dict[str, Any]) -> str:
    """A line a run: root mean square over the classes at each noise level."""
    lines = ["| slice prior | minutes | steps | " + " | ".join(f"σ = {s:g}" for s in SIGMAS) + " |"]
    lines.append("|---" * (len(SIGMAS) + 3) + "|")
    for name, found in results.items():
        means = [np.sqrt(np.mean([e[f"{s:g}"] ** 2 for e in found["classes"].values()])) for s in SIGMAS]
        cells = " | ".join(f"{mean:.4f}" for mean in means)
        lines.append(f"| {name} | {found['minutes']:g} | {found['steps']} | {cells} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure every run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="default: LOWFIELDENHANCE_DATA")
    parser.add_argument("--runs", nargs="+", required=True, metavar="NAME=FOLDER")
    parser.add_argument("--slices", type=int, default=12, help="of a head and orientation")
    parser.add_argument("--out", type=Path, default=FOLDER / "diffdeur_preconditioning.json")
    options = parser.parse_args()
    results = {}
    for text in options.runs:
        name, _, folder = text.partition("=")
        results[name] = measure(Path(folder), data_root(options.data), options.slices)
        options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        options.out.with_suffix(".md").write_text(markdown(results), encoding="utf-8")
    print(markdown(results))


if __name__ == "__main__":
    main()
