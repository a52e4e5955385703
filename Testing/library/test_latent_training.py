"""The recipes of the distilled latent super-resolution: losses whose answer is known, and progressive distillation."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_latent_networks import SMALL, Knows, autoencoder, condition, noise, unet
from test_pairs import smooth_head
from test_slice_prior import labelled_head
from torch import Tensor

from LowFieldEnhanceLib.diffusion.latent import SCHEDULE, alpha_bar
from LowFieldEnhanceLib.diffusion.samplers import ddim
from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.networks.latent_autoencoder import LatentAutoencoder
from LowFieldEnhanceLib.networks.latent_unet import LatentUNet
from LowFieldEnhanceLib.networks.registry import build_network
from LowFieldEnhanceLib.training import latent_autoencoder, latent_student, latent_teacher
from LowFieldEnhanceLib.training.latent_autoencoder import AutoencoderLoss, image_loss
from LowFieldEnhanceLib.training.latent_student import Adapters, StudentLoss, follow, inherit
from LowFieldEnhanceLib.training.latent_teacher import LatentBatch, LatentSampler, TeacherLoss
from LowFieldEnhanceLib.training.loop import Plan
from LowFieldEnhanceLib.training.recipes import run_recipe
from LowFieldEnhanceLib.training.slice_pairs import SlicePairSampler
from LowFieldEnhanceLib.training.slice_prior import SliceSampler


def pairs(seed: int = 0) -> SlicePairSampler:
    return SlicePairSampler([smooth_head()], edge=24, pool=2, seed=seed)


def sampler(network: LatentAutoencoder | None = None, seed: int = 0) -> LatentSampler:
    return LatentSampler(pairs(seed), network or autoencoder(16), "cpu")


class Fixed:
    """A sampler of one batch whose slices the autoencoder codes without loss."""

    device = "cpu"

    def __init__(self, size: int = 4) -> None:
        self.autoencoder = autoencoder(16)
        self.sampler = SimpleNamespace(generator=torch.Generator().manual_seed(0))
        low, high = (0.3 * noise(size, 1, 1, 16, 16, seed=n) for n in (1, 2))
        start = self.autoencoder.encode(low).detach()
        nothing, kind = torch.zeros_like(low), torch.zeros(size, dtype=torch.long)
        residual = self.autoencoder.encode(high).detach() - start
        shown = low.expand(-1, 3, -1, -1, -1)
        told = torch.zeros(size, 4)
        self.only = LatentBatch(shown, high, start, residual, torch.ones_like(low), nothing, nothing, kind, told)

    def batch(self, size: int) -> LatentBatch:
        return self.only


class KnowsBatch(Knows):
    """A teacher that knows the residual of a fixed batch."""

    residual_scale = 0.5

    def __init__(self, fixed: Fixed) -> None:
        super().__init__(fixed.only.residual / self.residual_scale)
        self.trained = torch.ones((), dtype=torch.long)

    def condition(self, *_: Tensor) -> None:
        return None


@pytest.mark.parametrize("recipe", [latent_autoencoder, latent_teacher, latent_student])
def test_a_network_fits_the_size_limit_in_half_precision(recipe) -> None:
    network = build_network(recipe.ARCHITECTURE)
    assert 2 * sum(p.numel() for p in network.parameters()) < 15.9e6


def test_the_student_is_the_teacher_without_half_of_its_blocks_and_starts_with_the_weights_of_the_others() -> None:
    student, teacher = (build_network(recipe.ARCHITECTURE) for recipe in (latent_student, latent_teacher))
    size, whole = (sum(p.numel() for p in network.parameters()) for network in (student, teacher))
    assert size < 0.6 * whole
    assert inherit(student, teacher) == len(list(student.parameters()))
    known = dict(teacher.named_parameters())
    assert all(torch.equal(own, known[name]) for name, own in student.named_parameters())
    narrow = LatentUNet(widths=(32, 192, 256), blocks=1)
    stem = narrow.stem.weight.clone()
    assert 0 < inherit(narrow, teacher) < len(list(narrow.parameters()))
    assert torch.equal(narrow.stem.weight, stem)


def test_the_image_loss_of_a_shifted_slice_is_the_shift_and_counts_where_the_weight_is() -> None:
    truth = noise(2, 1, 1, 8, 8)
    weight = torch.zeros(2, 1, 1, 8, 8)
    weight[..., :4] = 1
    assert float(image_loss(truth + 0.25, truth, weight)) == pytest.approx(0.25)
    beyond = truth.clone()
    beyond[..., 4:] += 9
    assert float(image_loss(beyond, truth, weight)) == pytest.approx(0.0)


def test_the_autoencoder_sees_blurred_slices_with_the_same_background() -> None:
    loss = AutoencoderLoss(SliceSampler([labelled_head()], 24, seed=0), 2, "cpu")
    clean, _ = loss.sampler.batch(40)
    shown = torch.stack([loss._as_scanned(image) for image in clean])
    changed = [(not torch.equal(a, b)) for a, b in zip(clean, shown, strict=True)]
    assert 5 < sum(changed) < 25
    assert bool((shown[clean == -1] == -1).all())


def test_latents_are_those_of_the_low_and_of_the_high_field_slice() -> None:
    drawn = sampler()
    batch = drawn.batch(3)
    torch.testing.assert_close(drawn.autoencoder.decode(batch.start), batch.low[:, 1:2], rtol=0, atol=0.02)
    torch.testing.assert_close(
        drawn.autoencoder.decode(batch.start + batch.residual), batch.high, rtol=0, atol=0.02
    )  # bfloat16
    assert bool(((batch.weight == 1) | (batch.weight == latent_teacher.BACKGROUND)).all())
    assert bool((batch.weight[batch.high > -1] == 1).all())


def test_the_scan_is_darker_where_the_unwarping_spread_it_and_the_network_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = sampler(seed=3)
    monkeypatch.setattr(plain, "_gain", lambda shape: torch.zeros(1, *shape))
    spread = sampler(seed=3)
    monkeypatch.setattr(spread, "_gain", lambda shape: torch.full((1, *shape), float(np.log(1.25))))
    a, b = plain.batch(4), spread.batch(4)
    inside = (a.low > -1) & (a.low < 1.4)
    torch.testing.assert_close((b.low + 1)[inside], (a.low + 1)[inside] / 1.25, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(a.high, b.high)
    assert float(b.gain.exp().mean()) == pytest.approx(1.25)


def test_the_residuals_scale_is_their_root_mean_square_inside_the_brain() -> None:
    fixed = Fixed()
    wanted = float((fixed.only.residual**2).mean()) ** 0.5
    assert LatentSampler.scale(fixed) == pytest.approx(wanted, abs=1e-4)
    fixed.only.weight[:2], fixed.only.residual[:2] = 0.1, 7.0
    wanted = float((fixed.only.residual[2:] ** 2).mean()) ** 0.5
    assert LatentSampler.scale(fixed) == pytest.approx(wanted, abs=1e-4)


def test_the_same_seed_draws_the_same_slices() -> None:
    first, again = sampler(seed=4).batch(3), sampler(seed=4).batch(3)
    assert all(torch.equal(getattr(first, name), getattr(again, name)) for name in ("low", "high", "bias", "gain"))


def test_the_teachers_loss_is_zero_for_a_network_that_knows_the_residual() -> None:
    fixed = Fixed()
    loss, knows = TeacherLoss(fixed, 4), KnowsBatch(fixed)
    for _ in range(latent_teacher.IMAGE_EVERY):
        assert float(loss(knows).detach()) == pytest.approx(0.0, abs=2e-2)  # bfloat16 of the decoder
    assert int(knows.trained) == 1 + latent_teacher.IMAGE_EVERY
    knows.clean = knows.clean + 1.0
    assert float(loss(knows).detach()) > 0.5


def start_of(t: Tensor) -> Tensor:
    abar = alpha_bar(t)
    return abar.sqrt() * 0.3 * noise(2, 4, 2, 4, 6) + (1 - abar).sqrt() * noise(2, 4, 2, 4, 6, seed=1)


@torch.no_grad()
def test_one_step_with_the_distilled_estimate_arrives_where_the_sampler_does() -> None:
    network = unet()
    known = network.condition(noise(2, 3, 2, 16, 24), noise(2, 4, 2, 4, 6), torch.tensor([3, 1]))
    t, steps = torch.full((2,), 750.0), 3
    noisy = start_of(t)
    sigmas = [float(SCHEDULE.sigma(750.0 * (1 - n / steps))) for n in range(steps)]

    def denoise(x: Tensor, sigma: float) -> Tensor:
        at = torch.full((2,), float(SCHEDULE.timestep(sigma)))
        return latent_student.predict(network, x / (1 + sigma**2) ** 0.5, at, known)

    wanted = ddim(denoise, noisy * (1 + sigmas[0] ** 2) ** 0.5, sigmas)
    torch.testing.assert_close(follow(network, noisy, t, torch.zeros(2), steps, known), wanted, rtol=1e-3, atol=1e-3)
    first = denoise(noisy * (1 + sigmas[0] ** 2) ** 0.5, sigmas[0])
    torch.testing.assert_close(follow(network, noisy, t, t - 250, 1, known), first, rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_two_distilled_steps_in_a_row_are_all_the_steps_they_stand_for() -> None:
    network = unet()
    known = condition(network)
    t = torch.tensor([1000.0])
    noisy = start_of(torch.tensor([1000.0, 1000.0]))[:1]
    half = follow(network, noisy, t, t - 500, 2, known)
    far, near = (float(SCHEDULE.sigma(place)) for place in (1000.0, 500.0))
    x = half + (noisy * (1 + far**2) ** 0.5 - half) * (near / far)
    rest = follow(network, x / (1 + near**2) ** 0.5, t - 500, t * 0, 2, known)
    torch.testing.assert_close(rest, follow(network, noisy, t, t * 0, 4, known), rtol=2e-3, atol=2e-3)


def test_the_stages_go_from_fifty_steps_to_four_to_one_and_four() -> None:
    loss = StudentLoss(Fixed(), unet(), 4, (10, 20))
    assert [loss.steps(n) for n in (0, 9, 10, 19, 20, 21, 22)] == [50, 50, 4, 4, 1, 4, 1]


def test_a_single_step_is_taught_from_where_the_sampler_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    fixed, shown = Fixed(), []
    student, teacher = (LatentUNet(**{**SMALL, "latent": 16}) for _ in range(2))
    loss = StudentLoss(fixed, teacher, 4, (0, 0))
    passed_on = student.with_features
    monkeypatch.setattr(student, "with_features", lambda x, *rest: (shown.append(x), passed_on(x, *rest))[1])
    for steps in (1, 4):
        monkeypatch.setattr(loss, "steps", lambda trained, steps=steps: steps)
        loss(student)
    assert not shown[0].any() and shown[1].std() > 0.01


def test_adapters_learn_to_match_the_teachers_features() -> None:
    torch.manual_seed(0)
    student, teacher = LatentUNet(**SMALL), LatentUNet(**{**SMALL, "widths": (12, 16)})
    assert latent_student.level_widths(teacher) == [12, 16, 12]
    adapters = Adapters(student, teacher)
    adapters.optimizer.param_groups[0]["lr"] = 0.05
    own = [noise(2, width, 1, 6, 6, seed=n) for n, width in enumerate((8, 8, 8))]
    wanted = [layer(x).detach() * 2 + 1 for layer, x in zip(adapters.layers, own, strict=True)]
    before = float(adapters(own, wanted).detach())
    for _ in range(150):
        adapters(own, wanted).backward()
        adapters.learn()
    assert float(adapters(own, wanted).detach()) < 0.05 * before


@pytest.mark.parametrize("stages", [(100, 200), (0, 100), (0, 0)])
def test_every_stage_of_the_student_lowers_its_loss_and_leaves_teacher_and_autoencoder_alone(
    stages: tuple[int, int],
) -> None:
    torch.manual_seed(0)
    fixed = Fixed()
    teacher = LatentUNet(**{**SMALL, "latent": 16}).requires_grad_(False)
    student = LatentUNet(**{**SMALL, "latent": 16})
    loss = StudentLoss(fixed, teacher, 4, stages)
    frozen = [p.clone() for p in (*teacher.parameters(), *fixed.autoencoder.parameters())]
    optimizer = torch.optim.Adam(student.parameters(), lr=3e-3)
    values = []
    for _ in range(40):
        optimizer.zero_grad()
        value = loss(student)
        value.backward()
        optimizer.step()
        values.append(float(value.detach()))
    assert int(student.trained) == 40
    assert np.mean(values[-8:]) < 0.9 * np.mean(values[:8])
    after = (*teacher.parameters(), *fixed.autoencoder.parameters())
    assert all(torch.equal(a, b) for a, b in zip(frozen, after, strict=True))


def test_the_autoencoder_learns_and_keeps_the_latents_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latent_autoencoder, "BLURRED_SHARE", 0.0)
    loss = AutoencoderLoss(SliceSampler([labelled_head()], 24, seed=0), 4, "cpu")
    same = loss.sampler.batch(4)
    monkeypatch.setattr(loss.sampler, "batch", lambda size: same)
    network = autoencoder()
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    values = []
    for _ in range(60):
        optimizer.zero_grad()
        value = loss(network)
        value.backward()
        optimizer.step()
        values.append(float(value.detach()))
    assert np.mean(values[-15:]) < 0.9 * np.mean(values[:15])
    assert float(network.deviation[0]) != 1.0


@pytest.mark.parametrize("name", ["latent_teacher", "latent_student"])
def test_a_recipe_says_which_network_it_lacks(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latent_teacher, "is_installed", lambda model: False)
    with pytest.raises(BadInput, match=f"{name} needs the network 'latent_autoencoder'"):
        run_recipe(name, tmp_path, Plan(tmp_path, minutes=0.01))
