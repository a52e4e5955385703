"""Whether a scan that was read from other files still lies where its DICOM series says."""

from __future__ import annotations

import os

import numpy as np

from ..errors import BadInput
from ..image import Image, grid_corners
from ..image_io import read_image

TOLERANCE_MM = 0.1


def lies_as(scan: Image, series: str | os.PathLike[str]) -> bool:
    """Whether the corners of both grids agree to 0.1 mm, whatever the order of their axes.

    Args:
        scan: in RAS mm.
        series: a folder with one DICOM series. One whose place cannot be told counts as another place: a frame of
            reference promises that coordinates mean the same, and nothing is lost without that promise.
    """
    try:
        source = read_image(series, "other", is_scan=False)
    except BadInput:
        return False
    ours, theirs = (grid_corners(image.shape, image.affine) for image in (scan, source))
    distances = np.linalg.norm(ours[:, None] - theirs[None], axis=-1)
    return bool(max(distances.min(axis=0).max(), distances.min(axis=1).max()) <= TOLERANCE_MM)
