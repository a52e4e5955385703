"""The projection onto the acquired scan: its closed form, where it stops, and what it leaves alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from LowFieldEnhanceLib.errors import Cancelled
from LowFieldEnhanceLib.evaluation.data_consistency import TOLERANCE, Projection, project
from LowFieldEnhanceLib.evaluation.html import render_html
from LowFieldEnhanceLib.events import Events
from LowFieldEnhanceLib.physics.operator import ForwardOperator

FINE, COARSE = (28, 30, 30), (14, 15, 10)
SPACING = (2.0, 2.0, 3.0)
SIGMA = 5.0


def forward(fine: tuple[int, ...] = FINE, coarse: tuple[int, ...] = COARSE) -> ForwardOperator:
    affine = np.diag([*SPACING, 1.0])
    affine[:3, 3] = (np.asarray(SPACING) - 1) / 2
    return ForwardOperator(fine, np.eye(4), coarse, affine)


def anatomy(seed: int = 0, shape: tuple[int, ...] = FINE) -> np.ndarray:
    """Smooth structure around 500, with detail that the scan only half resolves."""
    noise = np.random.default_rng(seed).normal(0, 1, shape)
    rough = ndimage.gaussian_filter(noise, 1.0)
    return (500 + 100 * rough / rough.std()).astype(np.float32)


def seen(x: np.ndarray, operator: ForwardOperator, seed: int = 1, sigma: float = SIGMA) -> np.ndarray:
    clean = operator(torch.from_numpy(x)).numpy()
    return clean + np.random.default_rng(seed).normal(0, sigma, clean.shape).astype(np.float32)


def ball(shape: tuple[int, ...], radius: float) -> np.ndarray:
    places = np.indices(shape).T - (np.asarray(shape) - 1) / 2
    return ((places / np.asarray(shape)) ** 2).sum(-1).T < radius**2


WEIGHT = ndimage.gaussian_filter(ball(FINE, 0.45).astype(np.float32), 1) * ball(FINE, 0.45)
INSIDE = ball(COARSE, 0.38)


def projected(x: np.ndarray, y: np.ndarray, sigma: float = SIGMA) -> Projection:
    return project(x, y, forward(), sigma, WEIGHT, INSIDE)


def matrix_of(operator: ForwardOperator, fine: tuple[int, ...]) -> np.ndarray:
    """A, column by column."""
    units = torch.eye(int(np.prod(fine))).reshape(-1, *fine)
    return operator(units).reshape(len(units), -1).numpy().T.astype(np.float64)


def test_the_change_is_that_of_the_closed_form() -> None:
    fine, coarse = (8, 8, 9), (4, 4, 3)
    operator, truth = forward(fine, coarse), anatomy(2, (8, 8, 9))
    x = ndimage.gaussian_filter(anatomy(3, fine), 0.5) * 0.5 + truth * 0.5
    y = seen(truth, operator)
    rng = np.random.default_rng(4)
    weight, inside = rng.uniform(0, 1, fine).astype(np.float32), rng.uniform(0, 1, coarse) > 0.2
    outcome = project(x, y, operator, SIGMA, weight, inside)
    assert outcome.regularisation is not None
    a = matrix_of(operator, fine)[inside.ravel()]
    slope, intercept = outcome.before.slope, outcome.before.intercept
    b = slope * a * weight.ravel()
    right = y[inside] - slope * a @ x.ravel().astype(np.float64) - intercept
    z = np.linalg.solve(b @ b.T + outcome.regularisation * np.eye(len(b)), right)
    expected = x + (weight.ravel() * (b.T @ z)).reshape(fine)
    change = np.abs(expected - x).max()
    assert change > 10
    np.testing.assert_allclose(outcome.array, expected, atol=0.01 * change)


def test_a_residual_that_stays_above_the_noise_is_not_said_to_be_left_on_purpose() -> None:
    few = np.zeros(FINE, dtype=np.float32)
    few[10:18, 10:20, 10:20] = 1  # the change may happen in a corner of what is to be explained
    y = seen(anatomy(), forward())
    outcome = project(ndimage.gaussian_filter(anatomy(), 1.5), y, forward(), SIGMA, few, INSIDE)
    assert 2 < outcome.after.rms < outcome.before.rms
    assert "on purpose" not in outcome.note and "what is left is more than noise" in outcome.note
    assert f"to {outcome.after.rms:.2f} noise" in outcome.note


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("blur", [0.7, 1.5])
def test_the_residual_ends_at_the_noise_and_never_below(seed: int, blur: float) -> None:
    truth = anatomy(seed)
    wrong = ndimage.gaussian_filter(truth, blur)
    outcome = projected(wrong, seen(truth, forward(), seed + 50))
    assert outcome.before.rms > 1.1
    assert 1.0 <= outcome.after.rms <= 1.0 + TOLERANCE
    assert outcome.after.share_above_3 < outcome.before.share_above_3
    assert f"from {outcome.before.rms:.2f} to {outcome.after.rms:.2f}" in outcome.note


@pytest.mark.parametrize("seed", range(6))
def test_where_only_noise_is_left_it_is_not_fitted(seed: int) -> None:
    truth = anatomy(seed)
    outcome = projected(truth, seen(truth, forward(), seed + 10))
    assert abs(outcome.before.rms - 1) < 0.1
    if outcome.before.rms <= 1:
        assert outcome.array is truth and outcome.regularisation is None and outcome.after == outcome.before
        assert "nothing was changed" in outcome.note
    else:
        assert 1.0 <= outcome.after.rms <= outcome.before.rms
        assert np.abs(outcome.array - truth)[WEIGHT > 0].mean() < 0.5 * SIGMA


def test_it_comes_closer_to_the_truth_and_takes_most_of_an_invented_structure_back() -> None:
    truth = anatomy(5)
    invented = truth.copy()
    blob = ball(FINE, 0.12)
    invented[blob] += 150
    outcome = projected(invented, seen(truth, forward()))
    assert np.abs(outcome.array - truth)[blob].mean() < 0.5 * np.abs(invented - truth)[blob].mean()
    far = (WEIGHT > 0) & ~ndimage.binary_dilation(blob, iterations=4)
    assert np.abs(outcome.array - truth)[far].mean() < 2 * SIGMA


def test_outside_the_weight_every_voxel_stays() -> None:
    truth = anatomy(6)
    wrong = ndimage.gaussian_filter(truth, 1.5)
    wrong[0, 0, 0] = -3.0
    outcome = projected(wrong, seen(truth, forward()))
    assert np.array_equal(outcome.array[WEIGHT == 0], wrong[WEIGHT == 0])
    assert (outcome.array[WEIGHT > 0] >= 0).all()
    assert np.abs(outcome.array - wrong)[WEIGHT > 0.5].mean() > 1


@pytest.mark.parametrize(("gain", "offset"), [(0.5, 30.0), (1.8, -60.0)])
def test_another_intensity_scale_is_no_contradiction_and_is_kept(gain: float, offset: float) -> None:
    truth = anatomy(7)
    y = seen(truth, forward())
    plain, scaled = projected(truth, y), projected(gain * truth + offset, y)
    assert scaled.before.rms == pytest.approx(plain.before.rms, abs=1e-3)
    wrong = ndimage.gaussian_filter(truth, 1.5)
    plain, scaled = projected(wrong, y), projected((gain * wrong + offset).astype(np.float32), y)
    change = np.abs(plain.array - wrong).max()
    np.testing.assert_allclose((scaled.array - offset) / gain, plain.array, atol=0.03 * change)


def test_an_inverted_contrast_is_left_alone() -> None:
    truth = anatomy(8)
    inverted = 1000 - truth
    outcome = projected(inverted, seen(truth, forward()))
    assert outcome.array is inverted
    assert "another contrast" in outcome.note
    assert not outcome.as_report()["applied"]


def test_more_noise_asks_for_less_change() -> None:
    truth = anatomy(9)
    wrong, y = ndimage.gaussian_filter(truth, 1.5), seen(truth, forward())
    changes = [np.linalg.norm(projected(wrong, y, sigma).array - wrong) for sigma in (5.0, 8.0, 12.0)]
    assert changes[0] > changes[1] > changes[2] > 0


def test_it_can_be_cancelled() -> None:
    truth, events = anatomy(10), Events()
    events.cancel()
    with pytest.raises(Cancelled):
        project(truth, seen(truth, forward()), forward(), SIGMA, WEIGHT, INSIDE, events.check)


def test_the_report_gives_fidelity_before_and_after_and_the_page_says_it() -> None:
    from test_report_html import Page, parts

    from LowFieldEnhanceLib.evaluation.report import build_report

    truth = anatomy(11)
    outcome = projected(ndimage.gaussian_filter(truth, 1.5), seen(truth, forward()))
    report = build_report(**parts(), data_consistency=outcome.as_report())
    block = report["data_consistency"]
    assert block["applied"]
    assert block["before"]["rms"] > block["after"]["rms"] >= 1
    assert block["regularisation"] == pytest.approx(outcome.regularisation)
    assert outcome.note in Page(render_html(report, {})).text
    assert build_report(**parts())["data_consistency"] is None
