"""Slices of degraded heads: what is low, what is high, and where they come from."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from LowFieldEnhanceLib.diffusion.denoiser import slice_class
from LowFieldEnhanceLib.methods.slices import neighbour_stack, told_along
from LowFieldEnhanceLib.training.data import Head
from LowFieldEnhanceLib.training.degradation import DegradationRange
from LowFieldEnhanceLib.training.slice_pairs import SlicePairSampler

EDGE = 24
PLAIN = DegradationRange(
    filtered_share=0, most_grown=0,
    in_plane=(1.0, 1.0), slices=(3.0, 3.0), isotropic_share=0.0, common_share=0.0, snr=(1e5, 1e5),
    bias=0.0, contrast=0.0, gain=0.0, misjudged=(0.0, 0.0), unknown=0.0,
)  # fmt: skip


def head(name: str = "oasis/1", channel: int = 0) -> Head:
    """A head whose intensity tells the place of every voxel: i / 100 + j / 1e4 + k / 1e6, as far as float16 goes."""
    images = torch.full((3, 40, 40, 40), -1.0)
    ramp = torch.arange(40) / 40
    images[channel] = ramp[:, None, None] * 0.9 + ramp[None, :, None] * 0.09 + 0.0 * ramp[None, None, :] - 0.5
    present = torch.arange(3) == channel
    return Head(name, images.half(), present, torch.ones(40, 40, 40, dtype=torch.bool), None)


def test_a_batch_has_the_shapes_that_are_announced() -> None:
    pairs = SlicePairSampler([head()], EDGE, neighbours=1, pool=2).batch(5)
    assert pairs.low.shape == (5, 3, 1, EDGE, EDGE)
    assert pairs.high.shape == pairs.bias.shape == (5, 1, 1, EDGE, EDGE)
    assert pairs.told.shape == (5, 4)
    assert {t.shape for t in (pairs.kind, pairs.axis, pairs.head, pairs.position)} == {(5,)}
    assert pairs.low.min() >= -1.0 and pairs.low.max() <= 1.5


def test_what_was_drawn_from_is_told() -> None:
    assert SlicePairSampler([head(), head("openms/1", 2)], EDGE, pool=1, ranges=PLAIN).valid_range() == {
        "contrasts": ["T1w", "FLAIR"],
        "spacing_mm": [1.0, 3.0],
        "snr": [1e5, 1e5],
    }


def test_the_class_is_that_of_contrast_and_axis() -> None:
    pairs = SlicePairSampler([head(channel=1)], EDGE, pool=1).batch(12)
    assert pairs.kind.tolist() == [slice_class("T2w", int(axis)) for axis in pairs.axis]
    assert len(set(pairs.axis.tolist())) > 1


def test_of_tumour_heads_only_axial_slices_are_drawn() -> None:
    pairs = SlicePairSampler([head("brats/1")], EDGE, pool=1).batch(8)
    assert set(pairs.axis.tolist()) == {2}


def test_the_position_is_that_of_the_slice_in_the_head_even_if_mirrored() -> None:
    sampler = SlicePairSampler([head()], EDGE, neighbours=0, pool=1, ranges=PLAIN, seed=3)
    seen = set()
    for _ in range(6):
        pairs = sampler.batch(10)
        seen.add(sampler.pool[0].place.mirrored)
        for axis, high, position in zip(pairs.axis, pairs.high, pairs.position, strict=True):
            inside = high[high > -1]
            if axis == 0:  # the intensity rises by 0.9 over 40 slices, by 0.09 at most within one
                found = float(inside.min() + 0.5) / 0.9 * 40
                assert found - 4.1 < float(position) < found + 0.1
    assert seen == {True, False}


def test_low_is_high_blurred_along_the_thick_axis_alone() -> None:
    torch.manual_seed(0)
    noise = Head("oasis/1", (torch.rand(3, 40, 40, 40) - 0.5).half(), torch.tensor([True, False, False]),
                 torch.ones(40, 40, 40, dtype=torch.bool), None)  # fmt: skip
    sampler = SlicePairSampler([noise], EDGE, neighbours=0, pool=1, ranges=PLAIN, seed=1)
    for _ in range(6):
        pairs = sampler.batch(6)
        steps = torch.exp(pairs.told[:, :3] * math.log(6.0))
        inside = (pairs.high > -1).all(-1).all(-1)[:, 0, 0]
        for low, step in zip(pairs.low[inside], steps[inside], strict=True):
            change = [float(low.diff(dim=d).std()) for d in (-2, -1)]  # from pixel to pixel
            thick = int(step.argmax())
            assert float(step[thick]) == pytest.approx(3.0, rel=1e-3)
            if thick > 0:
                assert change[thick - 1] < 0.75 * change[2 - thick]


def test_the_same_seed_draws_the_same_batch() -> None:
    one, two = (SlicePairSampler([head()], EDGE, seed=4).batch(4) for _ in range(2))
    for name in ("low", "high", "bias", "told", "position"):
        assert torch.equal(torch.nan_to_num(getattr(one, name)), torch.nan_to_num(getattr(two, name)))


def test_a_fresh_cube_comes_every_second_batch() -> None:
    sampler = SlicePairSampler([head()], EDGE, pool=2, hold=2)
    pools = []
    for _ in range(4):
        sampler.batch(1)
        pools.append(tuple(map(id, sampler.pool)))
    assert pools[0] == pools[1] != pools[2] == pools[3]


def test_bias_multiplies_low_and_high() -> None:
    flat = Head("oasis/1", torch.full((3, 40, 40, 40), 0.2).half(), torch.tensor([True, False, False]),
                torch.ones(40, 40, 40, dtype=torch.bool), None)  # fmt: skip
    ranges = DegradationRange(**{**PLAIN.__dict__, "bias": 0.2, "slices": (1.0, 1.0)})
    pairs = SlicePairSampler([flat], EDGE, pool=1, ranges=ranges, seed=2).batch(6)
    inside = (pairs.high > -1) & (pairs.high < 1.5)
    expected = 0.6 * torch.exp(pairs.bias) * 2 - 1
    assert pairs.bias.std() > 0.005
    torch.testing.assert_close(pairs.high[inside], expected[inside], atol=2e-3, rtol=0)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_neighbours_are_the_slices_beside_and_the_border_repeats(axis: int) -> None:
    volume = torch.arange(60.0).reshape(3, 4, 5)
    stack = neighbour_stack(volume, axis, 1)
    slices = volume.movedim(axis, 0)
    assert torch.equal(stack[1], slices)
    assert torch.equal(stack[0, 1:], slices[:-1]) and torch.equal(stack[0, 0], slices[0])
    assert torch.equal(stack[2, :-1], slices[1:]) and torch.equal(stack[2, -1], slices[-1])


def test_steps_are_told_through_the_slices_first() -> None:
    told = torch.tensor([0.1, 0.2, 0.3, 0.9])
    expected = {0: [0.1, 0.2, 0.3, 0.9], 1: [0.2, 0.1, 0.3, 0.9], 2: [0.3, 0.1, 0.2, 0.9]}
    for axis, values in expected.items():
        np.testing.assert_allclose(told_along(told, axis).numpy(), np.float32(values))
