"""The cosine schedule: the paper's formula, its inverse, and the strided way down."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from LowFieldEnhanceLib.diffusion.schedules import CosineSchedule, LinearSchedule, strided_timesteps

SCHEDULE = CosineSchedule()


def test_alpha_bar_is_equation_17_of_nichol_and_dhariwal() -> None:
    def f(t: float) -> float:
        return math.cos((t / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2

    for t in (0, 1, 250, 400, 750, 990):
        assert float(SCHEDULE.alpha_bar(t)) == pytest.approx(f(t) / f(0), rel=1e-12)


def test_alpha_bar_falls_from_one_and_stays_above_zero() -> None:
    abar = SCHEDULE.alpha_bar(np.arange(1001))
    assert abar[0] == 1.0
    assert np.all(np.diff(abar) < 0) or np.all(np.diff(abar[:-3]) < 0)
    assert abar.min() >= 1e-5


@settings(max_examples=100, deadline=None, database=None)
@given(t=st.floats(0, 995))
def test_the_timestep_of_a_sigma_is_its_inverse(t: float) -> None:
    assert float(SCHEDULE.timestep(SCHEDULE.sigma(t))) == pytest.approx(t, abs=1e-4)


def test_sigma_is_noise_over_signal() -> None:
    abar = float(SCHEDULE.alpha_bar(400))
    assert float(SCHEDULE.sigma(400)) == pytest.approx(math.sqrt(1 - abar) / math.sqrt(abar))
    assert float(SCHEDULE.sigma(0)) == 0.0
    assert np.all(np.diff(SCHEDULE.sigma(np.arange(0, 995))) > 0)


def test_a_sigma_beyond_the_schedule_is_its_last_timestep() -> None:
    assert float(SCHEDULE.timestep(1e9)) == pytest.approx(1000, abs=0.1)
    assert float(SCHEDULE.timestep(0.0)) == pytest.approx(0.0, abs=1e-6)


@settings(max_examples=60, deadline=None, database=None)
@given(start=st.integers(1, 1000), count=st.integers(1, 1200))
def test_strided_timesteps_fall_evenly_from_the_start_to_one(start: int, count: int) -> None:
    steps = strided_timesteps(start, count)
    assert steps[0] == start
    assert len(steps) == min(count, start)
    assert all(a > b for a, b in zip(steps, steps[1:], strict=False))
    if count > 1:
        assert steps[-1] == 1
        gaps = -np.diff(steps)
        assert gaps.size == 0 or gaps.max() - gaps.min() <= 1


@pytest.mark.parametrize(("start", "count"), [(0, 3), (5, 0), (-1, 1)])
def test_impossible_strides_are_refused(start: int, count: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        strided_timesteps(start, count)


def test_the_linear_schedules_abar_is_the_product_of_what_each_step_keeps() -> None:
    betas = [1e-4 + n * (0.02 - 1e-4) / 49 for n in range(50)]
    kept = 1.0
    for step, beta in enumerate(betas, start=1):
        kept *= 1 - beta
        assert float(LinearSchedule().alpha_bar(step)) == pytest.approx(kept, rel=1e-9)
