"""Synthetic heads from label maps: labels stay with the anatomy, sides with their side, and a seed with its sample."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK
import torch
from scipy import ndimage
from scipy.spatial.transform import Rotation
from torch.nn import functional as F

from LowFieldEnhanceLib.segmentation.labels import from_channels, label_table, mirrored_channels, to_channels
from LowFieldEnhanceLib.training.data import Head
from LowFieldEnhanceLib.training.labelled_heads import (
    FIRST_EXTRA,
    IGNORE,
    LabelledHead,
    labelled_oasis,
    load_label_maps,
)
from LowFieldEnhanceLib.training.surroundings import REACH, padded
from LowFieldEnhanceLib.training.synthetic import (
    DARK_SHARE,
    DARKEST,
    FAT_SHARE,
    HeadGenerator,
    _nearest,
    _rotation,
)

SHAPE = (24, 28, 20)
MAP = (40, 44, 36)


def label_map(real: bool = False) -> LabelledHead:
    """Left half 2 and 17, right half 41 and 53, inside a shell of other tissue; a real one has unknown voxels."""
    grids = np.meshgrid(*(np.linspace(-1, 1, n) for n in MAP), indexing="ij")
    radius = np.sqrt(sum(g**2 for g in grids))
    left = grids[0] < 0
    ids = np.where(radius < 0.75, np.where(left, 2, 41), 0)
    ids[radius < 0.45] = np.where(left, 17, 53)[radius < 0.45]
    target = to_channels(ids)
    tissue = target.copy()
    tissue[(radius >= 0.75) & (radius < 0.9)] = FIRST_EXTRA
    image = None
    if real:
        target[(radius < 0.75) & (radius > 0.7)] = IGNORE
        image = torch.from_numpy(np.where(radius < 0.75, 0.3 + 0.5 * left, 0)).half()
    return LabelledHead(torch.from_numpy(target), torch.from_numpy(tissue), image)


def generator(seed: int = 0, **options) -> HeadGenerator:
    return HeadGenerator([label_map()], [label_map(real=True)], [SHAPE], seed=seed, **{"voxel": 1.0, **options})


class Still:
    """A generator of random numbers that always draws the least: nothing moves, blurs or is added."""

    def __init__(self, chance: float = 0.99) -> None:
        self.chance = chance

    def random(self) -> float:
        return self.chance

    def uniform(self, low: float, high: float, size: int | None = None):
        value = 0.0 if low < 0 < high else low
        return value if size is None else np.full(size, value)

    def integers(self, low: int, high: int | None = None) -> int:
        return 0 if high is None else low

    def standard_normal(self, size: int | None = None):
        return 0.0 if size is None else np.zeros(size)


def test_a_sample_has_the_network_range_and_known_labels() -> None:
    heads = generator()
    known = {*range(len(label_table()) + 1), IGNORE}
    for _ in range(8):
        image, target = heads.sample()
        assert image.shape == (1, *SHAPE)
        assert image.dtype == torch.float32
        assert target.shape == SHAPE
        assert target.dtype == torch.uint8
        assert torch.isfinite(image).all()
        assert float(image.min()) >= -1 and float(image.max()) <= 2
        assert set(target.unique().tolist()) <= known
        assert (target > 0).any()


def test_a_seed_repeats_its_samples_and_another_does_not() -> None:
    def draw(seed: int) -> torch.Tensor:
        heads = generator(seed)
        return torch.stack([heads.sample()[0] for _ in range(4)])

    torch.manual_seed(0)
    first = draw(2)
    torch.manual_seed(1)
    assert torch.equal(draw(2), first)
    assert not torch.equal(draw(3), first)


@pytest.mark.parametrize("real_share", [0.0, 1.0])
def test_left_labels_stay_on_the_left_however_often_a_head_is_mirrored(real_share: float) -> None:
    heads = generator(real_share=real_share)
    for _ in range(12):
        ids = from_channels(np.where((t := heads.sample()[1].numpy()) == IGNORE, 0, t))
        left, right = (np.argwhere(np.isin(ids, pair))[:, 0] for pair in ((2, 17), (41, 53)))
        if left.size > 50 and right.size > 50:
            assert left.mean() < right.mean()


def test_mirroring_exchanges_partners_and_leaves_ignored_voxels_ignored() -> None:
    target = torch.tensor([0, *range(1, len(label_table()) + 1), IGNORE], dtype=torch.uint8).reshape(-1, 1, 1)
    mirrored = generator()._mirrored(target)
    assert mirrored.dtype == torch.uint8
    np.testing.assert_array_equal(mirrored[:-1, 0, 0].numpy(), mirrored_channels())
    assert int(mirrored[-1]) == IGNORE
    assert torch.equal(generator()._mirrored(mirrored), target)


def test_a_grid_that_does_not_move_crops_labels_and_image_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    heads = generator()
    heads.rng = Still()
    monkeypatch.setattr(heads, "_elastic", lambda: torch.zeros(*SHAPE, 3))
    head = label_map()
    grid = heads._grid(head)
    coarse = np.argwhere(head.target.numpy()[::4, ::4, ::4]) * 4
    centre = (coarse.min(0) + coarse.max(0)) / 2 + [heads.rng.uniform(-1, 1)] * 3
    first = centre - (np.array(SHAPE) - 1) / 2
    places = np.stack(np.meshgrid(*(np.arange(n) + f for n, f in zip(SHAPE, first, strict=True)), indexing="ij"))
    ramp = torch.from_numpy(np.stack(np.meshgrid(*(np.arange(n) for n in MAP), indexing="ij"))).float()
    sampled = F.grid_sample(ramp[None], grid, align_corners=True)[0].numpy()
    inside = np.all((places >= 0) & (places <= np.array(MAP)[:, None, None, None] - 1), axis=0)
    np.testing.assert_allclose(sampled[:, inside], places[:, inside], atol=1e-3)
    nearest = ndimage.map_coordinates(head.target.numpy(), places, order=0, mode="constant")
    clear = np.all(np.abs(places - np.floor(places) - 0.5) > 1e-3, axis=0) & inside
    np.testing.assert_array_equal(_nearest([head.target], grid)[0].numpy()[clear], nearest[clear])


def test_nearest_labels_of_any_grid_are_those_of_grid_sample() -> None:
    heads = generator(3)
    head = label_map()
    grid = heads._grid(head)
    expected = F.grid_sample(head.target[None, None].float(), grid, mode="nearest", align_corners=True)[0, 0]
    agree = _nearest([head.target], grid)[0].float() == expected
    assert float(agree.float().mean()) > 0.999  # ties at half a voxel may fall either way


def test_left_and_right_of_a_structure_are_painted_alike_and_structures_differ() -> None:
    heads = generator(1)
    tissue = torch.zeros(32, 32, 32, dtype=torch.uint8)
    channels = to_channels(np.array([2, 41, 17, 53]))
    for n, channel in enumerate(channels):
        tissue[8 * n : 8 * n + 8] = int(channel)
    heads.shape = (32, 32, 32)
    differences = []
    for _ in range(6):
        heads._lesions = lambda image, tissue: image
        image = heads._paint(tissue)
        means = [float(image[8 * n : 8 * n + 8].mean()) for n in range(4)]
        tolerance = 5 * 0.08 / np.sqrt(8 * 32 * 32)
        assert means[0] == pytest.approx(means[1], abs=tolerance)
        assert means[2] == pytest.approx(means[3], abs=tolerance)
        differences.append(abs(means[0] - means[2]))
    assert max(differences) > 0.1


def test_lesions_stay_inside_the_brain() -> None:
    heads = generator(0)
    tissue = torch.zeros(SHAPE, dtype=torch.uint8)
    tissue[6:18, 6:22, 4:16] = 1
    tissue[0:3] = FIRST_EXTRA
    brain = (tissue > 0) & (tissue < FIRST_EXTRA)
    image = torch.full(SHAPE, 0.5)
    changed = [heads._lesions(image, tissue) for _ in range(10)]
    assert all(torch.equal(c[~brain], image[~brain]) for c in changed)
    assert any(not torch.equal(c, image) for c in changed)


def test_an_acquisition_without_strength_only_rescales() -> None:
    heads = generator()
    heads.rng = Still()
    i, j, k = (torch.linspace(0, 1, n) for n in SHAPE)
    image = 0.3 + 0.2 * torch.sin(3 * i)[:, None, None] + 0.1 * j[None, :, None] + 0.1 * k[None, None, :]
    acquired = heads._acquire(image)
    top = float(torch.quantile(image[::2, ::2, ::2].flatten(), 0.97))
    inner = (slice(2, -2),) * 3
    torch.testing.assert_close(acquired[inner], (image / top * 2 - 1)[inner], atol=0.01, rtol=0)


def test_some_samples_are_scaled_as_if_something_brighter_were_in_the_field_of_view() -> None:
    image = torch.rand(SHAPE, generator=torch.Generator().manual_seed(0))
    tops = []
    for seed in range(60):
        heads = generator(seed)
        heads.shape = SHAPE
        tops.append(float(torch.quantile((heads._acquire(image) + 1) / 2, 0.99)))
    dark = [top for top in tops if top < 0.8]
    assert 60 * DARK_SHARE - 14 < len(dark) < 60 * DARK_SHARE + 6  # a few of them are hardly darker
    assert min(tops) > 0.7 / DARKEST


def test_the_scalp_of_some_painted_heads_is_brighter_than_any_brain() -> None:
    tissue = torch.zeros(SHAPE, dtype=torch.uint8)
    for n in range(9):
        tissue[2 * n : 2 * n + 2] = FIRST_EXTRA + n
    brightest = []
    for seed in range(60):
        heads = generator(seed)
        heads.shape = SHAPE
        brightest.append(float(heads._paint(tissue).quantile(0.99)))
    assert 0.1 < np.mean(np.array(brightest) > 1.3) < FAT_SHARE


def test_rotations_are_proper_and_turn_about_the_three_axes_in_order() -> None:
    angles = np.array([0.2, -0.4, 0.7])
    np.testing.assert_allclose(_rotation(angles), Rotation.from_euler("xyz", angles).as_matrix(), atol=1e-12)


def test_brain_voxels_without_a_label_are_ignored_but_painted() -> None:
    mask = torch.zeros(8, 8, 8, dtype=torch.bool)
    mask[2:6] = True
    labels = torch.zeros(8, 8, 8, dtype=torch.uint8)
    labels[2:5] = 3
    images = torch.full((3, 8, 8, 8), -1.0).half()
    images[0, 2:6] = 0.5
    head, unlabelled = (Head("a", images, torch.ones(3, dtype=torch.bool), mask, value) for value in (labels, None))
    (result,) = labelled_oasis([head, unlabelled])
    line = (slice(REACH, REACH + 8), REACH, REACH)
    assert result.target[line].tolist() == [0, 0, 3, 3, 3, IGNORE, 0, 0]
    assert result.tissue[line].tolist() == [0, 0, 3, 3, 3, FIRST_EXTRA, 0, 0]
    assert float(result.image[REACH + 3, REACH, REACH]) == 0.75
    assert ((result.near == REACH) == padded(mask)).all()
    assert labels[5, 0, 0] == 0  # the head itself is left alone


def test_label_maps_are_read_with_tissues_outside_the_brain_as_classes_of_their_own(tmp_path: Path) -> None:
    array = np.zeros((6, 6, 6), dtype=np.uint16)
    array[1], array[2], array[3], array[4] = 2, 41, 502, 530
    (tmp_path / "label_maps").mkdir()
    volume = SimpleITK.GetImageFromArray(array.transpose(2, 1, 0).copy())
    volume.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))  # RAS
    SimpleITK.WriteImage(volume, str(tmp_path / "label_maps" / "a.nii.gz"))
    (head,) = load_label_maps(tmp_path)
    left, right = (int(to_channels(np.array([v]))[0]) for v in (2, 41))
    assert head.target[:, 0, 0].tolist() == [0, left, right, 0, 0, 0]
    assert head.tissue[:, 0, 0].tolist() == [0, left, right, FIRST_EXTRA, FIRST_EXTRA + 1, 0]
    assert head.image is None


def test_a_voxel_of_two_millimetres_spans_twice_the_distance() -> None:
    heads = generator(voxel=2.0)
    heads.rng = Still()
    step = (heads._grid(label_map())[0].diff(dim=0) * (torch.tensor(MAP).flip(0) - 1) / 2)[..., 2]
    fine = generator()
    fine.rng = Still()
    fine_step = (fine._grid(label_map())[0].diff(dim=0) * (torch.tensor(MAP).flip(0) - 1) / 2)[..., 2]
    assert float(step.mean()) == pytest.approx(2 * float(fine_step.mean()), rel=0.05)
