"""Where cuts stand in a figure: a grid of planes and layers, or one cut of each plane side by side.

Both come in the breadth of a page and, with two columns, in that of a phone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .panels import (
    DARK,
    LIGHT,
    MUTED,
    PLANES,
    Layer,
    Plane,
    box_around,
    box_size,
    centre_of,
    colour_bar,
    draw,
    panel,
    write,
)

PANEL_INCHES, GAP = 2.75, 0.08
TITLE_INCHES, BAR_INCHES, NOTE_INCHES = 0.36, 0.48, 0.5
NARROW_COLUMNS, NARROW_DPI = 2, 110


def plane_grid(
    layers: Sequence[Layer],
    inside: np.ndarray,
    spacing: tuple[float, float, float],
    note: str,
    margin_mm: float,
    columns: int | None = None,
) -> Figure:
    """The three planes through a mask's centre, one below the other, for each layer; all at one scale.

    Args:
        layers: on one RAS-like grid.
        inside: bool on the grid, not empty.
        spacing: mm.
        note: two lines at the very bottom.
        margin_mm: around the mask.
        columns: layers side by side; the others follow in blocks below. None: all of them.
    """
    columns = min(columns or len(layers), len(layers))
    blocks = [layers[n : n + columns] for n in range(0, len(layers), columns)]
    centre = centre_of(inside)
    box = box_around(inside, spacing, margin_mm)
    size = box_size(box, spacing)
    scale = PANEL_INCHES / max(size[0], size[1])
    planes = sum(size[plane.up] * scale + GAP for plane in PLANES)
    heights = [TITLE_INCHES + planes + BAR_INCHES * any(layer.bar for layer in block) for block in blocks]
    width, height = columns * (PANEL_INCHES + GAP) + GAP, sum(heights) + NOTE_INCHES
    figure = Figure(figsize=(width, height), facecolor=DARK)
    for number, block in enumerate(blocks):
        top = height - sum(heights[:number])
        for column, layer in enumerate(block):
            left, y = GAP + column * (PANEL_INCHES + GAP), top - TITLE_INCHES
            figure.text((left + PANEL_INCHES / 2) / width, (top - 0.2) / height, layer.title, color=LIGHT, fontsize=12,
                        ha="center", va="center")  # fmt: skip
            for plane in PLANES:
                across, up = size[plane.across] * scale, size[plane.up] * scale
                axes = panel(figure, left + (PANEL_INCHES - across) / 2, y - up, across, up)
                cut = centre[plane.axis] - box[plane.axis].start
                picture = draw(axes, layer.array[box], spacing, plane, cut, layer)
                if column == 0:
                    write(axes, 0.02, 0.02, plane.name, MUTED, va="bottom")
                y -= up + GAP
            if layer.bar:
                colour_bar(figure, picture, left + 0.2, y - 0.08, PANEL_INCHES - 0.4, layer.bar)
    figure.text(GAP / width, 0.24 / height, note, color=MUTED, fontsize=10, va="center", linespacing=1.5)
    return figure


def plane_row(
    size: tuple[float, float, float], bottom: float, columns: int = len(PLANES)
) -> tuple[Figure, list[tuple[Plane, Axes]]]:
    """A figure with a panel for each plane of a box, and these panels.

    Args:
        size: of the box, mm.
        bottom: free room below, inches.
        columns: panels side by side; a last row that is not full stands in the middle.
    """
    scale = PANEL_INCHES / max(size[0], size[1])
    rows = [PLANES[n : n + columns] for n in range(0, len(PLANES), columns)]
    tall = [max(size[plane.up] for plane in row) * scale for row in rows]
    width, height = columns * (PANEL_INCHES + GAP) + GAP, sum(tall) + GAP * (len(rows) + 1) + bottom
    figure = Figure(figsize=(width, height), facecolor=DARK)
    places, top = [], height - GAP
    for row, most in zip(rows, tall, strict=True):
        first = GAP + (columns - len(row)) * (PANEL_INCHES + GAP) / 2
        for n, plane in enumerate(row):
            across, up = size[plane.across] * scale, size[plane.up] * scale
            left = first + n * (PANEL_INCHES + GAP) + (PANEL_INCHES - across) / 2
            places.append((plane, panel(figure, left, top - (most + up) / 2, across, up)))
        top -= most + GAP
    return figure, places
