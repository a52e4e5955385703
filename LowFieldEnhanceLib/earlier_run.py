"""What the provenance of an enhanced volume tells a later report: of which scan it was made, and with what settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .events import Events
from .image import Image, grid_corners
from .options import Options

SAME_PLACE_MM = 0.01  # of the corners; NIfTI rounds what NRRD and MetaImage hold to about 1e-5 mm
GIVEN = {"sigma": "noise level", "fwhm": "widths of the point-spread function", "profile": "slice profile"}


def identity_of(image: Image) -> dict[str, Any]:
    """Which scan this is, for the provenance: SHA-256 with and without its place, and the place itself."""
    return {
        "input_sha256": image.sha256(),
        "input_voxels_sha256": image.voxels_sha256(),
        "input_shape": list(image.shape),
        "input_affine": np.round(image.affine, 6).tolist(),
    }


def is_same_scan(made: Mapping[str, Any], now: Mapping[str, Any]) -> bool | None:
    """Whether two provenances name one scan, in whatever format it was stored; None if the first names none.

    The SHA-256 of voxels and affine together tells formats apart, which round the affine differently; so the voxels
    have to be the same, and the grid's corners to lie within 0.01 mm. Earlier versions wrote that SHA-256 alone.

    Args:
        made, now: what :func:`identity_of` gives, among other keys.
    """
    if made.get("input_sha256") is None:
        return None
    if made["input_sha256"] == now.get("input_sha256"):
        return True
    if made.get("input_voxels_sha256") is None or made["input_voxels_sha256"] != now.get("input_voxels_sha256"):
        return False
    try:
        one, other = (grid_corners(run["input_shape"], np.array(run["input_affine"], float)) for run in (made, now))
        return bool(np.abs(one - other).max() <= SAME_PLACE_MM)
    except (IndexError, KeyError, TypeError, ValueError):  # a sidecar that somebody has edited
        return False


def take_over(
    made: Mapping[str, Any],
    image: Image,
    sigma: float | None,
    fwhm: tuple[float, float, float] | None,
    profile: str | None,
    events: Events,
) -> tuple[dict[str, Any], list[str]]:
    """The settings of options.Options that a report shares with the run that made its volume, and which of ``sigma``,
    ``fwhm`` and ``profile`` are that run's.

    Noise level and point-spread function are those of the scan, so they are taken over only from a run of the same
    scan, and give way to what the user says now: widths to a profile without any, and such a profile to widths.

    Args:
        made: provenance of that run; empty if it is not known.
        image: the scan.
        sigma, fwhm, profile: what the user says now; None is what was not said.
        events: get a warning of what is taken over, and of what cannot be.
    """
    settings = {"sigma": sigma, "fwhm": fwhm, "profile": profile}
    taken: dict[str, str] = {}
    plain = Options()
    if is_same_scan(made, identity_of(image)):
        for name, now in settings.items():
            then = made.get(name)
            if now is None and then not in (None, getattr(plain, name)) and not _at_odds(name, then, settings):
                settings[name] = tuple(then) if isinstance(then, list) else then
                taken[name] = f"{GIVEN[name]} {_shown(then)}"
    if taken:
        events.warning(
            "the run that made the enhanced volume was given what this report therefore goes by too (unless told "
            f"otherwise by --sigma, --psf or --profile): {', '.join(taken.values())}"
        )
    if made.get("n4"):
        after = "the enhanced volume was made after a bias correction (N4)"
        events.warning(f"{after}, so it is compared with the scan corrected likewise")
    if made.get("displacement_sha256"):
        events.warning(
            "the enhanced volume was made with a displacement field, which this report does not have: what the field "
            "changed is among the changes"
        )
    return {**settings, "profile": settings["profile"] or plain.profile, "n4": bool(made.get("n4"))}, list(taken)


def _at_odds(name: str, then: Any, settings: Mapping[str, Any]) -> bool:  # noqa: ANN401
    """Whether the run's setting contradicts what the user says now: a point has no width."""
    if name == "fwhm":
        return settings["profile"] == "point"
    return name == "profile" and then == "point" and settings["fwhm"] is not None


def _shown(value: Any) -> str:  # noqa: ANN401
    return f"{' x '.join(str(width) for width in value)} mm" if isinstance(value, list) else str(value)
