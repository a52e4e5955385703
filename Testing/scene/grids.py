"""Awkward grids of images: oblique, flipped, anisotropic."""

from __future__ import annotations

import numpy as np


def rotation(axis: int, degrees: float) -> np.ndarray:
    """3 x 3 rotation about one axis."""
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    first, second = [(1, 2), (2, 0), (0, 1)][axis]
    matrix = np.eye(3)
    matrix[first, first] = matrix[second, second] = cosine
    matrix[first, second], matrix[second, first] = -sine, sine
    return matrix


def affine(rotated: np.ndarray, spacing: tuple[float, float, float], origin: tuple[float, float, float]) -> np.ndarray:
    """Index to RAS mm."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotated * np.array(spacing)
    matrix[:3, 3] = origin
    return matrix


OBLIQUE = rotation(0, 17.0) @ rotation(1, -9.0) @ rotation(2, 31.0)
GRIDS = {
    "identity": affine(np.eye(3), (1, 1, 1), (0, 0, 0)),
    "flipped, left-handed": affine(np.diag([-1.0, 1.0, 1.0]), (1.6, 1.6, 5.0), (90.3, -126.1, -72.7)),
    "sagittal acquisition": affine(np.eye(3)[:, [2, 0, 1]] * [-1, -1, 1], (0.9, 1.1, 5.0), (-70, 110, -90)),
    "oblique, anisotropic": affine(OBLIQUE, (1.6, 1.7, 5.0), (-87.123456789, 12.5, 3.25)),
    "oblique, flipped": affine(OBLIQUE @ np.diag([1, -1, -1]), (0.7, 1.3, 2.9), (11.1, -22.2, 33.3)),
}
