"""Slice profiles and interpolation as matrices, against integrals, brute force and the textbook formula."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from LowFieldEnhanceLib.physics.separable import (
    SeparableOperator,
    cubic_matrix,
    linear_matrix,
    nearest_matrix,
    profile_matrix,
)

PROFILES = ("gaussian", "box", "point")


@settings(max_examples=60, deadline=None, database=None)
@given(
    centres=st.lists(st.floats(-0.5, 11.5), min_size=1, max_size=6),
    width=st.floats(0, 9),
    profile=st.sampled_from(PROFILES),
)
def test_every_sample_inside_the_grid_is_a_weighted_mean(centres: list[float], width: float, profile: str) -> None:
    matrix = profile_matrix(np.array(centres), width, 12, profile)
    assert matrix.shape == (len(centres), 12)
    assert matrix.min() >= 0
    np.testing.assert_allclose(matrix.sum(1), 1.0, atol=1e-12)


@pytest.mark.parametrize("profile", PROFILES)
def test_a_sample_outside_the_grid_knows_nothing(profile: str) -> None:
    assert not profile_matrix(np.array([-0.6, 11.6, 100.0]), 2.0, 12, profile).any()


@pytest.mark.parametrize(("centre", "fwhm"), [(6.0, 1.0), (5.3, 3.2), (6.5, 0.4)])
def test_the_gaussian_profile_is_the_integral_of_a_gaussian_over_each_voxel(centre: float, fwhm: float) -> None:
    sigma = fwhm / 2.354820045
    row = profile_matrix(np.array([centre]), fwhm, 13, "gaussian")[0]
    for voxel in range(2, 11):
        density = lambda x: np.exp(-0.5 * ((x - centre) / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi))  # noqa: E731
        assert row[voxel] == pytest.approx(quad(density, voxel - 0.5, voxel + 0.5, points=[centre])[0], abs=1e-8)


@settings(max_examples=30, deadline=None, database=None)
@given(centre=st.floats(3, 8), width=st.floats(0.2, 5))
def test_the_box_profile_is_the_mean_of_what_the_slice_covers(centre: float, width: float) -> None:
    x = np.random.default_rng(0).normal(size=12)
    fine = centre - width / 2 + width * (np.arange(20000) + 0.5) / 20000
    expected = x[np.floor(fine + 0.5).astype(int)].mean()
    assert profile_matrix(np.array([centre]), width, 12, "box")[0] @ x == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("step", [1.0, 1.6, 2.0, 5.0])
def test_point_samples_of_a_ramp_lie_on_it_wherever_they_fall(step: float) -> None:
    centres = np.arange(step / 2 - 0.5, 19.0, step)  # at 2 all of them halfway between two voxels
    np.testing.assert_allclose(profile_matrix(centres, step, 20, "point") @ np.arange(20.0), centres, atol=1e-12)
    assert not profile_matrix(np.array([-0.6, 19.6]), 1.0, 20, "point").any()


def test_labels_take_the_nearest_voxel() -> None:
    matrix = nearest_matrix(np.array([-0.4, 2.3, 2.7, 11.4]), 12)
    np.testing.assert_array_equal(matrix.argmax(axis=1), [0, 2, 3, 11])
    assert (matrix.sum(axis=1) == 1).all() and set(np.unique(matrix)) == {0, 1}


def test_impossible_profiles_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown slice profile 'sinc'"):
        profile_matrix(np.zeros(1), 1.0, 4, "sinc")
    with pytest.raises(ValueError, match="negative"):
        profile_matrix(np.zeros(1), -1.0, 4, "box")


@settings(max_examples=40, deadline=None, database=None)
@given(positions=st.lists(st.floats(-3, 14), min_size=1, max_size=8), size=st.integers(1, 11))
def test_linear_interpolation_is_numpys_with_the_edge_value_beyond_the_grid(positions: list[float], size: int) -> None:
    x = np.random.default_rng(1).normal(size=size)
    expected = np.interp(positions, np.arange(size), x)
    np.testing.assert_allclose(linear_matrix(np.array(positions), size) @ x, expected, atol=1e-12)


def keys(distance: float) -> float:
    """Keys 1981, eq. 15, a = -1/2."""
    d = abs(distance)
    if d <= 1:
        return 1.5 * d**3 - 2.5 * d**2 + 1
    return -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2 if d < 2 else 0.0


@settings(max_examples=40, deadline=None, database=None)
@given(position=st.floats(0, 9))
def test_cubic_interpolation_is_keys_convolution_with_repeated_edges(position: float) -> None:
    x = np.random.default_rng(2).normal(size=10)
    expected = sum(x[min(max(n, 0), 9)] * keys(position - n) for n in range(-3, 14))
    assert (cubic_matrix(np.array([position]), 10) @ x)[0] == pytest.approx(expected, abs=1e-10)


def test_cubic_interpolation_is_exact_for_parabolas_inside() -> None:
    n = np.arange(10.0)
    positions = np.linspace(1, 8, 23)
    fitted = cubic_matrix(positions, 10) @ (0.3 * n**2 - n + 2)
    np.testing.assert_allclose(fitted, 0.3 * positions**2 - positions + 2, atol=1e-10)


def random_operator() -> tuple[SeparableOperator, list[np.ndarray]]:
    rng = np.random.default_rng(4)
    matrices = [rng.normal(size=(a, b)) for a, b in ((2, 5), (7, 3), (4, 4))]
    return SeparableOperator(matrices, torch.float64), matrices


def test_a_separable_operator_is_the_sum_over_all_voxels() -> None:
    operator, (first, second, third) = random_operator()
    x = torch.randn(2, 5, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = np.einsum("ai,bj,ck,nijk->nabc", first, second, third, x.numpy())
    np.testing.assert_allclose(operator(x).numpy(), expected, atol=1e-12)
    np.testing.assert_allclose(operator(x[0]).numpy(), expected[0], atol=1e-12)


def test_a_separable_operator_has_its_exact_adjoint() -> None:
    operator, _ = random_operator()
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(5, 3, 4, dtype=torch.float64, generator=generator)
    y = torch.randn(2, 7, 4, dtype=torch.float64, generator=generator)
    assert float((operator(x) * y).sum()) == pytest.approx(float((x * operator.adjoint(y)).sum()), rel=1e-12)
