"""Samplers against priors whose denoiser is known in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from LowFieldEnhanceLib.diffusion.denoiser import EpsilonDenoiser, noise_coordinate
from LowFieldEnhanceLib.diffusion.samplers import ddim, gaussian_noise, renoise_average
from LowFieldEnhanceLib.diffusion.schedules import CosineSchedule

SCHEDULE = CosineSchedule()
MEAN, VARIANCE = 0.3, 0.04


def gaussian_prior(x: Tensor, sigma: float) -> Tensor:
    """E[x0 | x0 + sigma eps] for x0 ~ N(mean, variance): Wiener's filter."""
    return MEAN + (x - MEAN) * VARIANCE / (VARIANCE + sigma**2)


def levels(count: int, largest: float = 5.0, smallest: float = 1e-3) -> list[float]:
    return list(np.geomspace(largest, smallest, count))


def test_ddim_reaches_the_end_of_the_gaussian_priors_ode_as_the_steps_grow() -> None:
    """dx/ds = (x - D) / s has x(0) = mean + (x(S) - mean) sqrt(v / (v + S^2))."""
    x = torch.linspace(-4, 4, 9, dtype=torch.float64)
    exact = MEAN + (x - MEAN) * math.sqrt(VARIANCE / (VARIANCE + 25.0))
    errors = [float((ddim(gaussian_prior, x, levels(n)) - exact).abs().max()) for n in (10, 40, 160, 640)]
    assert all(later < 0.4 * earlier for earlier, later in zip(errors, errors[1:], strict=False))  # first order
    assert errors[-1] < 2e-3


def test_ddim_from_the_priors_noise_gives_samples_of_the_prior() -> None:
    start = 5.0
    noise = torch.randn(100_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    samples = ddim(gaussian_prior, MEAN + math.sqrt(VARIANCE + start**2) * noise, levels(300, start))
    assert float(samples.mean()) == pytest.approx(MEAN, abs=4 * math.sqrt(VARIANCE / 100_000))
    assert float(samples.std()) == pytest.approx(math.sqrt(VARIANCE), rel=0.02)


def test_one_ddim_step_is_one_denoising() -> None:
    x = torch.randn(5)
    torch.testing.assert_close(ddim(gaussian_prior, x, [0.7]), gaussian_prior(x, 0.7))


@pytest.mark.parametrize("repeats", [1, 3])
def test_renoising_with_an_exact_denoiser_of_one_image_returns_that_image(repeats: int) -> None:
    image = torch.randn(4, 5, 6)
    noise = gaussian_noise(image.shape, torch.Generator().manual_seed(0), torch.device("cpu"))
    result = renoise_average(lambda x, s: image, torch.zeros(4, 5, 6), levels(4), repeats, noise)
    assert torch.equal(result, image)


def test_renoising_follows_algorithm_1_with_one_noise_image_a_level() -> None:
    drawn: list[Tensor] = []
    seen: list[tuple[Tensor, float]] = []

    def noise() -> Tensor:
        drawn.append(torch.randn(3, generator=torch.Generator().manual_seed(len(drawn))))
        return drawn[-1]

    def denoiser(x: Tensor, sigma: float) -> Tensor:
        seen.append((x, sigma))
        return 0.5 * x

    estimate = torch.ones(3)
    result = renoise_average(denoiser, estimate, [2.0, 1.0], 2, noise)
    assert len(drawn) == 2
    for n, (sigma, epsilon) in enumerate([(2.0, 0), (2.0, 0), (1.0, 1), (1.0, 1)]):
        torch.testing.assert_close(seen[n][0], estimate + sigma * drawn[epsilon])
        assert seen[n][1] == sigma
        estimate = 0.5 * seen[n][0]
    torch.testing.assert_close(result, estimate)


def test_renoising_a_gaussian_prior_ends_with_its_mean_and_the_closed_form_variance() -> None:
    """x <- D(x + s eps) is linear, so mean and variance follow a recursion."""
    count = 100_000
    noise = gaussian_noise((count,), torch.Generator().manual_seed(1), torch.device("cpu"))
    sigmas = [0.5, 0.3, 0.1]
    result = renoise_average(gaussian_prior, torch.full((count,), 2.0), sigmas, 1, noise)
    mean, variance = 2.0, 0.0
    for sigma in sigmas:
        gain = VARIANCE / (VARIANCE + sigma**2)
        mean, variance = MEAN + gain * (mean - MEAN), gain**2 * (variance + sigma**2)
    assert float(result.mean()) == pytest.approx(mean, abs=0.002)
    assert float(result.var()) == pytest.approx(variance, rel=0.03)


def test_the_callback_counts_evaluations_and_can_stop_a_run() -> None:
    counted: list[tuple[int, int]] = []
    ddim(gaussian_prior, torch.zeros(1), levels(3), lambda done, total: counted.append((done, total)))
    assert counted == [(1, 3), (2, 3), (3, 3)]
    counted.clear()
    noise = gaussian_noise((1,), None, torch.device("cpu"))
    renoise_average(gaussian_prior, torch.zeros(1), [1.0, 0.5], 2, noise, lambda d, t: counted.append((d, t)))
    assert counted == [(1, 4), (2, 4), (3, 4), (4, 4)]

    def stop(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ddim(gaussian_prior, torch.zeros(1), levels(3), stop)


def test_noise_depends_on_the_generator_alone() -> None:
    first = gaussian_noise((3, 4), torch.Generator().manual_seed(2), torch.device("cpu"))
    again = gaussian_noise((3, 4), torch.Generator().manual_seed(2), torch.device("cpu"))
    a, b = first(), first()
    assert torch.equal(a, again())
    assert not torch.equal(a, b)


class TrueEpsilon(nn.Module):
    """Knows x_0, so it can tell the noise in what it is shown: eps = (x_t - sqrt(abar) x_0) / sqrt(1 - abar)."""

    def __init__(self, clean: Tensor) -> None:
        super().__init__()
        self.clean = clean
        self.seen: tuple[Tensor, Tensor] | None = None

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        self.seen = (x, noise)
        t = float(noise[0]) * SCHEDULE.steps
        abar = float(SCHEDULE.alpha_bar(t))
        channels = self.clean.shape[1]
        return abar**0.5 * x[:, :channels] - self.clean  # the residual of the clean estimate


@pytest.mark.parametrize("t", [1, 60, 400, 750])
def test_an_epsilon_network_that_knows_the_noise_denoises_perfectly(t: int) -> None:
    generator = torch.Generator().manual_seed(0)
    clean = torch.randn(2, 3, 4, 4, 4, generator=generator, dtype=torch.float64)
    epsilon = torch.randn(clean.shape, generator=generator, dtype=torch.float64)
    condition = torch.rand(1, 2, 4, 4, 4, generator=generator, dtype=torch.float64)
    network = TrueEpsilon(clean)
    sigma = float(SCHEDULE.sigma(t))
    denoised = EpsilonDenoiser(network, SCHEDULE, condition)(clean + sigma * epsilon, sigma)
    torch.testing.assert_close(denoised, clean, atol=2e-3 * max(sigma, 1), rtol=0)
    shown, coordinate = network.seen
    abar = float(SCHEDULE.alpha_bar(t))
    torch.testing.assert_close(shown[:, :3], abar**0.5 * clean + (1 - abar) ** 0.5 * epsilon)
    torch.testing.assert_close(shown[:, 3:], condition.expand(2, -1, -1, -1, -1))
    torch.testing.assert_close(coordinate, torch.full((2,), t / 1000))


def test_the_noise_coordinate_is_the_share_of_the_schedule() -> None:
    torch.testing.assert_close(
        noise_coordinate(torch.tensor([1, 500, 1000]), SCHEDULE), torch.tensor([0.001, 0.5, 1.0])
    )
