"""The picture sheet of a comparison: the same cuts of every image, at most four side by side, as PNG bytes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from ..image import Image
from .checks import check_same_shape
from .panels import DARK, LIGHT, MUTED, PLANES, Layer, box_around, box_size, draw, panel, to_png, window, write

COLUMNS = 4
PANEL_INCHES = 2.75
GAP = 0.08
MARGIN_MM = 8.0
TITLE_INCHES, NOTE_INCHES = 0.34, 0.52


def comparison_figure(
    before: Image, results: Sequence[tuple[str, Image]], brain: np.ndarray, reference: Image | None = None
) -> Figure:
    """Blocks of up to four images; in each block the three planes through the brain's centre, one below the other.

    Args:
        before: the input on the working grid; it comes first, and its window is the window of all results.
        results: title and enhanced image of each method, on the same grid.
        brain: bool on the grid.
        reference: on the grid; comes last, with a window of its own.

    Raises:
        BadInput: the shapes differ.
    """
    for array in (brain, *(i.array for _, i in results), *([] if reference is None else [reference.array])):
        check_same_shape(before.array, array, "the images and the brain mask of the sheet")
    inside = np.asarray(brain) != 0
    inside = inside if inside.any() else np.ones(before.shape, dtype=bool)
    shared = window(before.array[inside])
    layers = [Layer("input, interpolated", before.array, shared)]
    layers += [Layer(title, image.array, shared, notice=True) for title, image in results]
    if reference is not None:
        layers.append(Layer("reference, own window", reference.array, window(reference.array[inside])))
    columns = math.ceil(len(layers) / math.ceil(len(layers) / COLUMNS))  # blocks of about the same size
    blocks = [layers[n : n + columns] for n in range(0, len(layers), columns)]

    centre = [int(round(float(indices.mean()))) for indices in np.nonzero(inside)]
    box = box_around(inside, before.spacing, MARGIN_MM)
    size = box_size(box, before.spacing)
    scale = PANEL_INCHES / max(size[0], size[1])
    tall = TITLE_INCHES + sum(size[plane.up] * scale + GAP for plane in PLANES)
    width, height = columns * (PANEL_INCHES + GAP) + GAP, len(blocks) * tall + NOTE_INCHES
    figure = Figure(figsize=(width, height), facecolor=DARK)
    for n, block in enumerate(blocks):
        top = height - n * tall
        for column, layer in enumerate(block):
            left, y = GAP + column * (PANEL_INCHES + GAP), top - TITLE_INCHES
            figure.text((left + PANEL_INCHES / 2) / width, (top - 0.2) / height, layer.title, color=LIGHT, fontsize=12,
                        ha="center", va="center")  # fmt: skip
            for plane in PLANES:
                across, up = size[plane.across] * scale, size[plane.up] * scale
                axes = panel(figure, left + (PANEL_INCHES - across) / 2, y - up, across, up)
                cut = centre[plane.axis] - box[plane.axis].start
                draw(axes, layer.array[box], before.spacing, plane, cut, layer)
                if column == 0:
                    write(axes, 0.02, 0.02, plane.name, MUTED, va="bottom")
                y -= up + GAP
    note = (
        "Radiological orientation: R = patient's right, on the left; A = front.\n"
        f"All but the reference share the window of the input: {shared[0]:.4g} to {shared[1]:.4g}."
    )
    figure.text(GAP / width, 0.26 / height, note, color=MUTED, fontsize=10, va="center", linespacing=1.5)
    return figure


def comparison_picture(
    before: Image, results: Sequence[tuple[str, Image]], brain: np.ndarray, reference: Image | None = None
) -> bytes:
    """PNG of :func:`comparison_figure`."""
    return to_png(comparison_figure(before, results, brain, reference))
