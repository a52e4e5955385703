"""The 2-D residual U-Net of slices: the prior of DiffDeuR and the generators of CSS-Diff, on stacks of slices.

The layout of the 3-D network (residual_unet.py) with kernels that are one slice thick: a stack (B, C, S, H, W) holds S
slices that the network never mixes. So a volume is denoised in stacks without reshaping, and the same memory format,
blocks and cancel hooks serve both networks.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .residual_unet import STRIDE, Levels, NoiseEmbedding, ResidualBlock, activation, initialise

SUBPIXELS = STRIDE**2  # of the 2 x 2 patchify stem and of the pixel shuffle


def convolution(inputs: int, outputs: int) -> nn.Conv3d:
    """3 x 3 within the slice."""
    return nn.Conv3d(inputs, outputs, (1, 3, 3), padding=(0, 1, 1))


class SliceBlock(ResidualBlock):
    """The residual block with convolutions within the slice."""

    def __init__(self, channels: int, embedding: int) -> None:
        super().__init__(channels, embedding)
        self.first = convolution(channels, channels)
        self.second = convolution(channels, channels)


class SliceUNet(Levels):
    """2-D residual U-Net with a noise level and a class, and if wanted an acquisition and a context.

    Args:
        widths: channels of each level; level n works at 1 / 2^(n+1) of the slice's resolution.
        blocks: residual blocks a level, on the way down and again on the way up.
        embedding: width of the embedding of noise level plus class.
        classes: number of classes (contrast x orientation, see diffusion.denoiser).
        output_scale: factor on the output, about the size of the target.
        in_channels, out_channels: of the stacks.
        coordinates: numbers that describe an acquisition (see physics.acquisition); 0 for a network that is told none.
        context: length of a further vector that the embedding listens to; 0 for none.

    The edges H and W of a slice must be multiples of :attr:`multiple` pixels.
    """

    def __init__(
        self,
        widths: Sequence[int] = (64, 128, 192, 256),
        blocks: int = 2,
        embedding: int = 128,
        classes: int = 12,
        output_scale: float = 0.3,
        in_channels: int = 1,
        out_channels: int = 1,
        coordinates: int = 0,
        context: int = 0,
    ) -> None:
        super().__init__()
        self.output_scale = output_scale
        self.multiple = STRIDE ** len(widths)
        self.embed = NoiseEmbedding(embedding)
        self.classes = nn.Embedding(classes, embedding)
        nn.init.zeros_(self.classes.weight)
        self.acquisition = NoiseEmbedding(embedding, coordinates) if coordinates else None
        self.context = nn.Linear(context, embedding) if context else None
        if self.context is not None:
            nn.init.zeros_(self.context.weight)
            nn.init.zeros_(self.context.bias)
        self.stem = convolution(in_channels * SUBPIXELS, widths[0])
        self.build_levels(widths, blocks, lambda width: SliceBlock(width, embedding), (1, STRIDE, STRIDE))
        self.head = convolution(widths[0], out_channels * SUBPIXELS)
        initialise(self)

    def forward(
        self, x: Tensor, noise: Tensor, kind: Tensor, told: Tensor | None = None, context: Tensor | None = None
    ) -> Tensor:
        """Denoise stacks.

        Args:
            x: (B, in_channels, S, H, W).
            noise: (B,), of order one.
            kind: (B,) integer class.
            told: (B, coordinates), not a number where unknown; None: nothing is known.
            context: (B, context), or (B, S, context) for one a slice; None: none.

        Returns:
            (B, out_channels, S, H, W).

        Raises:
            ValueError: H or W is not a multiple of :attr:`multiple`.
        """
        if any(edge % self.multiple for edge in x.shape[3:]):
            raise ValueError(
                f"slices of {tuple(x.shape[3:])} pixels must have edges that are multiples of {self.multiple}"
            )
        embedding = self.embed(noise) + self.classes(kind)
        if self.acquisition is not None and told is not None:
            embedding = embedding + self.acquisition(told)
        if self.context is not None and context is not None:
            added = self.context(context)
            embedding = (embedding[:, None] if added.ndim == 3 else embedding) + added
        hidden = self.stem(unshuffle(x).contiguous(memory_format=torch.channels_last_3d))
        hidden = self.through_levels(hidden, embedding)
        return self.output_scale * shuffle(self.head(activation(hidden)))


def unshuffle(x: Tensor) -> Tensor:
    """(B, C, S, 2h, 2w) -> (B, 4C, S, h, w)."""
    return F.pixel_unshuffle(x.transpose(1, 2), STRIDE).transpose(1, 2)


def shuffle(x: Tensor) -> Tensor:
    """(B, 4C, S, h, w) -> (B, C, S, 2h, 2w), the inverse of :func:`unshuffle`."""
    return F.pixel_shuffle(x.transpose(1, 2), STRIDE).transpose(1, 2)
