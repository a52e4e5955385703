"""The autoencoder of the latent diffusion: slices to latents at a quarter of their resolution, and back.

The layout of the slice networks (slice_unet.py): stacks (B, C, S, H, W) whose S slices never mix, a 2 x 2 patchify
stem, residual blocks without normalisation, pixel shuffle at the end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .residual_unet import STRIDE, activation, initialise
from .slice_unet import SUBPIXELS, SliceBlock, convolution, shuffle, unshuffle

FACTOR = 4  # pixels of a slice along an edge that make one of its latent
LOG_VARIANCE = (-14.0, 2.0)
FIRST_LOG_VARIANCE = -8.0
MOMENTUM = 0.98
HEAD_SCALE = 0.1  # of what the networks add to the linear maps


class SliceEncoder(nn.Module):
    """Slices -> features at a quarter of the resolution.

    Args:
        in_channels: slices shown together.
        out_channels: of the features.
        widths: channels at half and at a quarter of the resolution; a single one works at a quarter only.
        blocks: residual blocks at each.
    """

    def __init__(self, in_channels: int, out_channels: int, widths: Sequence[int], blocks: Sequence[int]) -> None:
        super().__init__()
        self.patches = FACTOR // STRIDE ** (len(widths) - 1)
        self.stem = convolution(in_channels * self.patches**2, widths[0])
        self.levels = nn.ModuleList(
            nn.ModuleList(SliceBlock(width, 0) for _ in range(count))
            for width, count in zip(widths, blocks, strict=True)
        )
        window = (1, STRIDE, STRIDE)
        self.reduce = nn.ModuleList(
            nn.Conv3d(width, following, window, stride=window)
            for width, following in zip(widths[:-1], widths[1:], strict=True)
        )
        self.head = convolution(widths[-1], out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, S, H, W) -> (B, out_channels, S, H/4, W/4)."""
        hidden = x
        for _ in range(self.patches // STRIDE):
            hidden = unshuffle(hidden)
        hidden = self.stem(hidden.contiguous(memory_format=torch.channels_last_3d))
        for level, group in enumerate(self.levels):
            for block in group:
                hidden = block(hidden, None)
            if level < len(self.reduce):
                hidden = self.reduce[level](hidden)
        return self.head(activation(hidden))


class LatentAutoencoder(nn.Module):
    """Variational autoencoder of single slices (Rombach et al. 2022): encoder E1 and decoder D.

    Both are a linear map plus a convolutional network. The linear maps start as the lowest frequencies of the discrete
    cosine transform of 4 x 4 pixels, so that training starts from a fair reconstruction, and so that an error of a
    latent is about as large as the error that it makes in the image.

    Args:
        widths: channels at half and at a quarter of the resolution.
        blocks: residual blocks at each, of the encoder.
        decoder_blocks: of the decoder, in the same order.
        latent: channels of the latent, at most 16.
    """

    def __init__(
        self,
        widths: Sequence[int] = (64, 96),
        blocks: Sequence[int] | int = (1, 2),
        decoder_blocks: Sequence[int] | int = (2, 2),
        latent: int = 12,
    ) -> None:
        super().__init__()
        blocks, decoder_blocks = (
            [count] * len(widths) if isinstance(count, int) else count for count in (blocks, decoder_blocks)
        )
        self.multiple, self.latent = FACTOR, latent
        self.encoder = SliceEncoder(1, 2 * latent, widths, blocks)
        self.start = convolution(latent, widths[1])
        self.coarse = nn.ModuleList(SliceBlock(widths[1], 0) for _ in range(decoder_blocks[1]))
        window = (1, STRIDE, STRIDE)
        self.expand = nn.ConvTranspose3d(widths[1], widths[0], window, stride=window)
        self.fine = nn.ModuleList(SliceBlock(widths[0], 0) for _ in range(decoder_blocks[0]))
        self.head = convolution(widths[0], SUBPIXELS)
        cell = (1, FACTOR, FACTOR)
        self.analysis = nn.Conv3d(1, latent, cell, stride=cell)
        self.synthesis = nn.ConvTranspose3d(latent, 1, cell, stride=cell)
        self.register_buffer("mean", torch.zeros(latent))
        self.register_buffer("deviation", torch.ones(latent))
        initialise(self)
        for layer in (self.analysis, self.synthesis):
            layer.weight.data = cosine_basis(latent)[:, None, None]
        for layer in (self.encoder.head, self.head):
            nn.init.zeros_(layer.weight)

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Slices (B, 1, S, H, W), edges multiples of 4 -> mean and log-variance (B, latent, S, H/4, W/4)."""
        correction, log_variance = self.encoder(x).float().chunk(2, dim=1)
        mean = self.analysis(x).float() + HEAD_SCALE * correction
        return mean, (FIRST_LOG_VARIANCE + log_variance).clamp(*LOG_VARIANCE)

    def encode(self, x: Tensor) -> Tensor:
        """Slices (B, 1, S, H, W) in the model range -> latent (B, latent, S, H/4, W/4), the posterior's mean."""
        return self.posterior(x)[0]

    def decode(self, latent: Tensor) -> Tensor:
        """Latent (B, latent, S, h, w) -> slices (B, 1, S, 4h, 4w) in the model range."""
        hidden = self.start(latent.contiguous(memory_format=torch.channels_last_3d))
        for block in self.coarse:
            hidden = block(hidden, None)
        hidden = self.expand(hidden)
        for block in self.fine:
            hidden = block(hidden, None)
        return self.synthesis(latent).float() + HEAD_SCALE * shuffle(self.head(activation(hidden))).float()

    @torch.no_grad()
    def track(self, latent: Tensor) -> None:
        """Follow mean and standard deviation of the latent's channels over the training batches."""
        values = latent.float().transpose(0, 1).flatten(1)
        self.mean.lerp_(values.mean(1), 1 - MOMENTUM)
        self.deviation.lerp_(values.std(1).clamp_min(1e-3), 1 - MOMENTUM)

    def normalised(self, latent: Tensor) -> Tensor:
        """A latent with mean 0 and variance 1 in every channel over the training slices, as a network's input."""
        return (latent - self.mean[:, None, None, None]) / self.deviation[:, None, None, None]

    def forward(self, x: Tensor) -> Tensor:
        """Slices -> the same slices through the latent."""
        return self.decode(self.encode(x))


def cosine_basis(count: int) -> Tensor:
    """The ``count`` lowest frequencies of the orthonormal two-dimensional DCT-II of 4 x 4 pixels: (count, 4, 4)."""
    places = (torch.arange(FACTOR) + 0.5) / FACTOR
    waves = torch.stack([torch.cos(math.pi * n * places) * ((2 if n else 1) / FACTOR) ** 0.5 for n in range(FACTOR)])
    order = sorted(
        ((a, b) for a in range(FACTOR) for b in range(FACTOR)), key=lambda pair: (pair[0] ** 2 + pair[1] ** 2, pair)
    )
    return torch.stack([torch.outer(waves[a], waves[b]) for a, b in order[:count]])
