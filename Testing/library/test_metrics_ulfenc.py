"""The ULF-EnC challenge score against its definition written out voxel by voxel."""

from __future__ import annotations

import math

import numpy as np
import pytest

from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.evaluation.ulfenc import UlfEncScore, ulf_enc_score

SHAPE = (16, 14, 13)


@pytest.fixture
def volumes() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    reference = rng.random(SHAPE) * 900
    image = reference * 0.3 + rng.standard_normal(SHAPE) * 20 + 50
    mask = np.zeros(SHAPE, bool)
    mask[5:10, 5:9, 0:6] = rng.random((5, 4, 6)) > 0.1
    return reference, image, mask


def written_out(reference: np.ndarray, image: np.ndarray, mask: np.ndarray) -> tuple[float, float, float, float]:
    """SSIM, PSNR, MAE, NMSE with loops; windows of 7 voxels with numpy's sample covariance, borders mirrored."""
    r = (reference - reference.min()) / (reference.max() - reference.min()) * mask
    m = (image - image.min()) / (image.max() - image.min()) * mask
    padded_r, padded_m = np.pad(r, 3, mode="symmetric"), np.pad(m, 3, mode="symmetric")
    ssim, psnr, mae, square = [], [], [], []
    for i, j, k in zip(*np.nonzero(mask), strict=True):
        window = np.s_[i : i + 7, j : j + 7, k : k + 7]
        wr, wm = padded_r[window].ravel(), padded_m[window].ravel()
        (vr, cov), (_, vm) = np.cov(wr, wm)
        numerator = (2 * wr.mean() * wm.mean() + 1e-4) * (2 * cov + 9e-4)
        ssim.append(numerator / ((wr.mean() ** 2 + wm.mean() ** 2 + 1e-4) * (vr + vm + 9e-4)))
        error = abs(r[i, j, k] - m[i, j, k])
        psnr.append(10 * math.log10(1 / (error**2 + 1e-8)))
        mae.append(error)
        square.append(error**2)
    nmse = min(np.mean(square) / np.mean(r[mask] ** 2), 1.0)
    return float(np.mean(ssim)), float(np.mean(psnr)), float(np.mean(mae)), float(nmse)


def test_the_parts_are_the_definition(volumes: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    scores = ulf_enc_score(*volumes)
    parts = scores.ssim_uniform_window, scores.psnr_voxelwise_db, scores.mae_minmax, scores.nmse_clipped
    assert parts == pytest.approx(written_out(*volumes), rel=1e-9)


def test_the_weights_of_the_composite() -> None:
    assert UlfEncScore(1.0, 0.0, 1.0, 1.0).score == pytest.approx(0.7)
    assert UlfEncScore(0.0, 32.0, 1.0, 1.0).score == pytest.approx(0.1)
    assert UlfEncScore(0.0, 0.0, 0.25, 1.0).score == pytest.approx(0.075)
    assert UlfEncScore(0.0, 0.0, 1.0, 0.4).score == pytest.approx(0.06)


def test_identical_volumes_reach_the_cap_of_80_db(volumes: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    reference, _, mask = volumes
    scores = ulf_enc_score(reference, reference, mask)
    assert scores.psnr_voxelwise_db == pytest.approx(80.0)
    assert scores.score == pytest.approx(1.15)


def test_any_rising_affine_change_of_intensity_is_free(volumes: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    reference, image, mask = volumes
    assert ulf_enc_score(reference * 3 + 7, image / 8 - 2, mask).score == pytest.approx(
        ulf_enc_score(reference, image, mask).score, rel=1e-9
    )


def test_the_normalisation_takes_in_the_whole_volume(volumes: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    reference, image, mask = volumes
    bright = image.copy()
    bright[0, 0, 0] = 10 * image.max()  # outside the mask, and yet it counts: the challenge's definition
    assert ulf_enc_score(reference, bright, mask).score < ulf_enc_score(reference, image, mask).score - 0.05


def test_an_error_above_the_signal_is_clipped() -> None:
    reference, image = np.zeros((8, 8, 8)), np.zeros((8, 8, 8))
    reference[0, 0, 0] = image[4, 4, 4] = 1.0
    mask = np.zeros((8, 8, 8), bool)
    mask[3:6, 3:6, 3:6] = True
    assert ulf_enc_score(reference, image, mask).nmse_clipped == 1.0  # no signal in the mask at all
    reference[4, 4, 3] = 0.5
    assert ulf_enc_score(reference, image, mask).nmse_clipped == 1.0  # five times the signal


def test_a_constant_volume_cannot_be_normalised(volumes: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    reference, image, mask = volumes
    with pytest.raises(BadInput, match="the reference is constant"):
        ulf_enc_score(np.ones(SHAPE), image, mask)
    with pytest.raises(BadInput, match="the image is constant"):
        ulf_enc_score(reference, np.ones(SHAPE), mask)
