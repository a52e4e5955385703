"""The picture of the bundled sample: simulated 64 mT scan (interpolated) beside its 1 mm reference, three planes.

    python Testing/benchmarks/sample_picture.py

Writes Resources/Screenshots/sample.png. No network is involved.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from LowFieldEnhanceLib.image_io import read_image
from LowFieldEnhanceLib.preprocess.grid import Grid, canonical_grid, resample
from LowFieldEnhanceLib.resources import resource

TARGET = Path(__file__).resolve().parents[2] / "Resources" / "Screenshots" / "sample.png"


def main() -> None:
    """Draw and save."""
    reference = read_image(resource("SampleData", "colin27_reference_T1w.nii.gz"))
    grid = canonical_grid(reference, 1.0)
    reference = resample(reference, grid, "linear")
    scan = resample(read_image(resource("SampleData", "colin27_64mT_T1w.nii.gz")), Grid.of(reference), "cubic")
    figure = Figure(figsize=(9, 6.4), facecolor="black", layout="constrained")
    FigureCanvasAgg(figure)
    for row, (name, image) in enumerate((("simulated 64 mT scan", scan), ("reference, 1 mm", reference))):
        top = float(np.percentile(image.array, 99.5))
        for axis in range(3):
            panel = figure.add_subplot(2, 3, 3 * row + axis + 1)
            plane = np.take(image.array, image.shape[axis] // 2 + 6, axis=axis)
            panel.imshow(np.rot90(plane), cmap="gray", vmin=0, vmax=top, interpolation="nearest")
            panel.set_axis_off()
            if axis == 0:
                panel.set_title(f"Colin27, {name}", color="white", fontsize=10, loc="left")
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(TARGET, dpi=110, facecolor="black")


if __name__ == "__main__":
    main()
