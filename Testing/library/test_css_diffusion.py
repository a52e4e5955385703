"""The conditional diffusion of CSS-Diff: its schedule, its denoiser, and the sampler that gradients flow through."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from LowFieldEnhanceLib.diffusion.conditional import EMBEDDED, SCHEDULE, ConditionalDenoiser, translate
from LowFieldEnhanceLib.diffusion.schedules import LinearSchedule
from LowFieldEnhanceLib.networks.registry import build_network
from LowFieldEnhanceLib.training.css_networks import ARCHITECTURE


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Answers(nn.Module):
    """A generator whose clean estimate is ``answer(condition, kind)``, whatever the noise."""

    multiple = 4

    def __init__(self, answer) -> None:
        super().__init__()
        self.answer, self.calls = answer, []

    def forward(self, x, noise, kind, told=None, context=None):  # noqa: ANN201
        self.calls.append((x.shape, noise, kind, told, context))
        abar = torch.from_numpy(EMBEDDED.alpha_bar(noise.double().numpy() * EMBEDDED.steps)).float()
        return abar.sqrt()[:, None, None, None, None] * x[:, :1] - self.answer(x[:, 1:], kind)


def middle(condition: torch.Tensor, kind: torch.Tensor) -> torch.Tensor:
    return condition[:, 1:2]


def tiny(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    network = build_network({**ARCHITECTURE, "widths": [8, 8], "blocks": 1, "embedding": 8, "context": 6})
    for parameter in network.parameters():
        parameter.data = 0.1 * torch.randn(parameter.shape)
    return network.eval()


def test_the_schedule_leaves_the_scan_visible_at_its_end() -> None:
    schedule = LinearSchedule()
    product = np.cumprod(1 - np.linspace(1e-4, 0.02, 50))
    np.testing.assert_allclose(schedule.alpha_bar(np.arange(1, 51)), product)
    assert float(schedule.alpha_bar(0)) == 1.0
    assert product[-1] == pytest.approx(0.60, abs=0.01)
    assert product[25] < float(schedule.alpha_bar(25.5)) < product[24]


def test_the_steps_are_even_and_begin_at_the_end_of_the_schedule() -> None:
    assert SCHEDULE.sigmas(5) == pytest.approx([float(SCHEDULE.sigma(t)) for t in (50, 40, 30, 20, 10)])
    assert SCHEDULE.sigmas(1) == [float(SCHEDULE.sigma(50))]
    with pytest.raises(ValueError, match="at least 1"):
        SCHEDULE.sigmas(0)


@pytest.mark.parametrize("sigma", [0.4, torch.tensor([0.1, 0.8])])
def test_the_denoiser_turns_the_networks_answer_into_the_clean_estimate(sigma) -> None:  # noqa: ANN001
    clean = torch.rand(2, 1, 3, 8, 8, generator=generator())
    network = Answers(lambda condition, kind: clean)
    denoiser = ConditionalDenoiser(network, clean.expand(-1, 3, -1, -1, -1), torch.tensor([0, 1]))
    noise = torch.randn(clean.shape, generator=generator(1))
    levels = torch.as_tensor(sigma).expand(2)[:, None, None, None, None]
    torch.testing.assert_close(denoiser(clean + levels * noise, sigma), clean, rtol=0, atol=1e-4)


def test_a_noise_level_has_the_number_that_the_slice_prior_was_trained_with() -> None:
    network = Answers(middle)
    condition = torch.zeros(1, 3, 1, 8, 8)
    ConditionalDenoiser(network, condition, torch.tensor([0]))(condition[:, :1], 0.5)
    told = network.calls[0][1]
    assert float(EMBEDDED.sigma(float(told[0]) * EMBEDDED.steps)) == pytest.approx(0.5, rel=1e-3)


def test_sampling_starts_from_the_noised_scan() -> None:
    seen = []

    def denoise(x: torch.Tensor, sigma: float) -> torch.Tensor:
        seen.append((x.clone(), sigma))
        return torch.zeros_like(x)

    start, noise = torch.rand(4, 8, 8, generator=generator()), torch.randn(4, 8, 8, generator=generator(1))
    result = translate(denoise, start, noise, 3)
    levels = SCHEDULE.sigmas(3)
    torch.testing.assert_close(seen[0][0], start + levels[0] * noise)
    assert [level for _, level in seen] == levels
    # the deterministic step towards an estimate of zero shrinks the image as the noise level
    torch.testing.assert_close(seen[1][0], seen[0][0] * levels[1] / levels[0])
    assert float(result.abs().max()) == 0.0


def test_gradients_flow_through_every_step_of_the_sampler() -> None:
    network = tiny()
    condition = torch.rand(1, 3, 1, 8, 8, generator=generator()).requires_grad_()
    start = torch.rand(1, 1, 1, 8, 8, generator=generator(1)).requires_grad_()
    noise = torch.randn(start.shape, generator=generator(2))
    weight = torch.randn(start.shape, generator=generator(3))

    def result(shown: torch.Tensor, first: torch.Tensor) -> torch.Tensor:
        denoiser = ConditionalDenoiser(network, shown, torch.tensor([2]), bfloat16=False)
        return (translate(denoiser, first, noise, 3) * weight).sum()

    result(condition, start).backward()
    for leaf, other in ((condition, lambda step: (condition + step, start)), (start, lambda s: (condition, start + s))):
        step = 1e-2 * torch.randn(leaf.shape, generator=generator(4))
        with torch.no_grad():
            change = (result(*other(step)) - result(*other(-step))) / 2
        assert float((leaf.grad * step).sum()) == pytest.approx(float(change), rel=0.03)
        assert float(leaf.grad.abs().max()) > 0


def test_recomputing_the_evaluations_gives_the_same_gradients() -> None:
    gradients = []
    for checkpointing in (False, True):
        network = tiny()
        condition = torch.rand(2, 3, 1, 8, 8, generator=generator())
        denoiser = ConditionalDenoiser(
            network, condition, torch.tensor([0, 4]), torch.rand(2, 4, generator=generator(1)),
            torch.rand(2, 6, generator=generator(2)), checkpointing,
        )  # fmt: skip
        noise = torch.randn(2, 1, 1, 8, 8, generator=generator(3))
        translate(denoiser, condition[:, 1:2], noise, 2).square().sum().backward()
        gradients.append([p.grad for p in network.parameters()])
    assert any(float(g.abs().max()) > 0 for g in gradients[0])
    for plain, recomputed in zip(*gradients, strict=True):
        assert torch.equal(plain, recomputed)
