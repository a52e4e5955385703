"""Distances between the surfaces of two structures in millimetres: HD95, ASSD, normalised surface Dice.

A surface voxel is a voxel of the mask with a face neighbour outside of it (or outside of the grid). Distances are
Euclidean between voxel centres with the grid's spacing; axes are at right angles, whatever their orientation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_erosion, distance_transform_edt

from ..errors import BadInput
from .checks import bounding_box, check_same_shape

TOLERANCE_MM = 1.0
# Headers store 1 mm as 1.0000001: without this slack a neighbouring voxel would fall out of the tolerance.
SLACK_MM = 1e-3


@dataclass(frozen=True)
class SurfaceDistances:
    """Distances in mm from every surface voxel of one mask to the nearest surface voxel of the other.

    Attributes:
        a_to_b: (n_a,) float64. Both arrays are empty if either mask is.
        b_to_a: (n_b,) float64.
    """

    a_to_b: np.ndarray
    b_to_a: np.ndarray

    @property
    def defined(self) -> bool:
        """Whether both masks hold something."""
        return self.a_to_b.size > 0 and self.b_to_a.size > 0


@dataclass(frozen=True)
class SurfaceScores:
    """The three surface scores of one structure; all NaN if it is empty on either side.

    Attributes:
        hd95_mm: 95th percentile Hausdorff distance, mm, lower is better.
        assd_mm: average symmetric surface distance, mm, lower is better.
        surface_dice: share of both surfaces within the tolerance, 0..1, higher is better.
    """

    hd95_mm: float
    assd_mm: float
    surface_dice: float


def spacing_mm(spacing_or_affine: Sequence[float] | np.ndarray) -> tuple[float, float, float]:
    """Voxel edges along i, j, k in mm, from three numbers or from a 4 x 4 affine.

    Raises:
        BadInput: neither of these, or an edge that is not above 0.
    """
    values = np.asarray(spacing_or_affine, dtype=np.float64)
    if values.shape == (4, 4):
        values = np.linalg.norm(values[:3, :3], axis=0)
    if values.shape != (3,):
        raise BadInput(f"the spacing has the shape {values.shape}; give three edges in mm or a 4 x 4 affine")
    if not (np.isfinite(values).all() and (values > 0).all()):
        raise BadInput(f"the voxel spacing {values.tolist()} mm is not above 0")
    x, y, z = values
    return float(x), float(y), float(z)


def surface_voxels(mask: np.ndarray) -> np.ndarray:
    """The mask without its binary erosion by the 6-neighbourhood (bool, same shape)."""
    inside = np.asarray(mask) != 0
    return inside & ~binary_erosion(inside)


def surface_distances(
    a_mask: np.ndarray, b_mask: np.ndarray, spacing: Sequence[float] | np.ndarray
) -> SurfaceDistances:
    """Both directed sets of surface distances.

    Args:
        a_mask, b_mask: [i, j, k], one shape; voxels that are not 0 count.
        spacing: edges along i, j, k in mm, or a 4 x 4 affine.

    Raises:
        BadInput: the shapes differ, they are not 3-D, or the spacing is not above 0.
    """
    check_same_shape(a_mask, b_mask, "the two masks")
    a, b = np.asarray(a_mask) != 0, np.asarray(b_mask) != 0
    if a.ndim != 3:
        raise BadInput(f"the masks have {a.ndim} dimensions; surfaces are measured on 3-D masks")
    edges = spacing_mm(spacing)
    if not (a.any() and b.any()):
        return SurfaceDistances(np.empty(0), np.empty(0))
    box = bounding_box(a | b)
    a, b = surface_voxels(a[box]), surface_voxels(b[box])
    return SurfaceDistances(
        a_to_b=distance_transform_edt(~b, sampling=edges)[a], b_to_a=distance_transform_edt(~a, sampling=edges)[b]
    )


def hd95(distances: SurfaceDistances) -> float:
    """95th percentile Hausdorff distance in mm: the larger of the two directed 95th percentiles; lower is better.

    NaN if a structure is empty. Source: Huttenlocher et al., IEEE TPAMI 1993 (directed ranks); Taha and Hanbury, 2015.
    """
    if not distances.defined:
        return math.nan
    return float(max(np.percentile(distances.a_to_b, 95), np.percentile(distances.b_to_a, 95)))


def assd(distances: SurfaceDistances) -> float:
    """Average symmetric surface distance in mm: mean over both sets together; lower is better; NaN if empty.

    Source: Heimann et al., IEEE TMI 2009.
    """
    return float(np.concatenate([distances.a_to_b, distances.b_to_a]).mean()) if distances.defined else math.nan


def surface_dice(distances: SurfaceDistances, tolerance_mm: float = TOLERANCE_MM) -> float:
    """Normalised surface Dice: share of both surfaces within the tolerance (mm) of the other; 0..1, higher is better.

    Surface voxels are counted, not weighted by area; a distance within 0.001 mm of the tolerance is inside; NaN if
    empty. Source: Nikolov et al., J Med Internet Res 2021.

    Raises:
        BadInput: the tolerance is negative.
    """
    if not tolerance_mm >= 0:
        raise BadInput(f"the tolerance is {tolerance_mm:g} mm; it must be at least 0")
    if not distances.defined:
        return math.nan
    return float(np.mean(np.concatenate([distances.a_to_b, distances.b_to_a]) <= tolerance_mm + SLACK_MM))


def surface_scores(
    a_mask: np.ndarray,
    b_mask: np.ndarray,
    spacing: Sequence[float] | np.ndarray,
    tolerance_mm: float = TOLERANCE_MM,
) -> SurfaceScores:
    """HD95, ASSD and surface Dice of two masks from one pass of :func:`surface_distances` (same arguments)."""
    distances = surface_distances(a_mask, b_mask, spacing)
    return SurfaceScores(hd95(distances), assd(distances), surface_dice(distances, tolerance_mm))
