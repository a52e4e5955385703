"""The segmenter with a network whose answer is known: grids, sides, confidence; and its loss against brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from LowFieldEnhanceLib.errors import BadInput, Cancelled, MissingModel
from LowFieldEnhanceLib.events import Events
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.preprocess.grid import Grid, resample
from LowFieldEnhanceLib.segmentation.labels import from_channels, label_by_id, label_table, to_channels
from LowFieldEnhanceLib.segmentation.segmenter import Segmenter, _confidence, _head_box, _largest_part
from LowFieldEnhanceLib.training.segmenter import segmentation_loss

CHANNELS = 1 + len(label_table())


class Threshold(nn.Module):
    """Bright voxels are white matter of the side they are on (first half of the first axis: left); logits +-4."""

    multiple = 8

    def forward(self, x: Tensor) -> Tensor:
        self.shown = x
        left, right = (int(to_channels(np.array([i]))[0]) for i in (2, 41))
        logits = torch.zeros(x.shape[0], CHANNELS, *x.shape[2:])
        middle = x.shape[2] // 2
        bright = (x[:, 0] > 0).float()
        logits[:, 0] = 4 * (1 - bright)
        logits[:, left, :middle] = 4 * bright[:, :middle]
        logits[:, right, middle:] = 4 * bright[:, middle:]
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
    # posteriors are interpolated from 2 mm: the corners of a block are rounded, everything else is exact
    wrong = labels.array != expected
    assert not labels.array[~bright].any()
    assert wrong.sum() <= 64
    assert not wrong[9:-9, 9:-9, 9:-9].any()
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
    for value in labels.confidence.values():  # lower by the voxels at the border, where labels are mixed
        assert 0.8 * posterior < value < posterior


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


def test_dark_surroundings_are_left_out_of_the_box() -> None:
    array = np.zeros((60, 60, 60), dtype=np.float32)
    array[20:40, 25:30, 10:50] = 100
    box = _head_box(array, margin=3)
    for place, (low, high) in zip(box, ((20, 40), (25, 30), (10, 50)), strict=True):
        assert low - 8 <= place.start <= low
        assert high <= place.stop <= high + 8
    assert _head_box(np.zeros((9, 9, 9), dtype=np.float32)) == (slice(0, 9),) * 3


def test_only_the_largest_connected_brain_keeps_its_labels() -> None:
    channels = np.zeros((12, 12, 12), dtype=np.uint8)
    channels[1:7, 1:7, 1:7] = 3
    channels[3:5, 3:5, 3:5] = 5
    expected = channels.copy()
    channels[9:11, 9:11, 9:11] = 4
    np.testing.assert_array_equal(_largest_part(channels), expected)
    np.testing.assert_array_equal(_largest_part(expected), expected)


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


def test_without_its_weights_there_is_no_segmenter(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    from LowFieldEnhanceLib import weights

    monkeypatch.setattr(weights, "resource", lambda *_: tmp_path)
    monkeypatch.delenv("LOWFIELDENHANCE_MODELS", raising=False)
    with pytest.raises(MissingModel):
        Segmenter()


# the training loss


def brute_force_loss(logits: np.ndarray, target: np.ndarray) -> float:
    """Voxel by voxel: cross-entropy, and 1 - the mean over labels of (2 sum p g + 1) / (sum p + sum g + 1)."""
    batch, channels = logits.shape[:2]
    entropy: list[float] = []
    overlap, soft, size = np.zeros(channels), np.zeros(channels), np.zeros(channels)
    for b in range(batch):
        for place in np.ndindex(*target.shape[1:]):
            label = target[(b, *place)]
            if label == 255:
                continue
            values = np.exp(logits[(b, slice(None), *place)])
            probability = values / values.sum()
            entropy.append(-math.log(probability[label]))
            soft += probability
            overlap[label] += probability[label]
            size[label] += 1
    dice = [(2 * overlap[c] + 1) / (soft[c] + size[c] + 1) for c in range(1, channels) if size[c] > 20]
    return float(np.mean(entropy) + (1 - np.mean(dice) if dice else 0))


def loss_case(labels: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    generator = np.random.default_rng(0)
    target = generator.choice(labels, (2, 5, 4, 6))
    target[0, :, 0] = 1 if 1 in labels else labels[0]
    return torch.from_numpy(generator.normal(size=(2, 5, 5, 4, 6))).float(), torch.from_numpy(target)


@pytest.mark.parametrize("labels", [(0, 1, 2, 3), (0, 1, 2, 255), (0, 255), (1, 2, 255)])
def test_the_loss_is_cross_entropy_and_soft_dice_of_the_labels_that_occur(labels: tuple[int, ...]) -> None:
    logits, target = loss_case(labels)
    found = float(segmentation_loss(logits, target))
    assert found == pytest.approx(brute_force_loss(logits.numpy(), target.numpy()), rel=1e-4)


def test_a_label_with_a_handful_of_voxels_has_no_dice() -> None:
    logits, target = loss_case((0, 1))
    target[0, 0, 0, :3] = 4
    found = float(segmentation_loss(logits, target))
    assert found == pytest.approx(brute_force_loss(logits.numpy(), target.numpy()), rel=1e-4)


def test_ignored_voxels_have_no_gradient_and_a_perfect_answer_has_no_loss() -> None:
    logits, target = loss_case((0, 1, 2, 255))
    logits.requires_grad_()
    segmentation_loss(logits, target).backward()
    ignored = (target == 255)[:, None].expand_as(logits)
    assert not logits.grad[ignored].any()
    assert logits.grad[~ignored].abs().min() > 0
    perfect = 50 * nn.functional.one_hot(target.clamp_max(4), 5).permute(0, 4, 1, 2, 3).float()
    assert float(segmentation_loss(perfect, target)) < 1e-3


def test_the_recipe_has_a_channel_for_every_label() -> None:
    from LowFieldEnhanceLib.training.segmenter import ARCHITECTURE

    assert ARCHITECTURE["out_channels"] == CHANNELS
    assert from_channels(np.array([CHANNELS - 1]))[0] == label_table()[-1].id
