"""One volume with its geometry: the only form in which images cross module borders."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .errors import BadInput

CONTRASTS = ("T1w", "T2w", "FLAIR", "other")
ORIENTATION_DOUBT = "orientation_doubt"  # key of Image.meta: why the header's orientation is in doubt
ASSUMED = "contrast_assumed"  # key of Image.meta, true if nobody said the contrast
CHANNELS = ("T1w", "T2w", "FLAIR")  # order of the contrasts in the networks' channels
LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
MIN_SPACING_MM, MAX_SPACING_MM = 0.05, 20.0
LEAST_VOLUME = 1e-3  # of the cell that the axes span, with edges of 1
MAX_SHEAR = 2e-3  # cosine between two axes; NIfTI cannot hold shear, so writing would move a far corner by 0.2 mm


def no_sides(doubt: str) -> str:
    """What follows from a doubt about the orientation in a header, as a sentence without its full stop."""
    return f"{doubt}, so left and right cannot be trusted"


@dataclass(frozen=True)
class Image:
    """A 3-D scalar volume.

    Attributes:
        array: float32, indexed [i, j, k], any intensity unit.
        affine: 4 x 4, float64, voxel index (i, j, k, 1) to RAS millimetres.
        contrast: one of :data:`CONTRASTS`.
        meta: what the file's header says beyond geometry (DICOM tags, file name); carried, never interpreted here.

    Raises:
        BadInput: the array is complex or not 3-D, or the affine is not 4 x 4.
    """

    array: np.ndarray
    affine: np.ndarray
    contrast: str = "other"
    meta: dict[str, Any] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        if np.iscomplexobj(self.array):
            raise BadInput("the image is complex; only magnitude volumes can be used")
        array = np.ascontiguousarray(self.array, dtype=np.float32)
        affine = np.array(self.affine, dtype=np.float64)
        if array.ndim != 3:
            raise BadInput(f"the image has {array.ndim} dimensions; only 3-D volumes can be used")
        if affine.shape != (4, 4):
            raise BadInput(f"the affine has shape {affine.shape}; it must be 4 x 4")
        if self.contrast not in CONTRASTS:
            raise BadInput(f"unknown contrast '{self.contrast}'; it must be one of {', '.join(CONTRASTS)}")
        object.__setattr__(self, "array", array)
        object.__setattr__(self, "affine", affine)

    @property
    def known_contrast(self) -> str:
        """The contrast, or ``other`` if it was assumed."""
        return "other" if self.meta.get(ASSUMED) else self.contrast

    def taken_for_t1w(self) -> Image:
        """The same voxels as T1w, which nobody said: see :attr:`known_contrast`."""
        return Image(self.array, self.affine, "T1w", {**self.meta, ASSUMED: True})

    @property
    def sides_in_doubt(self) -> str | None:
        """Why left and right cannot be trusted, as a sentence without its full stop; None if they can."""
        doubt = self.meta.get(ORIENTATION_DOUBT)
        return no_sides(doubt) if doubt else None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along i, j, k."""
        i, j, k = self.array.shape
        return i, j, k

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel edge along i, j, k in millimetres."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(x), float(y), float(z)

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel in millilitres."""
        return float(abs(np.linalg.det(self.affine[:3, :3])) / 1000.0)

    def with_array(self, array: np.ndarray) -> Image:
        """The same grid with other voxel values (same shape)."""
        if array.shape != self.shape:
            raise BadInput(f"an array of shape {array.shape} does not fit the grid {self.shape}")
        return replace(self, array=array)

    def sha256(self) -> str:
        """SHA-256 over shape, affine and voxel values: identifies the input in the provenance."""
        return self._sha256(np.round(self.affine, 6).astype(np.float64).tobytes())

    def voxels_sha256(self) -> str:
        """SHA-256 over shape and voxel values, wherever they lie: file formats round the affine differently."""
        return self._sha256(b"")

    def _sha256(self, place: bytes) -> str:
        digest = hashlib.sha256(np.array(self.shape, dtype=np.int64).tobytes())
        digest.update(place)
        digest.update(self.array.tobytes())
        return digest.hexdigest()


def check_image(image: Image, is_scan: bool = True) -> None:
    """Refuse what cannot be a scan; one sentence says what and why.

    Args:
        is_scan: a map or a mask, unlike a scan, may be the same everywhere.

    Raises:
        BadInput: NaN or infinite voxels, constant values, fewer than 4 voxels along an axis, a singular or sheared
            affine, or a spacing outside 0.05 to 20 mm.
    """
    _check_affine(image)
    _check_voxels(image)
    if is_scan and float(image.array.min()) == float(image.array.max()):
        raise BadInput(f"all voxels have the same value ({float(image.array.min()):g}), so there is nothing to enhance")


def _check_affine(image: Image) -> None:
    affine = image.affine
    if not np.isfinite(affine).all():
        raise BadInput("the header's affine contains NaN or infinite values, so the position in space is unknown")
    if not np.allclose(affine[3], [0, 0, 0, 1]):
        raise BadInput("the last row of the affine is not 0 0 0 1, so it is not a position in space")
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    if np.any(spacing == 0) or abs(np.linalg.det(affine[:3, :3] / np.maximum(spacing, 1e-12))) < LEAST_VOLUME:
        raise BadInput("the affine is singular: its axes do not span space, so voxels have no volume")
    if spacing.min() < MIN_SPACING_MM or spacing.max() > MAX_SPACING_MM:
        text = " x ".join(f"{s:.4g}" for s in spacing)
        raise BadInput(
            f"the voxel spacing {text} mm is absurd for a head scan (allowed {MIN_SPACING_MM} to {MAX_SPACING_MM} mm)"
        )
    axes = affine[:3, :3] / spacing
    if np.abs(axes.T @ axes - np.eye(3)).max() > MAX_SHEAR:
        raise BadInput("the affine is sheared: its axes are not at right angles, which no scanner grid is")


def _check_voxels(image: Image) -> None:
    array = image.array
    if array.size == 0 or min(array.shape) < 4:
        raise BadInput(
            f"the volume is empty or too thin: its shape is {array.shape}, at least 4 voxels an axis are needed"
        )
    if not np.isfinite(array).all():
        count = int(array.size - np.isfinite(array).sum())
        raise BadInput(f"{count} voxels are NaN or infinite, so the scan is damaged")


def grid_corners(shape: Sequence[int], affine: np.ndarray) -> np.ndarray:
    """The centres of a grid's eight outermost voxels: (8, 3), mm, in the world of its affine (4 x 4 or 3 x 4)."""
    corners = np.array([[*corner, 1] for corner in np.ndindex(2, 2, 2)], dtype=np.float64)
    corners[:, :3] *= np.asarray(shape) - 1
    return (corners @ affine.T)[:, :3]
