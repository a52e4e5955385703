"""Structure by structure: volumes of the input, the enhanced scan and the reference, and how far they agree."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..errors import BadInput
from ..segmentation.labels import Label, LabelMap, from_channels, label_table, to_channels
from .checks import check_same_shape
from .overlap import dice_per_label, label_counts
from .surface import TOLERANCE_MM, SurfaceScores, surface_scores

AFFINE_TOLERANCE_MM = 1e-3


@dataclass(frozen=True)
class StructureComparison:
    """One structure in two or three label maps.

    A field is None where there is no reference, or where the value is undefined (the structure is empty on a side
    that it divides by or measures to), so the whole of it fits into strict JSON.

    Attributes:
        label: FreeSurfer id.
        name: English name with its side.
        side: ``left``, ``right`` or empty.
        volume_input_ml, volume_enhanced_ml, volume_reference_ml: volumes in mL.
        change_percent: (enhanced - input) / input x 100, signed. A change, not an error: no reference is in it.
        error_input_percent, error_enhanced_percent: (volume - reference) / reference x 100, signed, 0 is best.
        dice_input, dice_enhanced: Dice against the reference, 0..1, higher is better.
        hd95_mm, assd_mm: enhanced against reference, mm, lower is better.
        surface_dice: enhanced against reference at the tolerance (1 mm), 0..1, higher is better.
        hd95_input_mm, assd_input_mm, surface_dice_input: the same three of the input against the reference.
        confidence_input, confidence_enhanced: the segmenter's mean posterior in the structure, 0..1.
    """

    label: int
    name: str
    side: str
    volume_input_ml: float
    volume_enhanced_ml: float
    volume_reference_ml: float | None
    change_percent: float | None
    error_input_percent: float | None
    error_enhanced_percent: float | None
    dice_input: float | None
    dice_enhanced: float | None
    hd95_mm: float | None
    assd_mm: float | None
    surface_dice: float | None
    hd95_input_mm: float | None
    assd_input_mm: float | None
    surface_dice_input: float | None
    confidence_input: float | None
    confidence_enhanced: float | None

    @property
    def absolute_error_input_percent(self) -> float | None:
        """|error_input_percent|; lower is better."""
        return None if self.error_input_percent is None else abs(self.error_input_percent)

    @property
    def absolute_error_enhanced_percent(self) -> float | None:
        """|error_enhanced_percent|; lower is better."""
        return None if self.error_enhanced_percent is None else abs(self.error_enhanced_percent)


def label_volumes_ml(labels: LabelMap) -> dict[int, float]:
    """Volume in mL of every id above 0 that occurs, ascending ids (voxels x voxel volume)."""
    return {label: count * labels.voxel_volume_ml for label, count in label_counts(labels.array).items() if label}


def percent_difference(value: float, base: float) -> float | None:
    """(value - base) / base x 100, signed; None if the base is 0."""
    return None if base == 0 else (value - base) / base * 100.0


def compare_structures(
    input_labels: LabelMap,
    enhanced_labels: LabelMap,
    reference_labels: LabelMap | None = None,
    tolerance_mm: float = TOLERANCE_MM,
    check: Callable[[], object] | None = None,
) -> list[StructureComparison]:
    """Compare every structure of the label table that occurs in at least one of the maps, in the table's order.

    Ids outside of the table that belong to one of its structures (vessels, choroid plexus ...; ``labels.MERGED``) are
    counted there first: manual maps hold them, the segmenter's do not.

    Args:
        input_labels: of the low-field scan, resampled to the enhanced scan's grid.
        enhanced_labels: of the enhanced scan, by the same segmenter.
        reference_labels: of the reference scan, by the same segmenter or by hand; None in the usual clinical case.
        tolerance_mm: of the surface Dice.
        check: called before every structure (raises to cancel).

    Raises:
        BadInput: the maps are not on the same grid (shape, and affine within 0.001 mm).
    """
    maps = [m for m in (input_labels, enhanced_labels, reference_labels) if m is not None]
    for other in maps[1:]:
        _check_same_grid(maps[0], other)
    folded = [LabelMap(from_channels(to_channels(m.array)), m.affine, m.confidence) for m in maps]
    volumes = [label_volumes_ml(m) for m in folded]
    overlaps = [dice_per_label(m.array, folded[2].array) for m in folded[:2]] if len(folded) == 3 else None
    rows = []
    for label in label_table():
        if not any(label.id in found for found in volumes):
            continue
        if check is not None:
            check()
        surfaces = [_surface(m, folded[2], label.id, tolerance_mm) for m in folded[:2]] if overlaps is not None else []
        rows.append(_compare(label, folded, [v.get(label.id, 0.0) for v in volumes], overlaps, surfaces))
    return rows


def _compare(
    label: Label,
    maps: list[LabelMap],
    volumes: list[float],
    overlaps: list[dict[int, float]] | None,
    surfaces: list[SurfaceScores],
) -> StructureComparison:
    reference = volumes[2] if len(volumes) == 3 else None
    before, after = surfaces or (None, None)
    return StructureComparison(
        label=label.id,
        name=label.name,
        side=label.side,
        volume_input_ml=volumes[0],
        volume_enhanced_ml=volumes[1],
        volume_reference_ml=reference,
        change_percent=percent_difference(volumes[1], volumes[0]),
        error_input_percent=None if reference is None else percent_difference(volumes[0], reference),
        error_enhanced_percent=None if reference is None else percent_difference(volumes[1], reference),
        dice_input=None if overlaps is None else _defined(overlaps[0].get(label.id, math.nan)),
        dice_enhanced=None if overlaps is None else _defined(overlaps[1].get(label.id, math.nan)),
        hd95_mm=None if after is None else _defined(after.hd95_mm),
        assd_mm=None if after is None else _defined(after.assd_mm),
        surface_dice=None if after is None else _defined(after.surface_dice),
        hd95_input_mm=None if before is None else _defined(before.hd95_mm),
        assd_input_mm=None if before is None else _defined(before.assd_mm),
        surface_dice_input=None if before is None else _defined(before.surface_dice),
        confidence_input=maps[0].confidence.get(label.id),
        confidence_enhanced=maps[1].confidence.get(label.id),
    )


def _surface(labels: LabelMap, reference: LabelMap, label: int, tolerance_mm: float) -> SurfaceScores:
    return surface_scores(labels.array == label, reference.array == label, reference.affine, tolerance_mm)


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else value


def _check_same_grid(first: LabelMap, second: LabelMap) -> None:
    check_same_shape(first.array, second.array, "the label maps")
    if not np.allclose(first.affine, second.affine, rtol=0, atol=AFFINE_TOLERANCE_MM):
        raise BadInput("the label maps have different affines; resample them to one grid before comparing")
