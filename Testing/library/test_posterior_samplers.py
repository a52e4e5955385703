"""HQS and DPS where prior and measurement are Gaussian, so that the posterior is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from LowFieldEnhanceLib.diffusion.samplers import dps, gaussian_noise, hqs

MEAN, VARIANCE = 0.3, 0.04  # of the prior
SIGMA = 0.15  # of the measurement y = x + n
Y = 0.8
POSTERIOR_VARIANCE = 1 / (1 / VARIANCE + 1 / SIGMA**2)
POSTERIOR_MEAN = POSTERIOR_VARIANCE * (MEAN / VARIANCE + Y / SIGMA**2)


def prior(x: Tensor, sigma: float) -> Tensor:
    """E[x0 | x0 + sigma eps] for x0 ~ N(mean, variance)."""
    return MEAN + (x - MEAN) * VARIANCE / (VARIANCE + sigma**2)


def data_step(z: Tensor, sigma: float) -> Tensor:
    """argmin (y - x)^2 + rho (x - z)^2 with rho = sigma_n^2 / sigma^2."""
    rho = SIGMA**2 / sigma**2
    return (Y + rho * z) / (1 + rho)


def levels(count: int, largest: float, smallest: float) -> list[float]:
    return list(np.geomspace(largest, smallest, count))


def silence() -> Tensor:
    return torch.zeros(1, dtype=torch.float64)


def test_hqs_without_noise_reaches_the_posterior_mean() -> None:
    """Both steps are proximal maps, whose fixed point tends to the maximum of the posterior as sigma falls."""
    sigmas = levels(2000, 1.0, 0.02)
    result = hqs(prior, torch.full((1,), -3.0, dtype=torch.float64), sigmas, data_step, silence)
    assert float(result) == pytest.approx(POSTERIOR_MEAN, abs=2e-3)


def test_hqs_with_noise_has_the_posterior_mean_on_average() -> None:
    count = 20_000
    noise = gaussian_noise((count,), torch.Generator().manual_seed(0), torch.device("cpu"))
    result = hqs(prior, torch.zeros(count), levels(200, 1.0, 0.03), data_step, noise)
    assert float(result.mean()) == pytest.approx(POSTERIOR_MEAN, abs=0.01)


def test_the_data_pull_hqs_from_the_priors_mean_to_the_measurement() -> None:
    result = hqs(prior, silence(), levels(500, 1.0, 0.05), data_step, silence)
    alone = hqs(prior, silence(), levels(500, 1.0, 0.05), lambda z, _: z, silence)
    assert float(alone) == pytest.approx(MEAN, abs=1e-3)
    assert MEAN + 0.1 < float(result) < Y


def test_hqs_renoises_denoises_and_fits_in_this_order() -> None:
    seen: list[tuple[str, Tensor, float]] = []
    drawn: list[Tensor] = []

    def noise() -> Tensor:
        drawn.append(torch.randn(3, generator=torch.Generator().manual_seed(len(drawn))))
        return drawn[-1]

    def denoiser(x: Tensor, sigma: float) -> Tensor:
        seen.append(("prior", x, sigma))
        return 0.5 * x

    def step(z: Tensor, sigma: float) -> Tensor:
        seen.append(("data", z, sigma))
        return z + 1

    result = hqs(denoiser, torch.ones(3), [2.0, 1.0], step, noise)
    estimate = torch.ones(3)
    for n, sigma in enumerate([2.0, 1.0]):
        x = estimate + sigma * drawn[n]
        assert [seen[2 * n][0], seen[2 * n + 1][0]] == ["prior", "data"]
        torch.testing.assert_close(seen[2 * n][1], x)
        torch.testing.assert_close(seen[2 * n + 1][1], 0.5 * x)
        estimate = 0.5 * x + 1
    torch.testing.assert_close(result, estimate)
    assert len(drawn) == 2


def test_without_fresh_noise_hqs_keeps_the_noise_that_the_estimate_left() -> None:
    seen: list[Tensor] = []
    start = torch.zeros(2, dtype=torch.float64)
    first = torch.tensor([1.0, -2.0], dtype=torch.float64)

    def denoiser(x: Tensor, sigma: float) -> Tensor:
        seen.append(x)
        return 0.5 * x

    hqs(denoiser, start, [2.0, 1.0], lambda z, _: z, lambda: first, fresh=0.0)
    x = 2.0 * first
    torch.testing.assert_close(seen[1], 0.5 * x + 1.0 * (x - 0.5 * x) / 2.0)


def exact_potential(estimate: Tensor, sigma: float) -> Tensor:
    """-log p(y | x) of the Gaussian prior: the clean image given x has the variance v s^2 / (v + s^2)."""
    spread = VARIANCE * sigma**2 / (VARIANCE + sigma**2)
    return ((Y - estimate) ** 2).sum() / (2 * (SIGMA**2 + spread))


def test_dps_with_the_likelihood_of_the_noisy_image_samples_the_posterior() -> None:
    """With the true gradient of log p(y | x) the step is that of the posterior's own denoiser, D - s^2 grad U."""
    count, start = 50_000, 6.0
    noise = gaussian_noise((count,), torch.Generator().manual_seed(1), torch.device("cpu"))
    spread = math.sqrt(POSTERIOR_VARIANCE + start**2)
    result = dps(
        prior, POSTERIOR_MEAN + spread * noise(), levels(300, start, 1e-3), exact_potential,
        lambda now, after: now**2 - now * after,
    )  # fmt: skip
    assert float(result.mean()) == pytest.approx(POSTERIOR_MEAN, abs=0.005)
    assert float(result.std()) == pytest.approx(math.sqrt(POSTERIOR_VARIANCE), rel=0.02)


def test_ancestral_dps_samples_the_posterior_too() -> None:
    count, start = 50_000, 6.0
    noise = gaussian_noise((count,), torch.Generator().manual_seed(1), torch.device("cpu"))
    spread = math.sqrt(POSTERIOR_VARIANCE + start**2)
    result = dps(
        prior, POSTERIOR_MEAN + spread * noise(), levels(300, start, 1e-3), exact_potential,
        lambda now, after: now**2 - after**2, noise,
    )  # fmt: skip
    assert float(result.mean()) == pytest.approx(POSTERIOR_MEAN, abs=0.005)
    assert float(result.std()) == pytest.approx(math.sqrt(POSTERIOR_VARIANCE), rel=0.03)


def test_dps_without_a_step_on_the_data_samples_the_prior() -> None:
    count, start = 50_000, 6.0
    noise = gaussian_noise((count,), torch.Generator().manual_seed(2), torch.device("cpu"))
    begin = MEAN + math.sqrt(VARIANCE + start**2) * noise()
    result = dps(prior, begin, levels(300, start, 1e-3), exact_potential, lambda now, after: 0.0, noise)
    assert float(result.mean()) == pytest.approx(MEAN, abs=0.005)
    assert float(result.std()) == pytest.approx(math.sqrt(VARIANCE), rel=0.03)


def test_dps_takes_the_gradient_through_the_denoiser() -> None:
    x = torch.tensor([1.5], dtype=torch.float64)
    sigma, gain = 0.5, VARIANCE / (VARIANCE + 0.25)
    result = dps(prior, x, [sigma], lambda e, _: 0.5 * ((Y - e) ** 2).sum(), lambda now, after: 0.7)
    estimate = prior(x, sigma)
    torch.testing.assert_close(result, estimate + 0.7 * gain * (Y - estimate))


@pytest.mark.parametrize("fresh", [0.2, 0.5, 0.9])
def test_partly_fresh_noise_has_the_variance_of_the_level_and_that_share_of_it_is_new(fresh: float) -> None:
    generator, seen = torch.Generator().manual_seed(3), []

    def nothing(x: Tensor, _: float) -> Tensor:
        seen.append(x.clone())
        return torch.zeros_like(x)

    start = torch.zeros(200_000)
    hqs(nothing, start, [2.0, 1.0], lambda z, _: z, gaussian_noise(start.shape, generator, start.device), fresh)
    first, second = seen
    assert float(first.std()) == pytest.approx(2, rel=0.01) and float(second.std()) == pytest.approx(1, rel=0.01)
    together = float(torch.corrcoef(torch.stack([first, second]))[0, 1])
    assert together == pytest.approx((1 - fresh) ** 0.5, abs=0.01)


@pytest.mark.parametrize("sampler", ["hqs", "dps"])
def test_the_callback_counts_levels_and_can_stop_a_run(sampler: str) -> None:
    counted: list[tuple[int, int]] = []

    def run(callback) -> None:
        if sampler == "hqs":
            hqs(prior, silence(), levels(3, 1, 0.1), data_step, silence, callback=callback)
        else:
            dps(prior, silence(), levels(3, 1, 0.1), exact_potential, lambda now, after: 0.1, callback=callback)

    run(lambda done, total: counted.append((done, total)))
    assert counted == [(1, 3), (2, 3), (3, 3)]

    def stop(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(stop)
