"""Slice-wise gap perception (SGP) of CSS-Diff: twin vision transformers that know a slice at low and at high field.

Contrastive, as CLIP (Radford et al. 2021): the embeddings of the same slice point the same way, those of other slices
do not. So the cosine similarity says which high-field slice shows what a low-field slice shows, and the embedding says
where in the head a slice lies.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import BadInput

# The first one; 0.07 in the public code. Slices 1 mm apart are alike to within 1 % of cosine similarity: at 0.07 their
# logits hardly differ, and an optimiser that moves the logarithm by 5e-4 a step takes thousands of steps to get here.
TEMPERATURE = 0.02
BACKGROUND = -1.0  # of the model range
MOST_SIMILARITY_SCALE = 100.0
NARROWEST = 16  # channels of the stem


def framed(slices: Tensor, edge: int) -> Tensor:
    """The middle of slices, cut or filled up with background to a square.

    Args:
        slices: (..., H, W) in the model range.
        edge: pixels.

    Returns:
        (..., edge, edge); pixel n // 2 of an edge of n lies on pixel edge // 2.
    """
    for axis in (-2, -1):
        size = slices.shape[axis]
        first = size // 2 - edge // 2
        low, high = max(first, 0), min(first + edge, size)
        slices = slices.narrow(axis, low, high - low)
        fill = (low - first, first + edge - high)
        slices = F.pad(slices, fill if axis == -1 else (0, 0, *fill), value=BACKGROUND)
    return slices


def convolutional_stem(patch: int, width: int) -> nn.Sequential:
    """(B, 1, 1, H, W) -> (B, width, 1, H / patch, W / patch): a convolution of stride 2 for every factor of 2."""
    count = patch.bit_length() - 1
    widths = [1, *(max(width >> (count - 1 - n), NARROWEST) for n in range(1, count)), width]
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [
            nn.Conv3d(before, after, (1, 3, 3), (1, 2, 2), (0, 1, 1)), nn.GroupNorm(1, after), nn.GELU(),
        ]  # fmt: skip
    return nn.Sequential(*layers[:-2], nn.Conv3d(width, width, 1))


class SliceViT(nn.Module):
    """A vision transformer (Dosovitskiy et al. 2021) that embeds a slice.

    Its patches come from strided convolutions (Xiao et al. 2021), and its embedding is that of all patches side by
    side: the mean of them (or a class token) forgets where in the slice a sulcus runs, and that is what tells a
    sagittal slice from its mirror image in the other hemisphere, and a slice from its neighbour.

    Args:
        edge: of the square slices in pixels.
        patch: edge of a patch, a power of 2.
        width: of the tokens.
        layers, heads: of the transformer (pre-norm).
        embedding: length of the embedding, a multiple of the number of patches.

    Raises:
        BadInput: sizes that do not fit each other.
    """

    def __init__(self, edge: int, patch: int, width: int, layers: int, heads: int, embedding: int) -> None:
        super().__init__()
        patches = (edge // patch) ** 2
        if patch < 2 or patch & (patch - 1) or edge % patch or embedding % patches:
            raise BadInput(
                f"slices of {edge} pixels, patches of {patch} and an embedding of {embedding} do not fit: the patch is "
                "a power of 2 that divides the slice, and every patch has the same share of the embedding"
            )
        self.edge, self.patch = edge, patch
        self.stem = convolutional_stem(patch, width)
        self.places = nn.Parameter(0.02 * torch.randn(patches, width))
        layer = nn.TransformerEncoderLayer(
            width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, layers, nn.LayerNorm(width), enable_nested_tensor=False)
        self.head = nn.Linear(width, embedding // patches)

    def forward(self, slices: Tensor) -> Tensor:
        """(B, H, W) in the model range, framed to the network's edge here -> (B, embedding) of length one."""
        frames = framed(slices, self.edge)[:, None, None]
        tokens = self.stem(frames).flatten(2).transpose(1, 2)
        hidden = self.layers(tokens + self.places)
        return F.normalize(self.head(hidden).flatten(1).float(), dim=1)


class GapPerception(nn.Module):
    """The twins and their temperature.

    Args:
        edge, patch, width, layers, heads, embedding: of both, see :class:`SliceViT`.
    """

    def __init__(
        self,
        edge: int = 192,
        patch: int = 16,
        width: int = 128,
        layers: int = 4,
        heads: int = 4,
        embedding: int = 1152,
    ) -> None:
        super().__init__()
        self.low = SliceViT(edge, patch, width, layers, heads, embedding)
        self.high = SliceViT(edge, patch, width, layers, heads, embedding)
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / TEMPERATURE)))

    @property
    def edge(self) -> int:
        """Pixels of the square that the twins look at."""
        return self.low.edge

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        """Similarity of every low-field slice (B, H, W) to every high-field slice (C, H, W), (B, C), as logits."""
        scale = self.log_scale.exp().clamp_max(MOST_SIMILARITY_SCALE)
        return scale * self.low(low) @ self.high(high).T
