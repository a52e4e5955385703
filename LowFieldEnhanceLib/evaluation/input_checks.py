"""Is this scan one that the models were made for? Each check is a name, a yes or no, and a sentence with figures.

Contrast, field strength, spacing, noise and intensities are compared with the range that the weights of the run were
trained in (the ``valid_range`` of models.json); the other checks ask whether the scan itself is complete and plausible.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..earlier_run import is_same_scan
from ..errors import BadInput
from ..image import Image, no_sides
from ..segmentation.labels import LabelMap

TRAINED_SPACING_MM = (1.0, 6.0)  # where no model says otherwise
SPACING_TOLERANCE_MM = 0.02  # headers round
MIN_SNR = 5.0  # likewise
MADE_FOR_T = (0.05, 0.5)  # likewise; training pairs are simulated, so no weights have seen any field
FIELD_TOLERANCE_T = 0.003  # headers round
PLAUSIBLE_BRAIN_ML = (800.0, 2000.0)
CUT_AREA_MM2 = 50.0  # brain in the outermost plane; a few stray voxels are no cut
MIN_OVERLAP = 0.8  # Dice of two masks of the same brain, scanned and segmented twice, is above 0.9
# Of cerebral white matter. Simulated scans of one head have 0.82 and more with the reference in its place (SNR 6, or
# voxels of 2 x 2 x 8 mm), T2w and FLAIR of tumour heads 0.76 and more with a T1w reference; 0.73 if it lies 3 mm off,
# 0.57 to 0.6 at 6 mm. Another person's, registered, has 0.55 to 0.65 (five pairs), a head's mirror image 0.68, while
# the brains as a whole overlap with 0.87 to 0.96.
MIN_WHITE_MATTER = 0.7
MIN_REFERENCE_COVER = 0.9
LEAST_COVER, WHOLE_COVER = 0.9, 0.99  # of the brain, by an enhanced volume that was made elsewhere
TRAINED_RANGE = ("spacing", "noise", "contrast", "field strength", "intensity")
FIGURES = {
    "clipped_percent": "{:.2g} % of the brain is brighter than the networks' range",
    "white_level": "white matter lies at {:.2f} of the intensity scale",
    "grey_to_white": "the cortex has {:.2f} times the signal of white matter",
}
CEREBRUM, CEREBELLUM = (2, 3, 41, 42), (7, 8, 46, 47)
MIN_CEREBELLUM_ML = 5.0  # less is no place to judge by
EDGES = (("left", "right"), ("posterior", "anterior"), ("inferior", "superior"))


def input_checks(
    source: Mapping[str, Any],
    before: Image,
    brain: np.ndarray,
    reference: Image | None = None,
    valid_range: Mapping[str, Any] | None = None,
    registered: bool = False,
    labels: LabelMap | None = None,
    field: np.ndarray | None = None,
    overlap: float | None = None,
    incomparable: str | None = None,
    orientation_doubts: Sequence[str] = (),
    white_matter: float | None = None,
    shown: np.ndarray | None = None,
    made_of: str | None = None,
) -> list[dict[str, Any]]:
    """Spacing, noise, brain volume, field of view, contrast, field strength; orientation if the anatomy is known;
    intensities if their range is; the cover of an enhanced volume that was made elsewhere, and of a reference.

    Args:
        source: the report's ``input``: spacing (mm), snr_brightest (or None), brain_ml, contrast and, if they are to be
            checked, field_t (or None) and intensity (see evaluation.input_intensity).
        before: the scan on the RAS-like working grid, which spans the scan's field of view.
        brain: bool on that grid.
        reference: on that grid, 0 where it was not measured.
        valid_range: what the models of the run were trained for (weights.common_range): ``spacing_mm`` and ``snr``
            and ``field_t`` as (low, high), ``contrasts``, ``intensity`` by contrast; each may be absent.
        registered: whether the reference was moved onto the scan.
        labels: anatomy of the scan on the grid.
        field: bool on the grid, where the reference was measured; None: where it is not 0.
        overlap: Dice of both brains, if it is known.
        incomparable: why its intensities cannot be compared with the scan's.
        orientation_doubts: why the orientation in the scan's header, or in those of the files with it, is in doubt.
        white_matter: Dice of the white matter of both, if it is known.
        shown: bool on the grid, what an enhanced volume that was made elsewhere shows; None for one made here.
        made_of: why that volume seems to be made of another scan (see :func:`other_scan`).

    Returns:
        dicts with ``name``, ``ok``, ``text`` (a sentence without its full stop), and ``trained_range``: whether it is a
        check of what the weights were trained for, rather than of the scan itself.
    """
    valid = valid_range or {}
    checks = [
        _spacing(source["spacing"], valid.get("spacing_mm", TRAINED_SPACING_MM)),
        _snr(source["snr_brightest"], valid.get("snr", (MIN_SNR, math.inf))),
        brain_volume(source["brain_ml"]),
        _field_of_view(before, brain),
        _contrast(source["contrast"], valid.get("contrasts")),
        _field_strength(source.get("field_t"), valid.get("field_t", MADE_FOR_T)),
    ]
    orientation = None if labels is None else _orientation(labels)
    if orientation_doubts:
        found = "" if orientation is None else f"; {orientation['text']}"
        orientation = _check("orientation", False, f"{no_sides(' and '.join(orientation_doubts))}{found}")
    if orientation is not None:
        checks.append(orientation)
    # a contrast that is not known is taken for T1w, so that is what it is compared with
    known = valid.get("intensity", {}).get("T1w" if source["contrast"] == "other" else source["contrast"])
    if known:
        checks.append(_intensity(source.get("intensity") or {}, known))
    if shown is not None:
        checks.append(_enhanced(shown, brain, made_of))
    if reference is not None:
        measured = reference.array != 0 if field is None else field
        checks.append(_reference(measured, brain, registered, mismatch(overlap, white_matter), incomparable))
    return checks


def check_shown(shown: np.ndarray, brain: np.ndarray) -> None:
    """Refuse an enhanced volume that was made elsewhere and shows too little of the scan's brain.

    Args:
        shown, brain: bool on one grid.

    Raises:
        BadInput: it shows less than nine tenths; the structures that it lacks would count as changes.
    """
    cover = float(np.mean(shown[brain]))
    if cover < LEAST_COVER:
        raise BadInput(
            f"the enhanced volume shows {cover:.0%} of the brain that is in the scan; is it of the same head, in the "
            "same frame of reference?"
        )


def failed_checks(reports: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Of all reports, in their order."""
    return [check for report in reports for check in report["input_checks"] if not check["ok"]]


def cut_edges(image: Image, brain: np.ndarray) -> list[str]:
    """The sides of a RAS-like grid at which the brain reaches the outermost plane with at least 50 mm^2."""
    spacing = np.asarray(image.spacing)
    edges = []
    for axis, names in enumerate(EDGES):
        face = float(np.prod(np.delete(spacing, axis)))
        for name, index in zip(names, (0, -1), strict=True):
            if np.count_nonzero(brain.take(index, axis=axis)) * face >= CUT_AREA_MM2:
                edges.append(name)
    return edges


def mismatch(overlap: float | None, white_matter: float | None) -> str | None:
    """Why a reference seems not to show this head in this place, as a sentence without its full stop; None if it does.

    Args:
        overlap, white_matter: Dice of both brains and of both white matters, None where unknown.
    """
    if overlap is not None and overlap < MIN_OVERLAP:
        return f"the brain of the reference and that of the scan overlap poorly (Dice {overlap:.2f})"
    if white_matter is not None and white_matter < MIN_WHITE_MATTER:
        return (
            f"the white matter of the reference and that of the scan overlap poorly (Dice {white_matter:.2f}), as in "
            "the heads of two persons or in one that lies some millimetres off"
        )
    return None


def _check(name: str, ok: bool, text: str) -> dict[str, Any]:
    return {"name": name, "ok": bool(ok), "text": text, "trained_range": name in TRAINED_RANGE}


def _orientation(labels: LabelMap) -> dict[str, Any] | None:
    """Whether the cerebellum lies below and behind the cerebrum, as the header says; None without either of them.

    A scan that is mirrored from left to right has the same anatomy, so that cannot be seen.
    """
    voxel_ml = abs(float(np.linalg.det(labels.affine[:3, :3]))) / 1000.0
    centres = []
    for ids in (CEREBRUM, CEREBELLUM):
        found = np.argwhere(np.isin(labels.array, ids))
        if len(found) * voxel_ml < MIN_CEREBELLUM_ML:
            return None
        centres.append(labels.affine[:3, :3] @ found.mean(axis=0) + labels.affine[:3, 3])
    _, behind, below = centres[0] - centres[1]
    ok = behind > 0 and below > 0
    seen = "below and behind the cerebrum, as the header says" if ok else "not where the header says"
    return _check("orientation", ok, f"the cerebellum lies {seen}; whether left and right are exchanged cannot be seen")


def _spacing(spacing: list[float], valid: Sequence[float]) -> dict[str, Any]:
    low, high = valid
    ok = low - SPACING_TOLERANCE_MM <= min(spacing) and max(spacing) <= high + SPACING_TOLERANCE_MM
    size = " x ".join(f"{step:.3g}" for step in spacing)
    where = "within" if ok else "outside"
    return _check("spacing", ok, f"voxels of {size} mm are {where} the {low:g} to {high:g} mm that the models know")


def _snr(snr: float | None, valid: Sequence[float]) -> dict[str, Any]:
    if snr is None:
        return _check("noise", False, "the signal-to-noise ratio is unknown: no brain was found, or no noise")
    low, high = valid
    if snr < low:
        side = f"below {low:g}"
    elif snr > high:
        side = f"above {high:g}: interpolated or filtered scans look like this, and their residuals come out too large"
    else:
        side = f"at least {low:g}" if math.isinf(high) else f"within {low:g} to {high:g}"
    text = f"the signal-to-noise ratio of the brain's brightest tissue is {snr:.1f}, {side}"
    return _check("noise", low <= snr <= high, text)


def brain_volume(volume: float) -> dict[str, Any]:
    """Whether a brain of so many mL is a whole one."""
    low, high = PLAUSIBLE_BRAIN_ML
    ok = low <= volume <= high
    where = "within" if ok else "outside"
    text = f"the brain found measures {volume:.0f} mL, {where} the usual {low:g} to {high:g} mL"
    return _check("brain volume", ok, text)


def _field_of_view(before: Image, brain: np.ndarray) -> dict[str, Any]:
    edges = cut_edges(before, brain)
    if not edges:
        return _check("field of view", True, "the brain lies inside the field of view")
    return _check("field of view", False, f"the field of view cuts the brain at its {' and '.join(edges)} edge")


def _contrast(contrast: str, known: Sequence[str] | None) -> dict[str, Any]:
    if contrast == "other":
        return _check("contrast", False, "the contrast is unknown and was treated as T1w")
    if known is not None and contrast not in known:
        return _check("contrast", False, f"the contrast is {contrast}, the models know {', '.join(known)}")
    return _check("contrast", True, f"the contrast is {contrast}")


def _field_strength(field_t: float | None, valid: Sequence[float]) -> dict[str, Any]:
    """No doubt without a header that gives it, as most NIfTI files come."""
    if field_t is None:
        return _check("field strength", True, "the field strength is unknown, since the scan's header does not give it")
    low, high = valid
    ok = low - FIELD_TOLERANCE_T <= field_t <= high + FIELD_TOLERANCE_T
    where = "within" if ok else "outside"
    text = f"the field strength is {field_t:.3g} T, {where} the {low:g} to {high:g} T that the models are made for"
    return _check("field strength", ok, text)


def _intensity(figures: Mapping[str, float | None], valid: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    outside = []
    if any(figures.get(name) is None for name in valid):
        outside.append("white matter or cortex was not found, so their intensities are unknown")
    for name, (low, high) in valid.items():
        value = figures.get(name)
        if value is not None and not low <= value <= high:
            outside.append(f"{FIGURES[name].format(value)}, outside the {low:g} to {high:g} seen in training")
    return _check("intensity", not outside, "; ".join(outside) or "its intensities are like those seen in training")


def other_scan(provenance: Mapping[str, Any]) -> str | None:
    """Why an enhanced volume seems to be made of another scan than the one that it is judged by, as a sentence without
    its full stop; None if it does not, or if nobody knows.

    Args:
        provenance: of the report (see pipeline.assess).
    """
    made_by = provenance.get("enhanced_by") or {}
    if is_same_scan(made_by, provenance) in (None, True):
        return None
    name = made_by.get("input_file") or "a scan"
    return (
        f"it was made of {name}, whose voxels and place are not exactly those of this scan, so changes may be those "
        "between two scans"
    )


def _enhanced(shown: np.ndarray, brain: np.ndarray, made_of: str | None) -> dict[str, Any]:
    cover = float(np.mean(shown[brain])) if brain.any() else 0.0
    text = f"the enhanced volume shows {100 * cover:.1f} % of the brain"
    if cover < 1:
        text += ", and nothing is said of the structures and marked regions that reach out of it"
    if made_of is not None:
        text += f"; {made_of}"
    return _check("enhanced volume", cover >= WHOLE_COVER and made_of is None, text)


def _reference(
    measured: np.ndarray, brain: np.ndarray, registered: bool, apart: str | None, incomparable: str | None
) -> dict[str, Any]:
    cover = float(np.mean(measured[brain])) if brain.any() else 0.0
    said = [
        f"the reference covers {100 * cover:.0f} % of the brain",
        "it was registered to the scan" if registered else "it was not registered to the scan",
    ]
    if apart is not None:
        said.append(f"{apart}, so comparisons with it mean little")
    if incomparable is not None:
        said.append(f"its intensities are not compared: {incomparable}")
    return _check("reference", cover >= MIN_REFERENCE_COVER and apart is None and incomparable is None, "; ".join(said))
