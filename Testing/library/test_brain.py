"""The brain mask from labels, and the weight that blends a brain back into its head."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial import cKDTree

from LowFieldEnhanceLib.preprocess.brain import brain_mask, depth, dilated, faded, feathered, is_stripped
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


@pytest.mark.parametrize("most", [1.5, 2.0, 3.0, 3.5])
@pytest.mark.parametrize("share", [0.5, 0.97])
def test_depth_is_the_clipped_distance_transform(most, share):
    """Ragged masks that touch the border; scipy's exact transform is the oracle."""
    mask = np.random.default_rng(int(10 * most)).random((15, 12, 18)) < share
    expected = np.minimum(ndimage.distance_transform_edt(mask), most)
    np.testing.assert_allclose(depth(mask, most), expected, rtol=1e-6)
    assert 1 < expected.max() and (expected < most).any()


@pytest.mark.parametrize("value", [True, False])
def test_a_mask_of_all_or_nothing_is_deep_everywhere_or_nowhere(value):
    np.testing.assert_array_equal(depth(np.full((5, 6, 7), value), 2.0), 2.0 * value)


def test_a_result_fades_with_its_distance_from_the_brain():
    brain = np.zeros((9, 9, 9), bool)
    brain[4, 4, 4] = True
    weight = faded(brain, 2)
    assert weight[4, 4, 4] == 1 and weight[4, 4, 5] == pytest.approx(2 / 3) and weight[4, 6, 4] == pytest.approx(1 / 3)
    assert weight[5, 5, 4] == pytest.approx(1 - 2**0.5 / 3)
    assert weight[5, 5, 5] == 0 and weight[4, 4, 7] == 0, "outside of what the brain is grown to"
    assert (faded(np.ones((4, 4, 4), bool), 2) == 1).all() and not faded(np.zeros((4, 4, 4), bool), 2).any()
