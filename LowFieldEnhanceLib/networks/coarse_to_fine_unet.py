"""A segmentation network in two resolutions: a U-Net that sees the whole head coarsely, and a fine level on top of it.

The coarse part is a residual U-Net on the image averaged over 2 x 2 x 2 voxels; it knows where everything is. The fine
part sees the image itself beside the coarse part's features and draws the borders. Its cost is that of one level, and
it may be evaluated on a part of the volume only, so that memory and time go where the brain is.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .pooling import cell_means
from .residual_unet import ResidualBlock, ResidualUNet, activation, initialise, pixel_shuffle3d, pixel_unshuffle3d

FEATURE_STRIDE = 4  # voxels of the image a voxel of the coarse features


class CoarseToFineUNet(nn.Module):
    """See the module's text.

    Args:
        in_channels: channels of the image.
        out_channels: classes.
        widths, blocks: of the coarse U-Net.
        fine_blocks: residual blocks of the fine level, at half the image's resolution, ``widths[0]`` channels.
        spacing: of the images it is made for, mm, isotropic.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        widths: Sequence[int],
        blocks: int = 2,
        fine_blocks: int = 2,
        spacing: float = 1.0,
    ) -> None:
        super().__init__()
        self.spacing = spacing
        width = widths[0]
        self.coarse = ResidualUNet(in_channels, out_channels, widths, blocks, head_kernel=1, output_scale=1.0)
        self.stem = nn.Conv3d(in_channels * 8, width, 3, padding=1)
        self.expand = nn.ConvTranspose3d(width, width, 2, stride=2)
        self.blocks = nn.ModuleList(ResidualBlock(width, 0) for _ in range(fine_blocks))
        self.head = nn.Conv3d(width, out_channels * 8, 1)
        self.multiple = 2 * self.coarse.multiple
        for module in (self.stem, self.expand, self.blocks, self.head):
            initialise(module)
        with torch.no_grad():  # the fine level starts as a small correction of the coarse scores
            self.head.weight.mul_(0.1)

    def coarse_pass(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features and scores of the whole volume.

        Args:
            x: (B, in_channels, I, J, K), edges multiples of :attr:`multiple`.

        Returns:
            features (B, widths[0], I/4, J/4, K/4), scores (B, out_channels, I/2, J/2, K/2).
        """
        features = self.coarse.features(cell_means(x, (2, 2, 2)))
        return features, pixel_shuffle3d(self.coarse.head(activation(features)))

    def fine_pass(self, x: Tensor, features: Tensor, scores: Tensor) -> Tensor:
        """Scores of a part of the volume at full resolution.

        Args:
            x: (B, in_channels, i, j, k) part of the image, edges multiples of 4.
            features, scores: the same part of what :meth:`coarse_pass` returned.

        Returns:
            (B, out_channels, i, j, k).
        """
        fine = pixel_unshuffle3d(x).contiguous(memory_format=torch.channels_last_3d)
        hidden = self.stem(fine) + self.expand(activation(features))
        for block in self.blocks:
            hidden = block(hidden, None)
        correction = self.head(activation(hidden)).unflatten(1, (scores.shape[1], 8))
        return pixel_shuffle3d((correction + scores[:, :, None]).flatten(1, 2))

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, I, J, K), edges multiples of :attr:`multiple` -> scores (B, out_channels, I, J, K)."""
        return self.fine_pass(x, *self.coarse_pass(x))
