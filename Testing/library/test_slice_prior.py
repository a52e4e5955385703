"""The 2-D network of the slice prior, the slices it is trained on, and its loss where the answer is known."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from loop_support import one_second_a_step  # noqa: F401
from test_pairs import smooth_head
from torch import nn

from LowFieldEnhanceLib.diffusion.denoiser import SliceDenoiser, slice_class
from LowFieldEnhanceLib.image import CHANNELS, CONTRASTS
from LowFieldEnhanceLib.networks.edm_slice_unet import EdmSliceUNet, signal_share
from LowFieldEnhanceLib.networks.registry import build_network
from LowFieldEnhanceLib.networks.slice_unet import SliceUNet
from LowFieldEnhanceLib.segmentation.labels import label_table
from LowFieldEnhanceLib.training.data import Head
from LowFieldEnhanceLib.training.loop import Plan, train
from LowFieldEnhanceLib.training.recipes import RECIPES
from LowFieldEnhanceLib.training.slice_prior import (
    ARCHITECTURE,
    EDM,
    PAINTS,
    SCHEDULE,
    SlicePriorLoss,
    SliceSampler,
    denoising_error,
    tissue_levels,
)

SMALL = {"widths": (8, 8), "blocks": 1, "embedding": 8}


def network(seed: int = 0) -> SliceUNet:
    """Random weights everywhere, FiLM and class embedding too."""
    torch.manual_seed(seed)
    made = SliceUNet(**SMALL)
    for parameter in made.parameters():
        parameter.data = 0.2 * torch.randn(parameter.shape)
    return made.eval()


def labelled_head(name: str = "oasis/1") -> Head:
    """Tissues as labelled shells of a ball, T1w order of intensities, all three contrasts present."""
    ball = smooth_head(contrasts=(True, True, True))
    grids = np.meshgrid(*(np.linspace(-1, 1, ball.mask.shape[0]),) * 3, indexing="ij")
    radius = sum(g**2 for g in grids)
    channels = np.zeros(ball.mask.shape, dtype=np.uint8)
    image = np.full(ball.mask.shape, -1.0)
    for limit, tissue, value in ((0.9, "CSF", 0.2), (0.7, "GM", 0.5), (0.4, "WM", 0.8)):
        channel = next(n for n, label in enumerate(label_table(), start=1) if label.tissue == tissue)
        channels[radius < limit] = channel
        image[radius < limit] = 2 * value - 1
    images = ball.images.clone()
    images[0] = torch.from_numpy(image).half()
    return replace(ball, name=name, images=images, labels=torch.from_numpy(channels))


@torch.no_grad()
def test_a_slice_of_a_stack_knows_nothing_of_its_neighbours() -> None:
    net = network()
    stack = torch.randn(1, 1, 5, 16, 24)
    noise, kind = torch.tensor([0.3]), torch.tensor([4])
    whole = net(stack, noise, kind)
    for n in range(5):
        torch.testing.assert_close(whole[:, :, n : n + 1], net(stack[:, :, n : n + 1], noise, kind))


@torch.no_grad()
def test_noise_level_and_class_change_the_answer() -> None:
    net = network()
    x = torch.randn(1, 1, 1, 16, 16)
    base = net(x, torch.tensor([0.3]), torch.tensor([4]))
    assert float((net(x, torch.tensor([0.8]), torch.tensor([4])) - base).abs().max()) > 1e-5
    assert float((net(x, torch.tensor([0.3]), torch.tensor([5])) - base).abs().max()) > 1e-5


def test_a_slice_that_does_not_fit_the_levels_is_refused() -> None:
    net = network()
    with pytest.raises(ValueError, match="multiples of 4"):
        net(torch.zeros(1, 1, 1, 16, 18), torch.tensor([0.3]), torch.tensor([0]))


def test_the_recipes_network_fits_the_size_limit_in_half_precision_and_has_every_class() -> None:
    net = build_network(ARCHITECTURE)
    assert sum(p.numel() for p in net.parameters()) * 2 < 16e6
    classes = {slice_class(contrast, axis) for contrast in CONTRASTS for axis in range(3)}
    assert classes == set(range(ARCHITECTURE["classes"]))
    assert "slice_prior" in RECIPES


def test_slices_are_crops_in_the_model_range_with_their_class() -> None:
    sampler = SliceSampler([labelled_head()], edge=32, seed=1)
    seen = set()
    for _ in range(120):
        image, kind = sampler.sample()
        assert image.shape == (32, 32)
        assert float(image.min()) >= -1 and float(image.max()) <= 1.5
        seen.add(kind)
    assert seen == set(range(12))


def test_a_slice_smaller_than_the_crop_is_filled_up_with_background() -> None:
    head = smooth_head(labelled=False, contrasts=(True, False, False))
    images, _ = SliceSampler([head], edge=64, seed=0).batch(4)
    assert images.shape == (4, 1, 1, 64, 64)
    assert (images == -1).float().mean() > 1 - 48**2 / 64**2
    assert (images > -1).any()


def test_the_same_seed_draws_the_same_slices() -> None:
    first, kinds = SliceSampler([labelled_head()], edge=32, seed=3).batch(6)
    again, same = SliceSampler([labelled_head()], edge=32, seed=3).batch(6)
    assert torch.equal(first, again) and torch.equal(kinds, same)
    assert not torch.equal(first, SliceSampler([labelled_head()], edge=32, seed=4).batch(6)[0])


def test_of_scans_with_thick_slices_only_axial_ones_are_shown() -> None:
    head = replace(smooth_head(labelled=False, contrasts=(True, True, True)), name="brats/1")
    _, kinds = SliceSampler([head], edge=32, seed=0).batch(60)
    assert set((kinds % 3).tolist()) == {2}


def test_tissue_levels_are_the_medians_of_the_tissues_and_need_labels() -> None:
    assert tissue_levels(labelled_head()) == pytest.approx((0.2, 0.5, 0.8), abs=1e-3)
    assert tissue_levels(smooth_head(labelled=False)) is None


def test_contrasts_that_were_painted_count_as_seen() -> None:
    assert SliceSampler([labelled_head()], 32).valid_range() == {"contrasts": list(CHANNELS)}
    assert SliceSampler([smooth_head(labelled=False)], 32).valid_range() == {"contrasts": ["T1w", "FLAIR"]}


@pytest.mark.parametrize("paint", PAINTS)
def test_painting_sends_every_tissue_to_an_intensity_of_the_named_contrast(paint: str) -> None:
    sampler = SliceSampler([labelled_head()], seed=0)
    levels = (0.2, 0.5, 0.8)
    painted = sampler._painted(torch.tensor(levels), levels, paint)
    for value, (low, high) in zip(painted.tolist(), PAINTS[paint], strict=True):
        assert low - 1e-5 <= value <= high + 1e-5


class KnowsTheSlice(nn.Module):
    """Returns sqrt(abar) x_t - x_0 of the slices it was given, shifted by ``error``."""

    def __init__(self, clean: torch.Tensor, error: float = 0.0) -> None:
        super().__init__()
        self.clean, self.error = clean, error

    def forward(self, x: torch.Tensor, noise: torch.Tensor, kind: torch.Tensor) -> torch.Tensor:
        abar = torch.from_numpy(SCHEDULE.alpha_bar(noise.numpy() * SCHEDULE.steps)).float()[:, None, None, None, None]
        return abar.sqrt() * x - self.clean + self.error


def test_the_loss_of_a_network_that_knows_the_slices_is_zero() -> None:
    clean, kinds = SliceSampler([labelled_head()], edge=16, seed=0).batch(3)
    sampler = SliceSampler([labelled_head()], edge=16, seed=0)
    sampler.batch = lambda size: (clean, kinds)
    assert float(SlicePriorLoss(sampler, 3, "cpu")(KnowsTheSlice(clean))) < 1e-6
    # a clean estimate that is off by e costs trust e^2 abar / (1 - abar) <= 100 e^2
    wrong = float(SlicePriorLoss(sampler, 3, "cpu")(KnowsTheSlice(clean, 0.1)))
    assert 0 < wrong <= 100 * 0.1**2 + 1e-6


def test_the_loss_of_edm_is_the_error_over_the_square_of_its_output_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    clean, kinds = SliceSampler([labelled_head()], edge=16, seed=0).batch(3)
    sampler = SliceSampler([labelled_head()], edge=16, seed=0)
    sampler.batch = lambda size: (clean, kinds)
    loss = SlicePriorLoss(sampler, 3, "cpu", edm=True)
    assert float(loss(KnowsTheSlice(clean))) < 1e-6
    sigma, s = 0.5, EDM["deviation"]
    monkeypatch.setattr(loss, "_times", lambda: torch.full((3,), float(SCHEDULE.timestep(sigma))))
    assert float(loss(KnowsTheSlice(clean, 0.1))) == pytest.approx(
        0.01 * (sigma**2 + s**2) / (sigma * s) ** 2, rel=1e-3
    )


def test_edm_draws_the_logarithm_of_the_noise_from_a_normal_distribution() -> None:
    loss = SlicePriorLoss(SliceSampler([labelled_head()], edge=16, seed=0), 4000, "cpu", edm=True)
    logs = np.log(SCHEDULE.sigma(loss._times().numpy()))
    assert logs.mean() == pytest.approx(-1.2, abs=0.08) and logs.std() == pytest.approx(1.2, abs=0.08)


def test_edm_reads_the_noise_off_the_schedule_of_the_samplers() -> None:
    times = torch.linspace(0, 1, 41)
    expected = torch.from_numpy(SCHEDULE.alpha_bar(times.numpy() * SCHEDULE.steps)).float()
    torch.testing.assert_close(signal_share(times), expected, atol=2e-6, rtol=1e-3)


class Constant(nn.Module):
    """In the place of the network inside: records its input and answers ones."""

    def forward(self, x: torch.Tensor, noise: torch.Tensor, kind: torch.Tensor) -> torch.Tensor:
        self.seen = x, noise
        return torch.ones_like(x)


def test_the_network_of_edm_is_scaled_as_karras_et_al_say_and_answers_as_the_others_do() -> None:
    net = EdmSliceUNet(deviation=0.6, **SMALL)
    net.network = inner = Constant()
    sigma, clean = 0.8, torch.full((1, 1, 1, 16, 16), 0.3)
    estimate = SliceDenoiser(net, SCHEDULE, "T1w", (2,), bfloat16=False)(clean[0, 0].movedim(0, 2), sigma)
    spread = math.hypot(sigma, 0.6)
    assert float(estimate.mean()) == pytest.approx(0.36 / spread**2 * 0.3 + sigma * 0.6 / spread, rel=1e-4)
    seen, noise = inner.seen
    assert float(seen.mean()) == pytest.approx(0.3 / spread, rel=1e-4)
    assert float(noise) == pytest.approx(math.log(sigma) / 4, rel=1e-3)


@pytest.mark.parametrize("sigma", [0.1, 1.0])
def test_the_denoising_error_is_that_of_the_clean_estimate(sigma: float) -> None:
    clean, kinds = SliceSampler([labelled_head()], edge=16, seed=0).batch(3)
    assert denoising_error(KnowsTheSlice(clean), clean, kinds, sigma) < 1e-5
    assert denoising_error(KnowsTheSlice(clean, 0.05), clean, kinds, sigma) == pytest.approx(0.05, rel=1e-3)


@pytest.mark.usefixtures("one_second_a_step")
def test_training_lowers_the_denoising_error(tmp_path: Path) -> None:
    torch.manual_seed(0)
    sampler = SliceSampler([labelled_head()], edge=16, seed=0)
    clean, kinds = sampler.batch(8)
    net = SliceUNet(**SMALL)
    before = denoising_error(net, clean, kinds, 0.5)
    train(net, SlicePriorLoss(sampler, 4, "cpu"), Plan(tmp_path, minutes=60 / 60, learning_rate=1e-2))
    assert denoising_error(net, clean, kinds, 0.5) < 0.8 * before
