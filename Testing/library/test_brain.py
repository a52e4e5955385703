"""The brain mask from labels, and the weight that blends a brain back into its head."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from LowFieldEnhanceLib.preprocess.brain import brain_mask, dilated, feathered, is_stripped
from LowFieldEnhanceLib.segmentation.labels import LabelMap


def ball(radius: float, size: int = 25, centre: tuple[float, float, float] = (12, 12, 12)) -> np.ndarray:
    grids = np.meshgrid(*(np.arange(size),) * 3, indexing="ij")
    return sum((g - c) ** 2 for g, c in zip(grids, centre, strict=True)) <= radius**2


def labelled(array: np.ndarray, spacing: float = 1.0) -> LabelMap:
    return LabelMap(array.astype(np.uint8), np.diag([spacing, spacing, spacing, 1]), {})


def test_the_brain_contains_its_ventricles_and_leaves_the_outer_fluid_out() -> None:
    array = np.where(ball(11), 24, 0)
    array[ball(8)] = 3
    array[ball(5)] = 0  # an unlabelled hole
    array[ball(3)] = 4
    np.testing.assert_array_equal(brain_mask(labelled(array)), ball(8))


def test_a_narrow_sulcus_belongs_to_the_brain() -> None:
    array = np.where(ball(9), 2, 0)
    array[12, 12:, :] = 0
    closed = brain_mask(labelled(array))
    assert closed[12, 16, 12]
    assert not closed[~ball(9)].any()


@pytest.mark.parametrize("spacing", [1.0, 2.0])
@pytest.mark.parametrize(("width_mm", "bridged"), [(8, True), (14, False)])
def test_fluid_between_two_parts_belongs_to_the_brain_up_to_ten_millimetres(
    spacing: float, width_mm: float, bridged: bool
) -> None:
    array = np.full((40, 24, 24), 3)
    slit = slice(10, 10 + int(width_mm / spacing))
    array[slit] = 24
    array[slit, 8:16, 22:] = 3  # the parts hang together
    assert bool(brain_mask(labelled(array, spacing))[slit.start + 2, 12, 12]) is bridged


def test_only_the_largest_part_is_the_brain() -> None:
    array = np.where(ball(7), 41, 0)
    array[ball(2, centre=(22, 22, 22))] = 3
    np.testing.assert_array_equal(brain_mask(labelled(array)), ball(7))


def test_a_brain_that_touches_the_border_is_not_eaten_there() -> None:
    array = np.full((12, 12, 12), 2)
    assert brain_mask(labelled(array)).all()


def test_no_labels_make_no_brain() -> None:
    assert not brain_mask(labelled(np.zeros((9, 9, 9)))).any()


def test_dilation_grows_by_voxels_along_the_axes() -> None:
    point = np.zeros((9, 9, 9), dtype=bool)
    point[4, 4, 4] = True
    distance = sum(np.abs(g - 4) for g in np.meshgrid(*(np.arange(9),) * 3, indexing="ij"))
    np.testing.assert_array_equal(dilated(point, 2), distance <= 2)
    np.testing.assert_array_equal(dilated(point, 0), point)


@pytest.mark.parametrize("width", [1.5, 3.0])
def test_the_feather_is_the_distance_to_the_outside_over_its_width(width: float) -> None:
    mask = ball(5, 15, (7, 7, 7))
    inside, outside = np.argwhere(mask), np.argwhere(~mask)
    expected = np.zeros(mask.shape)
    expected[mask] = np.clip(cKDTree(outside).query(inside)[0] / width, 0, 1)
    np.testing.assert_allclose(feathered(mask, width), expected, atol=1e-6)


def test_a_mask_without_an_outside_is_not_feathered() -> None:
    np.testing.assert_array_equal(feathered(np.ones((6, 6, 6), dtype=bool)), 1.0)


@pytest.mark.parametrize("snr", [8.0, 20.0])
@pytest.mark.parametrize("scalp", [0.0, 0.6])
def test_a_scan_is_stripped_if_nothing_bright_lies_off_its_brain(snr: float, scalp: float) -> None:
    rng = np.random.default_rng(0)
    brain = ball(12, 60, (30, 30, 30))
    skin = ball(24, 60, (30, 30, 30)) & ~ball(20, 60, (30, 30, 30))
    clean = np.where(brain, 0.8, np.where(skin, scalp, 0.0))
    noisy = np.hypot(clean + rng.standard_normal(clean.shape) / snr, rng.standard_normal(clean.shape) / snr)
    assert is_stripped(noisy, brain, (1.0, 1.0, 1.0)) == (scalp == 0)


def test_a_brain_that_fills_the_field_of_view_counts_as_stripped() -> None:
    assert is_stripped(np.ones((8, 8, 8)), np.ones((8, 8, 8), dtype=bool), (1.0, 1.0, 1.0))
