"""PSNR, SSIM, MAE, NMSE and the linear fit against closed forms and brute force."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from LowFieldEnhanceLib.errors import BadInput, Cancelled
from LowFieldEnhanceLib.evaluation.intensity import (
    linear_coefficients,
    linear_fit,
    mae,
    nmse,
    psnr,
    reference_range,
    score_images,
    ssim,
    ssim_map,
)
from LowFieldEnhanceLib.evaluation.ulfenc import ulf_enc_score

SHAPE = (9, 8, 7)


@pytest.fixture
def reference() -> np.ndarray:
    return np.random.default_rng(1).random(SHAPE) * 200 + 20


@pytest.fixture
def noisy(reference: np.ndarray) -> np.ndarray:
    return reference + np.random.default_rng(2).standard_normal(SHAPE) * 15


@pytest.fixture
def mask() -> np.ndarray:
    inside = np.zeros(SHAPE, bool)
    inside[2:8, 1:7, 2:6] = True
    return inside


@pytest.mark.parametrize(("offset", "data_range", "decibel"), [(1.0, 10.0, 20.0), (-5.0, 5.0, 0.0), (0.1, 100.0, 60.0)])
def test_psnr_of_a_constant_offset(reference: np.ndarray, offset: float, data_range: float, decibel: float) -> None:
    assert psnr(reference, reference + offset, np.ones(SHAPE), data_range) == pytest.approx(decibel)


def test_psnr_of_identical_images_is_infinite(reference: np.ndarray, mask: np.ndarray) -> None:
    assert psnr(reference, reference, mask) == math.inf


def test_mae_and_nmse_of_a_constant_offset(reference: np.ndarray, mask: np.ndarray) -> None:
    assert mae(reference, reference - 7, mask, 140.0) == pytest.approx(0.05)
    assert nmse(np.full(SHAPE, 10.0), np.full(SHAPE, 12.0), mask) == pytest.approx(0.04)


def test_nmse_does_not_depend_on_the_unit_and_needs_signal(
    reference: np.ndarray, noisy: np.ndarray, mask: np.ndarray
) -> None:
    assert nmse(reference * 1e4, noisy * 1e4, mask) == pytest.approx(nmse(reference, noisy, mask))
    with pytest.raises(BadInput, match="0 everywhere"):
        nmse(np.zeros(SHAPE), noisy, mask)


def test_only_voxels_inside_the_mask_count(reference: np.ndarray, noisy: np.ndarray, mask: np.ndarray) -> None:
    other = np.where(mask, noisy, 1e6)
    for metric in (psnr, mae, nmse):
        assert metric(reference, other, mask) == metric(reference, noisy, mask)
    assert linear_coefficients(reference, other, mask) == linear_coefficients(reference, noisy, mask)


def test_the_default_range_is_the_percentile_minus_the_minimum_inside_the_mask() -> None:
    reference = np.full((20, 20, 20), 1e9)
    mask = np.zeros(reference.shape, bool)
    mask[:10, :10, :11] = True
    reference[mask] = np.arange(1100.0) + 50
    assert reference_range(reference, mask) == pytest.approx(0.999 * 1099)
    assert mae(reference, reference + 3, mask) == pytest.approx(3 / (0.999 * 1099))
    with pytest.raises(BadInput, match="constant inside the mask"):
        reference_range(np.ones(reference.shape), mask)


@pytest.mark.parametrize("metric", [psnr, ssim, mae])
@pytest.mark.parametrize("data_range", [0.0, -3.0, math.nan, math.inf])
def test_a_data_range_that_is_not_above_zero_is_refused(
    metric: Callable[..., float], data_range: float, reference: np.ndarray, mask: np.ndarray
) -> None:
    with pytest.raises(BadInput, match="data range"):
        metric(reference, reference, mask, data_range)


def brute_force_ssim(a: np.ndarray, b: np.ndarray, data_range: float) -> np.ndarray:
    """Wang's definition written out: an explicit 11 x 11 x 11 Gaussian window, weighted central moments."""
    line = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    weights = np.einsum("i,j,k->ijk", line, line, line)
    weights /= weights.sum()
    windows_a, windows_b = (
        np.lib.stride_tricks.sliding_window_view(np.pad(v, 5, mode="symmetric"), (11, 11, 11)) for v in (a, b)
    )
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    result = np.empty(a.shape)
    for index in np.ndindex(a.shape):
        wa, wb = windows_a[index], windows_b[index]
        ma, mb = (weights * wa).sum(), (weights * wb).sum()
        va, vb = (weights * (wa - ma) ** 2).sum(), (weights * (wb - mb) ** 2).sum()
        cov = (weights * (wa - ma) * (wb - mb)).sum()
        result[index] = (2 * ma * mb + c1) * (2 * cov + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2))
    return result


def test_ssim_is_the_explicit_gaussian_window_averaged_in_the_mask(
    reference: np.ndarray, noisy: np.ndarray, mask: np.ndarray
) -> None:
    expected = brute_force_ssim(reference, noisy, 180.0)
    assert ssim_map(reference, noisy, 180.0) == pytest.approx(expected, rel=1e-9)
    assert ssim(reference, noisy, mask, 180.0) == pytest.approx(expected[mask].mean(), rel=1e-9)


def test_ssim_of_a_small_mask_in_a_large_grid_equals_the_mean_of_the_whole_map() -> None:
    rng = np.random.default_rng(3)
    a = rng.random((24, 25, 26))
    b = a + 0.1 * rng.standard_normal(a.shape)
    mask = np.zeros(a.shape, bool)
    mask[8:12, 9:11, 20:24] = True
    assert ssim(a, b, mask, 1.0) == pytest.approx(ssim_map(a, b, 1.0)[mask].mean(), rel=1e-12)


def test_ssim_of_identical_images_is_one_and_of_flat_images_is_the_luminance_term(mask: np.ndarray) -> None:
    a, b, data_range = 100.0, 80.0, 150.0
    c1 = (0.01 * data_range) ** 2
    expected = (2 * a * b + c1) / (a**2 + b**2 + c1)
    assert ssim(np.full(SHAPE, a), np.full(SHAPE, b), mask, data_range) == pytest.approx(expected)
    assert ssim(np.full(SHAPE, a), np.full(SHAPE, a), mask, data_range) == pytest.approx(1.0)


def test_more_noise_scores_worse(reference: np.ndarray, noisy: np.ndarray, mask: np.ndarray) -> None:
    noisier = reference + 3 * (noisy - reference)
    assert psnr(reference, noisy, mask) - psnr(reference, noisier, mask) == pytest.approx(20 * math.log10(3))
    assert ssim(reference, noisy, mask) > ssim(reference, noisier, mask)
    assert mae(reference, noisier, mask) == pytest.approx(3 * mae(reference, noisy, mask))
    assert nmse(reference, noisier, mask) == pytest.approx(9 * nmse(reference, noisy, mask))


@settings(max_examples=25, deadline=None, database=None)
@given(slope=st.floats(0.01, 100), intercept=st.floats(-1000, 1000), sign=st.sampled_from([-1, 1]))
def test_the_linear_fit_undoes_any_affine_change(slope: float, intercept: float, sign: int) -> None:
    reference = np.random.default_rng(4).random((4, 4, 4))
    image = (reference - intercept) / (sign * slope)
    assert linear_fit(reference, image, np.ones((4, 4, 4))) == pytest.approx(reference, abs=1e-6)


def test_the_linear_fit_is_numpys_least_squares(reference: np.ndarray, noisy: np.ndarray, mask: np.ndarray) -> None:
    slope, intercept = np.polyfit(noisy[mask], reference[mask], 1)
    assert linear_coefficients(reference, noisy, mask) == pytest.approx((slope, intercept))
    assert linear_fit(reference, noisy, mask) == pytest.approx(slope * noisy + intercept)


@pytest.mark.parametrize("value", [0.0, 0.1, 0.7, 1e9 / 3])
def test_a_constant_image_is_fitted_by_the_mean(reference: np.ndarray, mask: np.ndarray, value: float) -> None:
    fitted = linear_fit(reference, np.full(SHAPE, value), mask)
    assert linear_coefficients(reference, np.full(SHAPE, value), mask) == (0.0, reference[mask].mean())
    assert fitted == pytest.approx(np.full(SHAPE, reference[mask].mean()))


def test_scores_are_those_of_the_fitted_image(reference: np.ndarray, noisy: np.ndarray, mask: np.ndarray) -> None:
    fitted, floor = linear_fit(reference, noisy, mask), reference[mask].min()
    scores = score_images(reference, noisy, mask)
    assert scores.data_range == reference_range(reference, mask)
    assert scores.psnr == psnr(reference, fitted, mask)
    assert scores.mae == mae(reference, fitted, mask)
    assert scores.nmse == nmse(reference, fitted, mask)
    assert scores.ssim == ssim(np.where(mask, reference, floor), np.where(mask, fitted, floor), mask)
    assert scores.ulf_enc == ulf_enc_score(reference, noisy, mask).score
    assert scores.lpips is None


def test_scores_ignore_intensity_scale_and_what_lies_outside_the_mask(
    reference: np.ndarray, noisy: np.ndarray, mask: np.ndarray
) -> None:
    plain = score_images(reference, noisy, mask)
    scaled = score_images(reference, noisy * 0.01 + 4, mask)
    assert [scaled.psnr, scaled.ssim, scaled.mae, scaled.nmse, scaled.ulf_enc] == pytest.approx(
        [plain.psnr, plain.ssim, plain.mae, plain.nmse, plain.ulf_enc], rel=1e-9
    )
    elsewhere = score_images(np.where(mask, reference, -500), np.where(mask, noisy, 900), mask)
    assert [elsewhere.psnr, elsewhere.ssim, elsewhere.mae, elsewhere.nmse] == [
        plain.psnr,
        plain.ssim,
        plain.mae,
        plain.nmse,
    ]


def test_lpips_is_asked_for_the_fitted_image_with_the_same_range(
    reference: np.ndarray, noisy: np.ndarray, mask: np.ndarray
) -> None:
    class Recorder:
        def volume(self, *arguments: object) -> float:
            self.arguments = arguments
            return 0.25

    recorder = Recorder()
    scores = score_images(reference, noisy, mask, recorder)
    assert scores.lpips == 0.25
    given_reference, given_image, given_mask, given_range = recorder.arguments
    assert np.array_equal(given_reference, reference)
    assert np.array_equal(given_image, linear_fit(reference, noisy, mask))
    assert np.array_equal(given_mask, mask)
    assert given_range == scores.data_range


def test_a_cancel_takes_effect_between_the_metrics() -> None:
    """SSIM of a head takes a second, LPIPS several: three chances before the last."""
    reference = np.random.default_rng(0).uniform(0, 1, (16, 16, 16))
    mask, calls = np.ones(reference.shape, dtype=bool), []

    def third_time() -> None:
        calls.append(1)
        if len(calls) == 3:
            raise Cancelled("stop")

    with pytest.raises(Cancelled):
        score_images(reference, 0.9 * reference, mask, check=third_time)
