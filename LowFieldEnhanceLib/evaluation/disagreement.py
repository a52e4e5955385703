"""Where methods disagree about one scan: voxel by voxel, and in the volume of every structure.

Methods that agree may all be wrong; where they disagree, all but one must be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..image import Image
from .checks import as_mask
from .report_text import LEAST_CHANGE, NAMED_MIN_ML
from .uncertainty import RunningMoments, structure_spread

CAUTION = "Methods that agree may all be wrong; where they disagree, at most one is right."


@dataclass(frozen=True)
class Disagreement:
    """What :func:`disagreement` returns.

    Attributes:
        deviation: voxel standard deviation among the results, in the scan's intensity unit, 0 outside the brain.
        summary: JSON-serialisable: ``methods`` (titles); ``deviation_mean`` and ``deviation_p95`` inside the brain
            (scan's unit), ``deviation_mean_in_noise`` (None if the noise is unknown); ``structures`` by name, see
            uncertainty.structure_spread (empty if nothing was segmented); ``text``, the same in words.
    """

    deviation: Image
    summary: dict[str, Any]


def disagreement(
    results: Sequence[tuple[str, Image]],
    structures: Sequence[Sequence[dict[str, Any]]],
    brain: np.ndarray,
    sigma: float | None = None,
) -> Disagreement | None:
    """Compare the results of several methods with each other; None for fewer than two.

    Args:
        results: title and enhanced scan of each method, on one grid, in the scan's intensity unit.
        structures: of each method, the rows of its report (``label_id``, ``volume_enhanced_ml``).
        brain: bool on the grid.
        sigma: noise of the scan in its unit.

    Raises:
        BadInput: different grids, or an empty brain.
    """
    if len(results) < 2:
        return None
    moments = RunningMoments()
    for _, image in results:
        moments.add(image.array)
    inside = as_mask(brain, moments.mean.shape)
    values = moments.deviation[inside].astype(np.float64)
    mean = float(values.mean())
    volumes = [{row["label_id"]: row.get("volume_enhanced_ml") for row in rows} for rows in structures]
    known = [found for found in volumes if found and None not in found.values()]
    summary = {
        "methods": [title for title, _ in results],
        "deviation_mean": mean,
        "deviation_p95": float(np.percentile(values, 95)),
        "deviation_mean_in_noise": mean / sigma if sigma else None,
        "structures": structure_spread(known) if len(known) > 1 else {},
    }
    return Disagreement(
        results[0][1].with_array(np.where(inside, moments.deviation, 0.0)), {**summary, "text": _text(summary)}
    )


def most_different(structures: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, Mapping[str, Any]]]:
    """Name and spread of the structures of at least 1 mL, those that vary most first."""
    named = [(name, row) for name, row in structures.items() if row["volume_mean_ml"] >= NAMED_MIN_ML]
    return sorted(named, key=lambda item: -item[1]["volume_cv_percent"])


def _text(summary: Mapping[str, Any]) -> str:
    noise, ranked = summary["deviation_mean_in_noise"], most_different(summary["structures"])
    said = (
        f"Standard deviation among the {len(summary['methods'])} results inside the brain: "
        f"{summary['deviation_mean']:.4g} in the scan's intensity unit on average"
    )
    said += "." if noise is None else f" ({noise:.2f} times the scan's noise)."
    if ranked and ranked[0][1]["volume_cv_percent"] >= LEAST_CHANGE:
        name, row = ranked[0]
        said += f" The volume that varies most is that of {name} ({row['volume_cv_percent']:.1f} %)."
    return f"{said} {CAUTION}"
