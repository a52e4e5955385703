"""The fidelity residual against noise of known strength and faults of known place."""

from __future__ import annotations

import math

import numpy as np
import pytest

from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.evaluation.fidelity import GAUSSIAN_SHARE_ABOVE_3, fidelity_residual

SHAPE = (30, 30, 30)
SIGMA = 4.0


@pytest.fixture
def predicted() -> np.ndarray:
    return np.random.default_rng(9).random(SHAPE) * 300


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(10).standard_normal(SHAPE) * SIGMA


def test_noise_alone_has_rms_one_and_the_gaussian_share_above_three(predicted: np.ndarray, noise: np.ndarray) -> None:
    residual, summary = fidelity_residual(predicted + noise, predicted, SIGMA, np.ones(SHAPE))
    assert summary.rms == pytest.approx(1.0, abs=0.02)
    assert summary.share_above_3 == pytest.approx(GAUSSIAN_SHARE_ABOVE_3, abs=0.0015)
    assert GAUSSIAN_SHARE_ABOVE_3 == pytest.approx(0.0027, abs=1e-5)
    assert residual.dtype == np.float32
    assert residual.shape == SHAPE


def test_a_change_of_scale_is_fitted_away_and_reported(predicted: np.ndarray, noise: np.ndarray) -> None:
    _, plain = fidelity_residual(predicted + noise, predicted, SIGMA, np.ones(SHAPE))
    _, scaled = fidelity_residual(predicted + noise, (predicted - 50) / 8, SIGMA, np.ones(SHAPE))
    assert scaled.rms == pytest.approx(plain.rms)
    assert (scaled.slope, scaled.intercept) == pytest.approx((8.0, 50.0), abs=0.2)


def test_without_the_fit_the_residual_is_the_plain_difference_in_sigmas(predicted: np.ndarray) -> None:
    residual, summary = fidelity_residual(predicted + 8, predicted, SIGMA, np.ones(SHAPE), fit=False)
    assert residual == pytest.approx(np.full(SHAPE, 2.0), abs=1e-5)
    assert (summary.slope, summary.intercept) == (1.0, 0.0)
    assert summary.rms == pytest.approx(2.0)
    assert summary.share_above_3 == 0.0
    assert summary.sigma == SIGMA


def test_the_share_counts_both_signs_strictly_above_three() -> None:
    measured = np.array([12.0, -12.0, 13.0, -13.0, 0.0]).reshape(5, 1, 1)
    _, summary = fidelity_residual(measured, np.zeros((5, 1, 1)), 4.0, np.ones((5, 1, 1)), fit=False)
    assert summary.share_above_3 == pytest.approx(2 / 5)
    assert summary.rms == pytest.approx(math.sqrt((9 + 9 + 3.25**2 * 2) / 5))


def test_an_invented_structure_stands_out_where_it_is(predicted: np.ndarray, noise: np.ndarray) -> None:
    invented = predicted.copy()
    invented[10:13, 10:13, 10:13] += 10 * SIGMA  # the enhanced scan shows what the measurement does not
    residual, summary = fidelity_residual(predicted + noise, invented, SIGMA, np.ones(SHAPE))
    inside = residual[10:13, 10:13, 10:13]
    assert inside.mean() == pytest.approx(-10.0, abs=0.6)
    assert summary.share_above_3 >= 27 / 30**3
    assert abs(residual).mean() < 1.0


def test_voxels_outside_the_mask_are_zero_and_do_not_count(predicted: np.ndarray, noise: np.ndarray) -> None:
    mask = np.zeros(SHAPE, bool)
    mask[5:20, 5:20, 5:20] = True
    measured = predicted + noise
    residual, summary = fidelity_residual(measured, predicted, SIGMA, mask)
    _, other = fidelity_residual(np.where(mask, measured, 1e5), predicted, SIGMA, mask)
    assert np.all(residual[~mask] == 0)
    assert other == summary
    assert summary.rms == pytest.approx(float(np.sqrt(np.mean(residual[mask].astype(float) ** 2))), rel=1e-6)


@pytest.mark.parametrize("sigma", [0.0, -1.0, math.nan, math.inf])
def test_a_noise_level_that_is_not_above_zero_is_refused(predicted: np.ndarray, sigma: float) -> None:
    with pytest.raises(BadInput, match="noise level"):
        fidelity_residual(predicted, predicted, sigma, np.ones(SHAPE))
