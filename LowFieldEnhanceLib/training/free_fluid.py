"""Fluid around the gyri, which the manual labels leave out, found by its intensity on T1w images.

The manual labels of whole brains hold no free fluid: left open, nothing on a real image tells the segmenter that it is
not cortex.
"""

from __future__ import annotations

import numpy as np

from ..segmentation.labels import FREE_CSF, channel_of, to_channels

CORTEX = to_channels(np.array([3, 42]))
VENTRICLES = to_channels(np.array([4, 43]))
FREE_FLUID = channel_of(FREE_CSF)


def open_sulci(t1w: np.ndarray, target: np.ndarray, brain: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where a T1w image shows fluid around the gyri: where no label says otherwise, and where one says cortex.

    Fluid is what is darker than midway between the cortex's median and the lower quartile of the lateral ventricles,
    whose border voxels are brighter than they are.

    Args:
        t1w: (I, J, K) intensities of a T1w image.
        target: (I, J, K) channels of the network, 0 where there is no label.
        brain: bool (I, J, K), the brain with its sulci.

    Returns:
        Two masks: unlabelled brain, and cortex; both empty where the image shows no such contrast.
    """
    cortex, ventricles = np.isin(target, CORTEX), np.isin(target, VENTRICLES)
    nothing = np.zeros(target.shape, dtype=bool)
    if not cortex.any() or not ventricles.any():
        return nothing, nothing
    grey, fluid = float(np.median(t1w[cortex])), float(np.percentile(t1w[ventricles], 25))
    if not fluid < grey:
        return nothing, nothing
    dark = brain & (t1w < (grey + fluid) / 2)
    return dark & (target == 0), dark & cortex
