"""Dice of masks and label maps against counting."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.evaluation.overlap import dice, dice_per_label, label_counts


def box(*slices: slice) -> np.ndarray:
    mask = np.zeros((10, 10, 10), bool)
    mask[slices] = True
    return mask


def test_dice_of_two_boxes_is_their_shared_volume() -> None:
    a = box(slice(0, 4), slice(0, 4), slice(0, 4))  # 64 voxels
    b = box(slice(2, 4), slice(0, 4), slice(0, 6))  # 48 voxels, 32 of them shared
    assert dice(a, b) == pytest.approx(2 * 32 / (64 + 48))
    assert dice(a, a) == 1.0
    assert dice(a, box(slice(5, 9), slice(0, 4), slice(0, 4))) == 0.0


def test_dice_of_empty_masks_is_undefined_and_of_one_empty_mask_is_zero() -> None:
    empty, full = np.zeros((3, 3, 3)), np.ones((3, 3, 3))
    assert math.isnan(dice(empty, empty))
    assert dice(empty, full) == dice(full, empty) == 0.0


@settings(max_examples=40, deadline=None, database=None)
@given(
    a=arrays.arrays(np.uint8, (4, 3, 2), elements=st.integers(0, 5)),
    b=arrays.arrays(np.uint8, (4, 3, 2), elements=st.integers(0, 5)),
)
def test_dice_per_label_equals_counting_sets(a: np.ndarray, b: np.ndarray) -> None:
    scores = dice_per_label(a, b)
    assert list(scores) == sorted({*a.ravel().tolist(), *b.ravel().tolist()} - {0})
    for label, score in scores.items():
        in_a, in_b = ({tuple(v) for v in np.argwhere(x == label).tolist()} for x in (a, b))
        assert score == pytest.approx(2 * len(in_a & in_b) / (len(in_a) + len(in_b)))
        assert score == pytest.approx(dice(a == label, b == label))
    assert dice_per_label(b, a) == scores


def test_the_asked_labels_are_reported_even_if_absent() -> None:
    a = np.array([[[0, 2, 2]]], np.uint8)
    b = np.array([[[0, 0, 2]]], np.int64)
    scores = dice_per_label(a, b, labels=[0, 2, 9])
    assert list(scores) == [0, 2, 9]
    assert scores[0] == pytest.approx(2 / 3)
    assert scores[2] == pytest.approx(2 / 3)
    assert math.isnan(scores[9])


def test_label_counts_are_voxels_and_handle_large_ids() -> None:
    assert label_counts(np.array([[0, 3], [3, 2035]])) == {0: 1, 3: 2, 2035: 1}
    assert label_counts(np.array([True, False, True])) == {0: 1, 1: 2}
    assert label_counts(np.zeros((0, 3), np.uint8)) == {}


def test_what_is_not_a_pair_of_label_maps_is_refused() -> None:
    labels = np.ones((2, 2, 2), np.uint8)
    with pytest.raises(BadInput, match="shapes"):
        dice_per_label(labels, labels[:1])
    with pytest.raises(BadInput, match="shapes"):
        dice(labels, labels[:1])
    with pytest.raises(BadInput, match="whole numbers"):
        dice_per_label(labels.astype(float), labels)
    with pytest.raises(BadInput, match="negative"):
        dice_per_label(labels, -labels.astype(np.int16))
