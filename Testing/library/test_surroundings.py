"""Surroundings imitated around a stripped head: layers in order, the brain untouched, fluid labelled, air far away."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from LowFieldEnhanceLib.training import synthetic
from LowFieldEnhanceLib.training.free_fluid import FREE_FLUID
from LowFieldEnhanceLib.training.labelled_heads import LabelledHead
from LowFieldEnhanceLib.training.surroundings import (
    BONE_MM,
    FLUID_CHANNELS,
    FLUID_MM,
    REACH,
    SCALP_MM,
    Dresser,
    nearness,
    padded,
)
from LowFieldEnhanceLib.training.synthetic import HeadGenerator

SIZE = 24
VENTRICLE = FLUID_CHANNELS[0]
FLUID, BRIGHT = 0.25, 1.0


@pytest.fixture(scope="module")
def brain() -> torch.Tensor:
    mask = torch.zeros(SIZE, SIZE, SIZE + 1, dtype=torch.bool)
    mask[2:22, 4:20, 4:20] = True
    return padded(mask)


@pytest.fixture(scope="module")
def near(brain: torch.Tensor) -> torch.Tensor:
    return nearness(brain)


@pytest.fixture(scope="module")
def head(brain: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    target = brain.to(torch.uint8)  # white matter
    target[REACH + 8 : REACH + 14, REACH + 8 : REACH + 14, REACH + 8 : REACH + 14] = VENTRICLE
    return torch.where(target == VENTRICLE, FLUID, BRIGHT) * brain, target


def even(monkeypatch: pytest.MonkeyPatch, seed: int = 3) -> Dresser:
    """A dresser whose layers are neither bent nor textured, and that adds no face."""
    dresser = Dresser(np.random.default_rng(seed), torch.Generator().manual_seed(seed))
    monkeypatch.setattr(dresser, "_uneven", lambda shape, strength: torch.zeros(shape))
    monkeypatch.setattr(dresser, "_below", lambda mask: torch.zeros(1, 1, 1))
    return dresser


def test_nearness_falls_by_one_for_each_millimetre_off_the_brain(brain: torch.Tensor, near: torch.Tensor) -> None:
    exact = ndimage.distance_transform_edt(~brain.numpy())
    assert near[brain].unique().tolist() == [REACH]
    assert np.abs(near.numpy() - np.clip(REACH - exact, 0, None))[~brain.numpy()].max() <= 1.5
    assert near.shape == brain.shape


def test_brain_and_its_labels_stay_and_fluid_around_it_is_labelled(
    brain: torch.Tensor, near: torch.Tensor, head: tuple[torch.Tensor, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    image, target = head
    labelled = thick = 0
    for seed in range(4):
        dressed, known = even(monkeypatch, seed)(image, target, near)
        assert torch.equal(dressed[brain], image[brain])
        assert torch.equal(known[brain], target[brain])
        assert set(known[~brain].unique().tolist()) <= {0, FREE_FLUID}
        wet = (known == FREE_FLUID) & ~brain
        assert bool((near[wet] > REACH - FLUID_MM[1] - 1).all())
        labelled += int(wet.sum())
        if bool((wet & (near == REACH - 2)).any()):  # over 2 mm, so that its first voxels hold no bone
            assert float(dressed[wet & (near == REACH - 1)].median()) == pytest.approx(FLUID, rel=0.05)
            thick += 1
    assert labelled > 1000
    assert thick


def test_layers_follow_each_other_and_end(
    near: torch.Tensor, head: tuple[torch.Tensor, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    dresser = even(monkeypatch)
    draws = iter([2.5, 4.0, 6.0, 0.1, 0.8, 0.0])  # thickness of fluid, bone, scalp; bone, scalp; texture
    dresser.rng = type("Draws", (), {"uniform": lambda *_: next(draws), "random": lambda _: 0.5})()
    dressed, _ = dresser(*head, near)
    for steps, expected in ((1, FLUID), (5, 0.1), (9, 0.8), (15, 0.0)):
        here = dressed[near == REACH - steps]
        assert float(here.median()) == pytest.approx(expected, abs=0.02)
    assert FLUID_MM[1] + BONE_MM[1] + SCALP_MM[1] < REACH


def test_the_scalp_of_some_heads_is_brighter_than_any_brain(
    near: torch.Tensor, head: tuple[torch.Tensor, torch.Tensor]
) -> None:
    image, target = head
    brightest = []
    for seed in range(30):
        dresser = Dresser(np.random.default_rng(seed), torch.Generator().manual_seed(seed))
        brightest.append(float(dresser(image, target, near)[0].quantile(0.99)))
    assert 0.05 < np.mean(np.array(brightest) > 1.6 * BRIGHT) < 0.5


def test_a_sample_without_brain_is_left_as_it_is() -> None:
    image, target = torch.rand(8, 8, 8), torch.zeros(8, 8, 8, dtype=torch.uint8)
    dresser = Dresser(np.random.default_rng(0), torch.Generator().manual_seed(0))
    dressed, known = dresser(image, target, torch.zeros(8, 8, 8, dtype=torch.uint8))
    assert torch.equal(dressed, image)
    assert torch.equal(known, target)


def test_the_same_seeds_dress_alike(near: torch.Tensor, head: tuple[torch.Tensor, torch.Tensor]) -> None:
    first, again, other = (
        Dresser(np.random.default_rng(s), torch.Generator().manual_seed(s))(*head, near)[0] for s in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(("share", "dressed"), [(0.0, False), (1.0, True)])
def test_the_generator_dresses_real_heads_in_their_share(
    share: float,
    dressed: bool,
    near: torch.Tensor,
    head: tuple[torch.Tensor, torch.Tensor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(synthetic, "DRESSED_SHARE", share)
    image, target = head
    stripped = LabelledHead(target, target, image.half(), near)
    heads = HeadGenerator([], [stripped], [(48, 48, 48)], real_share=1.0, seed=4)
    calls = []
    monkeypatch.setattr(heads, "dresser", lambda *args: calls.append(1) or args[:2])
    for _ in range(3):
        heads.sample()
    assert bool(calls) is dressed
