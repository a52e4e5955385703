"""Drawing single cuts of a volume on dark panels: orientation letters, windows, colour bars, PNG bytes.

The vocabulary of pictures.py. Cuts are drawn in radiological orientation with lengths in millimetres, so anisotropic
voxels keep their shape.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patheffects import withStroke
from scipy.optimize import linear_sum_assignment

from ..image import Image
from ..image_io import DERIVED

NOTICE = DERIVED
DPI = 140
DARK, LIGHT, MUTED, AMBER = "#0b0f14", "#e8edf2", "#9aa7b4", "#ffd166"
CHANGE_MAP = LinearSegmentedColormap.from_list("change", ["#8fe3ff", "#2680d9", DARK, "#d9632a", "#ffd08a"])
WINDOW_PERCENTILES = (1.0, 99.5)


@dataclass(frozen=True)
class Plane:
    """A cut through a RAS-like grid: the axis it is cut along, the axes drawn across and up, letters left and right."""

    name: str
    axis: int
    across: int
    up: int
    letters: str


PLANES = (Plane("axial", 2, 0, 1, "RL"), Plane("coronal", 1, 0, 2, "RL"), Plane("sagittal", 0, 1, 2, "AP"))


@dataclass(frozen=True)
class Layer:
    """How one volume is shown.

    Attributes:
        title: above its panels.
        array: [i, j, k] on a RAS-like grid.
        limits: values at both ends of the colour map.
        colours: matplotlib colour map.
        bar: label of a colour bar; empty for none.
        notice: whether the panels carry "ENHANCED - not for diagnosis".
    """

    title: str
    array: np.ndarray
    limits: tuple[float, float]
    colours: str | Colormap = "gray"
    bar: str = ""
    notice: bool = False


def oriented(array: np.ndarray, plane: Plane, index: int) -> np.ndarray:
    """The cut as rows (first one lowest) and columns, the patient's right or front on the left."""
    return array.take(index, axis=plane.axis).T[:, ::-1]


def draw(
    axes: Axes, array: np.ndarray, spacing: tuple[float, float, float], plane: Plane, index: int, layer: Layer
) -> AxesImage:
    """Draw one cut of an array (a part of the layer's, as large as the panel) with its letters and notice."""
    picture = axes.imshow(
        oriented(array, plane, index),
        cmap=layer.colours,
        vmin=layer.limits[0],
        vmax=layer.limits[1],
        origin="lower",
        extent=(0, array.shape[plane.across] * spacing[plane.across], 0, array.shape[plane.up] * spacing[plane.up]),
    )
    write(axes, 0.02, 0.5, plane.letters[0], LIGHT)
    write(axes, 0.98, 0.5, plane.letters[1], LIGHT, ha="right")
    if layer.notice:
        write(axes, 0.02, 0.98, NOTICE, AMBER, va="top")
    return picture


def panel(figure: Figure, x: float, y: float, width: float, height: float) -> Axes:
    """Axes without frame at a place in inches from the lower left corner."""
    across, up = figure.get_size_inches()
    axes = figure.add_axes((x / across, y / up, width / across, height / up))
    axes.set_axis_off()
    return axes


def write(axes: Axes, x: float, y: float, text: str, colour: str, ha: str = "left", va: str = "center") -> None:
    """Text on a panel (places 0..1) with a dark rim, readable on any intensity."""
    rim = [withStroke(linewidth=2.5, foreground=DARK)]
    axes.text(x, y, text, color=colour, fontsize=10, ha=ha, va=va, transform=axes.transAxes, path_effects=rim)


def colour_bar(figure: Figure, picture: AxesImage, x: float, y: float, width: float, label: str) -> None:
    """A horizontal colour bar at a place in inches."""
    axes = panel(figure, x, y, width, 0.1)
    axes.set_axis_on()
    bar = figure.colorbar(picture, cax=axes, orientation="horizontal")
    bar.outline.set_edgecolor(MUTED)
    low, high = picture.get_clim()
    signed = low < 0  # a map of differences; what is never negative starts at 0
    bar.set_ticks([low, 0, high] if signed else [low, high])
    bar.set_ticklabels([f"{low:.3g}", "0", f"{high:+.3g}"] if signed else [f"{low:.3g}", f"{high:.3g}"])
    axes.tick_params(colors=LIGHT, labelsize=9, length=2)
    axes.set_xlabel(label, color=LIGHT, fontsize=9, labelpad=2)


def window(values: np.ndarray) -> tuple[float, float]:
    """1st and 99.5th percentile; never empty."""
    low, high = (float(v) for v in np.percentile(values, WINDOW_PERCENTILES))
    return (low, high) if high > low else (low, low + 1.0)


def brain_or_all(brain: np.ndarray) -> np.ndarray:
    """The brain as bool; every voxel if there is none, so that window and box are never empty."""
    inside = np.asarray(brain) != 0
    return inside if inside.any() else np.ones(inside.shape, dtype=bool)


def centre_of(inside: np.ndarray) -> list[int]:
    """The voxel at the centre of a mask that is not empty."""
    return [int(round(float(indices.mean()))) for indices in np.nonzero(inside)]


def box_around(mask: np.ndarray, spacing: tuple[float, float, float], margin_mm: float) -> tuple[slice, slice, slice]:
    """Slices of the box around a mask that is not empty, widened in mm where the grid allows."""
    parts = []
    for axis, indices in enumerate(np.nonzero(mask)):
        margin = int(round(margin_mm / spacing[axis]))
        parts.append(slice(max(int(indices.min()) - margin, 0), min(int(indices.max()) + 1 + margin, mask.shape[axis])))
    return parts[0], parts[1], parts[2]


def box_size(box: tuple[slice, slice, slice], spacing: tuple[float, float, float]) -> tuple[float, float, float]:
    """Edges of a box in mm."""
    i, j, k = ((part.stop - part.start) * step for part, step in zip(box, spacing, strict=True))
    return i, j, k


def to_ras(image: Image) -> Image:
    """The same voxels with the axes permuted and flipped to run as close to R, A and S as they can."""
    directions = image.affine[:3, :3] / np.asarray(image.spacing)
    order = linear_sum_assignment(-np.abs(directions))[1]
    array, affine = image.array.transpose(order), image.affine[:, [*order, 3]].copy()
    for axis in range(3):
        if affine[axis, axis] < 0:
            array = np.flip(array, axis)
            affine[:3, 3] += affine[:3, axis] * (array.shape[axis] - 1)
            affine[:3, axis] *= -1
    return Image(array, affine, image.contrast, image.meta)


def to_png(figure: Figure, dpi: float = DPI) -> bytes:
    """PNG bytes, the same for the same figure, with the notice in their metadata."""
    stream = io.BytesIO()
    metadata = {"Software": None, "Description": NOTICE}
    figure.savefig(stream, format="png", dpi=dpi, facecolor=figure.get_facecolor(), metadata=metadata)
    return stream.getvalue()
