"""Flow artefacts: in the ventricles alone, between the intensities of the brain, in every way a seed draws them."""

from __future__ import annotations

import numpy as np
import torch

from LowFieldEnhanceLib.segmentation.labels import to_channels
from LowFieldEnhanceLib.training import synthetic
from LowFieldEnhanceLib.training.labelled_heads import IGNORE, LabelledHead
from LowFieldEnhanceLib.training.synthetic import HeadGenerator
from LowFieldEnhanceLib.training.ventricular_flow import LEAST, flow_artefacts

SHAPE = (30, 34, 28)
WHITE, GREY, FLUID = 0.8, 0.5, 0.1
WHITE_MATTER, CORTEX, VENTRICLE = (int(to_channels(np.array([i]))[0]) for i in (2, 3, 4))


def head() -> tuple[torch.Tensor, torch.Tensor]:
    """A dark ventricle in white matter in cortex; a rim of unknown label, brighter than all."""
    target = torch.zeros(SHAPE, dtype=torch.uint8)
    image = torch.zeros(SHAPE)
    parts = ((3, IGNORE, 2.0), (4, CORTEX, GREY), (7, WHITE_MATTER, WHITE), (11, VENTRICLE, FLUID))
    for edge, label, level in parts:
        place = tuple(slice(edge, n - edge) for n in SHAPE)
        target[place], image[place] = label, level
    return image, target


def test_only_ventricles_change_and_stay_between_the_intensities_of_the_brain() -> None:
    image, target = head()
    before, ventricle = image.clone(), target == VENTRICLE
    highest = 0.0
    for seed in range(12):
        changed = flow_artefacts(image, target, np.random.default_rng(seed))
        torch.testing.assert_close(changed[~ventricle], image[~ventricle], rtol=0, atol=0)
        assert float(changed[ventricle].min()) >= FLUID - 1e-6
        highest = max(highest, float(changed[ventricle].max()))
    assert GREY < highest <= WHITE + 1e-6  # some as bright as white matter, none as what no label is known of
    torch.testing.assert_close(image, before, rtol=0, atol=0)


def test_bright_fluid_has_dark_parts() -> None:
    image, target = head()
    image[target == VENTRICLE] = 1.0
    image[target == CORTEX] = 0.2
    darkest = min(
        float(flow_artefacts(image, target, np.random.default_rng(seed))[target == VENTRICLE].min())
        for seed in range(12)
    )
    assert 0.2 - 1e-6 <= darkest < 0.5


def test_a_seed_repeats_its_artefacts_and_another_does_not() -> None:
    image, target = head()
    first, again, other = (flow_artefacts(image, target, np.random.default_rng(seed)) for seed in (1, 1, 2))
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert not torch.equal(first, other)


def test_a_part_at_the_edge_of_the_field_of_view_is_cut_there() -> None:
    image = torch.rand(12, 12, 12, generator=torch.Generator().manual_seed(0))
    target = torch.full((12, 12, 12), VENTRICLE, dtype=torch.uint8)
    for seed in range(12):
        changed = flow_artefacts(image, target, np.random.default_rng(seed))
        assert changed.shape == image.shape
        assert bool(torch.isfinite(changed).all())


def test_a_head_with_hardly_a_ventricle_is_left_as_it_is() -> None:
    image, target = head()
    places = torch.nonzero(target == VENTRICLE)
    for i, j, k in places[LEAST - 1 :]:
        target[i, j, k] = WHITE_MATTER
    assert flow_artefacts(image, target, np.random.default_rng(0)) is image


def test_the_generator_shows_them_in_their_share(monkeypatch) -> None:
    image, target = head()
    target[target == IGNORE] = 0
    seen = []
    monkeypatch.setattr(synthetic, "flow_artefacts", lambda shown, *_: seen.append(shown) or shown)
    heads = HeadGenerator([], [LabelledHead(target, target, image.half())], [(16, 16, 16)], real_share=1.0)
    for _ in range(60):
        heads.sample()
    assert 60 * synthetic.FLOW_SHARE - 12 < len(seen) < 60 * synthetic.FLOW_SHARE + 12
