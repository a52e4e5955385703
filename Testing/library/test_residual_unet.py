"""The residual U-Net: its rearrangements, what it does before training, and what it refuses."""

from __future__ import annotations

import pytest
import torch

from LowFieldEnhanceLib.networks.residual_unet import ResidualUNet, pixel_shuffle3d, pixel_unshuffle3d


def randomised(network: torch.nn.Module) -> torch.nn.Module:
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        parameter.data = 0.1 * torch.randn(parameter.shape, generator=generator)
    return network


def test_shuffling_undoes_unshuffling() -> None:
    x = torch.randn(2, 3, 4, 6, 8)
    assert torch.equal(pixel_shuffle3d(pixel_unshuffle3d(x)), x)


def test_unshuffling_puts_each_corner_of_a_cell_into_its_own_channel() -> None:
    x = torch.randn(1, 2, 4, 4, 4)
    y = pixel_unshuffle3d(x)
    assert y.shape == (1, 16, 2, 2, 2)
    for channel in range(2):
        for n, (i, j, k) in enumerate([(i, j, k) for i in (0, 1) for j in (0, 1) for k in (0, 1)]):
            assert torch.equal(y[0, channel * 8 + n], x[0, channel, i::2, j::2, k::2])


def test_a_fresh_networks_answer_is_of_the_size_of_its_output_scale_and_all_parts_receive_gradients() -> None:
    torch.manual_seed(0)
    x, noise = torch.randn(1, 2, 16, 16, 16), torch.tensor([0.3])
    sizes = []
    for scale in (1.0, 0.1):
        torch.manual_seed(1)
        network = ResidualUNet(2, 3, (64, 96), 2, embedding=8, output_scale=scale)
        y = network(x, noise)
        assert y.shape == (1, 3, 16, 16, 16)
        sizes.append(float(y.detach().std()))
    assert sizes[1] == pytest.approx(0.1 * sizes[0], rel=1e-4)
    assert 0.3 < sizes[0] < 6
    (y - 1).square().mean().backward()
    convolutions = [m for m in network.modules() if isinstance(m, torch.nn.Conv3d)]
    assert all(float(m.weight.grad.abs().max()) > 0 for m in convolutions)


@pytest.mark.parametrize("widths", [(8,), (8, 12), (4, 8, 12, 12)])
@pytest.mark.parametrize("head_kernel", [1, 3])
def test_the_volume_keeps_its_size_at_any_depth(widths: tuple[int, ...], head_kernel: int) -> None:
    network = ResidualUNet(1, 2, widths, 1, head_kernel=head_kernel)
    assert network.multiple == 2 ** len(widths)
    edges = (network.multiple, 2 * network.multiple, 3 * network.multiple)
    assert network(torch.zeros(1, 1, *edges)).shape == (1, 2, *edges)


def test_the_noise_level_changes_the_answer_and_belongs_to_its_own_sample() -> None:
    network = randomised(ResidualUNet(1, 1, (8, 8), 1, embedding=8))
    x = torch.randn(1, 1, 8, 8, 8)
    low, high = network(x, torch.tensor([0.1])), network(x, torch.tensor([0.9]))
    assert not torch.allclose(low, high, rtol=1e-3)
    both = network(torch.cat([x, x]), torch.tensor([0.1, 0.9]))
    torch.testing.assert_close(both, torch.cat([low, high]), rtol=1e-4, atol=1e-5)


def test_every_parameter_takes_part() -> None:
    network = randomised(ResidualUNet(2, 1, (8, 8), 2, embedding=8))
    network(torch.randn(1, 2, 8, 8, 8), torch.tensor([0.4])).square().sum().backward()
    idle = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


def test_a_shift_by_the_stride_of_the_deepest_level_shifts_the_answer() -> None:
    network = randomised(ResidualUNet(1, 1, (4, 4), 1))
    x = torch.zeros(1, 1, 48, 8, 8)
    x[:, :, 20:24] = torch.randn(1, 1, 4, 8, 8)
    still, moved = network(x), network(x.roll(4, 2))
    torch.testing.assert_close(moved[:, :, 24:28], still[:, :, 20:24], rtol=1e-4, atol=1e-5)


def test_edges_and_noise_that_do_not_fit_are_refused() -> None:
    plain, conditioned = ResidualUNet(1, 1, (8, 8), 1), ResidualUNet(1, 1, (8, 8), 1, embedding=8)
    with pytest.raises(ValueError, match="multiples of 4"):
        plain(torch.zeros(1, 1, 8, 8, 6))
    with pytest.raises(ValueError, match="noise"):
        plain(torch.zeros(1, 1, 8, 8, 8), torch.zeros(1))
    with pytest.raises(ValueError, match="noise"):
        conditioned(torch.zeros(1, 1, 8, 8, 8))
