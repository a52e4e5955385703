"""The report's pictures as PNG bytes, drawn by matplotlib without pyplot and its global state.

Every figure comes in two steps, ``..._figure`` (a matplotlib Figure) and ``..._picture`` (PNG bytes). Planes are drawn
in radiological orientation: the patient's right (or front) is on the reader's left.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ..image import Image
from ..preprocess.grid import Grid, resample
from ..segmentation.labels import LabelMap, from_channels, label_by_id, label_table, to_channels
from .checks import check_same_shape
from .cut_grid import NARROW_COLUMNS, NARROW_DPI, plane_grid, plane_row
from .panels import (
    CHANGE_MAP,
    DARK,
    DPI,
    LIGHT,
    PLANES,
    Layer,
    box_around,
    box_size,
    brain_or_all,
    centre_of,
    colour_bar,
    draw,
    oriented,
    panel,
    to_png,
    to_ras,
    window,
)
from .uncertainty import EXPECTED

MARGIN_MM = 12.0
RESIDUAL_LIMITS = (-5.0, 5.0)  # in standard deviations of the noise
MONTAGE_COLUMNS, MONTAGE_SLICES, MONTAGE_INCHES = 5, 20, 1.6
OVERLAY = 0.55
SERIES = {"input": "#8c8c8c", "enhanced": "#0072b2"}  # as in the Slicer chart; apart for colour-blind readers
BAR_LIMIT = 60.0
UNCERTAINTY_BAR = 0.75  # inches below the cuts


def three_plane_figure(
    before: Image,
    enhanced: Image,
    residual: Image | None,
    brain: np.ndarray,
    reference: Image | None = None,
    narrow: bool = False,
) -> Figure:
    """Axial, coronal and sagittal cuts through the brain's centre; columns input, enhanced, (reference), change.

    Args:
        before, enhanced, reference: on one RAS-like grid; input and enhanced share one window.
        residual: fidelity residual in sigma on any grid; adds a column (nearest neighbour), None leaves it out.
        brain: bool on the grid.
        narrow: two columns side by side, the others below, for a phone.

    Raises:
        BadInput: the shapes differ.
    """
    for array in (enhanced.array, brain, *([] if reference is None else [reference.array])):
        check_same_shape(before.array, array, "the images and the brain mask of the picture")
    inside = brain_or_all(brain)
    shared = window(np.concatenate([before.array[inside], enhanced.array[inside]]))
    change = enhanced.array - before.array
    limit = float(np.percentile(np.abs(change[inside]), 99.5)) or 0.01 * (shared[1] - shared[0])
    layers = [
        Layer("input, interpolated", before.array, shared),
        Layer("enhanced", enhanced.array, shared, notice=True),
    ]
    if reference is not None:
        layers.append(Layer("reference, own window", reference.array, window(reference.array[inside])))
    layers.append(Layer("change", change, (-limit, limit), CHANGE_MAP, "enhanced minus input, intensity"))
    if residual is not None:
        moved = resample(residual, Grid.of(before), "nearest").array
        layers.append(Layer("residual", moved, RESIDUAL_LIMITS, CHANGE_MAP, "scan minus model, in noise SD"))
    note = (
        "Radiological orientation: R = patient's right, on the left; A = front.\n"
        f"Input and enhanced share one window: {shared[0]:.4g} to {shared[1]:.4g}."
    )
    return plane_grid(layers, inside, before.spacing, note, MARGIN_MM, NARROW_COLUMNS if narrow else None)


def three_plane_picture(
    before: Image,
    enhanced: Image,
    residual: Image | None,
    brain: np.ndarray,
    reference: Image | None = None,
    narrow: bool = False,
) -> bytes:
    """PNG of :func:`three_plane_figure`."""
    figure = three_plane_figure(before, enhanced, residual, brain, reference, narrow)
    return to_png(figure, NARROW_DPI if narrow else DPI)


def residual_figure(residual: Image) -> Figure:
    """Up to 20 slices of the fidelity residual (y - A x) / sigma as acquired, -5 to 5, along the thickest axis."""
    ras = to_ras(residual)
    measured = ras.array != 0
    measured = measured if measured.any() else np.ones(ras.shape, dtype=bool)
    axis = int(np.argmax(ras.spacing)) if max(ras.spacing) > 1.2 * min(ras.spacing) else 2
    plane = next(p for p in PLANES if p.axis == axis)
    box = box_around(measured, ras.spacing, 4.0)
    size = box_size(box, ras.spacing)
    held = np.flatnonzero(measured.any(axis=tuple({0, 1, 2} - {axis})))
    indices = np.unique(np.linspace(held[0], held[-1], MONTAGE_SLICES).round().astype(int))
    tall, gap, bottom = MONTAGE_INCHES * size[plane.up] / size[plane.across], 0.05, 0.7
    rows = -(-len(indices) // MONTAGE_COLUMNS)
    width, height = MONTAGE_COLUMNS * (MONTAGE_INCHES + gap) + gap, rows * (tall + gap) + gap + bottom
    figure = Figure(figsize=(width, height), facecolor=DARK)
    layer = Layer("residual", ras.array, RESIDUAL_LIMITS, CHANGE_MAP)
    for n, index in enumerate(indices):
        row, column = divmod(n, MONTAGE_COLUMNS)
        left, low = gap + column * (MONTAGE_INCHES + gap), height - (row + 1) * (tall + gap)
        axes = panel(figure, left, low, MONTAGE_INCHES, tall)
        picture = draw(axes, ras.array[box], ras.spacing, plane, int(index) - box[axis].start, layer)
    text = "residual: scan minus model, in standard deviations of the noise"
    colour_bar(figure, picture, width / 2 - 2, 0.5, 4.0, text)
    return figure


def residual_picture(residual: Image) -> bytes:
    """PNG of :func:`residual_figure`; the image may have any orientation."""
    return to_png(residual_figure(residual))


def uncertainty_figure(
    enhanced: Image, uncertainty: Image, brain: np.ndarray, kind: str | None = None, narrow: bool = False
) -> Figure:
    """Axial, coronal and sagittal cuts of the standard deviation, those of :func:`three_plane_figure`, side by side.

    Args:
        enhanced, uncertainty: on one RAS-like grid, one intensity unit.
        brain: bool on the grid.
        kind: of the uncertainty (see evaluation.uncertainty).
        narrow: two panels side by side, the third below, for a phone.

    Raises:
        BadInput: the shapes differ.
    """
    for array in (uncertainty.array, brain):
        check_same_shape(enhanced.array, array, "the image, its uncertainty and the brain mask of the picture")
    inside = brain_or_all(brain)
    own = window(enhanced.array[inside])
    limit = float(np.percentile(uncertainty.array[inside], 99.5)) or 0.01 * (own[1] - own[0])
    box = box_around(inside, enhanced.spacing, MARGIN_MM)
    figure, places = plane_row(
        box_size(box, enhanced.spacing), UNCERTAINTY_BAR, NARROW_COLUMNS if narrow else len(PLANES)
    )
    layer = Layer("uncertainty", uncertainty.array, (0.0, limit), "inferno", notice=True)
    centre = centre_of(inside)
    for plane, axes in places:
        cut = centre[plane.axis] - box[plane.axis].start
        picture = draw(axes, uncertainty.array[box], enhanced.spacing, plane, cut, layer)
    what = "expected deviation" if kind == EXPECTED else "spread of the results"
    text = f"{what} (standard deviation), intensity; the enhanced scan is shown from {own[0]:.4g} to {own[1]:.4g}"
    width = float(figure.get_size_inches()[0])
    colour_bar(
        figure, picture, width / 2 - 2, UNCERTAINTY_BAR - 0.1, 4.0, text.replace("; ", ";\n") if narrow else text
    )
    return figure


def uncertainty_picture(
    enhanced: Image, uncertainty: Image, brain: np.ndarray, kind: str | None = None, narrow: bool = False
) -> bytes:
    """PNG of :func:`uncertainty_figure`."""
    return to_png(uncertainty_figure(enhanced, uncertainty, brain, kind, narrow), NARROW_DPI if narrow else DPI)


def label_overlay_figure(enhanced: Image, labels: LabelMap, narrow: bool = False) -> Figure:
    """The three planes with the most structures, labels in FreeSurfer's colours over the enhanced image, and a key.

    Args:
        enhanced, labels: on one RAS-like grid.
        narrow: two panels side by side, the third below, for a phone.

    Raises:
        BadInput: the shapes differ.
    """
    check_same_shape(enhanced.array, labels.array, "the image and the labels")
    array = from_channels(to_channels(labels.array))
    inside = array > 0 if array.any() else np.ones(array.shape, dtype=bool)
    box = box_around(inside, enhanced.spacing, MARGIN_MM)
    size = box_size(box, enhanced.spacing)
    part = array[box]
    layer = Layer("enhanced", enhanced.array, window(enhanced.array[inside]), notice=True)
    cuts = [_richest(part, plane.axis) for plane in PLANES]
    shown = {int(n) for plane, cut in zip(PLANES, cuts, strict=True) for n in np.unique(part.take(cut, plane.axis))}
    colours = np.zeros((256, 4))
    for label in label_table():
        colours[label.id] = (*(value / 255 for value in label.colour), OVERLAY)
    names = {label_by_id()[n].name.removeprefix("Left ").removeprefix("Right "): n for n in sorted(shown - {0})}
    columns, keys, step = (NARROW_COLUMNS, 2, 0.25) if narrow else (len(PLANES), 4, 0.21)
    figure, places = plane_row(size, step * -(-len(names) // keys) + 0.12, columns)
    for (plane, axes), cut in zip(places, cuts, strict=True):
        extent = draw(axes, enhanced.array[box], enhanced.spacing, plane, cut, layer).get_extent()
        axes.imshow(colours[oriented(part, plane, cut)], extent=extent, origin="lower", interpolation="nearest")
    handles = [Patch(color=colours[n][:3], label=name) for name, n in names.items()]
    figure.legend(handles=handles, loc="lower center", ncols=keys, frameon=False, labelcolor=LIGHT,
                  fontsize=12 if narrow else 10, handlelength=1.2, columnspacing=1.4, borderpad=0)  # fmt: skip
    return figure


def label_overlay_picture(enhanced: Image, labels: LabelMap, narrow: bool = False) -> bytes:
    """PNG of :func:`label_overlay_figure`."""
    return to_png(label_overlay_figure(enhanced, labels, narrow), NARROW_DPI if narrow else DPI)


def _richest(labels: np.ndarray, axis: int) -> int:
    """The cut with the most structures; among equals the one that shows most of them by area."""
    counts = [len(np.unique(cut)) + np.count_nonzero(cut) / (cut.size + 1) for cut in np.moveaxis(labels, axis, 0)]
    return int(np.argmax(counts))


def volume_bars_figure(report: Mapping[str, Any]) -> Figure:
    """Signed percentages a structure: the change from the input or, with a reference, both volumes against it.

    Bars beyond 60 % are cut there and carry their figure. Without a segmentation of the result the input's volumes
    are drawn (mL, logarithmic).
    """
    rows = report["structures"]
    base, series = _series(rows)
    height = 0.9 + (0.2 + 0.05 * len(series)) * max(len(rows), 2)
    figure = Figure(figsize=(5.4, height), facecolor="white", layout="constrained")
    axes = figure.add_subplot()
    thick = 0.76 / len(series)
    for n, (name, key) in enumerate(series.items()):
        at = np.arange(len(rows)) + (n - (len(series) - 1) / 2) * thick
        _bars(axes, at, [row[key] for row in rows], thick, name, cut=bool(base))
    axes.set_yticks(range(len(rows)), [row["name"] for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.tick_params(length=0, axis="y")
    axes.tick_params(labelsize=9)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.grid(axis="x", color="#dde3e8")
    axes.set_axisbelow(True)
    if base:
        axes.set_xlim(-BAR_LIMIT, BAR_LIMIT)
        axes.axvline(0, color="#222222", linewidth=1)
        axes.set_xlabel(f"volume against the {base}, %", fontsize=9)
    elif rows:
        axes.set_xscale("log")
        axes.set_xlabel("volume in the input, mL", fontsize=9)
    if len(series) > 1:
        figure.legend(loc="outside upper center", ncols=2, frameon=False, fontsize=9)
    return figure


def volume_bars(report: Mapping[str, Any]) -> bytes:
    """PNG of :func:`volume_bars_figure`."""
    return to_png(volume_bars_figure(report))


def _series(rows: list[dict[str, Any]]) -> tuple[str, dict[str, str]]:
    """What the bars are measured against (empty: plain volumes), and the row's key of each series."""
    if rows and "error_enhanced_percent" in rows[0]:
        return "reference", {name: f"error_{name}_percent" for name in SERIES}
    if rows and "change_percent" in rows[0]:
        return "input", {"enhanced": "change_percent"}
    return "", {"input": "volume_input_ml"}


def _bars(axes: Axes, at: np.ndarray, values: list[float | None], thick: float, name: str, cut: bool) -> None:
    lengths = [0.0 if v is None else float(np.clip(v, -BAR_LIMIT, BAR_LIMIT)) if cut else v for v in values]
    axes.barh(at, lengths, thick, color=SERIES[name], label=name)
    for y, value in zip(at, values, strict=True):
        if value is None:
            axes.text(1, y, "not defined", color="#444444", fontsize=7, va="center")
        elif cut and abs(value) > BAR_LIMIT:
            x, side = (BAR_LIMIT - 1, "right") if value > 0 else (1 - BAR_LIMIT, "left")
            axes.text(x, y, f"{value:+.0f} %", color="white", fontsize=7, va="center", ha=side)
