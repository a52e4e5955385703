"""The picture of cssdiff.py: slices of patients at 0.055 T, enhanced in 2-D mode, beside the same patients at 3 T."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from scipy import ndimage

from LowFieldEnhanceLib.events import Events
from LowFieldEnhanceLib.methods.cssdiff import CssDiff
from LowFieldEnhanceLib.preprocess.intensity import from_model, intensity_scale, to_model

matplotlib.use("Agg")
PICTURE = Path(__file__).resolve().parents[2] / "Resources" / "Screenshots" / "cssdiff_55mT.png"
PAIRS = ("a", "b", "c")
CONTRASTS = ("T1w", "T2w", "FLAIR")
SHOWN_SLICE = 2
SKULL_AND_SCALP = 13  # pixels; the heads are about 180 pixels long, so a pixel is taken for 1 mm
COLUMNS = ("0.055 T", "CSS-Diff (2-D), not for diagnosis", "3 T, not registered")


def brain_inside(image: np.ndarray) -> np.ndarray:
    """What lies deeper than skull and scalp in a slice of a head (rows, columns)."""
    smooth = ndimage.gaussian_filter(image, 2)
    head = ndimage.binary_fill_holes(smooth > 0.25 * np.percentile(smooth, 95))
    parts, count = ndimage.label(head)
    if count > 1:
        head = parts == 1 + int(np.argmax(ndimage.sum(head, parts, range(1, count + 1))))
    return ndimage.distance_transform_edt(head) > SKULL_AND_SCALP


def around_head(image: np.ndarray, margin: int = 4) -> tuple[slice, slice]:
    """The part of a slice (rows, columns) that shows the head."""
    smooth = ndimage.gaussian_filter(image, 2)
    found = np.nonzero(smooth > 0.25 * np.percentile(smooth, 95))
    rows, columns = (slice(max(int(f.min()) - margin, 0), int(f.max()) + margin + 1) for f in found)
    return rows, columns


def as_slice(image: np.ndarray) -> np.ndarray:
    """Rows from anterior to posterior -> axial slice [R, A], and back."""
    return np.ascontiguousarray(image[::-1, ::-1].T)


def to_rows(image: np.ndarray) -> np.ndarray:
    """The reverse of :func:`as_slice`."""
    return image.T[::-1, ::-1]


def enhanced(stack: np.ndarray, contrast: str, preset: str) -> np.ndarray:
    """(rows, columns, S) at low field -> the same, enhanced inside the brain."""
    masks = np.stack([brain_inside(stack[..., n]) for n in range(stack.shape[2])])
    slices = np.stack([as_slice(stack[..., n]) for n in range(stack.shape[2])])
    inside = np.stack([as_slice(mask) for mask in masks])
    scale = intensity_scale(slices, inside)
    model = torch.from_numpy(np.where(inside, to_model(slices, scale), -1.0).astype(np.float32))
    # the frame of the perception has the brain in its middle
    middle = [int(round((np.nonzero(inside.any((0, 2 - n)))[0][[0, -1]]).mean())) for n in (0, 1)]
    shift = [size // 2 - m for size, m in zip(model.shape[1:], middle, strict=True)]
    generator = torch.Generator().manual_seed(0)
    moved = CssDiff().enhance_alone(model.roll(shift, (1, 2)), contrast, preset, generator, Events())
    result = moved.roll([-s for s in shift], (1, 2)).numpy()
    shown = np.where(inside, from_model(result, scale), slices)
    return np.stack([to_rows(image) for image in shown], axis=2)


def draw(root: Path, preset: str, target: Path | None = None) -> dict[str, Any]:
    """Write the picture; what it shows, for the record."""
    figure = Figure(figsize=(18, 6.6))
    axes = figure.subplots(len(PAIRS), 3 * len(CONTRASTS))
    for row, pair in enumerate(PAIRS):
        with np.load(root / "low_field" / f"55mT_3T_pair_{pair}.npz") as arrays:
            for number, contrast in enumerate(CONTRASTS):
                low = arrays[f"lf_{contrast}"].astype(np.float32)
                high = arrays[f"hf_{contrast}"].astype(np.float32)[..., SHOWN_SLICE]
                better = enhanced(low, contrast, preset)[..., SHOWN_SLICE]
                place = around_head(low[..., SHOWN_SLICE])
                images = low[..., SHOWN_SLICE][place], better[place], high[around_head(high)]
                for column, image in enumerate(images):
                    panel = axes[row, 3 * number + column]
                    brightest = np.percentile(images[0] if column < 2 else image, 99.3)
                    panel.imshow(image, cmap="gray", vmin=0, vmax=brightest, interpolation="bilinear")
                    panel.set_axis_off()
                    if row == 0:
                        panel.set_title(f"{contrast}\n{COLUMNS[column]}", fontsize=8)
    figure.subplots_adjust(0.005, 0.005, 0.995, 0.92, 0.02, 0.02)
    path = target or PICTURE
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90, facecolor="white")
    return {"pairs": list(PAIRS), "contrasts": list(CONTRASTS), "slice": SHOWN_SLICE, "preset": preset}
