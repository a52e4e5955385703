"""The networks of the distilled latent super-resolution and the diffusion of their latents, against closed forms."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from LowFieldEnhanceLib.diffusion.latent import SCHEDULE, LatentDenoiser, alpha_bar, clean_from_velocity, even_timesteps
from LowFieldEnhanceLib.diffusion.samplers import ddim
from LowFieldEnhanceLib.networks.latent_autoencoder import LatentAutoencoder, cosine_basis
from LowFieldEnhanceLib.networks.latent_unet import Condition, LatentUNet
from LowFieldEnhanceLib.networks.macs import multiply_accumulates

SMALL = {"widths": (8, 8), "blocks": 1, "embedding": 8, "condition_widths": (8, 8), "condition": 4, "latent": 4}


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def autoencoder(latent: int = 4) -> LatentAutoencoder:
    """As training starts with it."""
    torch.manual_seed(0)
    return LatentAutoencoder((8, 8), 1, 1, latent).eval()


def unet() -> LatentUNet:
    """Random weights everywhere."""
    torch.manual_seed(0)
    network = LatentUNet(**SMALL)
    for parameter in network.parameters():
        parameter.data = 0.2 * torch.randn(parameter.shape)
    return network.eval()


def condition(network: LatentUNet, **fields: Tensor) -> Condition:
    return network.condition(noise(1, 3, 2, 16, 24), noise(1, 4, 2, 4, 6), torch.tensor([3]), **fields)


def test_the_cosine_basis_is_orthonormal_and_starts_with_the_mean() -> None:
    basis = cosine_basis(16).flatten(1)
    torch.testing.assert_close(basis @ basis.T, torch.eye(16))
    torch.testing.assert_close(basis[0], torch.full((16,), 0.25))


@torch.no_grad()
def test_an_untrained_autoencoder_with_as_many_channels_as_pixels_loses_nothing() -> None:
    image = noise(2, 1, 3, 16, 24)
    torch.testing.assert_close(autoencoder(16)(image), image)


@torch.no_grad()
def test_with_fewer_channels_it_is_the_nearest_image_of_low_frequencies() -> None:
    image = noise(2, 1, 3, 16, 24)
    near = autoencoder(4)(image)
    lost = autoencoder(4).encode(image - near)
    assert float((image - near).abs().max()) > 0.1
    torch.testing.assert_close(lost, torch.zeros_like(lost), rtol=0, atol=1e-5)


@torch.no_grad()
def test_slices_of_a_stack_are_coded_apart() -> None:
    network = autoencoder()
    for parameter in network.parameters():
        parameter.data = 0.2 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    image = noise(1, 1, 3, 16, 24)
    torch.testing.assert_close(network(image)[:, :, 1:2], network(image[:, :, 1:2]))


@torch.no_grad()
def test_normalised_latents_have_mean_zero_and_variance_one_in_every_channel() -> None:
    network = autoencoder()
    scale, shift = torch.tensor([0.1, 1.0, 3.0, 9.0]), torch.tensor([2.0, -1.0, 0.0, 5.0])
    latents = noise(8, 4, 1, 16, 16) * scale[:, None, None, None] + shift[:, None, None, None]
    for _ in range(500):
        network.track(latents)
    normal = network.normalised(latents).transpose(0, 1).flatten(1)
    torch.testing.assert_close(normal.mean(1), torch.zeros(4), rtol=0, atol=1e-2)
    torch.testing.assert_close(normal.std(1), torch.ones(4), rtol=0, atol=1e-2)


@torch.no_grad()
def test_the_bias_field_enters_on_the_way_down_and_the_jacobian_only_on_the_way_up() -> None:
    network, field = unet(), noise(1, 1, 2, 16, 24, seed=5)
    noisy, level = noise(1, 4, 2, 4, 6, seed=2), torch.tensor([0.5])
    plain, features = network.with_features(noisy, level, condition(network))
    for name, downward in (("bias", True), ("gain", False)):
        changed, ends = network.with_features(noisy, level, condition(network, **{name: field}))
        same = [bool(torch.equal(a, b)) for a, b in zip(features, ends, strict=True)]
        assert same == [not downward, not downward, False], name
        assert float((changed - plain).abs().max()) > 1e-4
        zero = network.with_features(noisy, level, condition(network, **{name: torch.zeros_like(field)}))[0]
        torch.testing.assert_close(zero, plain)


@torch.no_grad()
def test_an_unknown_acquisition_is_told_as_nothing_and_a_known_one_changes_the_answer() -> None:
    network, noisy, level = unet(), noise(1, 4, 2, 4, 6, seed=2), torch.tensor([0.5])
    for layer in (network.acquisition.layers[0], network.acquisition.layers[2]):
        layer.bias.zero_()
    plain = network(noisy, level, condition(network))
    unknown = network(noisy, level, condition(network, told=torch.full((1, 4), float("nan"))))
    known = network(noisy, level, condition(network, told=torch.tensor([[0.9, 0.2, 0.2, 0.5]])))
    torch.testing.assert_close(unknown, plain)
    assert float((known - plain).abs().max()) > 1e-4


@torch.no_grad()
def test_e2_starts_as_e1_of_the_slice_in_the_middle() -> None:
    source = LatentAutoencoder((8, 8), 1, 1, 2).eval()
    for parameter in source.parameters():
        parameter.data = 0.2 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    network = LatentUNet(**{**SMALL, "condition_blocks": (1, 1)}).eval()
    network.start_from(source)
    network.encoder.head.load_state_dict(source.encoder.head.state_dict())
    shown = noise(1, 3, 2, 16, 24)
    torch.testing.assert_close(network.encoder(shown), source.encoder(shown[:, 1:2]))


def test_a_slice_that_does_not_fit_the_levels_is_refused() -> None:
    network = unet()
    with pytest.raises(ValueError, match="multiples of 8"):
        network.condition(noise(1, 3, 1, 16, 20), noise(1, 4, 1, 4, 5), torch.tensor([0]))


def test_the_true_velocity_gives_the_clean_residual_at_every_noise_level() -> None:
    clean, eps = noise(4, 3, 1, 5, 5), noise(4, 3, 1, 5, 5, seed=1)
    abar = alpha_bar(torch.tensor([1.0, 250.0, 750.0, 1000.0]))
    noisy = abar.sqrt() * clean + (1 - abar).sqrt() * eps
    velocity = abar.sqrt() * eps - (1 - abar).sqrt() * clean
    torch.testing.assert_close(clean_from_velocity(velocity, noisy, abar), clean, rtol=0, atol=1e-5)


def test_timesteps_are_even_and_leave_out_the_last_zero() -> None:
    assert even_timesteps(4) == [1000, 750, 500, 250]
    assert even_timesteps(1) == [1000]


class Knows(nn.Module):
    """Returns the velocity that leads to a residual."""

    def __init__(self, clean: Tensor) -> None:
        super().__init__()
        self.clean = clean

    def forward(self, noisy: Tensor, level: Tensor, _: Condition) -> Tensor:
        abar = alpha_bar(level * SCHEDULE.steps)
        return (abar.sqrt() * noisy - self.clean) / (1 - abar).sqrt()


@pytest.mark.parametrize("steps", [1, 4, 50])
def test_sampling_with_a_network_that_knows_the_residual_finds_it_inside_and_nothing_outside(steps: int) -> None:
    clean, inside = noise(1, 3, 2, 5, 5), torch.rand(1, 1, 2, 5, 5) > 0.5
    known = condition(unet())
    sigmas = [float(SCHEDULE.sigma(t)) for t in even_timesteps(steps)]
    denoiser = LatentDenoiser(Knows(clean), replace(known), inside, bfloat16=False)
    found = ddim(denoiser, sigmas[0] * noise(1, 3, 2, 5, 5, seed=3), sigmas)
    torch.testing.assert_close(found, clean * inside, rtol=0, atol=1e-3)


def test_multiply_accumulates_of_known_layers() -> None:
    image = torch.zeros(2, 3, 1, 10, 12, device="meta")
    layer = nn.Conv3d(3, 5, (1, 3, 3), padding=(0, 1, 1), device="meta")
    linear = nn.Linear(12, 7, device="meta")
    assert multiply_accumulates(lambda: layer(image)) == 2 * 10 * 12 * 3 * 5 * 9
    assert multiply_accumulates(lambda: linear(image)) == 2 * 3 * 10 * 12 * 7
