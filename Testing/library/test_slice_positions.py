"""Whether slices make a volume: hand-made positions on either side of each limit."""

from __future__ import annotations

import numpy as np
import pytest

from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.formats.slice_positions import check_alike, slice_step

NORMAL = np.array([0.0, 0.6, 0.8])  # right-angled to the first axis and to (0, 0.8, -0.6)
ACROSS = np.array([0.0, 0.8, -0.6])


def at(*along: float) -> np.ndarray:
    """Slices at these distances along the normal."""
    return np.outer(along, NORMAL) + [3.0, -4.0, 5.0]


def test_the_step_is_the_mean_gap_along_the_normal() -> None:
    np.testing.assert_allclose(slice_step(at(0, 5, 10, 15), NORMAL, "slices"), [0, 3, 4])
    np.testing.assert_allclose(slice_step(at(15, 10, 5, 0), NORMAL, "slices"), [0, -3, -4])
    np.testing.assert_allclose(slice_step(at(0, 2.0, 4.02, 6.0), NORMAL, "slices"), 2 * NORMAL)


@pytest.mark.parametrize(
    ("along", "even"),
    [
        ((0, 5, 10.2, 15.3), True),  # gaps of 5 to 5.2 mm: less than 5 % apart
        ((0, 5, 10.3, 15.4), False),
        ((0, 0.2, 0.415, 0.62), True),  # 0.015 mm, which is 7 % of a gap, and rounding
        ((0, 0.2, 0.425, 0.63), False),
        ((0, 5, 15, 20), False),
    ],
)
def test_gaps_may_differ_by_a_twentieth_or_by_rounding(along: tuple[float, ...], even: bool) -> None:
    if even:
        slice_step(at(*along), NORMAL, "slices")
        return
    with pytest.raises(BadInput, match="missing or doubled"):
        slice_step(at(*along), NORMAL, "slices")


@pytest.mark.parametrize("sign", [1, -1])
def test_slices_may_not_lie_aside_of_their_normal(sign: int) -> None:
    places = at(0, 5, 10, 15)
    places[2] += sign * 0.09 * ACROSS
    slice_step(places, NORMAL, "slices")
    places[2] += sign * 0.2 * ACROSS
    with pytest.raises(BadInput, match="shifted against one another by up to 0.3 mm"):
        slice_step(places, NORMAL, "slices")


@pytest.mark.parametrize("turn", [0.01, -0.01])
def test_slices_turned_in_either_direction_are_refused(turn: float) -> None:
    axes = np.tile([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], (4, 1, 1))
    spacings = np.full((4, 2), 1.6)
    check_alike(axes, spacings, "slices")
    axes[2] = [[np.cos(turn), 0.0, np.sin(turn)], [0.0, 1.0, 0.0]]
    with pytest.raises(BadInput, match="differently oriented"):
        check_alike(axes, spacings, "slices")


@pytest.mark.parametrize("edge", [1.59, 1.61])
def test_pixels_larger_or_smaller_than_the_others_are_refused(edge: float) -> None:
    axes = np.tile([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], (4, 1, 1))
    spacings = np.full((4, 2), 1.6)
    spacings[3, 1] = edge
    with pytest.raises(BadInput, match="different sizes"):
        check_alike(axes, spacings, "slices")


@pytest.mark.parametrize("edge", [0.0, -1.6, np.nan])
def test_pixels_without_a_size_are_refused_even_if_all_are_alike(edge: float) -> None:
    axes = np.tile([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], (4, 1, 1))
    with pytest.raises(BadInput, match="not above 0"):
        check_alike(axes, np.tile([1.6, edge], (4, 1)), "slices")


@pytest.mark.parametrize("axis", [0, 1])
def test_axes_without_direction_are_refused(axis: int) -> None:
    axes = np.tile([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], (4, 1, 1))
    axes[:, axis] = 0
    with pytest.raises(BadInput, match="without direction"):
        check_alike(axes, np.full((4, 2), 1.6), "slices")
