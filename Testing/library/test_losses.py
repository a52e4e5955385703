"""The losses of the recipes where the right answer is known."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.ndimage import uniform_filter
from torch import Tensor, nn

from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.methods.base import PRESENCE_VALUE
from LowFieldEnhanceLib.physics.acquisition import UNKNOWN, Acquisition
from LowFieldEnhanceLib.training.bridged import (
    BRIDGE_TIMES,
    KINDS,
    MAX_SNR,
    SCHEDULE,
    BridgeLoss,
    PriorLoss,
    drop_contrasts,
    kind_of,
    sobel_difference,
    ssim3d,
)


def still_pair(seed: int = 0, same: bool = False) -> SimpleNamespace:
    """A sampler that always gives one pair, with the random sources of the real one."""
    generator = torch.Generator().manual_seed(seed)
    low, high = torch.randn(2, 3, 8, 8, 8, generator=generator) * 0.3
    present = torch.tensor([True, True, False])
    low[2] = high[2] = -1
    told = torch.full((3, 4), torch.nan)
    told[:2] = 0.5
    pair = (high if same else low, high, present, told)
    return SimpleNamespace(
        rng=np.random.default_rng(seed),
        generator=torch.Generator().manual_seed(seed),
        pair=lambda: pair,
        high=lambda: (high, present, torch.ones(8, 8, 8, dtype=torch.bool), None),
    )


class Answer(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        return self.function(x.float(), noise)


def test_a_bridge_that_answers_the_difference_has_no_loss() -> None:
    sampler = still_pair()
    low, high, _, _ = sampler.pair()

    def difference(x: Tensor, _told: Tensor) -> Tensor:
        shown, presence = x[:, :3], (x[:, 3:] > 0).float()
        is_high = torch.tensor([torch.equal(s, high * p) for s, p in zip(shown, presence, strict=True)])
        return torch.where(is_high[:, None, None, None, None], torch.zeros(()), (high - low)[None])

    assert max(float(BridgeLoss(sampler, 2, "cpu")(Answer(difference))) for _ in range(8)) < 1e-6


@pytest.mark.parametrize("norm", [1, 2])
def test_the_bridge_loss_of_no_answer_is_the_weighted_distance_of_the_pair(norm: int) -> None:
    sampler, target = still_pair(), 1
    sampler.rng = SimpleNamespace(random=lambda: 0.49, choice=lambda _: target)  # no identity
    low, high, present, _ = sampler.pair()
    shown = {}

    def silent(x: Tensor, told: Tensor) -> Tensor:
        shown.update(x=x, told=told[0])
        return torch.zeros(x.shape[0], 3, *x.shape[2:])

    losses = [float(BridgeLoss(sampler, 1, "cpu", norm=norm, ssim_weight=0)(Answer(silent))) for _ in range(40)]
    distance = float(((high - low)[target].abs() ** norm).mean())
    # the clean estimate counts in full, the noised pair by the signal's amplitude at t in [250, 750]
    least, most = (float(SCHEDULE.alpha_bar(t)) ** (norm / 2) for t in reversed(BRIDGE_TIMES))
    assert all((least + 1) * distance * 0.999 <= loss <= (most + 1) * distance * 1.001 for loss in losses)
    assert max(losses) - min(losses) > 0.5 * (most - least) * distance
    low_shown, presence = shown["x"][0, :3], shown["x"][0, 3:]
    assert present.tolist() == [True, True, False]
    torch.testing.assert_close(low_shown[1], low[1])
    assert (presence[1] == PRESENCE_VALUE).all()
    assert not low_shown[[0, 2]].any() and not presence[[0, 2]].any()
    told = shown["told"].reshape(3, -1)
    assert torch.isfinite(told[1]).all() and torch.isnan(told[[0, 2]]).all()


def test_what_the_bridge_answers_for_a_contrast_beside_the_target_does_not_count() -> None:
    sampler = still_pair()
    low, high, _, _ = sampler.pair()

    def right_in_the_target(x: Tensor, _told: Tensor) -> Tensor:
        marked = (x[:, 3:] == PRESENCE_VALUE).float()
        same = torch.stack(
            [
                torch.tensor(float(torch.equal(s[m], h[m])))
                for s, h, m in zip(x[:, :3], high.expand(len(x), -1, -1, -1, -1), marked > 0, strict=True)
            ]
        )
        answer = (high - low)[None] * (1 - same)[:, None, None, None, None]
        return torch.where(marked > 0, answer, torch.full((), 9.0))

    assert max(float(BridgeLoss(sampler, 2, "cpu")(Answer(right_in_the_target))) for _ in range(8)) < 1e-6


def test_the_bridge_is_asked_for_the_structure_of_the_high_field_image_inside_the_brain() -> None:
    sampler = still_pair()
    draws = np.random.default_rng(0)
    sampler.rng = SimpleNamespace(random=lambda: 0.49, choice=draws.choice)
    silent = Answer(lambda x, told: torch.zeros(x.shape[0], 3, *x.shape[2:]))
    low, high, present, _ = sampler.pair()
    expected = [1 - float(ssim3d(a[None, None], b[None, None]).mean()) for a, b in zip(low, high, strict=True)]
    loss = BridgeLoss(sampler, 1, "cpu", weights=(0, 0, 0), ssim_weight=2.0)
    found = {round(float(loss(silent)), 4) for _ in range(20)}
    assert found == {round(2.0 * e, 4) for e, there in zip(expected, present.tolist(), strict=True) if there}


@pytest.mark.parametrize(
    ("target", "steps", "kind"),
    [(0, (1.6, 1.6, 5.0), 0), (0, (1.6, 1.6, 3.9), 1), (1, (6.0, 2.0, 2.0), 2), (2, (3.0, 3.0, 3.0), 5), (2, None, 5)],
)
def test_samples_are_of_one_kind_by_contrast_and_slices_as_told(target: int, steps: tuple | None, kind: int) -> None:
    other = torch.tensor(Acquisition((6.0, 6.0, 6.0), 0.05).coordinates())  # of the other contrasts: not looked at
    told = other.expand(3, -1).clone()
    told[target] = torch.tensor(UNKNOWN if steps is None else Acquisition(steps, 0.05).coordinates())
    assert kind_of(target, told.flatten()) == kind < KINDS


def test_the_anatomy_loss_is_told_the_kinds_of_the_samples() -> None:
    sampler, seen = still_pair(), []
    sampler.rng = SimpleNamespace(random=lambda: 0.49, choice=lambda _: 1)

    def anatomy(estimate: Tensor, truth: Tensor, kinds: Tensor) -> Tensor:
        seen.append((estimate.shape, truth.shape, kinds.tolist()))
        return torch.tensor(3.0)

    silent = Answer(lambda x, told: torch.zeros(x.shape[0], 3, *x.shape[2:]))
    with_it, without = (
        BridgeLoss(sampler, 2, "cpu", weights=(0, 0, 0), ssim_weight=0, anatomy=term, anatomy_weight=0.5)(silent)
        for term in (anatomy, None)
    )
    assert float(with_it - without) == pytest.approx(1.5)
    told = sampler.pair()[3]
    assert seen == [((2, 1, 8, 8, 8), (2, 1, 8, 8, 8), [kind_of(1, told.flatten())] * 2)]


def test_the_terms_of_structure_count_in_each_nth_step_and_a_resumed_piece_keeps_the_beat() -> None:
    sampler = still_pair()
    sampler.rng = SimpleNamespace(random=lambda: 0.49, choice=lambda _: 1)
    silent = Answer(lambda x, told: torch.zeros(x.shape[0], 3, *x.shape[2:]))

    class Anatomy:
        balance = None

        def __call__(self, estimate: Tensor, truth: Tensor, kinds: Tensor) -> Tensor:
            return torch.tensor(3.0)

    def loss() -> BridgeLoss:
        return BridgeLoss(
            sampler, 1, "cpu", weights=(0, 0, 0), ssim_weight=0, anatomy=Anatomy(),
            anatomy_weight=0.5, structure_every=3,
        )  # fmt: skip

    first, second = loss(), loss()
    assert [float(first(silent)) for _ in range(7)] == [0, 0, 1.5, 0, 0, 1.5, 0]
    second.load_state_dict(first.state_dict())
    assert [float(second(silent)) for _ in range(3)] == [0, 1.5, 0]
    first.structure_every = 0
    assert [float(first(silent)) for _ in range(3)] == [0, 0, 0]
    with pytest.raises(BadInput, match="not -1"):
        BridgeLoss(sampler, 1, "cpu", structure_every=-1)


def test_the_bridge_is_asked_to_leave_high_field_alone_on_samples_of_their_own() -> None:
    ones = Answer(lambda x, noise: torch.ones(x.shape[0], 3, *x.shape[2:]))
    identity = float(BridgeLoss(still_pair(same=True), 2, "cpu", weights=(0, 0, 1), ssim_weight=0)(ones))
    assert identity == pytest.approx(1.0, rel=1e-4)
    assert float(BridgeLoss(still_pair(same=True), 2, "cpu", weights=(1, 1, 0), ssim_weight=0)(ones)) == 0.0


def test_a_prior_that_answers_the_noise_has_no_loss_and_silence_costs_its_variance() -> None:
    sampler = still_pair()
    high = sampler.high()[0]

    def abar_of(noise: Tensor) -> Tensor:
        abar = torch.from_numpy(SCHEDULE.alpha_bar((noise * SCHEDULE.steps).double().numpy()))
        return abar[:, None, None, None, None]

    def true_noise(x: Tensor, noise: Tensor) -> Tensor:
        return (abar_of(noise).sqrt() * x[:, :3] - high * (x[:, 3:] > 0)).float()

    trust: list[float] = []

    def silence(x: Tensor, noise: Tensor) -> Tensor:
        """What makes eps 0: the residual that takes the skip away again."""
        abar = abar_of(noise)
        trust.append(float((MAX_SNR * (1 - abar) / abar).clamp_max(1).mean()))
        return (-(1 - abar) / abar.sqrt() * x[:, :3]).float()

    assert max(float(PriorLoss(sampler, 2, "cpu")(Answer(true_noise))) for _ in range(6)) < 0.01
    silent = np.mean([float(PriorLoss(sampler, 2, "cpu", weights=(1.0, 0.0, 0.0))(Answer(silence))) for _ in range(40)])
    assert silent == pytest.approx(np.mean(trust), rel=0.05)
    assert 0.5 < np.mean(trust) < 1.0


def test_the_weights_of_the_prior_are_those_of_its_three_terms() -> None:
    def loss(*weights: float) -> float:
        silent = Answer(lambda x, noise: torch.zeros(x.shape[0], 3, *x.shape[2:]))
        return float(PriorLoss(still_pair(), 2, "cpu", weights=weights)(silent))

    noise, structure, edges = loss(1, 0, 0), loss(0, 1, 0), loss(0, 0, 1)
    assert min(noise, structure, edges) > 0 and len({noise, structure, edges}) == 3
    assert loss(2, 3, 5) == pytest.approx(2 * noise + 3 * structure + 5 * edges, rel=1e-5)


@pytest.mark.parametrize(
    "wrong", [(1.0, 1.0), (1.0,) * 4, (), (1.0, -0.1, 1.0), (1.0, math.nan, 1.0), (math.inf, 1, 1)]
)
@pytest.mark.parametrize("kind", [PriorLoss, BridgeLoss])
def test_weights_that_are_too_few_too_many_negative_or_no_number_are_refused(kind: type, wrong: tuple) -> None:
    with pytest.raises(BadInput, match="the loss has 3 weights of 0 or more"):
        kind(still_pair(), 1, "cpu", weights=wrong)


def test_contrasts_are_dropped_down_to_one_but_never_to_none() -> None:
    sampler = still_pair()
    present = torch.tensor([True, False, True])
    kept = {tuple(drop_contrasts(present, sampler).tolist()) for _ in range(200)}
    assert kept == {(True, False, True), (True, False, False), (False, False, True)}


def test_ssim_is_one_of_equal_images_and_the_textbook_formula_inside() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.rand(2, 1, 1, 15, 14, 13, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(ssim3d(a, a), torch.ones_like(a))
    x, y = a[0, 0].numpy(), b[0, 0].numpy()
    mx, my = uniform_filter(x, 7), uniform_filter(y, 7)
    vx, vy = uniform_filter(x * x, 7) - mx**2, uniform_filter(y * y, 7) - my**2
    vxy = uniform_filter(x * y, 7) - mx * my
    c1, c2 = 0.02**2, 0.06**2
    expected = (2 * mx * my + c1) * (2 * vxy + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    inner = (slice(3, -3),) * 3
    np.testing.assert_allclose(ssim3d(a, b)[0, 0].numpy()[inner], expected[inner], rtol=1e-8)


def test_the_sobel_term_compares_gradient_magnitudes() -> None:
    ramp = torch.linspace(0, 1.5, 16, dtype=torch.float64)[None, None, :, None, None].expand(1, 1, 16, 8, 8)
    flat = torch.zeros_like(ramp)
    inner = sobel_difference(ramp, flat)[:, :, 1:-1]
    # a magnitude is never below 1e-3, so that its gradient exists
    expected = (math.tanh(math.hypot(0.1, 1e-3)) - math.tanh(1e-3)) ** 2
    torch.testing.assert_close(inner, torch.full_like(inner, expected), rtol=1e-5, atol=0)
    assert not sobel_difference(ramp, ramp).any()
    torch.testing.assert_close(sobel_difference(ramp, flat), sobel_difference(-ramp, flat))
