"""The picture of added detail: what the scan does not support, in colour over the enhanced scan."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from ..image import Image
from .checks import check_same_shape
from .cut_grid import NARROW_COLUMNS, NARROW_DPI, plane_row
from .panels import (
    CHANGE_MAP,
    DPI,
    LIGHT,
    PLANES,
    Layer,
    box_around,
    box_size,
    brain_or_all,
    colour_bar,
    draw,
    oriented,
    to_png,
    window,
)

DETAIL_LIMIT = 100.0  # percent of the local contrast at the ends of the colour map
SHOWN_FROM, OPAQUE_FROM = 25.0, 75.0  # percent: below the first nothing is drawn over the scan
MARGIN_MM = 8.0
BOTTOM, LINE = 0.5, 0.18  # inches below the cuts: colour bar with one line of text, and a second line
TEXT = ("added detail, % of the local contrast:", "blue darker, orange brighter than the scan supports")


def added_detail_figure(
    enhanced: Image,
    percent: Image,
    brain: np.ndarray,
    centre_ras_mm: Sequence[float] | None = None,
    narrow: bool = False,
) -> Figure:
    """Axial, coronal and sagittal cuts of the enhanced scan with added detail over it, side by side.

    Args:
        enhanced, percent: on one RAS-like grid; the map in percent of the local contrast.
        brain: bool on the grid.
        centre_ras_mm: where to cut, with a cross there; None cuts through the brain's centre.
        narrow: two panels side by side, the third below, for a phone.

    Raises:
        BadInput: the shapes differ.
    """
    for array in (percent.array, brain):
        check_same_shape(enhanced.array, array, "the image, its added detail and the brain mask of the picture")
    inside = brain_or_all(brain)
    place = [float(indices.mean()) for indices in np.nonzero(inside)]
    if centre_ras_mm is not None:
        place = list((np.linalg.inv(enhanced.affine) @ [*centre_ras_mm, 1.0])[:3])
    centre = [int(np.clip(round(c), 0, n - 1)) for c, n in zip(place, enhanced.shape, strict=True)]
    box = box_around(inside, enhanced.spacing, MARGIN_MM)
    size = box_size(box, enhanced.spacing)
    base = Layer("enhanced", enhanced.array, window(enhanced.array[inside]), notice=True)
    bottom = BOTTOM + LINE * narrow
    figure, places = plane_row(size, bottom, NARROW_COLUMNS if narrow else len(PLANES))
    width, height = figure.get_size_inches()
    for plane, axes in places:
        cut = int(np.clip(centre[plane.axis] - box[plane.axis].start, 0, enhanced.array[box].shape[plane.axis] - 1))
        extent = draw(axes, enhanced.array[box], enhanced.spacing, plane, cut, base).get_extent()
        values = oriented(percent.array[box], plane, cut)
        opacity = np.clip((np.abs(values) - SHOWN_FROM) / (OPAQUE_FROM - SHOWN_FROM), 0.0, 1.0)
        picture = axes.imshow(
            values, cmap=CHANGE_MAP, vmin=-DETAIL_LIMIT, vmax=DETAIL_LIMIT, alpha=0.85 * opacity, extent=extent,
            origin="lower", interpolation="nearest",
        )  # fmt: skip
        if centre_ras_mm is not None:
            _cross(axes, centre, box, enhanced.spacing, plane, size)
    text = ("\n" if narrow else " ").join(TEXT)
    figure.text(0.5, (0.12 + LINE / 2 * narrow) / height, text, color=LIGHT, fontsize=9, ha="center", va="center")
    colour_bar(figure, picture, width / 2 - 2, bottom - 0.1, 4.0, "")
    return figure


def added_detail_picture(
    enhanced: Image,
    percent: Image,
    brain: np.ndarray,
    centre_ras_mm: Sequence[float] | None = None,
    narrow: bool = False,
) -> bytes:
    """PNG of :func:`added_detail_figure`."""
    figure = added_detail_figure(enhanced, percent, brain, centre_ras_mm, narrow)
    return to_png(figure, NARROW_DPI if narrow else DPI)


def _cross(axes, centre, box, spacing, plane, size) -> None:  # noqa: ANN001 - matplotlib's and numpy's own
    """Four short lines that leave the spot itself free."""
    x = size[plane.across] - (centre[plane.across] - box[plane.across].start + 0.5) * spacing[plane.across]
    y = (centre[plane.up] - box[plane.up].start + 0.5) * spacing[plane.up]
    for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        axes.plot([x + 8 * dx, x + 16 * dx], [y + 8 * dy, y + 16 * dy], color=LIGHT, linewidth=1.2)
