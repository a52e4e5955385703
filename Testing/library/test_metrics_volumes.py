"""The comparison of structures against volumes that were put there."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from LowFieldEnhanceLib.errors import BadInput, Cancelled
from LowFieldEnhanceLib.evaluation.volumes import (
    StructureComparison,
    compare_structures,
    label_volumes_ml,
    percent_difference,
)
from LowFieldEnhanceLib.segmentation.labels import LabelMap

THALAMUS, HIPPOCAMPUS, BRAIN_STEM, LATERAL_VENTRICLE, CHOROID_PLEXUS = 10, 53, 16, 4, 31
AFFINE = np.diag([1.0, 2.0, 2.5, 1.0])  # 5 mm^3 a voxel


def label_map(confidence: dict[int, float] | None = None, **boxes: tuple[slice, ...]) -> LabelMap:
    """A 12 x 12 x 12 map with boxes named ``id_<label>``."""
    array = np.zeros((12, 12, 12), np.uint8)
    for name, box in boxes.items():
        array[box] = int(name.removeprefix("id_"))
    return LabelMap(array, AFFINE, confidence or {})


def by_label(rows: list[StructureComparison]) -> dict[int, StructureComparison]:
    return {row.label: row for row in rows}


def test_volumes_are_voxels_times_the_voxel_volume() -> None:
    labels = label_map(id_10=np.s_[0:4, 0:5, 0:10], id_53=np.s_[6:8, 0:1, 0:1])
    assert label_volumes_ml(labels) == pytest.approx({10: 200 * 0.005, 53: 2 * 0.005})


def test_percent_difference_is_signed_and_undefined_for_nothing() -> None:
    assert percent_difference(8.0, 10.0) == pytest.approx(-20.0)
    assert percent_difference(12.5, 10.0) == pytest.approx(25.0)
    assert percent_difference(1.0, 0.0) is None


def test_with_a_reference_volumes_errors_and_agreement_are_those_of_the_boxes() -> None:
    low = label_map({THALAMUS: 0.6}, id_10=np.s_[0:5, 0:4, 0:10])  # 200 voxels
    enhanced = label_map({THALAMUS: 0.9}, id_10=np.s_[1:10, 0:4, 0:10])  # 360
    reference = label_map(id_10=np.s_[0:10, 0:4, 0:10])  # 400
    (row,) = compare_structures(low, enhanced, reference)
    assert (row.label, row.name, row.side) == (10, "Left Thalamus", "left")
    assert (row.volume_input_ml, row.volume_enhanced_ml, row.volume_reference_ml) == pytest.approx((1.0, 1.8, 2.0))
    assert row.change_percent == pytest.approx(80.0)
    assert row.error_input_percent == pytest.approx(-50.0)
    assert row.error_enhanced_percent == pytest.approx(-10.0)
    assert row.absolute_error_input_percent == pytest.approx(50.0)
    assert row.absolute_error_enhanced_percent == pytest.approx(10.0)
    assert row.dice_input == pytest.approx(2 * 200 / 600)
    assert row.dice_enhanced == pytest.approx(2 * 360 / 760)
    assert (row.confidence_input, row.confidence_enhanced) == (0.6, 0.9)


def test_surface_scores_are_enhanced_and_input_against_reference_in_millimetres() -> None:
    low = label_map(id_16=np.s_[0:12, 0:12, 0])
    enhanced = label_map(id_16=np.s_[0:12, 0:12, 4])
    reference = label_map(id_16=np.s_[0:12, 0:12, 6])
    (row,) = compare_structures(low, enhanced, reference)
    assert row.hd95_mm == pytest.approx(5.0)  # two voxels of 2.5 mm
    assert row.assd_mm == pytest.approx(5.0)
    assert row.surface_dice == 0.0
    assert (row.hd95_input_mm, row.assd_input_mm, row.surface_dice_input) == pytest.approx((15.0, 15.0, 0.0))
    (tolerant,) = compare_structures(low, enhanced, reference, tolerance_mm=5.0)
    assert tolerant.surface_dice == 1.0


def test_without_a_reference_there_is_change_and_never_error() -> None:
    low = label_map(id_53=np.s_[0:2, 0:2, 0:2])
    enhanced = label_map(id_53=np.s_[0:2, 0:2, 0:3])
    (row,) = compare_structures(low, enhanced)
    assert row.change_percent == pytest.approx(50.0)
    fields = dataclasses.asdict(row)
    for name in ("volume_reference_ml", "error_input_percent", "error_enhanced_percent", "dice_input", "dice_enhanced"):
        assert fields[name] is None
    for name in ("hd95_mm", "assd_mm", "surface_dice", "hd95_input_mm", "assd_input_mm", "surface_dice_input"):
        assert fields[name] is None
    for name in ("confidence_input", "confidence_enhanced"):
        assert fields[name] is None
    assert row.absolute_error_input_percent is None
    assert row.absolute_error_enhanced_percent is None


def test_structures_that_are_missing_somewhere_are_listed_with_undefined_values_as_none() -> None:
    only_low = label_map(id_10=np.s_[0:2, 0:2, 0:2])
    only_enhanced = label_map(id_16=np.s_[0:2, 0:2, 0:2])
    only_reference = label_map(id_53=np.s_[0:2, 0:2, 0:2])
    rows = by_label(compare_structures(only_low, only_enhanced, only_reference))
    assert list(rows) == [THALAMUS, BRAIN_STEM, HIPPOCAMPUS]
    lost, appeared, missed = rows.values()
    assert lost.change_percent == pytest.approx(-100.0)
    assert lost.error_input_percent is None  # the reference holds none of it
    assert (lost.dice_input, lost.dice_enhanced, lost.hd95_mm) == (0.0, None, None)
    assert appeared.change_percent is None
    assert appeared.dice_enhanced == 0.0
    assert missed.error_enhanced_percent == pytest.approx(-100.0)
    assert (missed.dice_input, missed.dice_enhanced, missed.assd_mm) == (0.0, 0.0, None)


def test_the_rows_fit_into_strict_json() -> None:
    rows = compare_structures(label_map(id_10=np.s_[0:1, 0:1, 0:1]), label_map(), label_map(id_53=np.s_[0:1, 0:1, 0:1]))
    text = json.dumps([dataclasses.asdict(row) for row in rows], allow_nan=False)
    assert [row["label"] for row in json.loads(text)] == [10, 53]


def test_perfect_agreement() -> None:
    labels = label_map(id_10=np.s_[0:5, 0:5, 0:5], id_16=np.s_[6:9, 0:5, 0:5])
    for row in compare_structures(labels, labels, labels):
        assert (row.change_percent, row.error_enhanced_percent, row.dice_enhanced) == (0.0, 0.0, 1.0)
        assert (row.hd95_mm, row.assd_mm, row.surface_dice) == (0.0, 0.0, 1.0)


def test_choroid_plexus_of_a_manual_map_counts_as_its_ventricle_and_unknown_ids_as_nothing() -> None:
    automatic = label_map(id_4=np.s_[0:4, 0:4, 0:4])
    manual = label_map(id_4=np.s_[0:4, 0:4, 0:4], id_31=np.s_[1:3, 1:3, 1:3], id_99=np.s_[8:9, 8:9, 8:9])
    (row,) = compare_structures(automatic, automatic, manual)
    assert row.label == LATERAL_VENTRICLE
    assert row.error_enhanced_percent == 0.0
    assert row.dice_enhanced == 1.0


def test_two_empty_maps_have_nothing_to_compare() -> None:
    assert compare_structures(label_map(), label_map()) == []


def test_it_is_cancelled_between_two_structures() -> None:
    maps, seen = label_map(id_10=np.s_[0:1, 0:1, 0:1], id_53=np.s_[1:2, 0:1, 0:1]), []

    def check() -> None:
        seen.append(1)
        if len(seen) == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        compare_structures(maps, maps, maps, check=check)
    assert len(seen) == 2


def test_maps_on_different_grids_are_refused() -> None:
    labels = label_map(id_10=np.s_[0:2, 0:2, 0:2])
    cropped = LabelMap(labels.array[:6], AFFINE, {})
    shift = np.zeros((4, 4))
    shift[0, 3] = 0.01  # mm
    moved = LabelMap(labels.array, AFFINE + shift, {})
    rounded = LabelMap(labels.array, AFFINE * (1 + 1e-7), {})
    for other in (cropped, moved):
        with pytest.raises(BadInput):
            compare_structures(labels, other)
        with pytest.raises(BadInput):
            compare_structures(labels, labels, other)
    assert compare_structures(labels, rounded, labels)[0].dice_enhanced == 1.0
