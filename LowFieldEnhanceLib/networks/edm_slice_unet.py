"""The slice network with the preconditioning of EDM (Karras et al. 2022, section 5), to compare it with DDPM's."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn

from .slice_unet import SliceUNet

OFFSET, LEAST = 0.008, 1e-5  # of the cosine schedule (Nichol and Dhariwal 2021, eq. 17), as the samplers have it


class EdmSliceUNet(nn.Module):
    """D(x, sigma) = c_skip x + c_out F(c_in x, ln(sigma) / 4), F a :class:`SliceUNet`.

    c_skip = s^2 / (sigma^2 + s^2), c_out = sigma s / sqrt(sigma^2 + s^2), c_in = 1 / sqrt(sigma^2 + s^2), s the
    standard deviation of the data. Called and answered as SliceUNet is: it sees sqrt(abar) x and returns u with
    D = abar x - u, so that samplers and losses know one kind of network.

    Args:
        deviation: s.
        architecture: of F.
    """

    def __init__(self, deviation: float = 0.6, **architecture: Any) -> None:
        super().__init__()
        self.deviation = deviation
        self.network = SliceUNet(**architecture)
        self.multiple = self.network.multiple

    def forward(self, x: Tensor, noise: Tensor, kind: Tensor) -> Tensor:
        """x (B, 1, S, H, W), t / T (B,), class (B,) -> u (B, 1, S, H, W); float32 whatever the network computes in."""
        abar = signal_share(noise.float())[:, None, None, None, None]
        sigma = ((1 - abar) / abar).sqrt()
        noisy = x.float() / abar.sqrt()
        spread = (sigma**2 + self.deviation**2).sqrt()
        answer = self.network(noisy / spread, sigma.clamp_min(1e-4).log().flatten() / 4, kind).float()
        denoised = (self.deviation / spread) ** 2 * noisy + sigma * self.deviation / spread * answer
        return abar.sqrt() * x.float() - denoised


def signal_share(time: Tensor) -> Tensor:
    """abar of t / T in 0..1, the cosine schedule."""
    angle = (time + OFFSET) / (1 + OFFSET) * (math.pi / 2)
    start = math.cos(OFFSET / (1 + OFFSET) * math.pi / 2) ** 2
    return (angle.cos() ** 2 / start).clamp(LEAST, 1.0)
