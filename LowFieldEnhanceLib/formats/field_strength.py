"""The field strength that a scan's header gives: DICOM's, or that of a BIDS sidecar beside the volume."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FIELD_STRENGTH = "MagneticFieldStrength"  # DICOM (0018,0087) and BIDS, T
MOST_T = 25.0  # of a head scanner; larger numbers are in gauss or millitesla, against the standard


def sidecar_field(path: Path) -> dict[str, Any]:
    """What ``scan.json`` beside ``scan.nii.gz`` says of the field, as a part of ``Image.meta``.

    Args:
        path: of the volume.

    Returns:
        :data:`FIELD_STRENGTH` as it stands there; empty without such a file, or where it says nothing of the field.
    """
    sidecar = path.with_name(path.name.removesuffix(".gz")).with_suffix(".json")
    try:
        said = json.loads(sidecar.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return {FIELD_STRENGTH: said[FIELD_STRENGTH]} if isinstance(said, dict) and FIELD_STRENGTH in said else {}


def field_strength_t(meta: Mapping[str, Any]) -> float | None:
    """Tesla, from ``Image.meta``; None where it is not given or cannot be that of a scanner."""
    try:
        value = float(meta[FIELD_STRENGTH])
    except (KeyError, TypeError, ValueError):
        return None
    return value if math.isfinite(value) and 0 < value <= MOST_T else None
