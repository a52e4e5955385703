"""The segmenter's network: its coarse part sees everything, its fine part may be asked for a piece of the volume."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from LowFieldEnhanceLib.networks.coarse_to_fine_unet import CoarseToFineUNet
from LowFieldEnhanceLib.networks.residual_unet import ResidualUNet


@pytest.fixture
def network() -> CoarseToFineUNet:
    torch.manual_seed(0)
    return CoarseToFineUNet(1, 5, widths=(8, 8), blocks=1, fine_blocks=2).eval()


def test_scores_have_the_resolution_of_the_image(network: CoarseToFineUNet) -> None:
    assert network.multiple == 8
    x = torch.randn(2, 1, 16, 24, 8)
    features, scores = network.coarse_pass(x)
    assert features.shape == (2, 8, 4, 6, 2)
    assert scores.shape == (2, 5, 8, 12, 4)
    assert network(x).shape == (2, 5, 16, 24, 8)


def test_the_coarse_part_is_a_residual_unet_on_the_averaged_image(network: CoarseToFineUNet) -> None:
    x = torch.randn(1, 1, 16, 16, 16)
    alone = ResidualUNet(1, 5, (8, 8), 1, head_kernel=1, output_scale=1.0)
    alone.load_state_dict(network.coarse.state_dict())
    averaged = x.reshape(1, 1, 8, 2, 8, 2, 8, 2).mean((3, 5, 7))
    torch.testing.assert_close(network.coarse_pass(x)[1], alone(averaged))


def test_without_its_own_answer_the_fine_part_repeats_the_coarse_scores(network: CoarseToFineUNet) -> None:
    torch.nn.init.zeros_(network.head.weight)
    torch.nn.init.zeros_(network.head.bias)
    x = torch.randn(1, 1, 16, 8, 16)
    _, scores = network.coarse_pass(x)
    torch.testing.assert_close(network(x), F.interpolate(scores, scale_factor=2, mode="nearest"))


def test_a_piece_with_a_halo_has_the_scores_of_the_whole(network: CoarseToFineUNet) -> None:
    x = torch.randn(1, 1, 8, 8, 64)
    whole = network(x)
    features, scores = network.coarse_pass(x)
    piece = network.fine_pass(x[..., 12:52], features[..., 3:13], scores[..., 6:26])
    torch.testing.assert_close(piece[..., 12:28], whole[..., 24:40], atol=1e-5, rtol=1e-4)


def test_every_part_is_trained(network: CoarseToFineUNet) -> None:
    network(torch.randn(1, 1, 16, 16, 16)).square().mean().backward()
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in network.parameters())
