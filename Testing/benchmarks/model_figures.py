"""Write what each shipped network was measured at into models.json, from the recorded results beside this file.

    python Testing/benchmarks/model_figures.py

Run it after the benchmarks: registering new weights drops the figures of the former ones. A network that is one part of
a method has the figures of the benchmark of that part, or else those of the whole method. All scans were simulated. A
test compares models.json with the results.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from segmentation import JUDGED

from LowFieldEnhanceLib.resources import resource
from LowFieldEnhanceLib.training.register import record_measured

FOLDER = Path(__file__).resolve().parent
SCORES = ("psnr", "ssim", "lpips", "volume_error", "white_matter_error", "cortex_error", "dice", "hd95", "dice_manual")
SHARES = ("nearest, exact", "nearest, within 2 mm", "assigned, exact", "assigned, within 2 mm")
ALL_THREE = tuple(f"{contrast}, bridged:fast, all three" for contrast in ("T1w", "T2w", "FLAIR"))
Figures = dict[str, Any]


@dataclass(frozen=True)
class Source:
    """Where the figures of a network stand.

    Attributes:
        benchmark: protocol and heads.
        script: of Testing/benchmarks, with its options.
        read: the script's results to figures by name.
        weights: the results to the SHA-256 of the network that they are of, where they tell.
    """

    benchmark: str
    script: str
    read: Callable[[Any], Figures]
    weights: Callable[[Any], str] | None = None

    @property
    def file(self) -> Path:
        """The script's results."""
        return (FOLDER / self.script.split()[0]).with_suffix(".json")


def mean_scores(heads: dict[str, dict[str, Any]]) -> Figures:
    """Mean of each score over the heads that have it."""
    known = {key: [head[key] for head in heads.values() if head.get(key) is not None] for key in SCORES}
    return {key: rounded(float(np.mean(values))) for key, values in known.items() if values}


def rounded(value: float) -> float:
    """To four digits, as the tables have."""
    return float(f"{value:.4g}")


def rows_of(*names: str, part: str = "rows") -> Callable[[Any], Figures]:
    """The mean scores of rows of a benchmark."""
    return lambda results: {name: mean_scores(results[part][name]) for name in names}


def _segmenter(results: Any) -> Figures:
    manual = results["manual"]
    return {
        "dice": rounded(float(np.mean([manual["dice"][str(label)] for label in JUDGED]))),
        "dice_degraded": rounded(float(np.mean([manual["dice_degraded"][str(label)] for label in JUDGED]))),
        "brain_mask_dice": rounded(manual["brain_mask_dice"]),
        "retest_mean_percent": rounded(results["retest"]["mean"]),
        "retest_largest_percent": rounded(results["retest"]["largest"]),
        "between_contrasts_mean_percent": rounded(
            float(np.mean([head["mean"] for head in results["contrasts"].values()]))
        ),
        "between_contrasts_largest_percent": rounded(max(head["largest"] for head in results["contrasts"].values())),
    }


def _perception(results: Any) -> Figures:
    return {
        way: {key: rounded(float(np.mean([stack[key] for stack in stacks.values()]))) for key in SHARES}
        for way, stacks in results["sgp"].items()
    }


def _denoising(results: Any) -> Figures:
    return {
        kind: {f"sigma {sigma}": rounded(error) for sigma, error in found["error"].items()}
        for kind, found in results["error"].items()
    }


ULF_SIM = "ULF-sim v1: five heads of oasis/test, 1.6 x 1.6 x 5 mm, SNR 20"
QUALITY = "quality.py --data DATA --rows "


def weights_in(name: str, *rows: str) -> Callable[[Any], str]:
    """The SHA-256 of a network that was recorded with all of these rows; "" if they are of several or of none."""

    def read(results: Any) -> str:
        found = {results.get("weights", {}).get(row, {}).get(name, "") for row in rows}
        return found.pop() if len(found) == 1 else ""

    return read


def _held(results: Any) -> Figures:
    """Share within 1.96 deviations, rank correlation and factor, by method; means over the heads."""
    keys = ("coverage", "spearman", "factor")
    return {
        row: {key: rounded(float(np.mean([head[key] for head in heads.values()]))) for key in keys}
        for row, heads in results["v1"].items()
    }


def _quality(name: str, *rows: str) -> Source:
    return Source(ULF_SIM, QUALITY + " ".join(rows), rows_of(*rows), weights_in(name, *rows))


SOURCES = {
    "regression_unet": _quality("regression_unet", "regression"),
    "bridged_bridge": _quality("bridged_bridge", "bridged:fast"),
    "bridged_companions": Source(
        "ULF-sim v1 on three heads of brats/test", "contrasts.py --data DATA", rows_of(*ALL_THREE),
        weights_in("bridged_companions", *ALL_THREE),
    ),
    "bridged_prior": _quality("bridged_prior", "bridged:standard"),
    "css_generator": _quality("css_generator", "cssdiff:fast"),
    "css_sgp": Source(
        "share of shuffled slices that are found again, five heads of oasis/test in three orientations",
        "cssdiff.py --data DATA --parts sgp", _perception,
    ),
    "css_lsc": Source(
        "mean absolute error of repaired slices, model range", "precision.py --data DATA",
        lambda results: {"l1": rounded(results["css_lsc"]["8"]["l1"])},
    ),
    "expected_deviation": Source(
        "ULF-sim v1", "expected_deviation.py --data DATA", _held, lambda results: results["weights"],
    ),
    "latent_autoencoder": _quality("latent_autoencoder", "latent:fast"),
    "latent_student": _quality("latent_student", "latent:fast", "latent:standard"),
    "latent_teacher": Source(
        "ULF-sim v1, one head of oasis/test", "latent.py --data DATA --parts curve --heads 1",
        rows_of("teacher from noise, 50 steps (paper)", part="curve"),
    ),
    "segmenter": Source(
        "five heads of oasis/test against manual labels, one scanned twice, four heads in several contrasts",
        "segmentation.py --data DATA", _segmenter, lambda results: results["weights"]["sha256"],
    ),
    "slice_prior": Source(
        "error of the denoised slice, model range, by contrast and orientation", "diffdeur_prior.py --data DATA",
        _denoising, lambda results: results["weights"],
    ),
}  # fmt: skip


def measured(name: str, sha256: str) -> Figures:
    """The figures of a network, as they go into models.json.

    Args:
        name: of the network.
        sha256: of its weights.

    Returns:
        ``benchmark``, ``command``, and ``figures`` by row or by name; empty if they are of other weights.
    """
    source = SOURCES[name]
    results = json.loads(source.file.read_text(encoding="utf-8"))
    if source.weights is not None and source.weights(results) != sha256:
        return {}
    return {
        "benchmark": source.benchmark,
        "command": f"python Testing/benchmarks/{source.script}",
        "figures": source.read(results),
    }


def main() -> None:
    """Fill in all networks; name those whose benchmark is of other weights."""
    models = resource("Models")
    entries = json.loads((models / "models.json").read_text(encoding="utf-8"))["models"]
    found = {name: measured(name, entry["sha256"]) for name, entry in entries.items()}
    record_measured(models, found)
    for name in (name for name, figures in found.items() if not figures):
        print(f"{SOURCES[name].file.name} is of other weights of '{name}'; run {SOURCES[name].script.split()[0]} again")


if __name__ == "__main__":
    main()
