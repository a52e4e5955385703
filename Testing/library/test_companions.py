"""What further contrasts add to the bridge: nothing before training, nothing where there are none."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_pairs import smooth_head

from LowFieldEnhanceLib.networks.companions import CompaniedBridge, CompanionEncoder, roles
from LowFieldEnhanceLib.networks.residual_unet import ResidualUNet
from LowFieldEnhanceLib.training.companions import CompanionLoss
from LowFieldEnhanceLib.training.pairs import PairSampler


def bridge(seed: int = 0) -> ResidualUNet:
    torch.manual_seed(seed)
    network = ResidualUNet(6, 3, (8, 8), 1, 8, coordinates=12)
    return network.eval().requires_grad_(False)


def images(seed: int, channels: int = 3) -> torch.Tensor:
    return torch.rand(2, channels, 8, 12, 16, generator=torch.Generator().manual_seed(seed))


def test_roles_tell_the_wanted_contrast_from_the_others() -> None:
    low = images(0) + 1
    presence = torch.tensor([[1.0, 0.0, 1.0], [1.0, 1.0, 1.0]])[:, :, None, None, None]
    shown, wanted, others = roles(low * presence, presence, [2, 1])
    assert torch.equal(shown[0, 2], low[0, 2]) and torch.equal(shown[1, 1], low[1, 1])
    assert not shown[0, :2].any() and not shown[1, [0, 2]].any()
    assert torch.equal(wanted[:, :, 0, 0, 0], torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0]]))
    assert torch.equal(shown + others, low * presence)
    assert not others[0, 1:].any() and not others[1, 1].any()


def test_an_untrained_encoder_adds_nothing_and_a_trained_one_adds_to_the_stem() -> None:
    network, encoder = bridge(), CompanionEncoder(8, 1)
    low, marks, others, told = images(0), images(1), images(2), torch.rand(2, 12)
    x = torch.cat([low, marks, others], 1)
    both = CompaniedBridge(network, encoder)
    assert both.multiple == network.multiple
    alone = network(torch.cat([low, marks], 1), told)
    assert torch.equal(both(x, told), alone)
    encoder.head.weight.data.normal_(generator=torch.Generator().manual_seed(3))
    added = encoder(low, others)
    assert added.shape == (2, 8, 4, 6, 8)
    torch.testing.assert_close(both(x, told), network(torch.cat([low, marks], 1), told, added))
    assert float((both(x, told) - alone).detach().abs().max()) > 1e-4


@pytest.mark.parametrize("contrasts", [(True, True, True), (True, False, True)])
def test_a_sample_has_another_contrast_beside_the_wanted_one(contrasts: tuple[bool, bool, bool]) -> None:
    sampler = PairSampler([smooth_head(contrasts=contrasts)], patch=16, seed=0)
    loss = CompanionLoss(sampler, bridge(), 2, "cpu")
    present = torch.tensor(contrasts)
    drawn = [loss._drawn(present) for _ in range(60)]
    assert all(given[target] and int(given.sum()) > 1 and not (given & ~present).any() for target, given in drawn)
    assert {target for target, _ in drawn} == set(torch.nonzero(present)[:, 0].tolist())
    assert {int(given.sum()) for _, given in drawn} == set(range(2, int(present.sum()) + 1))


def test_training_teaches_the_encoder_and_leaves_the_bridge_as_it_is() -> None:
    frozen = bridge()
    before = [p.clone() for p in frozen.parameters()]
    sampler = PairSampler([smooth_head(contrasts=(True, True, True))], patch=16, seed=0)
    pairs = [sampler.pair() for _ in range(2)]
    queue = iter(pairs * 200)
    loss = CompanionLoss(sampler, frozen, 2, "cpu")
    sampler.pair = lambda: next(queue)  # type: ignore[method-assign]
    encoder = CompanionEncoder(8, 1)
    optimizer = torch.optim.Adam(encoder.parameters(), lr=3e-3)
    values = []
    for _ in range(60):
        optimizer.zero_grad()
        value = loss(encoder)
        value.backward()
        optimizer.step()
        values.append(float(value.detach()))
    assert np.mean(values[-10:]) < 0.95 * np.mean(values[:10])
    assert all(torch.equal(a, b) for a, b in zip(before, frozen.parameters(), strict=True))
