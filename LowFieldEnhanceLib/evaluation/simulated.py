"""How far the volumes of simulated scans lay from those of the high-field heads that they were made of.

Without a reference nobody knows how far a volume in an enhanced scan is off. What can be said is how far the same
method, with the same weights and segmenter, was off in scans simulated from other heads, whose high-field images are
known (Testing/benchmarks/simulated_volumes.py writes the figures from the recorded benchmarks). The words of this
block keep to the rule of the report: it speaks of the simulated scans, not of this one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from ..resources import resource
from .report_structures import with_columns

COLUMNS = ("simulated_input_percent", "simulated_enhanced_percent")
FILE = "simulated-volumes.json"
OTHERWISE = ("data_consistency", "n4", "mirrored")  # than the benchmark's runs
TOLD = ("sigma", "fwhm", "brain_mask_sha256", "displacement_sha256")  # by the user; the benchmark has none of them


@cache
def recorded() -> tuple[Mapping[str, Any], ...]:
    """The entries of the bundled file: contrast, further contrasts, method, preset, weights, segmenter, heads, scans,
    acquired and structures, name to [interpolated scan, enhanced scan], mean absolute difference in %.
    """
    return tuple(json.loads(resource("Models", FILE).read_text(encoding="utf-8"))["entries"])


def entry_of(provenance: Mapping[str, Any], checks: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """What is known of simulated scans for a run; None if nothing was measured of such a run.

    Args:
        provenance: of the run (see pipeline): contrast and further contrasts, method, preset, the SHA-256 of all
            weights must be those of an entry, and nothing done that the benchmark did not do.
        checks: of the input (evaluation.input_checks); of a scan outside of what the networks were trained for the
            figures say nothing.
    """
    plain = provenance.get("samples") == 1 and not any(provenance.get(key) for key in OTHERWISE)
    plain = plain and provenance.get("profile") == "gaussian" and not any(provenance.get(key) for key in TOLD)
    same_grid = provenance.get("spacing") == 1.0 and provenance.get("method_spacing") == 1.0
    if not plain or not same_grid or not all(check["ok"] for check in checks if check["trained_range"]):
        return None
    return next((entry for entry in recorded() if _is_of(entry, provenance)), None)


def _is_of(entry: Mapping[str, Any], provenance: Mapping[str, Any]) -> bool:
    further = sorted(provenance.get("further_contrasts_sha256") or {})
    segmenter = (provenance.get("segmenter") or {}).get("sha256")
    return (
        all(entry[key] == provenance.get(key) for key in ("contrast", "method", "preset", "weights"))
        and entry["further_contrasts"] == further
        and entry["segmenter"] == segmenter
    )


def as_block(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The block ``simulated`` of the report; the structures' own figures stand in their rows."""
    means = [sum(column) / len(column) for column in zip(*entry["structures"].values(), strict=True)]
    before, after = (round(mean, 1) for mean in means)
    return {
        **{key: entry[key] for key in ("heads", "scans", "acquired")},
        "structures": len(entry["structures"]),
        "mean_input_percent": before,
        "mean_enhanced_percent": after,
        "text": (
            f"In {entry['scans']} scans simulated from {entry['heads']} ({entry['acquired']}), volumes in the "
            f"interpolated scan lay {before:.1f} % from those in the high-field image, and in the scan that was "
            f"enhanced as this one {after:.1f} % (mean over {len(entry['structures'])} structures, without sign). "
            "A real scan may lie further away."
        ),
    }


def with_simulated(rows: Sequence[Mapping[str, Any]], entry: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """The report's structure rows with :data:`COLUMNS`, if there is an entry; None where nothing was measured."""
    if entry is None:
        return [dict(row) for row in rows]
    found = {name: dict(zip(COLUMNS, pair, strict=True)) for name, pair in entry["structures"].items()}
    return with_columns(rows, COLUMNS, found)
