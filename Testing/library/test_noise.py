"""Noise: its distribution against the closed form, and its level found again in scans that are not made of noise."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.special import ive

from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.physics.noise import add_noise, difference_sigma, estimate_sigma, filter_noise, noise_widths


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def rician_mean(nu: float, sigma: float) -> float:
    """sigma sqrt(pi/2) L_1/2(-nu^2 / 2 sigma^2) (Gudbjartsson and Patz 1995), with scaled Bessel functions."""
    x = nu**2 / (2 * sigma**2)
    laguerre = (1 + x) * ive(0, x / 2) + x * ive(1, x / 2)
    return sigma * math.sqrt(math.pi / 2) * laguerre


@pytest.mark.parametrize("snr", [0.0, 0.5, 1.0, 3.0, 20.0])
def test_rician_noise_has_the_mean_and_second_moment_of_a_rice_distribution(snr: float) -> None:
    sigma, count = 2.0, 200_000
    y = add_noise(torch.full((count,), snr * sigma, dtype=torch.float64), sigma, "rician", generator())
    mean, second = rician_mean(snr * sigma, sigma), (snr * sigma) ** 2 + 2 * sigma**2
    spread = math.sqrt(second - mean**2)
    assert float(y.mean()) == pytest.approx(mean, abs=4 * spread / math.sqrt(count))
    assert float((y**2).mean()) == pytest.approx(second, rel=0.012)
    assert float(y.min()) >= 0


def test_gaussian_noise_has_the_mean_and_standard_deviation_asked_for() -> None:
    y = add_noise(torch.full((200_000,), 3.0, dtype=torch.float64), 0.5, "gaussian", generator())
    assert float(y.mean()) == pytest.approx(3.0, abs=0.005)
    assert float(y.std()) == pytest.approx(0.5, rel=0.01)


@pytest.mark.parametrize("kind", ["rician", "gaussian"])
def test_no_noise_changes_nothing_and_a_seed_repeats_itself(kind: str) -> None:
    y = torch.rand(5, 6, 7)
    torch.testing.assert_close(add_noise(y, 0.0, kind), y)
    assert torch.equal(add_noise(y, 0.1, kind, generator()), add_noise(y, 0.1, kind, generator()))


def test_filtered_noise_has_the_level_asked_for_and_the_correlation_of_its_filter() -> None:
    widths = (2.0, 0.0, 1.6)
    noise = add_noise(torch.zeros(48, 48, 48, dtype=torch.float64), 0.5, "gaussian", generator(), widths)
    assert float(noise.std()) == pytest.approx(0.5, rel=0.02)
    for axis, width in enumerate(widths):
        # a Gaussian filter of standard deviation s makes neighbours' correlation exp(-1 / 4 s^2)
        s = width / 2.3548
        expected = math.exp(-1 / (4 * s**2)) if width else 0.0
        found = float((noise * noise.roll(1, axis)).mean() / noise.square().mean())
        assert found == pytest.approx(expected, abs=0.03)


def test_filtered_rician_noise_of_an_axis_shorter_than_the_filter_has_a_level_too() -> None:
    y = add_noise(torch.full((60, 60, 2), 10.0, dtype=torch.float64), 0.5, "rician", generator(), (1.5, 1.5, 3.0))
    assert float(y.std()) == pytest.approx(0.5, rel=0.05)
    assert float(y.mean()) == pytest.approx(rician_mean(10.0, 0.5), abs=0.05)


def test_unknown_kinds_and_negative_levels_are_refused() -> None:
    with pytest.raises(BadInput, match="unknown noise 'poisson'"):
        add_noise(torch.zeros(3), 1.0, "poisson")
    with pytest.raises(BadInput, match="negative"):
        add_noise(torch.zeros(3), -1.0, "rician")


@cache
def folded_head() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Noise-free intensities, white matter at 1, cortex folded at the scale of a few voxels, seen through a PSF.

    Returns the brain alone, the brain inside a scalp, and the brain's mask.
    """
    shape = (112, 128, 96)
    grids = np.meshgrid(*(np.linspace(-1.25, 1.25, n) for n in shape), indexing="ij")
    radius = np.sqrt(sum(g**2 for g in grids))
    texture = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=shape), 3.0)
    brain = np.where(radius < 0.55, 1.0, np.where(radius < 0.8, 0.65 + 0.35 * (texture > 0), 0.0))
    scalp = np.where((radius > 0.92) & (radius < 1.02), 0.9, 0.0)
    # two fine voxels a coarse one; full width at half maximum of the PSF = one coarse voxel
    brain, scalp = (ndimage.gaussian_filter(x, 2 / 2.355)[::2, ::2, ::2] for x in (brain, scalp))
    return brain, brain + scalp, radius[::2, ::2, ::2] < 0.8


def noisy(clean: np.ndarray, sigma: float) -> np.ndarray:
    return add_noise(torch.from_numpy(clean), sigma, "rician", generator()).numpy()


@pytest.mark.parametrize("snr", [5, 8, 20, 40])
@pytest.mark.parametrize("whole_head", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_the_level_is_found_in_the_background_within_five_percent(snr: float, whole_head: bool, masked: bool) -> None:
    brain, head, mask = folded_head()
    sigma, source = estimate_sigma(noisy(head if whole_head else brain, 1 / snr), mask if masked else None)
    assert source == "background"
    assert sigma == pytest.approx(1 / snr, rel=0.05)


@pytest.mark.parametrize(("snr", "tolerance"), [(8, 0.05), (20, 0.06), (40, 0.12)])
def test_the_level_is_found_in_the_brain_where_the_background_is_zeroed(snr: float, tolerance: float) -> None:
    """Folds as sharp as the scan allows leave a rest: it shows where the noise is weak."""
    brain, _, mask = folded_head()
    for known in (mask, None):
        sigma, source = estimate_sigma(noisy(brain, 1 / snr) * mask, known)
        assert source == "difference"
        assert sigma == pytest.approx(1 / snr, rel=tolerance)


def test_a_background_that_was_filtered_is_not_believed() -> None:
    brain, _, mask = folded_head()
    y = noisy(brain, 0.05)
    sigma, source = estimate_sigma(np.where(mask, y, 0.2 * y), mask)
    assert source == "difference"
    assert sigma == pytest.approx(0.05, rel=0.12)


def test_ghosts_and_a_scalp_outside_the_mask_do_not_raise_the_level() -> None:
    brain, head, mask = folded_head()
    ghosts = np.abs(np.roll(brain, 30, axis=1)) * 0.4
    assert estimate_sigma(noisy(head, 0.05) + np.where(mask, 0, ghosts), mask)[0] == pytest.approx(0.05, rel=0.12)


def test_the_background_of_an_interpolated_scan_is_believed_over_its_smooth_inside() -> None:
    """Differences see no noise after interpolation; the Rayleigh level of the background still holds."""
    brain, _, mask = folded_head()
    generator_ = np.random.default_rng(0)
    channels = [ndimage.gaussian_filter(generator_.normal(size=brain.shape), 1.0) for _ in range(2)]
    true = channels[0].std() * 0.5
    array = np.hypot(brain + 0.5 * channels[0], 0.5 * channels[1])
    sigma, source = estimate_sigma(array, mask)
    assert source == "background"
    assert sigma == pytest.approx(true, rel=0.1)


@pytest.mark.parametrize("width", [(0.8, 0.8, 0.0), (0.8, 0.8, 0.5)])
def test_noise_that_a_filter_left_alike_in_neighbours_is_found_in_a_zeroed_background(width: tuple[float, ...]) -> None:
    """As scanners deliver it, and with no white matter known."""
    brain, _, mask = folded_head()
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=brain.shape), width)
    noise *= 0.05 / noise.std()
    sigma, source = estimate_sigma((brain + noise) * mask, mask)
    assert source == "difference"
    assert 0.037 < sigma < 0.055
    neighbours = noise[1:] - noise[:-1]
    assert neighbours.std() / 2**0.5 < 0.033  # what white noise of this level would never show


@pytest.mark.parametrize("widths", [(1.5, 1.5, 1.5), (2.5, 2.5, 0.0), (0.0, 2.0, 0.0)])
def test_the_width_of_the_filter_that_the_noise_went_through_is_found(widths: tuple[float, ...]) -> None:
    brain, _, mask = folded_head()
    noise = filter_noise(torch.randn(brain.shape, generator=generator(), dtype=torch.float64), widths).numpy()
    for found, width in zip(noise_widths(brain + 0.1 * noise, mask), widths, strict=True):
        assert 0.65 * width < found < 1.1 * width if width else found == 0


@pytest.mark.parametrize("snr", [5, 20, 40])
def test_white_noise_went_through_no_filter(snr: float) -> None:
    brain, _, mask = folded_head()
    assert noise_widths(noisy(brain, 1 / snr), mask) == (0, 0, 0)
    assert noise_widths(brain, np.zeros_like(mask)) == (0, 0, 0)  # nothing to measure


@pytest.mark.parametrize("shape", [(40, 40, 40), (60, 60, 4)])
def test_differences_of_white_noise_on_a_smooth_image_give_its_standard_deviation(shape: tuple[int, int, int]) -> None:
    i, j, k = np.meshgrid(*(np.arange(n) / 40 for n in shape), indexing="ij")
    smooth = 3 + np.sin(3 * i) * np.cos(2 * j) + k
    array = smooth + 0.1 * np.random.default_rng(0).normal(size=shape)
    assert difference_sigma(array, np.ones(shape, dtype=bool)) == pytest.approx(0.1, rel=0.05)
    assert difference_sigma(smooth, np.ones(shape, dtype=bool)) < 1e-3


def test_differences_look_only_inside_the_mask() -> None:
    array = np.random.default_rng(0).normal(size=(50, 50, 50)).astype(np.float32)
    array[25:] *= 100
    mask = np.zeros(array.shape, dtype=bool)
    mask[:25] = True
    assert difference_sigma(array, mask) == pytest.approx(1.0, rel=0.05)


def test_folds_as_sharp_as_noise_do_not_raise_the_level_where_the_white_matter_is_known() -> None:
    """Scans of 3 mm with little noise."""
    rng = np.random.default_rng(0)
    mask = np.ones((40, 40, 40), dtype=bool)
    white = np.zeros_like(mask)
    white[4:20, 4:36, 4:36] = True
    folds = ndimage.gaussian_filter(rng.normal(size=mask.shape), 0.8) > 0
    array = np.where(white, 1.0, 0.5 + 0.5 * folds) + 0.02 * rng.normal(size=mask.shape)
    for calm in (None, white & (rng.random(mask.shape) < 0.3), np.zeros_like(mask)):  # unknown, too little, none
        assert estimate_sigma(array, mask, calm)[0] > 0.06
    assert estimate_sigma(array, mask, white) == (pytest.approx(0.02, rel=0.05), "difference")
    mask[:, :, :8] = False  # what is called white matter outside of the head does not count
    array[:, :, :8] = 50 * rng.normal(size=(40, 40, 8))
    assert estimate_sigma(array, mask, white)[0] == pytest.approx(0.02, rel=0.05)


@pytest.mark.parametrize("snr", [8, 20])
@pytest.mark.parametrize("widths", [(1.2, 1.2, 1.2), (1.6, 1.6, 1.6), (2.2, 2.2, 2.2), (2.5, 2.5, 0.0)])
def test_the_level_of_filtered_noise_is_found_in_white_matter(widths: tuple[float, ...], snr: float) -> None:
    """After three axes of 2.2 voxels each, differences of neighbours hold a thirtieth of it."""
    brain, _, mask = folded_head()
    noise = filter_noise(torch.randn(brain.shape, generator=generator(), dtype=torch.float64), widths).numpy()
    array, white = (brain + noise / snr) * mask, mask & (brain > 0.99)
    assert estimate_sigma(array, mask, white) == (pytest.approx(1 / snr, rel=0.15), "difference")
    for found, width in zip(noise_widths(array, mask, white), widths, strict=True):
        assert found == pytest.approx(width, rel=0.2) if width else found == 0


def test_too_little_white_matter_leaves_the_whole_head() -> None:
    brain, _, mask = folded_head()
    array = noisy(brain, 0.05) * mask
    assert difference_sigma(array, mask, np.zeros_like(mask)) == difference_sigma(array, mask)


def test_an_image_without_noise_has_a_small_level_above_zero() -> None:
    brain, _, mask = folded_head()
    blocks = np.kron(np.arange(1, 9).reshape(2, 2, 2), np.ones((12, 12, 12)))
    assert 0 < estimate_sigma(brain * mask, mask)[0] < 0.03
    assert estimate_sigma(blocks, np.ones(blocks.shape, dtype=bool)) == (pytest.approx(4.5e-3), "difference")
