"""What a scan's intensities are like, in figures that do not depend on its unit: for the check against the training."""

from __future__ import annotations

import numpy as np

from ..errors import BadInput
from ..preprocess.intensity import MODEL_MAX, intensity_scale
from ..segmentation.labels import WHITE_MATTER

CORTEX = (3, 42)
LEAST_VOXELS = 50


def intensity_figures(array: np.ndarray, brain: np.ndarray, labels: np.ndarray) -> dict[str, float | None]:
    """Figures of one scan on the working grid; a figure is None where it is undefined.

    Args:
        array: intensities [i, j, k], any unit.
        brain: bool.
        labels: FreeSurfer ids.

    Returns:
        ``clipped_percent``: share of the brain that is brighter than the networks' range, in which it is cut off.
        ``white_level``: median of the cerebral white matter over the intensity that maps to +1 (1.25 times the brain's
        90th percentile). ``grey_to_white``: median of the cortex over that of the white matter.
    """
    figures: dict[str, float | None] = {"clipped_percent": None, "white_level": None, "grey_to_white": None}
    try:
        scale = intensity_scale(array, brain)
    except BadInput:
        return figures
    figures["clipped_percent"] = 100.0 * float(np.mean(array[brain] > (MODEL_MAX + 1) / 2 * scale))
    white, grey = (array[np.isin(labels, ids) & brain] for ids in (WHITE_MATTER, CORTEX))
    if white.size < LEAST_VOXELS or not float(np.median(white)) > 0:
        return figures
    level = float(np.median(white))
    figures["white_level"] = level / scale
    if grey.size >= LEAST_VOXELS:
        figures["grey_to_white"] = float(np.median(grey)) / level
    return figures
