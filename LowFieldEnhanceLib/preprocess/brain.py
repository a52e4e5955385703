"""Brain mask from labels, and blending a processed brain back into its head."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

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
    return depth(mask, width) / np.float32(width)


def faded(brain: np.ndarray, voxels: int) -> np.ndarray:
    """Blending weight 0..1: 1 in the brain, falling to 0 over the ``voxels`` that :func:`dilated` adds to it."""
    return (1 - depth(~brain, voxels + 1) / np.float32(voxels + 1)) * dilated(brain, voxels)


def depth(mask: np.ndarray, most: float) -> np.ndarray:
    """How deep each voxel lies in a mask: its distance to the nearest voxel outside, at most ``most``.

    The same as a Euclidean distance transform that is clipped, ten times as fast: looks at the mask's rim alone.

    Args:
        mask: bool [i, j, k]; beyond the array lies nothing that counts as outside.
        most: in voxels, above 1.

    Returns:
        float32, in voxels; 0 outside the mask.
    """
    found = np.where(mask, np.float32(most), np.float32(0))
    reach = math.ceil(most) - 1
    outside = np.pad(~mask, reach)
    rim = np.flatnonzero(mask & ndimage.binary_dilation(~mask, np.ones((3, 3, 3), bool), iterations=reach))
    steps = np.array([outside.shape[1] * outside.shape[2], outside.shape[2], 1])
    here = steps @ (np.array(np.unravel_index(rim, mask.shape)) + reach)
    distances = np.full(rim.size, most, np.float32)
    offsets = np.array(list(product(range(-reach, reach + 1), repeat=3)))
    lengths = np.linalg.norm(offsets, axis=1)
    for index in np.argsort(-lengths):  # the nearest last: it stays
        if 0 < lengths[index] < most:
            distances[outside.ravel()[here + int(steps @ offsets[index])]] = lengths[index]
    found.ravel()[rim] = distances
    return found


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
