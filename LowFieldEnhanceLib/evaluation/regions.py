"""The connected regions of a label map, each in its bounding box: no work on the whole volume for every region."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
from scipy import ndimage

Box = tuple[slice, ...]


def connected_regions(
    values: np.ndarray, check: Callable[[], object] | None = None
) -> Iterator[tuple[int, Box, np.ndarray]]:
    """Value, bounding box, and mask in the box (bool) of every connected region (26 neighbours, a value at a time).

    Args:
        values: whole numbers from 0 (background) on, [i, j, k].
        check: called before every region (raises to cancel).

    Returns:
        By value, then in the order of their first voxels.
    """
    for value, around in enumerate(ndimage.find_objects(values), start=1):
        if around is None:  # no voxel has this value
            continue
        parts, _ = ndimage.label(values[around] == value, np.ones((3, 3, 3)))
        for part, inner in enumerate(ndimage.find_objects(parts), start=1):
            if check is not None:
                check()
            box = tuple(slice(a.start + b.start, a.start + b.stop) for a, b in zip(around, inner, strict=True))
            yield value, box, parts[inner] == part


def widened(
    box: Box, mask: np.ndarray, reach_mm: float, spacing: tuple[float, float, float], shape: tuple[int, int, int]
) -> tuple[Box, np.ndarray]:
    """The box, wider by a reach and a voxel as far as the volume goes, and the mask in it.

    Args:
        box, mask: of a region.
        reach_mm: on every side.
        spacing, shape: of the volume, mm and voxels.
    """
    place, margins = [], []
    for part, step, size in zip(box, spacing, shape, strict=True):
        reach = math.ceil(reach_mm / step) + 1
        wide = slice(max(part.start - reach, 0), min(part.stop + reach, size))
        place.append(wide)
        margins.append((part.start - wide.start, wide.stop - part.stop))
    return tuple(place), np.pad(mask, margins)
