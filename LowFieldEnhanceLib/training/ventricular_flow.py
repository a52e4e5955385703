"""Flow artefacts of the ventricles: fluid that moves is bright where it should be dark, and dark where it should be
bright (Bakshi et al. 2000 on FLAIR).

The choroid plexus looks alike and counts as ventricle too. On FLAIR images of the heads that the segmenter was never
trained on, it took such fluid for white matter.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..segmentation.labels import to_channels
from .labelled_heads import IGNORE
from .soft_ellipsoid import soft_ellipsoid

VENTRICLES = to_channels(np.array([4, 43, 5, 44, 14, 15]))
LEAST = 200  # voxels of ventricle, below which nothing is drawn
PARTS = (1, 8)  # bright or dark parts of a head
RADIUS = (1.5, 8.0)  # voxels, of each axis
REACH = 1.6  # radii at which a part has faded away


def flow_artefacts(image: Tensor, target: Tensor, rng: np.random.Generator) -> Tensor:
    """The image with parts of its ventricles at other intensities, between those of the brain.

    Args:
        image: (I, J, K) intensities.
        target: (I, J, K) uint8 channels of the network, 255 where no label is known.
        rng: of place, size and intensity.

    Returns:
        (I, J, K); the image itself where it shows no ventricles.
    """
    inside = torch.isin(target, torch.from_numpy(VENTRICLES))
    places = torch.nonzero(inside).numpy()
    if len(places) < LEAST:
        return image
    brain = image[(target > 0) & (target != IGNORE)]
    low, high = (float(v) for v in torch.quantile(brain[:: max(len(brain) // 20000, 1)], torch.tensor([0.05, 0.95])))
    changed = image.clone()
    for _ in range(int(rng.integers(PARTS[0], PARTS[1] + 1))):
        centre, radius = places[rng.integers(len(places))], rng.uniform(*RADIUS, 3)
        value, strength = float(rng.uniform(low, high)), float(rng.uniform(0.4, 1.0))
        box = tuple(
            slice(max(int(c - REACH * r), 0), int(c + REACH * r) + 2) for c, r in zip(centre, radius, strict=True)
        )
        axes = [
            torch.arange(s.start, min(s.stop, n), dtype=torch.float32) for s, n in zip(box, image.shape, strict=True)
        ]
        weight = strength * soft_ellipsoid(axes, centre, radius) * inside[box]
        changed[box] += weight * (value - changed[box])
    return changed
