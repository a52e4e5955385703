"""What every metric refuses, and how: one sentence, BadInput."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.evaluation import intensity
from LowFieldEnhanceLib.evaluation.checks import as_finite, as_mask, as_pair, bounding_box
from LowFieldEnhanceLib.evaluation.fidelity import fidelity_residual
from LowFieldEnhanceLib.evaluation.ulfenc import ulf_enc_score

Metric = Callable[[np.ndarray, np.ndarray, np.ndarray], object]

METRICS: dict[str, Metric] = {
    "psnr": intensity.psnr,
    "ssim": intensity.ssim,
    "mae": intensity.mae,
    "nmse": intensity.nmse,
    "linear_fit": intensity.linear_fit,
    "score_images": intensity.score_images,
    "ulf_enc_score": ulf_enc_score,
    "fidelity_residual": lambda reference, image, mask: fidelity_residual(reference, image, 1.0, mask),
}


@pytest.fixture(params=sorted(METRICS))
def metric(request: pytest.FixtureRequest) -> Metric:
    return METRICS[request.param]


def ramp() -> np.ndarray:
    return np.arange(64.0).reshape(4, 4, 4)


def test_every_metric_refuses_images_of_different_shapes(metric: Metric) -> None:
    with pytest.raises(BadInput, match=r"\(4, 4, 4\) and \(4, 4, 3\)"):
        metric(ramp(), ramp()[:, :, :3], np.ones((4, 4, 4)))


def test_every_metric_refuses_a_mask_of_another_shape(metric: Metric) -> None:
    with pytest.raises(BadInput, match="the mask has the shape"):
        metric(ramp(), ramp(), np.ones((4, 4, 3)))


def test_every_metric_refuses_an_empty_mask(metric: Metric) -> None:
    with pytest.raises(BadInput, match="the mask is empty"):
        metric(ramp(), ramp(), np.zeros((4, 4, 4)))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_every_metric_refuses_values_that_are_not_finite(metric: Metric, value: float) -> None:
    damaged = ramp()
    damaged[1, 2, 3] = value
    with pytest.raises(BadInput, match="the image contains NaN or infinite"):
        metric(ramp(), damaged, np.ones((4, 4, 4)))
    with pytest.raises(BadInput, match="the reference contains NaN or infinite"):
        metric(damaged, ramp(), np.ones((4, 4, 4)))


def test_a_mask_of_any_type_counts_what_is_not_zero() -> None:
    assert as_mask(np.array([0.0, 0.5, -1.0, 2.0]), (4,)).tolist() == [False, True, True, True]


def test_inputs_are_converted_and_not_changed() -> None:
    image = np.arange(8, dtype=np.int16).reshape(2, 2, 2)
    reference, converted, inside = as_pair(image, image, image)
    assert reference.dtype == converted.dtype == np.float64
    assert inside.dtype == bool
    assert image.dtype == np.int16
    assert as_finite(image, "x").tolist() == image.tolist()


def test_the_bounding_box_is_the_smallest_and_its_margin_stops_at_the_grid() -> None:
    mask = np.zeros((6, 7, 8), bool)
    mask[1, 2, 3] = mask[4, 2, 7] = True
    assert bounding_box(mask) == (slice(1, 5), slice(2, 3), slice(3, 8))
    assert bounding_box(mask, 2) == (slice(0, 6), slice(0, 5), slice(1, 8))
    with pytest.raises(BadInput, match="empty"):
        bounding_box(np.zeros((3, 3, 3), bool))
