"""The random coil bias: strength, smoothness and repeatability."""

from __future__ import annotations

import pytest
import torch

from LowFieldEnhanceLib.physics.bias import random_bias_field


def field(strength: float, seed: int = 0, shape: tuple[int, int, int] = (33, 40, 37), **options: int) -> torch.Tensor:
    return random_bias_field(shape, strength, torch.Generator().manual_seed(seed), **options)


def test_strength_zero_is_no_bias() -> None:
    assert torch.equal(field(0.0), torch.ones(33, 40, 37))


def test_a_bias_is_positive_with_geometric_mean_one() -> None:
    bias = field(0.3)
    assert bias.shape == (33, 40, 37)
    assert bias.dtype == torch.float32
    assert float(bias.min()) > 0
    assert float(bias.log().mean()) == pytest.approx(0.0, abs=1e-5)


def test_strength_scales_the_logarithm() -> None:
    torch.testing.assert_close(field(0.2).log(), 2 * field(0.1).log(), rtol=1e-4, atol=1e-5)


def test_the_logarithm_at_the_knots_has_the_strength_as_its_standard_deviation() -> None:
    knots = 6
    shape = (knots * 3 - 2,) * 3
    logs = torch.stack([field(0.2, seed, shape, knots=knots).log()[::3, ::3, ::3] for seed in range(20)])
    assert float(logs.std()) == pytest.approx(0.2, rel=0.05)


def test_a_bias_is_smooth() -> None:
    logs = field(0.3).log()
    step = max(
        float((logs.narrow(a, 1, n - 1) - logs.narrow(a, 0, n - 1)).abs().max()) for a, n in enumerate(logs.shape)
    )
    assert step < 0.15 * float(logs.max() - logs.min())


def test_a_seed_repeats_itself_and_another_differs() -> None:
    assert torch.equal(field(0.1, 3), field(0.1, 3))
    assert not torch.allclose(field(0.1, 3), field(0.1, 4))
