"""Make the thumbnails for Slicer's Sample Data module: the bundled head, and lettering for data that are not here.

    python Resources/SampleData/make_icons.py

Writes LowFieldEnhance/Resources/Icons/Sample*.png. The real pairs get no picture: their scans are not in this project.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from LowFieldEnhanceLib.image_io import read_image
from LowFieldEnhanceLib.preprocess.grid import Grid, canonical_grid, resample
from LowFieldEnhanceLib.resources import resource

FOLDER = Path(__file__).resolve().parents[2] / "LowFieldEnhance" / "Resources" / "Icons"
SIZE, DPI = (2.0, 1.33), 96  # inches: the shape of Slicer's buttons


def main() -> None:
    """Draw and save all."""
    _head().savefig(FOLDER / "SampleColin27.png", dpi=DPI, facecolor="black")
    for contrast in ("T1w", "T2w"):
        _lettering(contrast).savefig(FOLDER / f"SampleOpenNeuro{contrast}.png", dpi=DPI, facecolor="black")


def _figure() -> Figure:
    figure = Figure(figsize=SIZE, facecolor="black")
    FigureCanvasAgg(figure)
    return figure


def _head() -> Figure:
    """The middle coronal slices of the simulated scan and its reference, side by side."""
    reference = read_image(resource("SampleData", "colin27_reference_T1w.nii.gz"))
    reference = resample(reference, canonical_grid(reference, 1.0), "linear")
    scan = resample(read_image(resource("SampleData", "colin27_64mT_T1w.nii.gz")), Grid.of(reference), "linear")
    figure = _figure()
    for place, (name, image) in enumerate((("64 mT, simulated", scan), ("reference", reference))):
        panel = figure.add_axes((0.5 * place + 0.01, 0.0, 0.48, 0.86))
        plane = np.rot90(image.array[:, image.shape[1] // 2, :])
        panel.imshow(plane, cmap="gray", vmin=0, vmax=float(np.percentile(image.array, 99.5)))
        panel.set_axis_off()
        figure.text(0.5 * place + 0.25, 0.9, name, color="white", fontsize=7, ha="center")
    return figure


def _lettering(contrast: str) -> Figure:
    figure = _figure()
    figure.text(0.5, 0.66, "64 mT | 3 T", color="white", fontsize=15, weight="bold", ha="center", va="center")
    figure.text(0.5, 0.42, contrast, color="#EDD54C", fontsize=13, ha="center", va="center")
    figure.text(0.5, 0.18, "OpenNeuro ds006557", color="#BBBBBB", fontsize=8, ha="center", va="center")
    return figure


if __name__ == "__main__":
    main()
