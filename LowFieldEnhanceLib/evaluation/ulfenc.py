"""The score of the ULF-EnC challenge (2025), kept apart because its parts are not the usual metrics.

Its PSNR is a mean of per-voxel values in dB, its SSIM has a uniform 7-voxel window, and its intensity range is the
whole volume's minimum to maximum. The field names say so; never put them in a column with :mod:`.intensity`.
Source: the organisers' final_evaluation_script.py (github.com/khtohidulislam/ULF-EnC-Challenge, MIT); written anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.ndimage import uniform_filter

from ..errors import BadInput
from .checks import as_pair, bounding_box
from .similarity import structural_similarity

WINDOW_VOXELS = 7
MAX_PSNR_DB = 32.0
SQUARED_ERROR_FLOOR = 1e-8  # caps the voxelwise PSNR at 80 dB


@dataclass(frozen=True)
class UlfEncScore:
    """One image's parts of the ULF-EnC score; a team's score is the mean over its images.

    Attributes:
        ssim_uniform_window: mean in the mask, -1..1, higher is better.
        psnr_voxelwise_db: mean over the mask's voxels of 10 log10(1 / (e^2 + 1e-8)), at most 80, higher is better.
        mae_minmax: mean |e| in the mask on min-max normalised volumes, 0..1, lower is better.
        nmse_clipped: mean e^2 / mean reference^2 in the mask, clipped to 1, lower is better.
    """

    ssim_uniform_window: float
    psnr_voxelwise_db: float
    mae_minmax: float
    nmse_clipped: float

    @property
    def score(self) -> float:
        """0.7 SSIM + 0.1 PSNR / 32 + 0.1 (1 - MAE) + 0.1 (1 - NMSE); higher is better, 1.15 if identical."""
        return (
            0.7 * self.ssim_uniform_window
            + 0.1 * self.psnr_voxelwise_db / MAX_PSNR_DB
            + 0.1 * (1 - self.mae_minmax)
            + 0.1 * (1 - self.nmse_clipped)
        )


def ulf_enc_score(reference: np.ndarray, image: np.ndarray, mask: np.ndarray) -> UlfEncScore:
    """The challenge's score of one image.

    Args:
        reference, image: [i, j, k], any unit: each is min-max normalised over its whole volume, so whole volumes are
            needed, not crops, and one bright voxel changes the score.
        mask: brain mask (the challenge takes the T1w scan's mask for all contrasts); voxels that are not 0 count.

    Raises:
        BadInput: shapes differ, the mask is empty, a volume is constant, or a voxel is NaN or infinite.
    """
    reference, image, inside = as_pair(reference, image, mask)
    box = bounding_box(inside, WINDOW_VOXELS // 2)
    reference_01 = (_min_max(reference, "the reference") * inside)[box]
    image_01 = (_min_max(image, "the image") * inside)[box]
    within = inside[box]
    error = (image_01 - reference_01)[within]
    energy = float(np.mean(reference_01[within] ** 2))
    # The organisers divide by 0 here and clip the infinity to 1.
    nmse = 1.0 if energy == 0 else min(float(np.mean(error**2)) / energy, 1.0)
    return UlfEncScore(
        ssim_uniform_window=float(_uniform_ssim(reference_01, image_01)[within].mean()),
        psnr_voxelwise_db=float(np.mean(-10.0 * np.log10(error**2 + SQUARED_ERROR_FLOOR))),
        mae_minmax=float(np.abs(error).mean()),
        nmse_clipped=nmse,
    )


def _min_max(volume: np.ndarray, name: str) -> np.ndarray:
    low, high = float(volume.min()), float(volume.max())
    if low == high:
        raise BadInput(f"{name} is constant, so it cannot be normalised to 0..1")
    return (volume - low) / (high - low)


def _uniform_ssim(reference: np.ndarray, image: np.ndarray) -> np.ndarray:
    """The default of skimage.metrics.structural_similarity: uniform window of 7 voxels, sample covariance, L = 1."""
    voxels = WINDOW_VOXELS**reference.ndim
    window = partial(uniform_filter, size=WINDOW_VOXELS)
    return structural_similarity(reference, image, 1.0, window, voxels / (voxels - 1))
