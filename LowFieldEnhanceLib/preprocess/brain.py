"""Brain mask from labels, and blending a processed brain back into its head."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ..segmentation.labels import LabelMap

CSF = 24


def brain_mask(labels: LabelMap) -> np.ndarray:
    """The brain with its ventricles and sulci: all labels but free CSF, largest part, closed by 3 mm and filled.

    Returns:
        bool [i, j, k].
    """
    tissue = (labels.array > 0) & (labels.array != CSF)
    parts, count = ndimage.label(tissue)
    if count > 1:
        sizes = np.bincount(parts.ravel())
        sizes[0] = 0
        tissue = parts == int(sizes.argmax())
    spacing = np.linalg.norm(labels.affine[:3, :3], axis=0)
    steps = max(1, int(round(3.0 / float(spacing.mean()))))
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
