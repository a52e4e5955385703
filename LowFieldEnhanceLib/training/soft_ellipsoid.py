"""An ellipsoid with a soft border, for whatever the segmenter's training draws into a head."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

STEEPNESS = 4.0


def soft_ellipsoid(axes: Sequence[Tensor], centre: np.ndarray, radius: np.ndarray) -> Tensor:
    """(I, J, K) weights: a half on the surface, near 1 in the middle, near 0 outside.

    Args:
        axes: positions along i, j and k, voxels.
        centre, radius: (3,) of the ellipsoid, voxels.
    """
    parts = [((a - float(c)) / float(r)) ** 2 for a, c, r in zip(axes, centre, radius, strict=True)]
    distance = parts[0][:, None, None] + parts[1][None, :, None] + parts[2][None, None, :]
    return torch.sigmoid((1 - distance) * STEEPNESS)
