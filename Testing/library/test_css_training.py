"""How CSS-Diff learns: the two generators, what their losses ask for, and that a run can be resumed and repeated."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from loop_support import one_second_a_step  # noqa: F401
from safetensors.torch import save_file
from test_css_diffusion import Answers, generator
from torch import nn

from LowFieldEnhanceLib.diffusion.conditional import ConditionalDenoiser
from LowFieldEnhanceLib.diffusion.denoiser import noise_coordinate
from LowFieldEnhanceLib.diffusion.schedules import CosineSchedule
from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.networks.patch_discriminator import PatchDiscriminator
from LowFieldEnhanceLib.networks.registry import build_network
from LowFieldEnhanceLib.training import css, recipes
from LowFieldEnhanceLib.training.css import CycleLoss
from LowFieldEnhanceLib.training.css_networks import ARCHITECTURE, BACKWARD, from_prior
from LowFieldEnhanceLib.training.css_pairs import CycleBatch
from LowFieldEnhanceLib.training.css_settings import CycleSettings
from LowFieldEnhanceLib.training.css_terms import brain_l1, dissimilarity, settle
from LowFieldEnhanceLib.training.loop import LearningLoss, Plan, train
from LowFieldEnhanceLib.training.slice_prior import ARCHITECTURE as PRIOR
from LowFieldEnhanceLib.weights import load_network

TINY = {"widths": [8, 8], "blocks": 1, "embedding": 8, "context": 6}
EDGE = 16


def batch_of(size: int, trusted: float = 1.0, seed: int = 0) -> CycleBatch:
    """A bright square on background, at low field a little darker."""
    source = generator(seed)
    high = torch.full((size, 1, 1, EDGE, EDGE), -1.0)
    high[..., 3:13, 3:13] = torch.rand(size, 1, 1, 10, 10, generator=source) - 0.4
    low = torch.where(high > -1, 0.8 * high, high)
    context = torch.rand(size, 6, generator=source)
    kind = torch.arange(size) % 12
    return CycleBatch(
        low.expand(-1, 3, -1, -1, -1), high, kind, kind, torch.rand(size, 4, generator=source), context, context,
        torch.full((size, 1, 1, 1, 1), trusted),
    )  # fmt: skip


class Fixed:
    """A sampler that always draws the same slices."""

    def __init__(self, pairing: str = "full") -> None:
        self.pairing = pairing

    def batch(self, size: int) -> CycleBatch:
        return batch_of(size, float(self.pairing != "none"))


def loss_of(pairing: str = "full", correction: nn.Module | None = None, **options) -> CycleLoss:
    torch.manual_seed(0)
    settings = CycleSettings(batch=2, warm_batch=2, **options)
    return CycleLoss(Fixed(pairing), settings, "cpu", correction, architecture={**BACKWARD, **TINY})


def tiny() -> nn.Module:
    torch.manual_seed(1)
    return build_network({**ARCHITECTURE, **TINY})


def stepped(loss: CycleLoss, network: nn.Module, progress: float = 0.9) -> torch.Tensor:
    loss.begin(progress, 1e-3)
    return loss(network)


def changes(amount: float) -> Answers:
    """A generator that adds ``amount`` to the slice it is shown, inside the brain."""
    network = Answers(lambda shown, kind: shown[:, :1] + amount * (shown[:, :1] > -1))
    network.anchor = nn.Parameter(torch.zeros(1))
    return network


def test_the_cycle_of_generators_that_undo_each_other_is_closed() -> None:
    loss = loss_of(without=frozenset({"adversarial", "lsc", "sgp"}))
    for amount, other, expected in ((0.2, -0.2, 0.0), (0.2, -0.1, 0.2)):
        loss.back = changes(other)
        stepped(loss, changes(amount))
        assert loss.terms["cycle"] == pytest.approx(expected, abs=2e-4)  # of both ways together
        assert loss.terms["identity"] == pytest.approx(amount + abs(other), abs=2e-4)


def test_pairs_are_compared_only_where_they_are_known() -> None:
    network = changes(0.0)
    for pairing in ("full", "none"):
        loss = loss_of(pairing, without=frozenset({"adversarial", "lsc"}))
        loss.back = changes(0.0)
        stepped(loss, network)
        assert ("l1" in loss.terms) == ("ssim" in loss.terms) == (pairing == "full")
    assert "cycle" in loss.terms
    # without pairs there is no warm-up either: it would have nothing to aim at
    loss.begin(0.0, 1e-3)
    loss(network)
    assert "cycle" in loss.terms


@pytest.mark.parametrize("part", ["cycle", "lsc", "adversarial"])
def test_a_part_that_is_left_out_leaves_no_trace(part: str) -> None:
    correction = build_network({**PRIOR, "widths": [8, 8], "blocks": 1, "embedding": 8}).requires_grad_(False)
    loss = loss_of(correction=correction)
    stepped(loss, tiny())
    assert {"cycle", "lsc", "adversarial", "identity", "l1", "ssim"} == set(loss.terms)
    loss = loss_of(correction=correction, without=frozenset({part}))
    stepped(loss, tiny())
    loss.step()
    assert part not in loss.terms
    assert ("critics" in loss.terms) == (part != "adversarial")


def test_the_warm_up_compares_single_evaluations_and_then_the_samplers_run() -> None:
    loss = loss_of(warm_up=0.5)
    stepped(loss, tiny(), 0.49)
    assert set(loss.terms) == {"l1", "ssim"}
    stepped(loss, tiny(), 0.51)
    assert "cycle" in loss.terms


def test_every_network_is_moved_by_its_own_loss() -> None:
    loss = loss_of()
    network = tiny()
    before = {
        name: [p.detach().clone() for p in part.parameters()]
        for name, part in (("back", loss.back), ("critics", loss.critics))
    }
    stepped(loss, network).backward()
    assert all(p.grad is None for p in loss.critics.parameters())  # the generators do not train their judges
    assert sum(float(p.grad.abs().sum()) for p in network.parameters() if p.grad is not None) > 0
    loss.step()
    for name, part in (("back", loss.back), ("critics", loss.critics)):
        assert any(not torch.equal(old, new) for old, new in zip(before[name], part.parameters(), strict=True))


def test_the_discriminators_learn_to_tell_real_from_false() -> None:
    loss = loss_of()
    network = tiny()
    for group in loss.critic_optimizer.param_groups:
        group["lr"] = 1e-3
    seen = []
    for _ in range(30):
        loss.begin(0.9, 0.0)  # the generators stay as they are
        with torch.no_grad():
            loss(network)
        loss.step()
        seen.append(loss.terms["critics"])
    assert seen[-1] < 0.7 * seen[0]
    assert PatchDiscriminator()(torch.zeros(2, 1, 1, 32, 32), torch.tensor([0, 1])).shape == (2, 1, 1, 4, 4)


@pytest.mark.usefixtures("one_second_a_step")
def test_a_resumed_training_ends_with_the_same_networks(tmp_path: Path) -> None:
    def piece(folder: str, **options) -> tuple[dict, CycleLoss]:  # noqa: ANN003
        loss = loss_of(warm_up=0.3)
        assert isinstance(loss, LearningLoss)
        return train(tiny(), loss, Plan(tmp_path / folder, 6 / 60, learning_rate=1e-3, **options)), loss

    whole, loss = piece("whole")
    piece("parts", piece_minutes=3 / 60)
    parts, resumed = piece("parts", resume=True)
    again, _ = piece("again")
    assert whole["steps"] == parts["steps"] == 6
    for key, value in whole["weights"].items():
        assert torch.equal(parts["weights"][key], value)
        assert torch.equal(again["weights"][key], value)
    for name in ("back", "critics"):
        first, second = getattr(loss, name).state_dict(), getattr(resumed, name).state_dict()
        assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.usefixtures("one_second_a_step")
def test_a_run_can_start_from_another_ones_networks(tmp_path: Path) -> None:
    first = loss_of()
    weights = train(tiny(), first, Plan(tmp_path / "first", 3 / 60))["weights"]
    other, network = loss_of(), tiny()
    assert "3 steps" in other.prepare(network, tmp_path / "first")
    assert all(torch.equal(network.state_dict()[key], value) for key, value in weights.items())
    for name in ("back", "critics"):
        ours, theirs = getattr(other, name).state_dict(), getattr(first, name).state_dict()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    (tmp_path / "checkpoint.pt").write_bytes(b"none")
    with pytest.raises(BadInput, match="not a checkpoint of"):
        other.prepare(network, tmp_path)


def test_a_run_can_start_from_finished_weights_alone(tmp_path: Path, tiny_models) -> None:
    """G_A goes on from them; G_B, which is not shipped, denoises as the slice prior does."""
    trained, network, loss = build_network({**ARCHITECTURE, **TINY}), tiny(), loss_of()
    with pytest.raises(BadInput, match=r"css_generator\.safetensors does not exist"):
        loss.prepare(network, tmp_path)
    save_file(trained.state_dict(), tmp_path / "css_generator.safetensors")
    assert re.search("css_generator with SHA-256 .*, G_B from slice_prior", loss.prepare(network, tmp_path))
    assert all(torch.equal(network.state_dict()[key], value) for key, value in trained.state_dict().items())
    back, prior = loss.back.state_dict(), load_network("slice_prior")[0].state_dict()
    assert all(torch.equal(back[key], value) for key, value in prior.items() if key != "stem.weight")


@pytest.mark.usefixtures("one_second_a_step")
def test_a_start_that_listened_to_another_perception_begins_to_listen_anew(tmp_path: Path) -> None:
    first = loss_of()
    weights = train(tiny(), first, Plan(tmp_path / "first", 3 / 60))["weights"]
    other, network = loss_of(), build_network({**ARCHITECTURE, **TINY, "context": 9})
    other.back = build_network({**BACKWARD, **TINY, "context": 9})
    assert "another SGP" in other.prepare(network, tmp_path / "first")
    for generator_ in (network, other.back):
        assert not generator_.context.weight.any() and not generator_.context.bias.any()
    state = network.state_dict()
    assert all(torch.equal(state[key], value) for key, value in weights.items() if not key.startswith("context"))


@torch.no_grad()
def test_a_generator_starts_as_the_slice_prior(tiny_models) -> None:
    prior, _ = load_network("slice_prior")
    for architecture in (ARCHITECTURE, BACKWARD):
        network = build_network({**architecture, **TINY})
        from_prior(network, prior.state_dict())
        noisy = torch.randn(2, 1, 1, EDGE, EDGE, generator=generator())
        condition = torch.rand(2, architecture["in_channels"] - 1, 1, EDGE, EDGE, generator=generator(1))
        kind, sigma = torch.tensor([1, 7]), 0.6
        told, context = torch.rand(2, 4), torch.rand(2, 6)
        estimate = ConditionalDenoiser(network, condition, kind, told, context, bfloat16=False)(noisy, sigma)
        abar = 1 / (1 + sigma**2)
        t = torch.full((2,), float(CosineSchedule().timestep(sigma)))
        output = prior(abar**0.5 * noisy, noise_coordinate(t, CosineSchedule()), kind)
        torch.testing.assert_close(estimate, abar * noisy - output, rtol=1e-4, atol=1e-5)
    with pytest.raises(BadInput, match="does not fit"):
        from_prior(build_network({**ARCHITECTURE, **TINY, "widths": [4, 4]}), prior.state_dict())


def test_the_networks_fit_the_size_limit_in_half_precision() -> None:
    for name in ("css_generator", "css_sgp", "css_lsc"):
        assert name in recipes.RECIPES
    assert sum(p.numel() for p in build_network(ARCHITECTURE).parameters()) * 2 < 16e6


def test_the_terms_look_at_the_brain_alone() -> None:
    batch = batch_of(2)
    wrong = torch.where(batch.high > -1, batch.high + 0.25, batch.high + 0.7)
    assert float(brain_l1(wrong, batch.high, batch.high)) == pytest.approx(0.25, abs=1e-5)
    settled = settle(wrong, batch.high)
    assert (settled[batch.high == -1] == -1).all()
    assert float(dissimilarity(batch.high, batch.high, batch.high)) == pytest.approx(0.0, abs=1e-5)
    assert float(dissimilarity(settled, batch.high, batch.high)) > 0.01


def test_a_fifth_part_or_an_impossible_warm_up_is_refused() -> None:
    with pytest.raises(BadInput, match="no part 'colour'"):
        CycleSettings(frozenset({"colour"}))
    with pytest.raises(BadInput, match="warm-up"):
        CycleSettings(warm_up=1.0)


def test_only_the_recipe_that_has_an_option_takes_it(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="'slice_prior' has no option 'warm-up'"):
        recipes.run_recipe("slice_prior", tmp_path, Plan(tmp_path, 1.0), warm_up=0.2)


def test_what_a_batch_is_moved_to_keeps_what_is_absent() -> None:
    batch = replace(batch_of(2), context_low=None).to("cpu")
    assert batch.context_low is None and batch.context_high is not None
    assert batch.middle.shape == (2, 1, 1, EDGE, EDGE)


def test_each_generator_learns_from_noised_slices_of_the_side_it_starts_from(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = []

    class Records:
        def __init__(self, *_: object) -> None:
            pass

        def __call__(self, noisy: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
            shown.append(noisy)
            return noisy

    loss, batch = loss_of(), batch_of(4, 1.0)
    monkeypatch.setattr(css, "ConditionalDenoiser", Records)
    monkeypatch.setattr(css, "FROM_TARGET", 0.0)
    monkeypatch.setattr(loss, "_noise", torch.zeros_like)
    loss._denoising(tiny(), batch)
    assert torch.equal(shown[0], batch.middle) and torch.equal(shown[1], batch.high[:1])
    monkeypatch.setattr(css, "FROM_TARGET", 1.0)
    loss._denoising(tiny(), batch)
    assert torch.equal(shown[2], batch.high) and torch.equal(shown[3], batch.middle[:1])
