"""The connected regions of a label map, each in its bounding box: no work on the whole volume for every region; and
what is left of them on another grid.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..image import Image
from ..preprocess.grid import Grid, field_of_view, resample
from ..segmentation.labels import LabelMap

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


@dataclass(frozen=True)
class RegionsOnGrid:
    """The connected regions of a label map on another grid.

    Attributes:
        values: int64 on that grid, the map's values.
        numbers: int64 on that grid, of the region, from 1 on; 0 is background.
        unseen_mm3: by number, the volume of a region outside of that grid's field of view; of the background 0.
    """

    values: np.ndarray
    numbers: np.ndarray
    unseen_mm3: np.ndarray


def regions_on(region: LabelMap, target: Image, check: Callable[[], object] | None = None) -> RegionsOnGrid:
    """Every region on the grid of an image; one that lies between its voxels gets the voxel nearest to its centre.

    Args:
        region: on any grid of the same frame of reference.
        target: its grid is meant.
        check: called before every region (raises to cancel).
    """
    seen = field_of_view(target, Grid.of(region.as_image()))
    numbers = np.zeros(region.array.shape, dtype=np.int32)
    labels, unseen, centres = [0], [0], [np.zeros(3)]
    for number, (label, box, mask) in enumerate(connected_regions(region.array, check), start=1):
        numbers[box][mask] = number
        inside = np.argwhere(mask & seen[box])
        labels.append(label)
        unseen.append(int(mask.sum()) - len(inside))
        start = [part.start for part in box]
        centres.append(inside.mean(axis=0) + start if len(inside) else np.full(3, np.nan))
    there = resample(Image(numbers.astype(np.float32), region.affine), Grid.of(target), "nearest").array
    found = np.round(there).astype(np.int64)
    index = np.linalg.inv(target.affine) @ region.affine
    for number in np.flatnonzero(np.bincount(found.ravel(), minlength=len(labels)) == 0).tolist():
        if number and not np.isnan(centres[number]).any():
            voxel = np.round(index[:3, :3] @ centres[number] + index[:3, 3]).astype(int)
            place = tuple(np.clip(voxel, 0, np.array(target.shape) - 1))
            found[place] = found[place] or number
    return RegionsOnGrid(np.array(labels)[found], found, np.array(unseen) * region.voxel_volume_ml * 1000.0)
