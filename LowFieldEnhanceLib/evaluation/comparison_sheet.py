"""The picture sheet of a comparison: the same cuts of every image, at most four side by side, as PNG bytes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from ..image import Image
from .checks import check_same_shape
from .cut_grid import NARROW_COLUMNS, NARROW_DPI, plane_grid
from .panels import DPI, Layer, brain_or_all, to_png, window

COLUMNS = 4
MARGIN_MM = 8.0


def comparison_figure(
    before: Image,
    results: Sequence[tuple[str, Image]],
    brain: np.ndarray,
    reference: Image | None = None,
    spread: Image | None = None,
    narrow: bool = False,
) -> Figure:
    """Blocks of up to four images; in each block the three planes through the brain's centre, one below the other.

    Args:
        before: the input on the working grid; it comes first, and its window is the window of all results.
        results: title and enhanced image of each method, on the same grid.
        brain: bool on the grid.
        reference: on the grid, with a window of its own.
        spread: standard deviation among the results on the grid; comes last, in colour.
        narrow: two images side by side, for a phone.

    Raises:
        BadInput: the shapes differ.
    """
    further = [image.array for image in (reference, spread) if image is not None]
    for array in (brain, *(i.array for _, i in results), *further):
        check_same_shape(before.array, array, "the images and the brain mask of the sheet")
    inside = brain_or_all(brain)
    shared = window(before.array[inside])
    layers = [Layer("input, interpolated", before.array, shared)]
    layers += [Layer(title, image.array, shared, notice=True) for title, image in results]
    if reference is not None:
        layers.append(Layer("reference, own window", reference.array, window(reference.array[inside])))
    if spread is not None:
        limit = float(np.percentile(spread.array[inside], 99.5)) or 0.01 * (shared[1] - shared[0])
        bar = "standard deviation among methods"
        layers.append(Layer("disagreement", np.where(inside, spread.array, 0.0), (0.0, limit), "inferno", bar))
    columns = math.ceil(len(layers) / math.ceil(len(layers) / COLUMNS))  # blocks of about the same size
    note = (
        "Radiological orientation: R = patient's right, on the left; A = front.\n"
        f"Input and results share the input's window: {shared[0]:.4g} to {shared[1]:.4g}."
    )
    return plane_grid(layers, inside, before.spacing, note, MARGIN_MM, NARROW_COLUMNS if narrow else columns)


def comparison_picture(
    before: Image,
    results: Sequence[tuple[str, Image]],
    brain: np.ndarray,
    reference: Image | None = None,
    spread: Image | None = None,
    narrow: bool = False,
) -> bytes:
    """PNG of :func:`comparison_figure`."""
    figure = comparison_figure(before, results, brain, reference, spread, narrow)
    return to_png(figure, NARROW_DPI if narrow else DPI)
