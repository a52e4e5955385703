"""The 3-D residual U-Net shared by the regression baseline, the bridge, the prior and the segmenter.

Convolutions run at half resolution and below (a 2 x 2 x 2 patchify stem, pixel shuffle at the end) with at least
64 channels and no normalisation layers: on a CPU this layout is several times faster per multiply-add than thin
full-resolution layers. An optional noise-level embedding modulates every block (FiLM, Perez et al. 2018).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STRIDE = 2
NEGATIVE_SLOPE = 0.2
BRANCH_SCALE = 0.2
FILM_SCALE = 0.1
TOP_FREQUENCY = 30.0


def activation(x: Tensor) -> Tensor:
    """Leaky ReLU: never flat, so that a network without normalisation cannot die."""
    return F.leaky_relu(x, NEGATIVE_SLOPE)


def pixel_unshuffle3d(x: Tensor) -> Tensor:
    """(B, C, 2i, 2j, 2k) -> (B, 8C, i, j, k)."""
    b, c, i, j, k = x.shape
    x = x.reshape(b, c, i // 2, 2, j // 2, 2, k // 2, 2)
    return x.permute(0, 1, 3, 5, 7, 2, 4, 6).reshape(b, c * 8, i // 2, j // 2, k // 2)


def pixel_shuffle3d(x: Tensor) -> Tensor:
    """(B, 8C, i, j, k) -> (B, C, 2i, 2j, 2k), the inverse of :func:`pixel_unshuffle3d`."""
    b, c, i, j, k = x.shape
    x = x.reshape(b, c // 8, 2, 2, 2, i, j, k)
    return x.permute(0, 1, 5, 2, 6, 3, 7, 4).reshape(b, c // 8, i * 2, j * 2, k * 2)


class NoiseEmbedding(nn.Module):
    """Sinusoidal embedding of a noise coordinate, or of several coordinates, then two linear layers (Ho et al. 2020).

    Args:
        width: length of the embedding.
        coordinates: number of coordinates. One that is not a number (unknown) contributes nothing.
    """

    def __init__(self, width: int, coordinates: int = 1) -> None:
        super().__init__()
        half = width // 2
        self.coordinates = coordinates
        self.register_buffer(
            "frequencies", torch.exp(torch.linspace(0, math.log(TOP_FREQUENCY), half)), persistent=False
        )
        self.layers = nn.Sequential(
            nn.Linear(2 * half * coordinates, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()
        )

    def forward(self, noise: Tensor) -> Tensor:
        """(B,) or (B, coordinates) of order one -> (B, width)."""
        noise = noise.reshape(noise.shape[0], self.coordinates).float()
        known = torch.isfinite(noise)[..., None]
        angles = torch.nan_to_num(noise)[..., None] * self.frequencies
        return self.layers((torch.cat([angles.sin(), angles.cos()], dim=-1) * known).flatten(1))


class ResidualBlock(nn.Module):
    """x + 0.2 conv(act(FiLM(conv(act(x)))))."""

    def __init__(self, channels: int, embedding: int) -> None:
        super().__init__()
        self.first = nn.Conv3d(channels, channels, 3, padding=1)
        self.second = nn.Conv3d(channels, channels, 3, padding=1)
        self.film = nn.Linear(embedding, 2 * channels) if embedding else None
        if self.film is not None:
            nn.init.zeros_(self.film.weight)
            nn.init.zeros_(self.film.bias)

    def forward(self, x: Tensor, embedding: Tensor | None) -> Tensor:
        """(B, C, I, J, K), embedding (B, E), one for each plane of I (B, I, E), or None -> (B, C, I, J, K)."""
        hidden = self.first(activation(x))
        if self.film is not None and embedding is not None:
            film = self.film(embedding).movedim(-1, 1)
            scale, shift = film.reshape(*film.shape, *(1,) * (5 - film.ndim)).chunk(2, dim=1)
            hidden = hidden * (1 + FILM_SCALE * scale) + FILM_SCALE * shift
        return x + BRANCH_SCALE * self.second(activation(hidden))


class Levels(nn.Module):
    """The levels of a U-Net between stem and head: residual blocks on the way down and again on the way up."""

    def build_levels(
        self, widths: Sequence[int], blocks: int, block: Callable[[int], nn.Module], window: tuple[int, int, int]
    ) -> None:
        """Make the layers.

        Args:
            widths: channels of each level.
            blocks: residual blocks a level and direction.
            block: channels to a fresh block.
            window: voxels of a level that make one of the next.
        """
        self.down, self.reduce = nn.ModuleList(), nn.ModuleList()
        self.up, self.expand = nn.ModuleList(), nn.ModuleList()
        for level, width in enumerate(widths):
            self.down.append(nn.ModuleList(block(width) for _ in range(blocks)))
            if level + 1 < len(widths):
                self.reduce.append(nn.Conv3d(width, widths[level + 1], window, stride=window))
                self.expand.append(nn.ConvTranspose3d(widths[level + 1], width, window, stride=window))
                self.up.append(nn.ModuleList(block(width) for _ in range(blocks)))

    def through_levels(self, hidden: Tensor, embedding: Tensor | None) -> Tensor:
        """(B, widths[0], I, J, K), embedding (B, E) or None -> the same shape."""
        skips = []
        for level, group in enumerate(self.down):
            for block in group:
                hidden = block(hidden, embedding)
            if level < len(self.reduce):
                skips.append(hidden)
                hidden = self.reduce[level](hidden)
        for level in reversed(range(len(self.expand))):
            hidden = self.expand[level](hidden) + skips.pop()
            for block in self.up[level]:
                hidden = block(hidden, embedding)
        return hidden


class ResidualUNet(Levels):
    """3-D residual U-Net on space-to-depth input.

    Args:
        in_channels: channels of the input volume.
        out_channels: channels of the output volume.
        widths: channels of each level; level n works at 1 / 2^(n+1) of the input resolution.
        blocks: residual blocks a level, on the way down and again on the way up.
        embedding: width of the noise embedding; 0 makes a network without noise input.
        coordinates: numbers the embedding takes: 1 for a noise level, several to describe an acquisition.
        head_kernel: edge of the last convolution (1 keeps many output channels cheap).
        output_scale: factor on the output, about the size of the target.

    The edge of the input must be a multiple of :attr:`multiple` voxels.
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        widths: Sequence[int] = (64, 96, 128),
        blocks: int = 2,
        embedding: int = 0,
        head_kernel: int = 3,
        output_scale: float = 0.1,
        coordinates: int = 1,
    ) -> None:
        super().__init__()
        self.output_scale = output_scale
        self.multiple = STRIDE ** len(widths)
        self.embed = NoiseEmbedding(embedding, coordinates) if embedding else None
        self.stem = nn.Conv3d(in_channels * 8, widths[0], 3, padding=1)
        self.build_levels(widths, blocks, lambda width: ResidualBlock(width, embedding), (STRIDE,) * 3)
        self.head = nn.Conv3d(widths[0], out_channels * 8, head_kernel, padding=head_kernel // 2)
        initialise(self)

    def forward(self, x: Tensor, noise: Tensor | None = None, added: Tensor | None = None) -> Tensor:
        """(B, in_channels, I, J, K), noise (B,) or (B, coordinates) -> (B, out_channels, I, J, K).

        Args:
            x: the volume.
            noise: noise level, or what the embedding takes in its place.
            added: (B, widths[0], I/2, J/2, K/2) to be added to the stem's features.

        Raises:
            ValueError: an edge is not a multiple of :attr:`multiple`, or the noise is missing.
        """
        return self.output_scale * pixel_shuffle3d(self.head(activation(self.features(x, noise, added))))

    def features(self, x: Tensor, noise: Tensor | None = None, added: Tensor | None = None) -> Tensor:
        """What the last convolution sees: (B, in_channels, I, J, K) -> (B, widths[0], I/2, J/2, K/2).

        Raises:
            ValueError: see :meth:`forward`.
        """
        if any(edge % self.multiple for edge in x.shape[2:]):
            raise ValueError(f"edges {tuple(x.shape[2:])} must be multiples of {self.multiple}")
        if (self.embed is None) != (noise is None):
            raise ValueError("the noise level must be given exactly when the network has a noise embedding")
        embedding = self.embed(noise) if self.embed is not None and noise is not None else None
        hidden = self.stem(pixel_unshuffle3d(x).contiguous(memory_format=torch.channels_last_3d))
        return self.through_levels(hidden if added is None else hidden + added, embedding)


def initialise(network: nn.Module) -> None:
    """He initialisation (He et al. 2015).

    Without normalisation layers the scale of weights and outputs sets the effective learning rate. Fixed factors on
    the residual branches (Lim et al. 2017, EDSR), on FiLM and on the output keep Adam's steps small where they add up
    over a large fan-in; with torch's default and zeros instead, the first large steps switched the network off.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
            nn.init.kaiming_normal_(module.weight, a=NEGATIVE_SLOPE, nonlinearity="leaky_relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
