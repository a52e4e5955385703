"""Brain mask from labels, and blending a processed brain back into its head."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from ..segmentation.labels import FREE_CSF, LabelMap

CLOSING_MM = 5.0  # bridges sulci twice as wide: those of a shrunken brain, too, belong to what is enhanced
SHELL_MM = (6.0, 15.0)  # off the brain: there lie skull and scalp
BRIGHT = 0.4  # of the brain's median: noise stays below it (signal-to-noise ratio 6), fat and skin do not


def brain_mask(labels: LabelMap) -> np.ndarray:
    """The brain with its ventricles and sulci: all labels but free CSF, largest part, closed by 5 mm and filled.

    Returns:
        bool [i, j, k].
    """
    tissue = (labels.array > 0) & (labels.array != FREE_CSF)
    parts, count = ndimage.label(tissue)
    if count > 1:
        sizes = np.bincount(parts.ravel())
        sizes[0] = 0
        tissue = parts == int(sizes.argmax())
    spacing = np.linalg.norm(labels.affine[:3, :3], axis=0)
    steps = max(1, int(round(CLOSING_MM / float(spacing.mean()))))
    padded = np.pad(tissue, steps)
    closed = ndimage.binary_closing(padded, iterations=steps)
    return ndimage.binary_fill_holes(closed)[(slice(steps, -steps),) * 3]


def dilated(mask: np.ndarray, voxels: int) -> np.ndarray:
    """A mask grown by a number of voxels."""
    return ndimage.binary_dilation(mask, iterations=voxels) if voxels else mask


def feathered(mask: np.ndarray, width: float = 1.5) -> np.ndarray:
    """Blending weight 0..1: 1 well inside the mask, falling smoothly to 0 over about ``width`` voxels at its border."""
    if mask.all():  # a distance to nothing is undefined
        return np.ones(mask.shape, dtype=np.float32)
    inside = ndimage.distance_transform_edt(mask)
    return np.clip(inside / width, 0.0, 1.0).astype(np.float32)


def faded(brain: np.ndarray, voxels: int) -> np.ndarray:
    """Blending weight 0..1: 1 in the brain, falling to 0 over the ``voxels`` that :func:`dilated` adds to it."""
    outside = ndimage.distance_transform_edt(~brain) if not brain.all() else np.zeros(brain.shape)
    return np.clip(1 - outside / (voxels + 1), 0.0, 1.0).astype(np.float32) * dilated(brain, voxels)


def is_stripped(array: np.ndarray, brain: np.ndarray, spacing: Sequence[float]) -> bool:
    """Whether a scan shows the brain alone: nothing bright lies where skull and scalp would be.

    Args:
        array: intensities [i, j, k].
        brain: bool, same shape.
        spacing: of the voxels, mm.
    """
    every = (slice(None, None, 2),) * 3
    distance = ndimage.distance_transform_edt(~brain[every], sampling=[2 * s for s in spacing])
    shell = array[every][(distance > SHELL_MM[0]) & (distance < SHELL_MM[1])]
    return not shell.size or bool(np.percentile(shell, 90) < BRIGHT * np.median(array[brain]))
