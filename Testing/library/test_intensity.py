"""The way to the networks' range and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.preprocess.intensity import MODEL_MAX, MODEL_MIN, from_model, intensity_scale, to_model


@settings(max_examples=40, deadline=None, database=None)
@given(scale=st.floats(1e-3, 1e5), share=st.floats(0, 1.25))
def test_intensities_up_to_the_headroom_return_unchanged(scale: float, share: float) -> None:
    array = np.full((2, 2, 2), share * scale)
    np.testing.assert_allclose(from_model(to_model(array, scale), scale), array, rtol=1e-5, atol=1e-6 * scale)


def test_zero_is_minus_one_and_the_scale_is_plus_one() -> None:
    np.testing.assert_allclose(to_model(np.array([0.0, 50.0, 100.0]), 100.0), [-1, 0, 1])
    assert to_model(np.zeros(1), 1.0).dtype == np.float32


def test_what_lies_beyond_the_range_is_clipped() -> None:
    np.testing.assert_allclose(to_model(np.array([-30.0, 1e6]), 100.0), [MODEL_MIN, MODEL_MAX])
    np.testing.assert_allclose(from_model(np.array([-1.5]), 100.0), [0.0])


def test_the_scale_is_a_quarter_above_the_ninetieth_percentile_inside_the_mask() -> None:
    array = np.full((10, 10, 10), 1e6)
    mask = np.zeros(array.shape, dtype=bool)
    mask[:5] = True
    array[mask] = np.linspace(0, 500, 500)
    assert intensity_scale(array, mask) == pytest.approx(1.25 * 450, rel=1e-3)


def test_the_model_value_does_not_depend_on_the_scanners_unit() -> None:
    array = np.random.default_rng(0).uniform(0, 1, (8, 8, 8))
    mask = np.ones(array.shape, dtype=bool)
    first = to_model(array, intensity_scale(array, mask))
    second = to_model(4000 * array, intensity_scale(4000 * array, mask))
    np.testing.assert_allclose(first, second, atol=1e-5)


@pytest.mark.parametrize(("value", "inside"), [(1.0, False), (0.0, True), (-5.0, True)])
def test_an_empty_mask_and_a_dark_brain_are_refused(value: float, inside: bool) -> None:
    with pytest.raises(BadInput):
        intensity_scale(np.full((4, 4, 4), value), np.full((4, 4, 4), inside))
