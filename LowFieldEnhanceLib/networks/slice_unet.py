"""The 2-D residual U-Net of the slice prior, on stacks of slices.

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


def _convolution(inputs: int, outputs: int) -> nn.Conv3d:
    """3 x 3 within the slice."""
    return nn.Conv3d(inputs, outputs, (1, 3, 3), padding=(0, 1, 1))


class SliceBlock(ResidualBlock):
    """The residual block with convolutions within the slice."""

    def __init__(self, channels: int, embedding: int) -> None:
        super().__init__(channels, embedding)
        self.first = _convolution(channels, channels)
        self.second = _convolution(channels, channels)


class SliceUNet(Levels):
    """2-D residual U-Net with a noise level and a class.

    Args:
        widths: channels of each level; level n works at 1 / 2^(n+1) of the slice's resolution.
        blocks: residual blocks a level, on the way down and again on the way up.
        embedding: width of the embedding of noise level plus class.
        classes: number of classes (contrast x orientation, see diffusion.denoiser).
        output_scale: factor on the output, about the size of the target.

    The edges H and W of a slice must be multiples of :attr:`multiple` pixels.
    """

    def __init__(
        self,
        widths: Sequence[int] = (64, 128, 192, 256),
        blocks: int = 2,
        embedding: int = 128,
        classes: int = 12,
        output_scale: float = 0.3,
    ) -> None:
        super().__init__()
        self.output_scale = output_scale
        self.multiple = STRIDE ** len(widths)
        self.embed = NoiseEmbedding(embedding)
        self.classes = nn.Embedding(classes, embedding)
        nn.init.zeros_(self.classes.weight)
        self.stem = _convolution(SUBPIXELS, widths[0])
        self.build_levels(widths, blocks, lambda width: SliceBlock(width, embedding), (1, STRIDE, STRIDE))
        self.head = _convolution(widths[0], SUBPIXELS)
        initialise(self)

    def forward(self, x: Tensor, noise: Tensor, kind: Tensor) -> Tensor:
        """Stacks (B, 1, S, H, W), noise (B,) of order one, class (B,) integer -> (B, 1, S, H, W).

        Raises:
            ValueError: H or W is not a multiple of :attr:`multiple`.
        """
        if any(edge % self.multiple for edge in x.shape[3:]):
            raise ValueError(
                f"slices of {tuple(x.shape[3:])} pixels must have edges that are multiples of {self.multiple}"
            )
        embedding = self.embed(noise) + self.classes(kind)
        hidden = self.stem(_unshuffle(x).contiguous(memory_format=torch.channels_last_3d))
        hidden = self.through_levels(hidden, embedding)
        return self.output_scale * _shuffle(self.head(activation(hidden)))


def _unshuffle(x: Tensor) -> Tensor:
    """(B, C, S, 2h, 2w) -> (B, 4C, S, h, w)."""
    return F.pixel_unshuffle(x.transpose(1, 2), STRIDE).transpose(1, 2)


def _shuffle(x: Tensor) -> Tensor:
    """(B, 4C, S, h, w) -> (B, C, S, 2h, 2w), the inverse of :func:`_unshuffle`."""
    return F.pixel_shuffle(x.transpose(1, 2), STRIDE).transpose(1, 2)
