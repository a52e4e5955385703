"""The conditional U-Net of the latent diffusion, with the encoder E2 of the low-field slices: teacher and student.

The layout of the slice networks (slice_unet.py) on latents. The logarithm of the bias field enters every level on the
way down, that of the gradient nonlinearity's Jacobian determinant every level on the way up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..physics.acquisition import COORDINATES
from .latent_autoencoder import FACTOR, LatentAutoencoder, SliceEncoder
from .pooling import cell_means
from .residual_unet import STRIDE, Levels, NoiseEmbedding, activation, initialise
from .slice_unet import SUBPIXELS, SliceBlock, convolution

OUTPUT_SCALE = 0.5
MAP_SCALE = 5.0  # brings logarithms of about 0.1 to order one


@dataclass(frozen=True)
class Condition:
    """What is known of slices, the same at every noise level.

    Attributes:
        maps: (B, latent + condition, S, h, w) latent of the interpolated slice and features of E2.
        embedding: (B, E) class and acquisition.
        bias, gain: (B, 1, S, h, w) logarithms of the receive field and of the Jacobian determinant.
    """

    maps: Tensor
    embedding: Tensor
    bias: Tensor
    gain: Tensor


class LatentUNet(Levels):
    """See the module's text.

    Args:
        widths: channels of each level; the first works on latents, at a quarter of the slice's resolution.
        blocks: residual blocks a level, on the way down and again on the way up.
        embedding: width of the embedding of noise level, class and acquisition.
        condition_widths, condition_blocks: of E2, see SliceEncoder.
        condition: channels that E2 gives.
        latent: channels of the latent.
        neighbours: low-field slices shown on each side.
        classes: contrast x orientation, see diffusion.denoiser.slice_class.
        residual_scale: standard deviation, in the autoencoder's units, of what the interpolated slice's latent lacks.

    The network returns the velocity v = sqrt(abar) eps - sqrt(1 - abar) r (Salimans and Ho 2022) of the residual r of
    latents, divided by ``residual_scale``. Edges of slices must be multiples of :attr:`multiple` pixels.
    """

    def __init__(
        self,
        widths: Sequence[int] = (128, 192, 256),
        blocks: int = 2,
        embedding: int = 128,
        condition_widths: Sequence[int] = (64, 96),
        condition_blocks: Sequence[int] = (1, 2),
        condition: int = 32,
        latent: int = 12,
        neighbours: int = 1,
        classes: int = 12,
        residual_scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.multiple = FACTOR * STRIDE ** (len(widths) - 1)
        self.latent, self.neighbours, self.residual_scale = latent, neighbours, residual_scale
        self.encoder = SliceEncoder(2 * neighbours + 1, condition, condition_widths, condition_blocks)
        self.embed = NoiseEmbedding(embedding)
        self.acquisition = NoiseEmbedding(embedding, COORDINATES)
        self.classes = nn.Embedding(classes, embedding)
        nn.init.zeros_(self.classes.weight)
        self.stem = convolution(2 * latent + condition, widths[0])
        self.build_levels(widths, blocks, lambda width: SliceBlock(width, embedding), (1, STRIDE, STRIDE))
        self.head = convolution(widths[0], latent)
        self.bias = nn.ModuleList(convolution(1, width) for width in widths)
        self.gain = nn.ModuleList(convolution(1, width) for width in widths[:-1])
        self.register_buffer("trained", torch.zeros((), dtype=torch.long))
        initialise(self)
        for layer in (*self.bias, *self.gain):
            nn.init.zeros_(layer.weight)

    def condition(
        self,
        low: Tensor,
        start: Tensor,
        kind: Tensor,
        told: Tensor | None = None,
        bias: Tensor | None = None,
        gain: Tensor | None = None,
    ) -> Condition:
        """What is known of slices.

        Args:
            low: (B, 2 neighbours + 1, S, H, W) low-field slice in the middle and its neighbours, model range.
            start: (B, latent, S, H/4, W/4) latent of the slice in the middle, normalised.
            kind: (B,) class.
            told: (B, 4) acquisition along the slices (methods.slices.told_along); None: nothing is known.
            bias: (B, 1, S, H, W) logarithm of the receive field; None: even.
            gain: (B, 1, S, H, W) logarithm of the Jacobian determinant of the gradient unwarping; None: identity.

        Raises:
            ValueError: H or W is not a multiple of :attr:`multiple`.
        """
        if any(edge % self.multiple for edge in low.shape[3:]):
            raise ValueError(
                f"slices of {tuple(low.shape[3:])} pixels must have edges that are multiples of {self.multiple}"
            )
        embedding = self.classes(kind)
        if told is not None:
            embedding = embedding + self.acquisition(told)
        features = self.encoder(low)
        nothing = low.new_zeros(low.shape[0], 1, *features.shape[2:])
        maps = [nothing if field is None else MAP_SCALE * _pooled(field, FACTOR) for field in (bias, gain)]
        return Condition(torch.cat([start.to(features.dtype), features], 1), embedding, *maps)

    def forward(self, noisy: Tensor, noise: Tensor, condition: Condition) -> Tensor:
        """Noisy residual (B, latent, S, h, w) with its noise coordinate (B,) -> velocity, same shape."""
        return self.with_features(noisy, noise, condition)[0]

    def with_features(self, noisy: Tensor, noise: Tensor, condition: Condition) -> tuple[Tensor, list[Tensor]]:
        """The velocity, and the features at the end of every level on the way down, then on the way up."""
        embedding = self.embed(noise) + condition.embedding
        maps = condition.maps
        hidden = torch.cat([noisy.to(maps.dtype), maps], 1).contiguous(memory_format=torch.channels_last_3d)
        hidden = self.stem(hidden)
        ends: list[Tensor] = []
        for level, group in enumerate(self.down):
            hidden = hidden + self.bias[level](_pooled(condition.bias, STRIDE**level))
            for block in group:
                hidden = block(hidden, embedding)
            ends.append(hidden)
            if level < len(self.reduce):
                hidden = self.reduce[level](hidden)
        for level in reversed(range(len(self.expand))):
            hidden = self.expand[level](hidden) + ends[level]
            hidden = hidden + self.gain[level](_pooled(condition.gain, STRIDE**level))
            for block in self.up[level]:
                hidden = block(hidden, embedding)
            ends.append(hidden)
        return OUTPUT_SCALE * self.head(activation(hidden)), ends

    @torch.no_grad()
    def start_from(self, autoencoder: LatentAutoencoder) -> None:
        """Give E2 the weights of E1 where they fit: the stem's to the slice in the middle, every level's."""
        source, target = autoencoder.encoder, self.encoder
        if target.patches != source.patches or target.stem.out_channels != source.stem.out_channels:
            return
        first = self.neighbours * SUBPIXELS
        target.stem.weight.zero_()
        target.stem.weight[:, first : first + SUBPIXELS] = source.stem.weight
        known = {k: v for k, v in source.state_dict().items() if not k.startswith(("stem.weight", "head"))}
        own = target.state_dict()
        for name, values in known.items():
            if name in own and own[name].shape == values.shape:
                own[name].copy_(values)


def _pooled(image: Tensor, factor: int) -> Tensor:
    """(B, C, S, H, W) averaged within the slices over ``factor`` x ``factor`` pixels."""
    return image if factor == 1 else cell_means(image, (1, factor, factor))
