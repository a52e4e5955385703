"""Simulated pairs drawn from training heads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from LowFieldEnhanceLib.physics.acquisition import Acquisition
from LowFieldEnhanceLib.segmentation.labels import from_channels, label_table, mirrored_channels, to_channels
from LowFieldEnhanceLib.training.data import Head
from LowFieldEnhanceLib.training.degradation import DegradationRange
from LowFieldEnhanceLib.training.pairs import PairSampler, _crop

SIZE = 48
TRIVIAL = DegradationRange(
    in_plane=(1, 1), slices=(1, 1), isotropic=(1, 1), width_factor=(1, 1), snr=(1e6, 1e6), bias=0, contrast=0, gain=0,
    common_share=0, misjudged=(0, 0), unknown=0, filtered_share=0,
    most_grown=0,
)  # fmt: skip


def smooth_head(labelled: bool = True, contrasts: tuple[bool, bool, bool] = (True, False, True)) -> Head:
    """A ball of slowly varying intensity; left and right labels; absent contrasts are -1."""
    grids = np.meshgrid(*(np.linspace(-1, 1, SIZE),) * 3, indexing="ij")
    mask = sum(g**2 for g in grids) < 0.9
    wave = 0.5 + 0.2 * np.sin(2 * grids[0]) * np.cos(1.5 * grids[1]) + 0.15 * grids[2]
    images = np.full((3, SIZE, SIZE, SIZE), -1.0)
    for channel, present in enumerate(contrasts):
        if present:
            images[channel] = np.where(mask, 2 * wave * (1 - 0.2 * channel) - 1, -1)
    ids = np.where(grids[0] < 0, 17, 53) * mask
    ids[mask & (grids[2] > 0.5)] = np.where(grids[0] < 0, 2, 41)[mask & (grids[2] > 0.5)]
    labels = torch.from_numpy(to_channels(ids)) if labelled else None
    present = torch.tensor(contrasts)
    return Head("phantom", torch.from_numpy(images).half(), present, torch.from_numpy(mask), labels)


def test_a_pair_has_the_patch_size_the_model_range_and_absent_contrasts_at_minus_one() -> None:
    sampler = PairSampler([smooth_head()], patch=24, seed=1)
    for _ in range(6):
        low, high, present, _ = sampler.pair()
        assert low.shape == high.shape == (3, 24, 24, 24)
        assert low.dtype == high.dtype == torch.float32
        assert torch.isfinite(low).all()
        assert float(low.min()) >= -1 and float(low.max()) <= 1.5
        assert present.tolist() == [True, False, True]
        assert (low[1] == -1).all() and (high[1] == -1).all()
        assert float((low[0] - high[0]).abs().max()) > 0


def test_a_seed_repeats_its_pairs_and_another_does_not() -> None:
    def draw(seed: int) -> torch.Tensor:
        sampler = PairSampler([smooth_head()], patch=16, seed=seed)
        return torch.stack([torch.stack(sampler.pair()[:2]) for _ in range(3)])

    torch.manual_seed(0)
    first = draw(5)
    torch.manual_seed(1)  # the global generator must not matter
    assert torch.equal(draw(5), first)
    assert not torch.equal(draw(6), first)


def test_the_scans_mask_reaches_up_to_so_many_voxels_over_the_heads_and_shows_what_the_scan_smeared_there() -> None:
    thick = replace(TRIVIAL, isotropic=(3, 3), isotropic_share=1, most_grown=2)
    sampler = PairSampler([smooth_head()], patch=40, ranges=thick, seed=0)
    reached, smeared = set(), []
    for _ in range(12):
        low, high, _, _ = sampler.pair()
        brain, seen = (high[0] > -1).numpy(), (low[0] > -1).numpy()
        grown = next(
            n for n in range(4) if not (seen & ~(ndimage.binary_dilation(brain, iterations=n) if n else brain)).any()
        )
        reached.add(grown)
        if grown:
            smeared.append(float((low[0][torch.from_numpy(seen & ~brain)] + 1).mean()))
    assert reached == {0, 1, 2}
    assert min(smeared) > 0.02


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_filtered_scan_is_blurred_and_its_noise_is_alike_in_neighbours(share: float) -> None:
    ranges = replace(TRIVIAL, filtered_share=share, filter_width=(2.0, 2.0))

    def drawn(snr: float) -> tuple[torch.Tensor, torch.Tensor]:
        return PairSampler([smooth_head()], patch=30, ranges=replace(ranges, snr=(snr, snr)), seed=0).pair()[:2]

    quiet, high = drawn(1e6)
    noise = (drawn(20.0)[0] - quiet)[0]
    inside = torch.from_numpy(ndimage.binary_erosion((high[0] > -1).numpy(), np.ones((7, 7, 7))))
    pairs = inside & inside.roll(1, 0)
    alike = float((noise * noise.roll(1, 0))[pairs].mean() / noise[inside].square().mean())
    assert alike == pytest.approx(0.7 if share else 0.0, abs=0.1)  # exp(-1 / 4 s^2), s = 2 / 2.355
    # the level is that after the filter; interpolation takes some of white noise
    assert float(noise[inside].std()) == pytest.approx(2 * 0.8 / 20, rel=0.1 if share else 0.3)
    edge = torch.from_numpy((high[0] > -1).numpy()) ^ inside
    assert (float((quiet - high)[0][edge].abs().mean()) > 0.05) == bool(share)


@pytest.mark.parametrize("labelled", [True, False])
def test_a_degradation_without_strength_gives_the_image_back(labelled: bool) -> None:
    sampler = PairSampler([smooth_head(labelled)], patch=30, ranges=TRIVIAL, seed=0)
    for _ in range(4):
        low, high, _, _ = sampler.pair()
        # a voxel's box and the interpolation back reach three voxels to each side
        inside = torch.from_numpy(ndimage.binary_erosion((high[0] > -1).numpy(), np.ones((7, 7, 7))))
        assert inside.sum() > 500
        for channel in (0, 2):
            assert float((low[channel] - high[channel])[inside].abs().max()) < 0.03
            assert (low[channel][high[channel] == -1] == -1).all()


def test_thicker_slices_and_more_noise_move_the_pair_apart() -> None:
    def distance(**changes) -> float:
        sampler = PairSampler([smooth_head()], patch=20, ranges=replace(TRIVIAL, **changes), seed=0)
        return float(
            torch.stack([(a[0] - b[0]).abs().mean() for a, b, _, _ in (sampler.pair() for _ in range(4))]).mean()
        )

    clear, thick, noisy = distance(), distance(slices=(6, 6)), distance(snr=(5, 5))
    assert thick > 1.5 * clear
    assert noisy > 3 * clear


def test_the_added_noise_has_the_standard_deviation_of_the_snr() -> None:
    """Without resampling (spacing 1, samples on voxels) noise is 0.8 / SNR of the scale, twice that in model range."""
    sampler = PairSampler([smooth_head()], patch=24, ranges=replace(TRIVIAL, snr=(20, 20)))
    noise = []

    class OnVoxels:
        """The sampler's generator, with every sample placed on a voxel and Gaussian noise."""

        def __init__(self, rng: np.random.Generator) -> None:
            self.rng = rng

        def __getattr__(self, name: str):
            return getattr(self.rng, name)

        def uniform(self, first, last, *size):
            return 0.0 if first == 0 else self.rng.uniform(first, last, *size)

        def random(self) -> float:
            return 0.9

    sampler.rng = OnVoxels(sampler.rng)
    for _ in range(3):
        low, high, _, _ = sampler.pair()
        noise.append((low - high)[0, 2:-2, 2:-2, 2:-2][high[0, 2:-2, 2:-2, 2:-2] > -0.8])
    assert float(torch.cat(noise).std()) == pytest.approx(2 * 0.8 / 20, rel=0.05)


def test_a_mirrored_patch_has_its_left_labels_still_on_the_left() -> None:
    sampler = PairSampler([smooth_head()], patch=40, seed=3)
    left_ids = [label.id for label in label_table() if label.side == "left"]
    mirrored = set()
    for _ in range(12):
        images, _, mask, labels = sampler.high()
        ids = from_channels(labels.numpy())
        assert ((ids > 0) <= mask.numpy()).all()
        places = np.argwhere(np.isin(ids, left_ids))[:, 0], np.argwhere((ids > 0) & ~np.isin(ids, left_ids))[:, 0]
        if all(p.size for p in places):
            assert places[0].max() < places[1].min()
            # sin(2 x) grows from left to right, so a mirrored image falls
            middle = places[0].max()
            near, far = (float(images[0, n][mask[n]].mean()) for n in (middle - 3, middle + 4))
            mirrored.add(near > far)
    assert mirrored == {True, False}


def test_exchanging_sides_changes_no_tissue_so_the_contrast_model_is_the_same_for_both() -> None:
    tissue = ["background", *(label.tissue for label in label_table())]
    assert tissue == [tissue[n] for n in mirrored_channels()]


def test_patches_are_centred_on_the_brain() -> None:
    sampler = PairSampler([smooth_head()], patch=9, seed=0)
    for _ in range(10):
        assert sampler.high()[2][4, 4, 4]


@pytest.mark.parametrize("start", [(0, 0, 0), (-3, 2, 5), (4, -9, 3), (20, 0, 0), (-20, -20, -20)])
def test_a_crop_that_reaches_outside_is_filled(start: tuple[int, int, int]) -> None:
    volume = torch.arange(2 * 7 * 8 * 9, dtype=torch.float32).reshape(2, 7, 8, 9)
    padded = torch.nn.functional.pad(volume, (30,) * 6, value=-5.0)
    i, j, k = (s + 30 for s in start)
    assert torch.equal(_crop(volume, start, 6, -5.0), padded[:, i : i + 6, j : j + 6, k : k + 6])


# heads from files


def test_a_network_is_told_the_steps_and_the_noise_of_each_scan() -> None:
    spacing = (1.5, 1.5, 5.0)
    exact = replace(TRIVIAL, common_share=1.0, common_in_plane=(1.5, 1.5), common_slices=(5, 5), axial_share=1.0)
    sampler = PairSampler([smooth_head()], patch=16, ranges=replace(exact, snr=(20, 20)), seed=0)
    told = sampler.pair()[3]
    expected = torch.tensor(Acquisition(spacing, 0.8 / 20).coordinates())
    torch.testing.assert_close(told[0], expected)
    assert torch.isnan(told[1]).all()  # the phantom has no T2w
    torch.testing.assert_close(told[2], expected)


def test_it_is_told_nothing_of_some_scans_and_something_a_little_wrong_of_the_others() -> None:
    sampler = PairSampler([smooth_head()], patch=16, ranges=replace(TRIVIAL, snr=(20, 20), unknown=0.5), seed=0)
    told = torch.stack([sampler.pair()[3][0] for _ in range(40)])
    silent = torch.isnan(told).all(1)
    assert (torch.isnan(told).any(1) == silent).all()
    assert 8 < int(silent.sum()) < 32
    wrong = PairSampler([smooth_head()], patch=16, ranges=replace(TRIVIAL, snr=(20, 20), misjudged=(0, 0.2)), seed=0)
    noise = torch.stack([wrong.pair()[3][0, 3] for _ in range(60)]) * np.log(10)  # natural logarithm of sigma
    assert float(noise.mean()) == pytest.approx(np.log(4), abs=0.1)
    assert float(noise.std()) == pytest.approx(0.2, rel=0.3)


def test_half_of_the_scans_are_drawn_around_the_common_protocol_and_most_of_those_are_axial() -> None:
    sampler = PairSampler([smooth_head()], patch=16, seed=0)
    spacings = np.array([sampler._spacing() for _ in range(600)])
    thick = np.sort(spacings, axis=1)
    common = (thick[:, 2] >= 4) & (thick[:, 1] >= 1.4) & (thick[:, 1] <= 1.8)
    # of the rest (half), 0.8 * 0.5 have slices of 4 mm or more, and of these 0.4 fall between 1.4 and 1.8 mm in plane
    assert common.mean() == pytest.approx(0.5 + 0.5 * 0.8 * 0.5 * 0.4, abs=0.06)
    axial = spacings[common].argmax(1) == 2
    assert axial.mean() == pytest.approx((0.5 * 0.75 + 0.08 / 3) / 0.58, abs=0.07)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_contrasts_of_a_session_lie_on_one_grid_with_a_noise_of_their_own(share: float) -> None:
    several = DegradationRange(bias=0, contrast=0, gain=0, misjudged=(0, 0), unknown=0, most_grown=0)
    quiet = replace(several, snr=(1e6, 1e6), filtered_share=0.5, session_share=share)
    head = smooth_head(contrasts=(True, False, True))
    head = replace(head, images=torch.where(head.present[:, None, None, None], head.images[:1], -1.0))  # T1w twice
    sampler = PairSampler([head], patch=24, ranges=quiet, seed=0)
    for _ in range(4):
        low, _, _, told = sampler.pair()
        assert torch.allclose(low[0], low[2], atol=1e-4) == bool(share)
        assert torch.equal(told[0, :3], told[2, :3]) == bool(share)
    noisy = PairSampler([head], patch=24, ranges=replace(quiet, snr=(8, 8), filtered_share=0.0), seed=0)
    low = noisy.pair()[0]
    assert float((low[0] - low[2]).abs().mean()) > 0.02
