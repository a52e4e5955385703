"""What became of lesions: contrast, volume and edge of every marked region, before and after enhancement.

A region is one connected part of a label map (a segment drawn in Slicer, or a file). All figures compare it with its
shell: brain 3 to 8 mm away from its border, free of other regions, of the tissue that is most frequent there when the
anatomy is known.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy import ndimage

from ..errors import BadInput
from ..image import Image
from ..segmentation.labels import LabelMap, label_table
from .checks import as_mask, check_same_shape
from .regions import Box, connected_regions, regions_on, widened
from .volumes import percent_difference

SHELL_MM = (3.0, 8.0)
REACH_MM = 3.0  # how far beyond its drawn border a region may grow
MIN_SHELL_VOXELS = 30
MIN_DIFFERENCE_SD = 2.0
KEPT_SHARE = 0.5
MOST_OUTSIDE = 0.1  # share of a region that may lie outside the brain mask without a word
ERF_TO_10_90 = 1.0225  # 10-90 % width of a Gaussian edge times its steepest relative slope: 2.563 / sqrt(2 pi)
MAD_TO_SD = 1.4826
CRITERION = (
    "A region is visible in an image if its mean differs from its shell's median by at least 2 standard deviations of "
    "the shell (robust). It survives if it is visible in the enhanced scan, with the sign that it has in the base "
    "image and at least half of its contrast there; the base is the reference if there is one, else the input. A "
    "region that is not visible in the base is not judged."
)


UNSEEN = "not visible"
NO_SHELL = "no surroundings"  # too little brain without other regions around it: nested regions are best merged
NO_CONTRAST = "no contrast"  # its surroundings are not above 0, or it is not measured in the enhanced scan
UNMEASURED = "outside the reference"  # or within reach of its edge
REASONS = (UNSEEN, NO_SHELL, NO_CONTRAST, UNMEASURED)
NOTHING = {"contrast_percent": None, "difference_sd": None, "visible": None, "volume_mm3": None, "edge_mm": None}


def lesion_report(
    before: Image,
    enhanced: Image,
    region: LabelMap,
    brain: np.ndarray,
    reference: Image | None = None,
    labels: LabelMap | None = None,
    min_mm3: float = 0.0,
    field: np.ndarray | None = None,
    shown: np.ndarray | None = None,
    check: Callable[[], object] | None = None,
) -> list[dict[str, Any]]:
    """One row a connected region (26 neighbours, a value at a time), the largest first.

    Args:
        before: the scan interpolated to the working grid.
        enhanced, reference: on the same grid; any intensity unit.
        region: values above 0 mark lesions; on any grid of the same frame of reference.
        brain: bool on the working grid.
        labels: anatomy on the working grid, to take the shell from one tissue; the lesion itself may be mislabelled.
        min_mm3: smaller regions are left out.
        field: bool on the working grid, where the reference was measured; None: everywhere. A region that reaches out
            of it is not judged, and no shell does.
        shown: bool on the working grid, what the enhanced scan shows; None: everything. A region that reaches out of it
            is not measured there.
        check: called before every region (raises to cancel).

    Returns:
        Rows with ``label`` (value in the map), ``number`` (from 1), ``centre_ras_mm``, ``volume_mm3`` and
        ``diameter_mm`` (of the sphere of that volume) as drawn inside the brain; per image ``input``, ``enhanced`` and,
        if given, ``reference`` the figures of :func:`measure`; ``contrast_change_percent`` and
        ``volume_change_percent`` of the
        enhanced scan against the base (signed, None if undefined), ``survives`` (None: not judged; see
        :data:`CRITERION`), and ``not_judged``: the reason (see :data:`REASONS`), or None.

    Raises:
        BadInput: different grids, no region inside the brain, or none of at least ``min_mm3``.
    """
    images = {"input": before, "enhanced": enhanced, **({} if reference is None else {"reference": reference})}
    for name, image in images.items():
        check_same_shape(before.array, image.array, f"the input and the {name} of the lesions")
    if labels is not None:
        check_same_shape(before.array, labels.array, "the input and the labels of the lesions")
    brain = as_mask(brain, before.shape)
    values = marked_regions(region, before, brain)
    base = "input" if reference is None else "reference"
    if reference is None or field is None:
        field = np.ones(before.shape, dtype=bool)
    rows = []
    for label, box, mask in connected_regions(values, check):
        volume = float(mask.sum()) * before.voxel_volume_ml * 1000.0
        if volume < min_mm3:
            continue
        place, near = widened(box, mask, SHELL_MM[1], before.spacing, before.shape)
        other = (values[place] > 0) & ~near
        allowed = brain[place] & ~other
        distance = ndimage.distance_transform_edt(~near, sampling=before.spacing)
        shell = _shell(allowed & (distance > SHELL_MM[0]) & (distance <= SHELL_MM[1]), labels, place)
        grown = allowed & (distance <= REACH_MM)
        measured = bool(field[place][near | grown].all())
        if measured:
            shell &= field[place]
        figures = {name: measure(i.array[place], near, shell, grown, before.spacing) for name, i in images.items()}
        if not measured:
            figures["reference"] = dict(NOTHING)
        if shown is not None and not shown[place][near | grown | shell].all():
            figures["enhanced"] = dict(NOTHING)
        centre = np.mean(np.argwhere(mask) + [part.start for part in box], axis=0)
        rows.append({
            "label": label,
            "centre_ras_mm": [round(float(w), 1) for w in before.affine[:3, :3] @ centre + before.affine[:3, 3]],
            "volume_mm3": volume,
            "diameter_mm": sphere_diameter(volume),
            **figures,
            **_fate(figures[base], figures["enhanced"], measured),
        })  # fmt: skip
    if not rows:
        raise BadInput(f"no marked region inside the brain is as large as {min_mm3:g} mm3")
    rows.sort(key=lambda row: -row["volume_mm3"])
    return [{"number": n, **row} for n, row in enumerate(rows, start=1)]


def marked_regions(region: LabelMap, before: Image, brain: np.ndarray) -> np.ndarray:
    """The values of a lesion map inside the brain, int64 on the grid of ``before``.

    Raises:
        BadInput: none is above 0.
    """
    values = regions_on(region, before).values * brain
    if not values.any():
        raise BadInput("the lesion map marks nothing inside the brain of this scan; is it in the same frame?")
    return values


def outside_brain(
    region: LabelMap, before: Image, brain: np.ndarray, check: Callable[[], object] | None = None
) -> dict[str, Any]:
    """What of a lesion map lies outside the brain mask and is followed by nothing.

    Args:
        region, before, brain: see :func:`lesion_report`.
        check: called before every region (raises to cancel).

    Returns:
        ``regions``: how many connected regions lie there wholly or by more than a tenth of their volume, ``volume_mm3``
        of what lies there, beyond the scan's field of view included, and a sentence without its full stop.
    """
    marked = regions_on(region, before, check)
    brain_voxels, voxels = (
        np.bincount(marked.numbers[place].ravel(), minlength=marked.unseen_mm3.size) for place in (brain, ...)
    )
    voxel = before.voxel_volume_ml * 1000.0
    lost = (marked.unseen_mm3 + (voxels - brain_voxels) * voxel)[1:]
    regions = np.count_nonzero(lost > MOST_OUTSIDE * (marked.unseen_mm3 + voxels * voxel)[1:])
    volume = float(lost.sum())
    verb = "region lies" if regions == 1 else "regions lie"
    where = f"wholly or partly outside the brain mask ({volume:.0f} mm3), where nothing is measured"
    text = f"{regions} marked {verb} {where}"
    return {"regions": int(regions), "volume_mm3": volume, "text": text}


def measure(
    array: np.ndarray, region: np.ndarray, shell: np.ndarray, grown: np.ndarray, spacing: tuple[float, float, float]
) -> dict[str, Any]:
    """The figures of one region in one image; a field is None where it is undefined.

    Args:
        array: intensities around the region.
        region, shell, grown: bool, the region as drawn, its surroundings, and how far it may reach.
        spacing: mm.

    Returns:
        ``contrast_percent``: (mean of the region - median of the shell) / median of the shell x 100, signed.
        ``difference_sd``: the same difference in robust standard deviations of the shell. ``visible``: whether that is
        at least 2 in size. ``volume_mm3``: connected voxels of ``grown`` beyond half of the contrast of the region's
        core. ``edge_mm``: 10-90 % width of its border, from the median slope across it (a Gaussian edge is assumed);
        smaller is sharper.
    """
    if shell.sum() < MIN_SHELL_VOXELS:
        return dict(NOTHING)
    around = float(np.median(array[shell]))
    spread = MAD_TO_SD * float(np.median(np.abs(array[shell] - around)))
    difference = float(array[region].mean()) - around
    figures = {
        **NOTHING,
        "contrast_percent": 100.0 * difference / around if around > 0 else None,
        "difference_sd": difference / spread if spread > 0 else None,
        "visible": bool(abs(difference) >= MIN_DIFFERENCE_SD * spread and difference != 0),
    }
    core = ndimage.binary_erosion(region)
    level = float(np.median(array[core if core.any() else region])) - around
    if level == 0:
        return figures
    relative = (array - around) / level  # 0 in the shell, 1 in the core
    parts, _ = ndimage.label(grown & (relative > 0.5), np.ones((3, 3, 3)))
    touched = np.unique(parts[region & (parts > 0)])
    whole = np.isin(parts, touched) & (parts > 0)
    figures["volume_mm3"] = float(whole.sum()) * float(np.prod(spacing))
    figures["edge_mm"] = _edge(relative, whole, spacing)
    return figures


def sphere_diameter(volume_mm3: float) -> float:
    """Diameter in mm of the sphere of that volume."""
    return (6.0 * volume_mm3 / math.pi) ** (1.0 / 3.0)


def lesion_section(rows: list[dict[str, Any]], outside: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The report's section: the rows, the criterion, how many survive of those that can be judged, and what was left
    out (see :func:`outside_brain`)."""
    judged = [row for row in rows if row["survives"] is not None]
    return {
        "criterion": CRITERION,
        "regions": rows,
        "outside_brain": dict(outside or {"regions": 0, "volume_mm3": 0.0, "text": ""}),
        "judged": len(judged),
        "surviving": sum(row["survives"] for row in judged),
    }


def survivors(section: Mapping[str, Any] | None) -> str | None:
    """The section in three words, ``3 of 4``: of the regions that can be judged; None without a section."""
    if section is None:
        return None
    if section["judged"]:
        return f"{section['surviving']} of {section['judged']}"
    return "none visible" if all(row["not_judged"] == UNSEEN for row in section.get("regions", [])) else "none judged"


def _shell(shell: np.ndarray, labels: LabelMap | None, place: Box) -> np.ndarray:
    """The part of the shell in its most frequent tissue, if the anatomy is known and that part is large enough."""
    if labels is None:
        return shell
    near = labels.array[place]
    tissues: dict[str, list[int]] = {}
    for label in label_table():
        tissues.setdefault(label.tissue, []).append(label.id)
    parts = [shell & np.isin(near, ids) for ids in tissues.values()]
    largest = max(parts, key=np.count_nonzero)
    return largest if largest.sum() >= MIN_SHELL_VOXELS else shell


def _edge(relative: np.ndarray, whole: np.ndarray, spacing: tuple[float, float, float]) -> float | None:
    """10-90 % width from the slope of the normalised image across the border of ``whole``."""
    if not whole.any() or whole.all():
        return None
    border = whole & ~ndimage.binary_erosion(whole)
    outside = ndimage.distance_transform_edt(~whole, sampling=spacing)
    within = ndimage.distance_transform_edt(whole, sampling=spacing)
    normal = np.stack(np.gradient(ndimage.gaussian_filter(outside - within, 1.0), *spacing))
    normal /= np.maximum(np.linalg.norm(normal, axis=0), 1e-6)
    slope = -np.sum(np.stack(np.gradient(relative, *spacing)) * normal, axis=0)
    steepest = float(np.median(slope[border]))
    return ERF_TO_10_90 / steepest if steepest > 0 else None


def _fate(base: dict[str, Any], enhanced: dict[str, Any], measured: bool) -> dict[str, Any]:
    changes = {}
    for name in ("contrast", "volume"):
        key = "contrast_percent" if name == "contrast" else "volume_mm3"
        known = base[key] is not None and enhanced[key] is not None
        # a weaker dark lesion has a negative change too, because its base is negative
        changes[f"{name}_change_percent"] = percent_difference(enhanced[key], base[key]) if known else None
    change = changes["contrast_change_percent"]
    if not measured:
        reason = UNMEASURED
    elif base["visible"] is None:
        reason = NO_SHELL
    elif not base["visible"]:
        reason = UNSEEN
    else:
        reason = NO_CONTRAST if change is None else None
    if reason is not None:
        return {**changes, "survives": None, "not_judged": reason}
    survives = bool(enhanced["visible"] and 1.0 + change / 100.0 >= KEPT_SHARE)
    return {**changes, "survives": survives, "not_judged": None}
