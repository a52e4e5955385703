"""The picture of added detail: colour where the map is, none where it is not, cut through the place asked for."""

from __future__ import annotations

import numpy as np
import pytest

from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.evaluation.overlays import added_detail_figure, added_detail_picture
from LowFieldEnhanceLib.evaluation.panels import NOTICE
from LowFieldEnhanceLib.image import Image

SHAPE = (30, 36, 24)
AFFINE = np.array([[2.0, 0, 0, -30], [0, 2.0, 0, -36], [0, 0, 3.0, -36], [0, 0, 0, 1]])
SPOT = (8, 25, 17)  # voxel
BRAIN = np.ones(SHAPE, bool)


def head() -> Image:
    return Image(np.random.default_rng(0).uniform(100, 900, SHAPE), AFFINE, "T1w")


def detail(value: float) -> Image:
    array = np.zeros(SHAPE)
    array[SPOT] = value
    return Image(array, AFFINE)


def place() -> list[float]:
    return list((AFFINE @ [*SPOT, 1.0])[:3])


@pytest.mark.parametrize("value", [90.0, -90.0])
def test_the_spot_is_in_all_three_cuts_at_its_place_and_nothing_else_is_coloured(value: float) -> None:
    figure = added_detail_figure(head(), detail(value), BRAIN, place())
    cuts = [axes for axes in figure.axes if len(axes.images) == 2]
    assert len(cuts) == 3
    for axes, (across, up) in zip(cuts, ((0, 1), (0, 2), (1, 2)), strict=True):
        opacity = np.asarray(axes.images[1].get_alpha())
        assert np.count_nonzero(opacity) == 1
        row, column = np.argwhere(opacity)[0]
        assert (row, SHAPE[across] - 1 - column) == (SPOT[up], SPOT[across])
        assert axes.images[1].get_array()[row, column] == value
        left, _, low, _ = axes.images[1].get_extent()
        step = AFFINE[across, across], AFFINE[up, up]
        middle = left + (column + 0.5) * step[0], low + (row + 0.5) * step[1]
        ends = np.concatenate([line.get_xydata() for line in axes.lines])
        assert ends.mean(axis=0) == pytest.approx(middle)  # the cross is around the spot
        assert NOTICE in [text.get_text() for text in axes.texts]


def test_what_is_below_a_quarter_of_the_local_contrast_stays_without_colour() -> None:
    for axes in added_detail_figure(head(), detail(24.0), BRAIN, place()).axes:
        if len(axes.images) == 2:
            assert not np.asarray(axes.images[1].get_alpha()).any()


def test_without_a_place_the_cut_goes_through_the_brains_centre_without_a_cross() -> None:
    figure = added_detail_figure(head(), detail(90.0), BRAIN)
    assert not [line for axes in figure.axes for line in axes.lines if len(axes.images) == 2]
    assert added_detail_picture(head(), detail(90.0), BRAIN).startswith(b"\x89PNG")


def test_other_grids_are_refused() -> None:
    with pytest.raises(BadInput, match="one grid"):
        added_detail_figure(head(), Image(np.zeros((3, 3, 3)), AFFINE), BRAIN)


def test_the_narrow_layout_shows_the_same_cuts() -> None:
    wide, narrow = (added_detail_figure(head(), detail(90.0), BRAIN, place(), narrow=n) for n in (False, True))
    assert narrow.get_size_inches()[0] < 0.7 * wide.get_size_inches()[0]
    pairs = zip(
        *([axes.images for axes in figure.axes if len(axes.images) == 2] for figure in (wide, narrow)), strict=True
    )
    for one, other in pairs:
        assert all(np.array_equal(a.get_array(), b.get_array()) for a, b in zip(one, other, strict=True))
