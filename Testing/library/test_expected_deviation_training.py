"""The recipe of the network that tells the expected deviation: its loss, its samples, and what it listens to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.events import Events
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.methods.base import Case
from LowFieldEnhanceLib.methods.expected_deviation import mean_and_limit
from LowFieldEnhanceLib.methods.registry import get_method
from LowFieldEnhanceLib.training import expected_deviation as module
from LowFieldEnhanceLib.training.data import Head
from LowFieldEnhanceLib.training.expected_deviation import BATCH, KEPT, DeviationLoss, Judged
from LowFieldEnhanceLib.training.pairs import PairSampler


@pytest.fixture
def sampler() -> PairSampler:
    """Of one head of 32 voxels with two contrasts."""
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.uniform(-0.5, 0.8, (3, 32, 32, 32)).astype(np.float16))
    images[1] = -1
    head = Head("a", images, torch.tensor([True, False, True]), torch.ones(32, 32, 32, dtype=torch.bool), None)
    return PairSampler([head], patch=16)


class Off:
    """Results that lie off the truth by numbers whose distribution is known: what the loss has to find."""

    def __init__(self, spread: float) -> None:
        self.spread, self.truth = spread, torch.zeros(0)

    def result(self, low: Tensor, told: Tensor, channel: int, kind: int, generator: torch.Generator) -> Tensor:
        sign = torch.where(torch.rand(low.shape[1:], generator=generator) < 0.5, -1.0, 1.0)
        size = -self.spread * torch.log(torch.rand(low.shape[1:], generator=generator).clamp_min(1e-6))
        return self.truth[channel] + sign * size


class Constant(nn.Module):
    """The same two answers everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = nn.Parameter(torch.zeros(2))

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        return self.answer[None, :, None, None, None].expand(x.shape[0], -1, *x.shape[2:])


@pytest.mark.parametrize("spread", [0.01, 0.06])
def test_the_loss_is_least_where_the_mean_and_95_percent_are_right(
    spread: float, sampler: PairSampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an exponential distribution the mean is known, and its 95th percentile is 3.0 times that."""
    off = Off(spread)
    drawn = sampler.biased_pair

    def noted(*arguments):  # noqa: ANN002, ANN202
        pair = drawn(*arguments)
        off.truth = pair[1]
        return pair

    monkeypatch.setattr(sampler, "biased_pair", noted)
    network, loss = Constant(), DeviationLoss(sampler, off, 2, "cpu")  # type: ignore[arg-type]
    optimizer = torch.optim.Adam(network.parameters(), lr=0.1)
    for step in range(150):
        for group in optimizer.param_groups:
            group["lr"] = 0.1 * (1 - step / 150)
        optimizer.zero_grad()
        loss(network).backward()
        optimizer.step()
    mean, limit = (value.item() for value in mean_and_limit(network.answer.detach()[None, :, None, None, None]))
    assert mean == pytest.approx(spread, rel=0.05)
    assert limit == pytest.approx(-np.log(0.05) * spread, rel=0.06)


@pytest.mark.parametrize(("slope", "offset", "left"), [(1.2, 0.1, 0.0), (0.8, -0.2, 0.0), (3.0, 0.0, 0.4)])
def test_another_contrast_of_the_result_is_no_deviation_within_limits(slope: float, offset: float, left: float) -> None:
    """A result with 3 times the truth's contrast is no other contrast but wrong."""
    truth = torch.rand(12, 12, 12) - 0.5
    distance = module._distance(slope * truth + offset, truth, torch.ones(12, 12, 12, dtype=torch.bool))
    assert float(distance.mean()) == pytest.approx(left, abs=0.02 + left / 4)


def test_a_patch_without_brain_has_no_distance(sampler: PairSampler, tiny_models: Path) -> None:
    empty = torch.zeros(4, 4, 4, dtype=torch.bool)
    assert module._distance(torch.rand(4, 4, 4), torch.rand(4, 4, 4), empty).shape == (0,)


def test_a_batch_has_one_fresh_sample_and_three_that_were_drawn_before(
    sampler: PairSampler, tiny_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss = DeviationLoss(sampler, Judged("cpu"), BATCH, "cpu")
    fresh, made = loss._fresh, []
    monkeypatch.setattr(loss, "_fresh", lambda: made.append(fresh()) or made[-1])
    batches = [loss._draw() for _ in range(6)]
    assert [len(batch) for batch in batches] == [BATCH] * 6 and len(made) == BATCH + 5
    for number, batch in enumerate(batches[1:], start=BATCH):
        assert batch[0] is made[number]
        before = {id(one) for one in made[:number]}
        assert all(id(one) in before for one in batch[1:]) and len({id(one) for one in batch}) == BATCH
    loss._kept = [made[0]] * KEPT
    loss._draw()
    assert len(loss._kept) == KEPT and loss._kept[-1] is made[-1]


def test_samples_show_scan_and_result_of_a_contrast_that_the_head_has(sampler: PairSampler, tiny_models: Path) -> None:
    loss = DeviationLoss(sampler, Judged("cpu"), BATCH, "cpu")
    for pair, truth, told in loss._draw():
        assert pair.shape == (2, 16, 16, 16) and truth.shape == (1, 16, 16, 16) and told.shape == (4,)
        assert bool((truth > -1).any()) and bool(torch.isfinite(pair).all())
        assert not torch.equal(pair[0], pair[1])
    value = loss(module_network())
    value.backward()
    assert bool(torch.isfinite(value))


def module_network() -> nn.Module:
    from LowFieldEnhanceLib.networks.registry import build_network

    return build_network({**module.ARCHITECTURE, "widths": [8, 8], "embedding": 8})


@pytest.mark.parametrize("row", [("regression", "fast", 0), ("bridged", "fast", 1)])
def test_what_it_judges_in_training_is_what_the_method_gives(
    row: tuple[str, str, int], sampler: PairSampler, tiny_models: Path
) -> None:
    """The same patch through the method of the pipeline, in float32 and half precision, is the same result."""
    name, preset, kind = row
    low, _, _, _ = sampler.pair()
    told = torch.full((3, 4), torch.nan)
    judged = Judged("cpu").result(low, told, 2, kind, torch.Generator().manual_seed(0))
    scan = Image(low[2].numpy(), np.eye(4), "FLAIR")
    case = Case({"FLAIR": scan}, "FLAIR", np.ones((16, 16, 16), bool), scan, 0.05)
    made = get_method(name).enhance(case, preset, torch.Generator().manual_seed(0), Events())
    np.testing.assert_allclose(judged.numpy(), made.array, atol=0.02)
    assert np.abs(made.array - scan.array).max() > 0.05


def test_the_step_of_the_prior_changes_the_result_of_the_bridge_a_little(
    sampler: PairSampler, tiny_models: Path
) -> None:
    low, _, _, told = sampler.pair()
    judged = Judged("cpu")
    bridge, standard = (judged.result(low, told, 0, kind, torch.Generator().manual_seed(0)) for kind in (1, 2))
    assert bridge.shape == standard.shape and 0 < float((bridge - standard).abs().mean()) < 0.5


def test_without_a_network_to_judge_the_recipe_says_which(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from LowFieldEnhanceLib.training import latent_teacher

    monkeypatch.setattr(latent_teacher, "is_installed", lambda name: name != "bridged_prior")
    with pytest.raises(BadInput, match="expected_deviation needs the network 'bridged_prior'"):
        Judged("cpu")
