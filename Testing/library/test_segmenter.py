"""The segmenter with a network whose answer is known: grids, sides, scale, confidence."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from LowFieldEnhanceLib.errors import BadInput, Cancelled, MissingModel, OutOfMemory
from LowFieldEnhanceLib.events import Events
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.preprocess.grid import Grid, resample
from LowFieldEnhanceLib.segmentation.labels import (
    label_by_id,
    label_table,
    mirrored_channels,
    to_channels,
)
from LowFieldEnhanceLib.segmentation.segmenter import Segmenter, _confidence, _head_box

CHANNELS = 1 + len(label_table())


class Threshold(nn.Module):
    """Bright voxels are white matter of the side of the bright region they are on (first half: left); logits +-4.

    The coarse scores say brain wherever anything is bright, but nothing of the labels: those are the fine level's.
    """

    multiple, spacing = 8, 1.0

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[tuple[int, ...]] = []

    def coarse_pass(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.shown = x
        scores = torch.zeros(1, CHANNELS, *(n // 2 for n in x.shape[2:]))
        scores[:, 1] = 2 * (nn.functional.max_pool3d(x, 2)[:, 0] > 0) - 1.0
        hits = torch.nonzero((x[0, 0] > 0).flatten(1).any(1)).flatten()
        middle = (hits.min() + hits.max() + 1) / 2
        place = 4 * torch.arange(x.shape[2] // 4) - middle  # the coarse features know how far right a voxel is
        return place[None, None, :, None, None].expand(1, 1, *(n // 4 for n in x.shape[2:])), scores

    def fine_pass(self, x: Tensor, features: Tensor, scores: Tensor) -> Tensor:
        assert features.shape[2:] == tuple(n // 4 for n in x.shape[2:])
        assert scores.shape[2:] == tuple(n // 2 for n in x.shape[2:])
        self.parts.append(tuple(x.shape[2:]))
        left, right = (int(to_channels(np.array([i]))[0]) for i in (2, 41))
        place = nn.functional.interpolate(features, scale_factor=4, mode="nearest")[:, 0]
        side = (place + (torch.arange(x.shape[2]) % 4)[None, :, None, None] >= 0).float()
        logits = torch.zeros(1, CHANNELS, *x.shape[2:])
        bright = (x[:, 0] > 0).float()
        logits[:, 0] = 4 * (1 - bright)
        logits[:, left] = 4 * bright * (1 - side)
        logits[:, right] = 4 * bright * side
        return logits


@pytest.fixture
def segmenter(tiny_models) -> Segmenter:
    segmenter = Segmenter()
    segmenter.network = Threshold()
    return segmenter


def block(shape: tuple[int, int, int] = (48, 32, 32)) -> Image:
    """A bright block on a 1 mm grid, its middle at R = 0; labels are known by the threshold."""
    array = np.zeros(shape, dtype=np.float32)
    array[8:-8, 8:-8, 8:-8] = 900
    affine = np.eye(4)
    affine[:3, 3] = -(np.array(shape) - 1) / 2
    return Image(array, affine, "T1w")


def test_left_and_right_come_out_on_their_world_side(segmenter: Segmenter) -> None:
    labels = segmenter.segment(block())
    r = np.arange(48) - 23.5
    bright = block().array > 0
    expected = np.where(bright, np.where(r[:, None, None] < 0, 2, 41), 0)
    np.testing.assert_array_equal(labels.array, expected)
    np.testing.assert_array_equal(labels.affine, block().affine)


@pytest.mark.parametrize(
    ("order", "signs"), [((0, 1, 2), (-1, 1, 1)), ((2, 0, 1), (1, -1, -1)), ((1, 2, 0), (-1, -1, 1))]
)
def test_a_scan_in_another_orientation_has_the_same_labels_at_the_same_places(
    segmenter: Segmenter, order: tuple[int, ...], signs: tuple[int, ...]
) -> None:
    straight = block()
    affine, array = np.eye(4), straight.array.transpose(order)
    for axis, (source, sign) in enumerate(zip(order, signs, strict=True)):
        affine[:3, axis] = straight.affine[:3, source] * sign
        affine[:3, 3] += 0 if sign > 0 else -affine[:3, axis] * (array.shape[axis] - 1)
        array = array if sign > 0 else np.flip(array, axis)
    affine[:3, 3] += straight.affine[:3, 3]
    turned = Image(np.ascontiguousarray(array), affine)
    labels = segmenter.segment(turned)
    np.testing.assert_array_equal(labels.affine, affine)
    back = resample(labels.as_image(), Grid.of(straight), "nearest").array
    np.testing.assert_array_equal(back, segmenter.segment(straight).array)


def test_a_thick_slice_scan_is_labelled_on_its_own_grid(segmenter: Segmenter) -> None:
    affine = np.diag([2.0, 2.0, 4.0, 1.0])
    affine[:3, 3] = (-23, -15, -14)
    scan = resample(block(), Grid((24, 16, 8), affine), "linear")
    labels = segmenter.segment(scan)
    assert labels.array.shape == scan.shape
    np.testing.assert_array_equal(labels.affine, scan.affine)
    r = np.arange(24) * 2 - 23
    assert set(np.unique(labels.array[r < 0])) == {0, 2}
    assert set(np.unique(labels.array[r > 0])) == {0, 41}
    assert 0.8 < (labels.array > 0).sum() * 16 / (32 * 16 * 16) < 1.3


def test_confidence_is_the_posterior_of_the_winning_label(segmenter: Segmenter) -> None:
    labels = segmenter.segment(block())
    posterior = math.exp(4) / (math.exp(4) + CHANNELS - 1)
    assert set(labels.confidence) == {2, 41}
    for value in labels.confidence.values():
        assert value == pytest.approx(posterior, rel=1e-3)


def test_the_fine_level_works_slab_by_slab_around_the_brain_and_halves_its_slabs_when_memory_runs_out(
    segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    tall = block((48, 32, 240))
    expected = segmenter.segment(tall).array
    assert len(segmenter.network.parts) == 4  # 224 bright planes and a margin of 8 on both sides, 64 at once
    assert max(part[2] for part in segmenter.network.parts) == 64 + 2 * 12
    whole = segmenter.network.fine_pass

    def starved(x: Tensor, features: Tensor, scores: Tensor) -> Tensor:
        if x.shape[4] > 50:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(x, features, scores)

    monkeypatch.setattr(segmenter.network, "fine_pass", starved)
    np.testing.assert_array_equal(segmenter.segment(tall).array, expected)
    for part in ("fine_pass", "coarse_pass"):
        monkeypatch.setattr(segmenter.network, part, lambda *_: (_ for _ in ()).throw(MemoryError()))
        with pytest.raises(OutOfMemory, match="memory ran out in the segmentation"):
            segmenter.segment(tall)


def test_an_image_without_brain_has_no_labels(segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    features, scores = torch.zeros(1, 1, 12, 8, 8), torch.zeros(1, CHANNELS, 24, 16, 16)
    monkeypatch.setattr(segmenter.network, "coarse_pass", lambda x: (features, scores))
    labels = segmenter.segment(block())
    assert not labels.array.any() and labels.confidence == {}


def test_confidence_is_the_mean_over_the_voxels_of_the_label() -> None:
    channels = np.array([0, 1, 1, 2])
    found = _confidence(channels, np.array([1.0, 0.5, 0.7, 0.9]))
    first, second = (label.id for label in label_table()[:2])
    assert found == {first: pytest.approx(0.6), second: pytest.approx(0.9)}


def test_the_network_sees_the_brightest_percent_at_plus_one_whatever_the_unit(segmenter: Segmenter) -> None:
    image = block()
    segmenter.segment(image)
    first = segmenter.network.shown
    segmenter.segment(image.with_array(image.array / 250))
    torch.testing.assert_close(segmenter.network.shown, first)
    assert float(first.max()) == pytest.approx(1.0, abs=0.01)
    assert float(first.min()) == -1.0


class BesideScalp(Threshold):
    """Takes what is neither air nor as bright as the scale's top for brain."""

    def coarse_pass(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features, scores = super().coarse_pass(x)
        seen = nn.functional.max_pool3d(x, 2)[:, 0]
        scores[:, 1] = 2.0 * ((seen > -0.9) & (seen < 0.9)) - 1
        return features, scores


@pytest.mark.parametrize(("fat", "looks"), [(1.0, 1), (1.2, 1), (3.0, 2)])
def test_a_brain_beside_bright_fat_is_scaled_by_its_own_intensities(
    segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch, fat: float, looks: int
) -> None:
    segmenter.network = BesideScalp()
    shown = []
    coarse = segmenter.network.coarse_pass
    monkeypatch.setattr(segmenter.network, "coarse_pass", lambda x: shown.append(x) or coarse(x))
    array = np.zeros((48, 32, 32), dtype=np.float32)
    array[8:40, 8:24, 8:24] = 100.0
    array[8:40, 8:24, 4:6] = 100.0 * fat
    segmenter.label(array, Events())
    assert len(shown) == looks
    brain = (shown[-1][0, 0, 24, 16, 16] + 1) / 2
    assert float(brain) == pytest.approx(1.0 if looks == 2 else 1 / fat, abs=0.01)
    assert float(shown[-1].max()) <= 2.0  # what is brighter is cut


def test_dark_surroundings_are_left_out_of_the_box() -> None:
    array = np.zeros((60, 60, 60), dtype=np.float32)
    array[20:40, 25:30, 10:50] = 100
    box = _head_box(array, margin=3)
    for place, (low, high) in zip(box, ((20, 40), (25, 30), (10, 50)), strict=True):
        assert low - 8 <= place.start <= low
        assert high <= place.stop <= high + 8
    assert _head_box(np.zeros((9, 9, 9), dtype=np.float32)) == (slice(0, 9),) * 3


def test_an_image_without_intensities_is_refused(segmenter: Segmenter) -> None:
    with pytest.raises(BadInput, match="no intensities above 0"):
        segmenter.segment(block().with_array(np.zeros(block().shape, dtype=np.float32)))


def test_a_random_network_gives_known_labels_repeats_itself_and_can_be_cancelled(tiny_models) -> None:
    segmenter, head = Segmenter(), block()
    labels = segmenter.segment(head)
    assert labels.array.shape == head.shape
    assert set(np.unique(labels.array)) <= {0, *label_by_id()}
    assert all(0 < value <= 1 for value in labels.confidence.values())
    np.testing.assert_array_equal(segmenter.segment(head).array, labels.array)
    assert segmenter.provenance == {"name": "segmenter", "sha256": segmenter.info.sha256}
    events = Events()
    events.cancel()
    with pytest.raises(Cancelled):
        segmenter.segment(head, events)


@pytest.mark.parametrize("width", [48, 45, 46])  # the network's multiple, and widths that are padded
def test_looking_at_the_mirror_image_too_makes_left_and_right_alike(tiny_models, width: int) -> None:
    rng = np.random.default_rng(0)
    array = (1 + rng.random((width, 32, 32))).astype(np.float32)
    array[:, 6:-6, 6:-6] += 4 * rng.random((width, 20, 20)).astype(np.float32)
    head = Image(array, block().affine, "T1w")
    opposite = head.with_array(np.ascontiguousarray(array[::-1]))

    def both(segmenter: Segmenter) -> tuple[np.ndarray, np.ndarray]:
        """Channels of the head, and those of the mirror image brought back."""
        found, other = (to_channels(segmenter.segment(image).array) for image in (head, opposite))
        return found, mirrored_channels()[other[::-1]]

    torch.manual_seed(0)
    once, twice = Segmenter(), Segmenter(mirrored=True)
    assert len(np.unique(both(once)[0])) > 3
    assert np.mean(np.not_equal(*both(once))) > 0.1
    assert np.mean(np.not_equal(*both(twice))) < 0.01  # what is left are ties, which the lower channel wins
    if width == 48:  # it is the mean of both looks, not another opinion; elsewhere the looks lie one voxel apart
        one, other = both(once)
        agreed = one == other
        assert np.mean(both(twice)[0][agreed] == one[agreed]) > 0.9
    sure, sure_of_opposite = twice.segment(head).confidence, twice.segment(opposite).confidence
    partner = {label.id: label.partner for label in label_table()}
    assert {partner[i]: value for i, value in sure.items()} == pytest.approx(sure_of_opposite, rel=0.05)


def test_without_its_weights_there_is_no_segmenter(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    from LowFieldEnhanceLib import weights

    monkeypatch.setattr(weights, "resource", lambda *_: tmp_path)
    monkeypatch.delenv("LOWFIELDENHANCE_MODELS", raising=False)
    with pytest.raises(MissingModel):
        Segmenter()


# the training loss
