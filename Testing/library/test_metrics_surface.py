"""Surface distances against planes, single voxels, and all pairs of points."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.evaluation.surface import (
    SurfaceDistances,
    assd,
    hd95,
    spacing_mm,
    surface_dice,
    surface_distances,
    surface_scores,
    surface_voxels,
)

UNIT = (1.0, 1.0, 1.0)


def plane(k: int) -> np.ndarray:
    mask = np.zeros((6, 7, 12), bool)
    mask[:, :, k] = True
    return mask


@pytest.mark.parametrize(("spacing", "distance"), [(UNIT, 4.0), ((1.0, 1.0, 2.5), 10.0), ((3.0, 3.0, 0.5), 2.0)])
def test_two_parallel_planes_are_everywhere_their_distance_apart(
    spacing: tuple[float, float, float], distance: float
) -> None:
    scores = surface_scores(plane(3), plane(7), spacing)
    assert scores.hd95_mm == pytest.approx(distance)
    assert scores.assd_mm == pytest.approx(distance)
    assert scores.surface_dice == 0.0
    assert surface_scores(plane(3), plane(7), spacing, tolerance_mm=distance).surface_dice == 1.0


def test_single_voxels_are_apart_by_the_physical_diagonal() -> None:
    a, b = np.zeros((2, 5, 5, 5))
    a[1, 1, 1] = b[2, 2, 2] = 1
    assert surface_scores(a, b, (1.0, 2.0, 3.0)).hd95_mm == pytest.approx(math.sqrt(14))


def test_identical_masks_have_no_distance() -> None:
    mask = np.zeros((8, 8, 8), bool)
    mask[2:6, 1:7, 3:5] = True
    scores = surface_scores(mask, mask, UNIT, tolerance_mm=0.0)
    assert (scores.hd95_mm, scores.assd_mm, scores.surface_dice) == (0.0, 0.0, 1.0)


def test_all_scores_equal_brute_force_over_all_pairs_of_surface_points() -> None:
    rng = np.random.default_rng(6)
    spacing = np.array([0.9, 1.3, 2.1])
    for _ in range(5):
        a, b = rng.random((2, 9, 8, 7)) > 0.6
        points_a, points_b = (np.argwhere(explicit_surface(m)) * spacing for m in (a, b))
        pairs = cdist(points_a, points_b)
        to_b, to_a = pairs.min(axis=1), pairs.min(axis=0)
        scores = surface_scores(a, b, spacing, tolerance_mm=1.0)
        assert scores.hd95_mm == pytest.approx(max(np.quantile(to_b, 0.95), np.quantile(to_a, 0.95)))
        assert scores.assd_mm == pytest.approx((to_b.sum() + to_a.sum()) / (len(to_b) + len(to_a)))
        close = (to_b <= 1).sum() + (to_a <= 1).sum()
        assert scores.surface_dice == pytest.approx(close / (len(to_b) + len(to_a)))


def explicit_surface(mask: np.ndarray) -> np.ndarray:
    """Voxels with at least one of six neighbours outside, the grid's outside included."""
    padded = np.pad(mask, 1)
    inner = np.ones_like(mask)
    for axis in range(3):
        for shift in (-1, 1):
            inner &= np.roll(padded, shift, axis)[1:-1, 1:-1, 1:-1]
    return mask & ~inner


def test_surface_voxels_are_the_shell() -> None:
    mask = np.zeros((7, 7, 7), bool)
    mask[1:6, 1:6, 1:6] = True
    assert surface_voxels(mask).sum() == 5**3 - 3**3
    assert surface_voxels(np.ones((4, 4, 4), bool)).sum() == 4**3 - 2**3  # the grid's edge is a surface


def test_hd95_is_the_larger_direction_and_leaves_out_the_last_twentieth() -> None:
    distances = SurfaceDistances(a_to_b=np.r_[np.zeros(96), np.full(4, 50.0)], b_to_a=np.full(10, 2.0))
    assert hd95(distances) == 2.0
    assert hd95(SurfaceDistances(distances.b_to_a, distances.a_to_b)) == 2.0
    assert hd95(SurfaceDistances(np.linspace(0, 100, 101), np.zeros(5))) == pytest.approx(95.0)
    assert assd(distances) == pytest.approx((200 + 20) / 110)


def test_surface_dice_counts_both_surfaces() -> None:
    distances = SurfaceDistances(a_to_b=np.array([0.0, 0.5, 3.0]), b_to_a=np.array([1.0]))
    assert surface_dice(distances) == pytest.approx(3 / 4)
    assert surface_dice(distances, tolerance_mm=0.5) == pytest.approx(2 / 4)


def test_a_neighbour_stays_within_one_millimetre_despite_header_rounding() -> None:
    scores = surface_scores(plane(3), plane(4), (1.0, 1.0, 1.0000002))
    assert scores.surface_dice == 1.0


def test_the_place_in_the_grid_does_not_matter() -> None:
    rng = np.random.default_rng(7)
    a, b = rng.random((2, 5, 5, 5)) > 0.5
    large_a, large_b = np.zeros((2, 20, 18, 16), bool)
    large_a[9:14, 2:7, 5:10], large_b[9:14, 2:7, 5:10] = a, b
    assert surface_scores(large_a, large_b, UNIT) == surface_scores(np.pad(a, 1), np.pad(b, 1), UNIT)


def test_swapping_the_masks_changes_nothing_and_twice_the_spacing_doubles_the_distances() -> None:
    rng = np.random.default_rng(8)
    a, b = rng.random((2, 6, 6, 6)) > 0.7
    scores = surface_scores(a, b, (1.0, 2.0, 1.5))
    swapped = surface_scores(b, a, (1.0, 2.0, 1.5))
    doubled = surface_scores(a, b, (2.0, 4.0, 3.0), tolerance_mm=2.0)
    assert (swapped.hd95_mm, swapped.surface_dice) == (scores.hd95_mm, scores.surface_dice)
    assert swapped.assd_mm == pytest.approx(scores.assd_mm)
    assert doubled.hd95_mm == pytest.approx(2 * scores.hd95_mm)
    assert doubled.assd_mm == pytest.approx(2 * scores.assd_mm)


def test_an_empty_structure_has_no_distance() -> None:
    empty = np.zeros((6, 7, 12), bool)
    for a, b in ((empty, plane(1)), (plane(1), empty), (empty, empty)):
        scores = surface_scores(a, b, UNIT)
        assert all(math.isnan(v) for v in (scores.hd95_mm, scores.assd_mm, scores.surface_dice))


def test_the_spacing_of_an_oblique_affine_is_its_column_lengths() -> None:
    c, s = math.cos(0.3), math.sin(0.3)
    affine = np.eye(4)
    affine[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, -1]]) @ np.diag([1.6, 1.5, 5.0])
    affine[:3, 3] = (-80, 12, 40)
    assert spacing_mm(affine) == pytest.approx((1.6, 1.5, 5.0))
    assert surface_scores(plane(3), plane(5), affine).hd95_mm == pytest.approx(10.0)


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(BadInput, match="shapes"):
        surface_distances(plane(1), plane(1)[:2], UNIT)
    with pytest.raises(BadInput, match="2 dimensions"):
        surface_distances(np.ones((3, 3)), np.ones((3, 3)), UNIT)
    with pytest.raises(BadInput, match="three edges"):
        spacing_mm([1.0, 1.0])
    for bad in (0.0, -1.0, math.nan):
        with pytest.raises(BadInput, match="not above 0"):
            spacing_mm([1.0, bad, 1.0])
    with pytest.raises(BadInput, match="tolerance"):
        surface_scores(plane(1), plane(2), UNIT, tolerance_mm=-1.0)
