"""The discriminator of CSS-Diff: says of every patch of a slice whether it is real (PatchGAN, Isola et al. 2017)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from .residual_unet import activation, initialise


class PatchDiscriminator(nn.Module):
    """Strided convolutions within the slice; the class shifts the first features.

    Args:
        widths: channels of each level, at a half, a quarter, ... of the resolution.
        classes: contrast x orientation, see diffusion.denoiser.
    """

    def __init__(self, widths: Sequence[int] = (32, 64, 128), classes: int = 12) -> None:
        super().__init__()
        inputs = (1, *widths[:-1])
        self.levels = nn.ModuleList(
            nn.Conv3d(before, width, (1, 4, 4), (1, 2, 2), (0, 1, 1))
            for before, width in zip(inputs, widths, strict=True)
        )
        self.classes = nn.Embedding(classes, widths[0])
        self.head = nn.Conv3d(widths[-1], 1, (1, 3, 3), padding=(0, 1, 1))
        nn.init.zeros_(self.classes.weight)
        initialise(self)

    def forward(self, slices: Tensor, kind: Tensor) -> Tensor:
        """(B, 1, S, H, W) and classes (B,) -> (B, 1, S, h, w), about 1 for real and 0 for false patches."""
        hidden = self.levels[0](slices) + self.classes(kind)[:, :, None, None, None]
        for level in self.levels[1:]:
            hidden = level(activation(hidden))
        return self.head(activation(hidden))
