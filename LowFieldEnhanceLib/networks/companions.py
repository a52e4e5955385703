"""What the bridge learns from further contrasts of the same head: features beside those of the contrast to be enhanced.

A network that is given all contrasts in one stem mixes them before it can know which of them is wanted. Here the bridge
sees the wanted contrast alone, and a network beside it (as in ControlNet, Zhang et al. 2023) looks at that contrast and
at the others and adds to what the bridge's first convolution found. Its last convolution starts at zero, and with no
other contrast given it is not asked at all: further contrasts can then add to a result, and nothing else changes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .residual_unet import Levels, ResidualBlock, ResidualUNet, activation, initialise, pixel_unshuffle3d

CONTRASTS = 3


class CompanionEncoder(Levels):
    """Features that the contrasts given beside the wanted one add to the bridge's stem.

    Args:
        width: channels, those of the bridge's first level.
        blocks: residual blocks.
    """

    def __init__(self, width: int = 64, blocks: int = 2) -> None:
        super().__init__()
        self.multiple = 2
        self.stem = nn.Conv3d(2 * CONTRASTS * 8, width, 3, padding=1)
        self.build_levels((width,), blocks, lambda channels: ResidualBlock(channels, 0), (1, 1, 1))
        self.head = nn.Conv3d(width, width, 3, padding=1)
        initialise(self)
        nn.init.zeros_(self.head.weight)

    def forward(self, target: Tensor, companions: Tensor) -> Tensor:
        """Images in the channels of their contrasts, 0 elsewhere: two (B, 3, I, J, K) -> (B, W, I/2, J/2, K/2)."""
        shown = pixel_unshuffle3d(torch.cat([target, companions], 1))
        hidden = self.stem(shown.contiguous(memory_format=torch.channels_last_3d))
        return self.head(activation(self.through_levels(hidden, None)))


class CompaniedBridge(nn.Module):
    """The bridge with its companions' encoder, called like the bridge with three channels more.

    Args:
        bridge: of 6 input channels.
        encoder: of the bridge's width.
    """

    def __init__(self, bridge: ResidualUNet, encoder: CompanionEncoder) -> None:
        super().__init__()
        self.bridge, self.encoder, self.multiple = bridge, encoder, bridge.multiple

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        """(B, 9, I, J, K) the wanted contrast, its mark, the others; told (B, 12) of the first -> (B, 3, I, J, K)."""
        target, marks, companions = x.split([CONTRASTS] * (x.shape[1] // CONTRASTS), 1)
        return self.bridge(torch.cat([target, marks], 1), told, self.encoder(target, companions))


def roles(low: Tensor, presence: Tensor, channels: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Scans by their part in a run.

    Args:
        low: (B, 3, I, J, K) scans in the model range.
        presence: (B, 3, ...) ones where a contrast is given; broadcast against ``low``.
        channels: of the wanted contrast, one for each sample.

    Returns:
        the wanted contrast alone (0 elsewhere), ones in its channel, and the others alone; each as ``low``.
    """
    wanted = torch.zeros_like(low)
    for sample, channel in enumerate(channels):
        wanted[sample, channel] = 1.0
    wanted = wanted * presence
    return low * wanted, wanted, low * (presence - wanted)


def told_of(acquisitions: Tensor, target: int) -> Tensor:
    """(3, 4) coordinates of all contrasts -> (12,), those of the wanted one alone; not a number elsewhere."""
    alone = torch.full_like(acquisitions, torch.nan)
    alone[target] = acquisitions[target]
    return alone.flatten()
