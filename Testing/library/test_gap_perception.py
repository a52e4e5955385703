"""SGP and LSC of CSS-Diff: embeddings, the pairs they find, broken patches, and the slices that they are shown."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_pairs import smooth_head
from torch.nn import functional as F

from LowFieldEnhanceLib.diffusion.denoiser import slice_class
from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.image import CONTRASTS
from LowFieldEnhanceLib.networks.gap_perception import GapPerception, framed
from LowFieldEnhanceLib.training import css_lsc
from LowFieldEnhanceLib.training.css_lsc import MASK_VALUE, CorrectionLoss, corrupt
from LowFieldEnhanceLib.training.css_pairs import CycleSampler
from LowFieldEnhanceLib.training.css_sgp import GapLoss, displaced, embed, repair, soft_target
from LowFieldEnhanceLib.training.css_slices import HeadPool, centred
from LowFieldEnhanceLib.training.degradation import DegradationRange
from LowFieldEnhanceLib.training.slice_prior import SliceSampler

SMALL = {"edge": 32, "patch": 8, "width": 16, "layers": 1, "heads": 2, "embedding": 32}
SHARP = DegradationRange(
    filtered_share=0, most_grown=0,
    in_plane=(1.0, 1.0), slices=(1.0, 1.0), isotropic_share=0.0, common_share=0.0, snr=(1e5, 1e5), bias=0.0,
    contrast=0.0, gain=0.0, misjudged=(0.0, 0.0), unknown=0.0, width_factor=(0.5, 0.5),
)  # fmt: skip
EDGE = 64


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pool(seed: int = 0, ranges: DegradationRange | None = SHARP, **options) -> HeadPool:
    head = smooth_head(labelled=False, contrasts=(True, False, False))
    return HeadPool([head], 2, EDGE, ranges, seed, **options)


def unit(x: torch.Tensor) -> torch.Tensor:
    return F.normalize(x, dim=1)


@pytest.mark.parametrize("shape", [(5, 7), (8, 8), (9, 4), (11, 12)])
def test_a_frame_keeps_the_middle_in_its_middle(shape: tuple[int, int]) -> None:
    image = torch.zeros(2, *shape)
    image[:, shape[0] // 2, shape[1] // 2] = 1.0
    frame = framed(image, 8)
    assert frame.shape == (2, 8, 8)
    assert torch.nonzero(frame == 1.0).tolist() == [[0, 4, 4], [1, 4, 4]]
    covered = min(shape[0], 8) * min(shape[1], 8)
    assert int((frame == -1.0).sum()) == 2 * (64 - covered)


def test_embeddings_have_length_one_and_logits_are_their_scaled_cosines() -> None:
    torch.manual_seed(0)
    network = GapPerception(**SMALL)
    low, high = torch.rand(3, 20, 30), torch.rand(4, 40, 40)
    of_low, of_high = embed(network, low, high)
    torch.testing.assert_close(of_low.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(network(low, high), of_low @ of_high.T / 0.02)


def test_the_embedding_knows_where_in_the_slice_something_lies() -> None:
    """Which a mean over the patches forgets."""
    torch.manual_seed(0)
    network = GapPerception(**{**SMALL, "edge": 64, "embedding": 256}).low.requires_grad_(False)
    torch.nn.init.zeros_(network.places)
    slices = torch.full((2, 64, 64), -1.0)
    slices[0, 16:24, 16:24] = slices[1, 40:48, 40:48] = 1.0
    here, there = network(slices).reshape(2, 8, 8, 4)
    torch.testing.assert_close(here[2, 2], there[5, 5])
    torch.testing.assert_close(here.mean((0, 1)), there.mean((0, 1)))
    assert float((here - there)[2, 2].norm()) > 0.2 * float(here[2, 2].norm())


@pytest.mark.parametrize(("name", "value"), [("embedding", 40), ("patch", 12), ("edge", 36)])
def test_sizes_that_do_not_fit_are_refused(name: str, value: int) -> None:
    with pytest.raises(BadInput, match="do not fit"):
        GapPerception(**{**SMALL, name: value})


def centre(slices: torch.Tensor) -> tuple[float, float]:
    """Centre of mass of the light of a slice above the background, pixels from its middle."""
    light = (slices[0] + 1).double()
    return tuple(
        float((light.sum(1 - axis) * (torch.arange(size) - (size - 1) / 2)).sum() / light.sum())
        for axis, size in enumerate(light.shape)
    )


def test_slices_are_turned_about_their_middle_and_then_moved() -> None:
    slices = torch.full((1, 41, 61), -1.0)
    slices[0, 20:23, 39:42] = 1.0  # 1 pixel down of the middle, 10 to the right
    assert displaced(slices, (0.0, 0.0), 0.0).sub(slices).abs().max() < 1e-5
    assert centre(displaced(slices, (3.0, -5.0), 0.0)) == pytest.approx((4.0, 5.0), abs=1e-3)
    turned = (math.cos(math.pi / 6) - 10 * math.sin(math.pi / 6), math.sin(math.pi / 6) + 10 * math.cos(math.pi / 6))
    assert centre(displaced(slices, (0.0, 0.0), 30.0)) == pytest.approx(turned, abs=0.05)
    both = displaced(slices, (3.0, -5.0), 30.0)
    assert centre(both) == pytest.approx((turned[0] + 3, turned[1] - 5), abs=0.05)
    assert float(both.min()) == -1.0 and float(both[0, 0, 0]) == -1.0


def test_the_assignment_undoes_a_shuffle() -> None:
    clean = unit(torch.randn(20, 16, generator=generator()))
    order = torch.randperm(20, generator=generator(1))
    noisy = unit(clean + 0.1 * torch.randn(20, 16, generator=generator(2)))
    found = repair(noisy, clean[order])
    assert torch.equal(order[found], torch.arange(20))


def test_a_slice_is_given_away_once_even_if_two_want_it() -> None:
    low = unit(torch.tensor([[1.0, 0.0], [0.9, 0.1]]))
    high = unit(torch.tensor([[1.0, 0.0], [0.5, 0.5], [-1.0, 0.0]]))
    assert (low @ high.T).argmax(1).tolist() == [0, 0]
    assert repair(low, high).tolist() == [0, 1]


def test_the_target_is_a_gaussian_over_the_slices_of_the_same_head() -> None:
    target = soft_target(torch.tensor([10.0, 11.0, 40.0, 10.0]), torch.tensor([0, 0, 0, 1]))
    torch.testing.assert_close(target.sum(1), torch.ones(4))
    assert float(target[0, 1] / target[0, 0]) == pytest.approx(math.exp(-0.5))
    assert float(target[0, 2]) < 1e-6 and float(target[0, 3]) == 0.0


def test_training_makes_the_slices_of_a_pair_alike() -> None:
    torch.manual_seed(0)
    network = GapPerception(**SMALL)
    loss = GapLoss(pool(slices_per_head=10**6), "cpu", groups=1, slices=12)
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
    values = []
    for _ in range(25):
        optimizer.zero_grad()
        value = loss(network)
        value.backward()
        optimizer.step()
        values.append(float(value.detach()))
    assert np.mean(values[-5:]) < 0.8 * values[0]


def test_the_slices_of_a_group_are_those_of_the_head_with_their_neighbours() -> None:
    drawn = pool(seed=3)
    for _ in range(4):
        group = drawn.group(5)
        axis = group.kind % 3
        assert group.low.shape == (3, 5, EDGE, EDGE) and len(set(group.positions.tolist())) == 5
        assert group.kind in {slice_class(c, axis) for c in ("T1w", CONTRASTS[-1])}
        heads = [h for h in drawn.pool if torch.equal(h.high.movedim(axis, 0)[group.positions], group.high)]
        volumes = [h.low.movedim(axis, 0) for h in heads]  # one head drawn twice has one high-field and two scans
        volume = next(v for v in volumes if torch.equal(v[group.positions], group.low[1]))
        for offset in (-1, 1):
            torch.testing.assert_close(group.low[1 + offset], volume[group.positions + offset])
        assert float((group.low[1] - group.high).abs().mean()) < 0.02  # only the border of the brain was blurred


def test_a_close_group_comes_from_one_place_and_from_its_mirror_image() -> None:
    drawn = pool(seed=5)
    for _ in range(6):
        group = drawn.group(100, within=3)
        axis = group.kind % 3
        numbers = next(
            head.slices[axis]
            for head in drawn.pool
            if torch.equal(head.high.movedim(axis, 0)[group.positions], group.high)
        )
        found = sorted(numbers.index(position) for position in group.positions.tolist())
        mirrored = sorted(len(numbers) - 1 - n for n in found)
        assert found == mirrored and 3 <= len(found) <= 6
        near = [n for n in found if n <= max(len(numbers) // 2, found[0])]
        assert max(near) - min(near) <= 5


def test_a_head_is_replaced_after_its_slices_were_drawn() -> None:
    drawn = pool(slices_per_head=8)
    drawn.group(4)
    first = list(drawn.pool)
    drawn.group(4)
    assert all(a is b for a, b in zip(first, drawn.pool, strict=True))
    drawn.group(4)
    assert first[1] is drawn.pool[0] and all(head is not first[0] for head in drawn.pool)


def test_a_cube_is_centred_on_the_brain() -> None:
    mask = torch.zeros(30, 40, 50, dtype=torch.bool)
    mask[10:20, 20:30, 5:45] = True
    start = centred(mask, 64)
    assert [int(s) + 32 for s in start] == [15, 25, 25]


def pixels(slices: torch.Tensor) -> torch.Tensor:
    """An embedding that knows a slice by its pixels."""
    return unit(slices.flatten(1) + 1.0)


KNOWS = SimpleNamespace(low=pixels, high=pixels)


def test_with_known_pairs_low_and_high_show_the_same() -> None:
    drawn = pool()
    batch = CycleSampler(drawn, drawn, "full", edge=32).batch(4)
    assert batch.low.shape == (4, 3, 1, 32, 32) and batch.high.shape == (4, 1, 1, 32, 32)
    assert float((batch.middle - batch.high).abs().mean()) < 0.02
    assert batch.trusted.all() and batch.context_low is None
    assert (batch.high > -1).any()


def test_shuffled_slices_are_paired_again_by_the_perception_and_not_without_it() -> None:
    errors = {}
    for name, gap in (("with", KNOWS), ("without", None)):
        drawn = pool()
        batch = CycleSampler(drawn, drawn, "weak", gap, edge=32).batch(6)
        assert batch.trusted.all()
        errors[name] = float((batch.middle - batch.high).abs().mean())
        if gap is not None:  # the embedding travels with its slice
            cosines = (batch.context_low * batch.context_high).sum(1)
            assert float(cosines.min()) > 0.99
    assert errors["with"] < 0.02 < errors["without"]


def test_without_pairs_the_slices_come_from_other_heads_and_are_not_trusted() -> None:
    low, high = pool(), pool(seed=5)
    high.volumes.heads[0].images.clamp_(max=-0.5)
    batch = CycleSampler(low, high, "none", KNOWS, edge=32).batch(3)
    assert not batch.trusted.any()
    assert float(batch.high.max()) <= -0.5 < float(batch.low.max())
    with pytest.raises(BadInput, match="not 'some'"):
        CycleSampler(low, high, "some")


def test_broken_patches_are_masked_or_turned_and_the_rest_is_as_it_was() -> None:
    slices = torch.rand(6, 1, 1, 64, 64, generator=generator()) + 0.5
    broken = corrupt(slices, generator(1))
    before = slices.reshape(6, 8, 8, 8, 8).transpose(2, 3)
    after = broken.reshape(6, 8, 8, 8, 8).transpose(2, 3)
    masked = (after == MASK_VALUE).flatten(3).all(3)
    same = (after == before).flatten(3).all(3)
    turned = ~masked & ~same
    share = 1 / masked.numel()
    assert float(masked.sum()) * share == pytest.approx(0.2, abs=0.05)
    assert float(turned.sum()) * share == pytest.approx(0.1, abs=0.04)
    for a, b in zip(after[turned], before[turned], strict=True):
        assert any(torch.equal(a, torch.rot90(b, k)) for k in (1, 2, 3))
    assert torch.equal(corrupt(slices, generator(), masked=0.0, turned=0.0), slices)


def test_no_gradient_passes_a_masked_patch() -> None:
    slices = torch.rand(1, 1, 1, 32, 32, generator=generator()).add(0.5).requires_grad_()
    broken = corrupt(slices, generator(2), turned=0.0)
    broken.sum().backward()
    assert torch.equal(slices.grad == 0, broken == MASK_VALUE)


def test_a_correction_that_changes_nothing_pays_for_what_was_broken() -> None:
    sampler = SliceSampler([smooth_head(labelled=False, contrasts=(True, False, False))], edge=32, seed=0)
    loss = CorrectionLoss(sampler, "cpu", 4)
    value = float(loss(lambda slices, noise, kind: torch.zeros_like(slices)))
    assert 0.01 < value < 0.5
    assert set(css_lsc.ARCHITECTURE) <= {"kind", "widths", "blocks", "embedding", "classes", "output_scale"}
