"""What CSS-Diff learns from: slices whose pairs are known, found by SGP, or do not exist."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from ..errors import BadInput
from ..networks.gap_perception import GapPerception
from ..preprocess.intensity import MODEL_MIN
from .css_sgp import embed, repair
from .css_slices import HeadPool, SliceGroup

PAIRINGS = ("none", "weak", "full")
CANDIDATES = 16  # slices of a head among which SGP looks for the pairs
ALONE = 0.2  # share of slices shown without neighbours, as single slices are


@dataclass(frozen=True)
class CycleBatch:
    """B slices of each field strength.

    Attributes:
        low: (B, 3, 1, H, W) low-field slice, in the middle, and its neighbours; model range.
        high: (B, 1, 1, H, W) high-field slice: that of the low-field slice, or any other where ``trusted`` is 0.
        kind_low, kind_high: (B,) classes.
        told: (B, 4) of the low-field scan.
        context_low, context_high: (B, E) what SGP says of the slices; None without it.
        trusted: (B, 1, 1, 1, 1) ones where ``high`` may be compared with ``low``.
    """

    low: Tensor
    high: Tensor
    kind_low: Tensor
    kind_high: Tensor
    told: Tensor
    context_low: Tensor | None
    context_high: Tensor | None
    trusted: Tensor

    @property
    def middle(self) -> Tensor:
        """(B, 1, 1, H, W): the low-field slices alone."""
        return self.low[:, 1:2]

    def to(self, device: str) -> CycleBatch:
        """The same on a device."""
        values = (getattr(self, field.name) for field in fields(self))
        return CycleBatch(*(None if value is None else value.to(device) for value in values))


class CycleSampler:
    """Draws crops of slices.

    Args:
        low: simulated heads of which the low-field slices are shown.
        high: those of which the high-field slices are shown: ``low`` itself, or other heads (pairing ``none``).
        pairing: ``full``: each low-field slice with its high-field slice. ``weak``: the low-field and the high-field
            slices of a head in another order; SGP pairs them again, and without it they stay as they come. ``none``:
            slices of other heads, nothing to compare.
        gap: SGP; None for training without it.
        edge: of the crops in pixels.

    Raises:
        BadInput: an unknown pairing.
    """

    def __init__(
        self, low: HeadPool, high: HeadPool, pairing: str = "full", gap: GapPerception | None = None, edge: int = 96
    ) -> None:
        if pairing not in PAIRINGS:
            raise BadInput(f"the pairing is {', '.join(PAIRINGS)}, not '{pairing}'")
        self.low, self.high, self.pairing, self.gap, self.edge = low, high, pairing, gap, edge

    def valid_range(self) -> dict[str, Any]:
        """Of the low-field slices, see pairs.PairSampler."""
        return self.low.valid_range()

    def batch(self, size: int) -> CycleBatch:
        """``size`` slices of each field strength."""
        each = {"full": 1, "weak": min(2, size), "none": 1}[self.pairing]
        groups = [self._group(each) for _ in range(-(-size // each))]
        columns = zip(*groups, strict=True)
        return CycleBatch(*(None if part[0] is None else torch.cat(part)[:size] for part in columns))

    def _group(self, count: int) -> tuple[Tensor | None, ...]:
        """The fields of a batch of ``count`` slices across one axis of one head."""
        weak = self.pairing == "weak"
        group = self.low.group(CANDIDATES if weak else count, count)
        other = self.high.group(count) if self.pairing == "none" else group
        contexts = (None, None) if self.gap is None else embed(self.gap, group.low[1], other.high)
        order = torch.arange(len(other.high))
        if weak:
            order = torch.from_numpy(self.low.rng.permutation(len(order)))
            if self.gap is not None:
                order = order[repair(contexts[0], contexts[1][order])]
        return self._cut(group, other, order, contexts, min(count, len(group.positions)))

    def _cut(
        self,
        group: SliceGroup,
        other: SliceGroup,
        order: Tensor,
        contexts: tuple[Tensor | None, Tensor | None],
        count: int,
    ) -> tuple[Tensor | None, ...]:
        lows, highs = [], []
        for n in range(count):
            low, high = group.low[:, n], other.high[order[n]]
            if self.low.rng.random() < ALONE:
                low = low[1:2].expand_as(low)
            place = self._place(low[1])
            lows.append(low[:, None][..., place[0], place[1]])
            if self.pairing == "none":
                place = self._place(high)
            highs.append(high[None, None][..., place[0], place[1]])
        low_context, high_context = contexts
        return (
            torch.stack(lows), torch.stack(highs), torch.full((count,), group.kind), torch.full((count,), other.kind),
            group.told.expand(count, -1), None if low_context is None else low_context[:count],
            None if high_context is None else high_context[order[:count]],
            torch.full((count, 1, 1, 1, 1), float(self.pairing != "none")),
        )  # fmt: skip

    def _place(self, image: Tensor) -> tuple[slice, slice]:
        """A square around a random pixel of the brain, moved into the slice."""
        pixels = torch.nonzero(image > MODEL_MIN)
        pixel = pixels[int(self.low.rng.integers(len(pixels)))] if len(pixels) else torch.tensor(image.shape) // 2
        first = [
            min(max(int(p) - self.edge // 2, 0), size - self.edge) for p, size in zip(pixel, image.shape, strict=True)
        ]
        return slice(first[0], first[0] + self.edge), slice(first[1], first[1] + self.edge)
