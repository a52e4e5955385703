"""The structural similarity formula against its closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.evaluation.similarity import structural_similarity


def whole(array: np.ndarray) -> np.ndarray:
    """The window that is the whole array."""
    return np.full_like(array, array.mean())


def test_with_one_global_window_it_is_the_textbook_formula() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 50)) * 100
    c1, c2 = (0.01 * 80) ** 2, (0.03 * 80) ** 2
    covariance = np.cov(a, b)  # sample covariance, numpy's own
    expected = (
        (2 * a.mean() * b.mean() + c1)
        * (2 * covariance[0, 1] + c2)
        / ((a.mean() ** 2 + b.mean() ** 2 + c1) * (covariance[0, 0] + covariance[1, 1] + c2))
    )
    assert structural_similarity(a, b, 80.0, whole, 50 / 49) == pytest.approx(np.full(50, expected), rel=1e-12)


def test_it_is_one_for_identical_and_near_minus_one_for_inverted_contrast() -> None:
    a = np.array([-1.0, 1.0] * 10)
    assert structural_similarity(a, a, 2.0, whole) == pytest.approx(1.0)
    c2 = (0.03 * 2) ** 2
    assert structural_similarity(a, -a, 2.0, whole) == pytest.approx((-2 + c2) / (2 + c2))


@pytest.mark.parametrize("data_range", [0.0, -1.0, np.nan])
def test_a_data_range_that_is_not_above_zero_is_refused(data_range: float) -> None:
    with pytest.raises(BadInput, match="data range"):
        structural_similarity(np.ones(3), np.ones(3), data_range, whole)
