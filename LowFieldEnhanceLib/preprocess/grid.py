"""The canonical working grid, and moving images between grids.

The canonical grid has its axes as close to R, A, S as permuting and flipping the scan's own axes allows; an oblique
scan stays oblique, so that scan and grid keep parallel axes and all interpolation between them is separable.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import SimpleITK
import torch

from ..errors import BadInput
from ..image import Image, grid_corners
from ..image_io import from_sitk, to_sitk
from ..physics.operator import parallel_axes
from ..physics.separable import SeparableOperator, cubic_matrix, linear_matrix, nearest_matrix, outside_grid

INTERPOLATIONS = {"linear": linear_matrix, "cubic": cubic_matrix}
NEAREST = {"nearest": nearest_matrix}  # of labels


@dataclass(frozen=True)
class Grid:
    """Shape (voxels) and affine (index to RAS mm) of a volume."""

    shape: tuple[int, int, int]
    affine: np.ndarray

    @classmethod
    def of(cls, image: Image) -> Grid:
        """The grid an image is on."""
        return cls(image.shape, image.affine)


def canonical_grid(image: Image, spacing: float | tuple[float, float, float] = 1.0) -> Grid:
    """The RAS-like grid that covers the field of view of an image.

    Args:
        image: any orientation.
        spacing: of the new grid in mm, isotropic or along its three axes.
    """
    steps = np.broadcast_to(np.asarray(spacing, dtype=np.float64), 3)
    directions = image.affine[:3, :3] / np.asarray(image.spacing)
    order, signs = _closest_axes(directions)
    axes = directions[:, order] * signs
    extent = np.asarray(image.spacing)[order] * np.asarray(image.shape)[order]
    shape = np.maximum(np.ceil(extent / steps - 1e-3), 1).astype(int)
    centre = image.affine[:3, :3] @ ((np.asarray(image.shape) - 1) / 2) + image.affine[:3, 3]
    affine = np.eye(4)
    affine[:3, :3] = axes * steps
    affine[:3, 3] = centre - affine[:3, :3] @ ((shape - 1) / 2)
    return Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine)


def _closest_axes(directions: np.ndarray) -> tuple[list[int], np.ndarray]:
    """For R, A and S: the scan axis that runs closest along it, and its sign."""
    order, signs = [-1, -1, -1], np.ones(3)
    cosines = np.abs(directions).copy()
    for _ in range(3):
        world, axis = np.unravel_index(int(np.argmax(cosines)), (3, 3))
        order[int(world)] = int(axis)
        signs[int(world)] = math.copysign(1.0, directions[world, axis])
        cosines[world, :], cosines[:, axis] = -1, -1
    return order, signs


def resample(image: Image, grid: Grid, interpolation: str = "cubic") -> Image:
    """An image on another grid; 0 outside its field of view.

    Args:
        image: source.
        grid: target.
        interpolation: ``linear``, ``cubic`` (Keys 1981) or ``nearest``.

    Raises:
        BadInput: unknown interpolation.
    """
    if interpolation not in (*INTERPOLATIONS, "nearest"):
        raise BadInput(f"unknown interpolation '{interpolation}'; choose {', '.join(INTERPOLATIONS)} or nearest")
    index = np.linalg.inv(image.affine) @ grid.affine
    spacing = np.linalg.norm(grid.affine[:3, :3], axis=0)
    axes = parallel_axes(index[:3, :3], np.asarray(image.spacing), spacing)
    if axes is None:
        return _resample_oblique(image, grid, interpolation)
    matrices: list[np.ndarray] = [np.empty(0)] * 3
    for target, source in enumerate(axes):
        centres = index[source, 3] + index[source, target] * np.arange(grid.shape[target])
        size = image.shape[source]
        matrices[source] = (INTERPOLATIONS | NEAREST)[interpolation](centres, size)
        matrices[source][outside_grid(centres, size)] = 0.0
    array = SeparableOperator(matrices)(torch.from_numpy(image.array)).permute(axes).numpy()
    return Image(array, grid.affine, image.contrast, image.meta)


def _resample_oblique(image: Image, grid: Grid, interpolation: str) -> Image:
    kinds = {"linear": SimpleITK.sitkLinear, "cubic": SimpleITK.sitkBSpline, "nearest": SimpleITK.sitkNearestNeighbor}
    reference = to_sitk(Image(np.zeros(grid.shape, dtype=np.float32), grid.affine))
    moved = SimpleITK.Resample(to_sitk(image), reference, SimpleITK.Transform(), kinds[interpolation], 0.0)
    return from_sitk(moved, image.contrast, image.meta)


def field_of_view(image: Image, grid: Grid) -> np.ndarray:
    """Where an image shows something of a grid: bool of the grid's shape."""
    return resample(image.with_array(np.ones(image.shape, np.float32)), grid, "nearest").array > 0.5


def same_grid(a: Grid, b: Grid, tolerance_mm: float = 1e-3) -> bool:
    """Whether all corners of two grids coincide."""
    if a.shape != b.shape:
        return False
    apart = grid_corners(a.shape, a.affine) - grid_corners(b.shape, b.affine)
    return bool(np.abs(apart).max() <= tolerance_mm)
