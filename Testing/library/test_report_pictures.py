"""The pictures: which side is which, true proportions, one window, the notice, and bars as long as their figures."""

from __future__ import annotations

import itertools
import struct
import subprocess
import sys
import warnings
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.evaluation.panels import DPI, NOTICE, to_png, to_ras
from LowFieldEnhanceLib.evaluation.pictures import (
    BAR_LIMIT,
    label_overlay_figure,
    label_overlay_picture,
    residual_figure,
    residual_picture,
    three_plane_figure,
    three_plane_picture,
    volume_bars,
    volume_bars_figure,
)
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.segmentation.labels import LabelMap, label_by_id

SHAPE = (30, 36, 24)
AFFINE = np.diag([2.0, 2.0, 5.0, 1.0])


def image(array: np.ndarray | None = None, affine: np.ndarray = AFFINE) -> Image:
    return Image(np.random.default_rng(0).uniform(100, 900, SHAPE) if array is None else array, affine, "T1w")


def whole() -> np.ndarray:
    return np.ones(SHAPE, bool)


def panels(figure: Figure) -> list[Axes]:
    """The axes with a cut, in the order of drawing (colour bars have no letters)."""
    return [axes for axes in figure.axes if axes.images and {t.get_text() for t in axes.texts} & {"L", "P"}]


def texts(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.findobj(Text))


def bright_side(axes: Axes) -> tuple[str, str]:
    """Where on the panel the brightest part lies, as a reader sees it."""
    drawn = np.asarray(axes.images[0].get_array())
    rows, columns = np.nonzero(drawn > 0.9 * drawn.max())
    assert axes.images[0].origin == "lower"
    return (
        "left" if columns.mean() < drawn.shape[1] / 2 else "right",
        "top" if rows.mean() > drawn.shape[0] / 2 else "bottom",
    )


def test_the_patients_right_front_and_head_are_left_left_and_top() -> None:
    array = np.zeros(SHAPE)
    array[12:, 15:, 10:] = 1000  # to the right, the front and the top of a RAS grid, over the centre
    figure = three_plane_figure(image(array), image(array), None, whole())
    axial, coronal, sagittal = panels(figure)[:3]
    assert [bright_side(axes) for axes in (axial, coronal, sagittal)] == [("left", "top")] * 3
    for axes, letters in ((axial, "RL"), (coronal, "RL"), (sagittal, "AP")):
        places = {text.get_text(): text.get_position()[0] for text in axes.texts}
        assert places[letters[0]] < 0.5 < places[letters[1]]
    assert "patient's right" in texts(figure)


def test_anisotropic_voxels_keep_their_shape() -> None:
    figure = three_plane_figure(image(), image(), None, whole())
    figure.canvas.draw()
    for axes, (across, up) in zip(panels(figure)[:3], ((60, 72), (60, 120), (72, 120)), strict=True):
        assert axes.images[0].get_extent() == pytest.approx([0, across, 0, up])
        box = axes.get_window_extent()
        assert box.width / box.height == pytest.approx(across / up, rel=1e-3)
    rows = zip(panels(figure)[:3], (60, 60, 72), strict=True)
    widths = [axes.get_window_extent().width / across for axes, across in rows]
    assert max(widths) == pytest.approx(min(widths), rel=1e-3)  # all planes at one scale


def test_input_and_enhanced_share_one_window_and_the_reference_has_its_own() -> None:
    before, enhanced = image(), image(image().array * 1.5)
    figure = three_plane_figure(before, enhanced, None, whole(), image(image().array * 7))
    first, second, third = (axes.images[0].get_clim() for axes in panels(figure)[:9:3])
    both = np.concatenate([before.array.ravel(), enhanced.array.ravel()])
    assert first == second == pytest.approx(tuple(np.percentile(both, [1, 99.5])))
    assert third == pytest.approx(tuple(np.percentile(before.array * 7, [1, 99.5])))


def test_the_window_looks_at_the_brain_only() -> None:
    array, mask = np.full(SHAPE, 1e6), np.zeros(SHAPE, bool)
    mask[8:20, 8:20, 8:20] = True
    array[mask] = np.random.default_rng(1).uniform(0, 10, mask.sum())
    low, high = panels(three_plane_figure(image(array), image(array), None, mask))[0].images[0].get_clim()
    assert 0 <= low < high <= 10


def test_the_cuts_go_through_the_brains_centre() -> None:
    mask = np.zeros(SHAPE, bool)
    mask[4:9, 10:21, 3:6] = True  # centre 6, 15, 4
    marked = np.zeros(SHAPE)
    marked[6, 15, 4] = 1000
    for axes in panels(three_plane_figure(image(marked), image(marked), None, mask))[:3]:
        assert np.asarray(axes.images[0].get_array()).max() == 1000


def test_the_change_is_enhanced_minus_input_on_a_map_with_zero_in_its_middle() -> None:
    figure = three_plane_figure(image(), image(image().array + 25), None, whole())
    change = panels(figure)[6].images[0]
    np.testing.assert_allclose(np.asarray(change.get_array()), 25, atol=1e-3)
    assert change.get_clim() == pytest.approx((-25, 25), abs=1e-3)
    assert "change" in texts(figure)


def test_the_notice_is_on_every_enhanced_panel_and_on_no_other() -> None:
    figure = three_plane_figure(image(), image(), image(), whole(), image())
    marked = [NOTICE in [text.get_text() for text in axes.texts] for axes in panels(figure)]
    assert marked == [False] * 3 + [True] * 3 + [False] * 9
    overlay = label_overlay_figure(image(), LabelMap(whole() * 10, AFFINE, {}))
    assert all(NOTICE in [text.get_text() for text in axes.texts] for axes in panels(overlay))


def test_the_residual_column_is_the_residual_at_the_same_place() -> None:
    coarse = np.random.default_rng(2).normal(size=(30, 36, 8))
    affine = np.diag([2.0, 2.0, 15.0, 1.0])
    affine[2, 3] = 5.0  # one slice over three of the fine grid
    residual = Image(coarse, affine)
    figure = three_plane_figure(image(), image(), residual, whole())
    drawn = np.asarray(panels(figure)[9].images[0].get_array())  # axial, k = 12, slice 4
    np.testing.assert_allclose(drawn, coarse[:, :, 4].T[:, ::-1], atol=1e-5)
    assert panels(figure)[9].images[0].get_clim() == (-5, 5)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, -1), (-1, -1, 1)])
def test_any_orientation_becomes_ras_with_every_voxel_where_it_was(
    order: tuple[int, ...], signs: tuple[int, ...]
) -> None:
    array = np.arange(4 * 5 * 6, dtype=float).reshape(4, 5, 6)
    affine = np.eye(4)
    affine[:3, :3] = (np.eye(3) * signs)[:, order] * [1.0, 2.0, 3.0]
    affine[:3, 3] = (10, -20, 30)
    ras = to_ras(Image(array, affine))
    assert (np.diag(ras.affine)[:3] > 0).all()
    for index in itertools.product(*map(range, ras.shape)):
        old = np.round(np.linalg.solve(affine, ras.affine @ [*index, 1])[:3]).astype(int)
        assert ras.array[index] == array[tuple(old)]


def test_the_residual_montage_shows_acquired_slices_from_minus_five_to_five() -> None:
    array = np.zeros((20, 30, 9))  # j is cut at 1 mm, the slices lie along k
    array[4:16, 4:26, 2:7] = np.random.default_rng(3).normal(size=(12, 22, 5))
    figure = residual_figure(Image(array, np.diag([1.6, 1.6, 5.0, 1.0])))
    drawn = panels(figure)
    assert len(drawn) == 5  # slices outside of the brain are left out
    assert all(axes.images[0].get_clim() == (-5, 5) for axes in drawn)
    for axes, index in zip(drawn, range(2, 7), strict=True):
        shown = np.asarray(axes.images[0].get_array())
        assert shown.sum() == pytest.approx(array[:, :, index].sum(), rel=1e-4)


def test_the_residual_montage_follows_the_thick_axis_and_stops_at_twenty() -> None:
    sagittal_slices = Image(np.ones((40, 30, 28)), np.diag([5.0, 1.6, 1.6, 1.0]))
    drawn = panels(residual_figure(sagittal_slices))
    assert len(drawn) == 20
    assert {text.get_text() for text in drawn[0].texts} == {"A", "P"}


def test_labels_are_drawn_in_freesurfers_colours_where_they_lie() -> None:
    array = np.zeros(SHAPE, np.uint8)
    array[5:25, 5:30, 4:20] = 2
    array[18:22, 10:14, 10] = 49  # right thalamus
    array[8:12, 10:14, 10] = 10
    figure = label_overlay_figure(image(), LabelMap(array, AFFINE, {}))
    axial = panels(figure)[0]
    overlay = np.asarray(axial.images[1].get_array())
    for label in (49, 10):
        drawn = np.isclose(overlay[..., :3], np.array(label_by_id()[label].colour) / 255).all(axis=-1)
        assert drawn.sum() == 2 * 16  # both sides have one colour
        assert np.nonzero(drawn)[1].min() < drawn.shape[1] / 2 < np.nonzero(drawn)[1].max()
    assert (overlay[..., 3] == 0).any()  # nothing over the background
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["Cerebral White Matter", "Thalamus"]


def test_ids_outside_of_the_table_take_their_structures_colour() -> None:
    array = np.zeros(SHAPE, np.uint8)
    array[5:25, 5:30, 4:20] = 31  # choroid plexus belongs to the lateral ventricle
    legend = label_overlay_figure(image(), LabelMap(array, AFFINE, {})).legends[0]
    assert [text.get_text() for text in legend.get_texts()] == ["Lateral Ventricle"]


def bars(figure: Figure) -> list[float]:
    return [bar.get_width() for bar in figure.axes[0].patches]


def report(**columns: list[Any]) -> dict[str, Any]:
    names = [{"name": f"Structure {n}"} for n in range(len(next(iter(columns.values()))))]
    return {"structures": [{**row, **{k: v[n] for k, v in columns.items()}} for n, row in enumerate(names)]}


def test_bars_are_as_long_as_the_change_and_cut_with_their_figure_beyond_the_axis() -> None:
    figure = volume_bars_figure(report(change_percent=[12.5, -40.0, 250.0, None]))
    assert bars(figure) == pytest.approx([12.5, -40.0, BAR_LIMIT, 0.0])
    assert "+250 %" in texts(figure) and "not defined" in texts(figure)
    assert "against the input" in texts(figure)


def test_with_a_reference_there_are_bars_of_both_against_it() -> None:
    figure = volume_bars_figure(report(error_input_percent=[30.0, -20.0], error_enhanced_percent=[5.0, 2.0]))
    assert bars(figure) == pytest.approx([30.0, -20.0, 5.0, 2.0])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["input", "enhanced"]
    assert "against the reference" in texts(figure)


def test_without_labels_of_the_result_the_inputs_volumes_are_drawn() -> None:
    figure = volume_bars_figure(report(volume_input_ml=[500.0, 1.5]))
    assert bars(figure) == pytest.approx([500.0, 1.5])


def test_no_picture_without_a_reference_speaks_of_error() -> None:
    labels = LabelMap(whole() * 10, AFFINE, {})
    figures = (
        three_plane_figure(image(), image(), image(), whole()),
        residual_figure(image()),
        label_overlay_figure(image(), labels),
        volume_bars_figure(report(change_percent=[300.0, None])),
    )
    for figure in figures:
        assert "error" not in texts(figure).lower()


def test_pictures_are_png_of_the_figures_size_the_same_every_time_and_marked() -> None:
    figure = three_plane_figure(image(), image(), None, whole())
    first = three_plane_picture(image(), image(), None, whole())
    assert first[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", first[16:24]) == pytest.approx(figure.get_size_inches() * DPI, abs=1)
    assert first == to_png(figure)
    assert NOTICE.encode() in first


def places(figure: Figure) -> list[tuple[float, float, float, float]]:
    """Left, right, low and high end of every panel, 0..1."""
    return [(box.x0, box.x1, box.y0, box.y1) for box in (axes.get_position() for axes in figure.axes)]


def test_the_narrow_layouts_show_the_same_cuts_two_side_by_side_without_overlap() -> None:
    labels = LabelMap(whole() * 10, AFFINE, {})
    pairs = [
        [three_plane_figure(image(), image(), None, whole(), image(), narrow=narrow) for narrow in (False, True)],
        [label_overlay_figure(image(), labels, narrow=narrow) for narrow in (False, True)],
    ]
    for wide, narrow in pairs:
        assert narrow.get_size_inches()[0] < 0.7 * wide.get_size_inches()[0]
        for one, other in zip(panels(wide), panels(narrow), strict=True):
            assert np.array_equal(one.images[0].get_array(), other.images[0].get_array())
            assert [text.get_text() for text in one.texts[:2]] == [text.get_text() for text in other.texts[:2]]
        for one, other in itertools.combinations(places(narrow), 2):
            assert one[0] >= other[1] or other[0] >= one[1] or one[2] >= other[3] or other[2] >= one[3]
        assert all(0 <= low < high <= 1 for box in places(narrow) for low, high in (box[:2], box[2:]))


def test_empty_masks_and_constant_images_still_give_pictures() -> None:
    flat, none = image(np.full(SHAPE, 5.0)), np.zeros(SHAPE, bool)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for data in (
            three_plane_picture(flat, flat, None, none),
            residual_picture(image(np.zeros(SHAPE))),
            label_overlay_picture(flat, LabelMap(none, AFFINE, {})),
            volume_bars({"structures": []}),
        ):
            assert data.startswith(b"\x89PNG")


def test_images_on_different_grids_are_refused() -> None:
    with pytest.raises(BadInput, match="grid"):
        three_plane_figure(image(), Image(np.ones((4, 4, 4)), AFFINE), None, whole())


def test_drawing_leaves_matplotlibs_settings_alone() -> None:
    before = dict(matplotlib.rcParams)
    three_plane_picture(image(), image(), None, whole())
    assert dict(matplotlib.rcParams) == before


def test_pyplot_is_never_imported() -> None:
    code = "import sys, LowFieldEnhanceLib.evaluation.html; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
