"""Heads whose labels are known, for the segmenter's training: label maps to paint, and real heads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..segmentation.labels import to_channels
from .data import Head, read_array
from .free_fluid import FREE_FLUID, open_sulci
from .surroundings import nearness, padded

IGNORE = 255  # in the place of a channel: no label is known, the loss leaves the voxel out
FIRST_EXTRA = 40  # channel numbers of tissue outside the brain start here


@dataclass(frozen=True)
class LabelledHead:
    """A label map with tissue classes to paint, and optionally a real image of it.

    Attributes:
        target: uint8 (I, J, K) network channels; 255 where no label is known.
        tissue: uint8 (I, J, K) classes with a common random intensity: channels, or 40.. outside the brain.
        image: float16 (I, J, K) in 0..1 or None.
        near: uint8 (I, J, K), see surroundings.nearness; None for a head that is not stripped.
    """

    target: Tensor
    tissue: Tensor
    image: Tensor | None
    near: Tensor | None = None


def load_label_maps(root: Path) -> list[LabelledHead]:
    """The whole-head label maps (no image)."""
    heads = []
    for path in sorted((root / "label_maps").glob("*.nii.gz")):
        array = read_array(path)
        target = to_channels(array)
        tissue = target.copy()
        for number, value in enumerate(sorted(int(v) for v in np.unique(array) if v >= 500)):
            tissue[array == value] = FIRST_EXTRA + number
        heads.append(LabelledHead(torch.from_numpy(target), torch.from_numpy(tissue), None))
    return heads


def labelled_oasis(heads: Sequence[Head]) -> list[LabelledHead]:
    """Real T1w heads with manual labels and the fluid in their sulci; other unlabelled brain is ignored in the loss."""
    result = []
    for head in heads:
        if head.labels is None:
            continue
        target = head.labels.clone()
        fluid, shallow = map(
            torch.from_numpy, open_sulci(head.images[0].float().numpy(), target.numpy(), head.mask.numpy())
        )
        target[fluid] = FREE_FLUID
        unknown = head.mask & (target == 0)
        tissue = torch.where(unknown, torch.tensor(FIRST_EXTRA, dtype=torch.uint8), target)
        target[unknown | shallow] = IGNORE
        image = ((head.images[0] + 1) / 2).half()
        result.append(LabelledHead(*map(padded, (target, tissue, image)), nearness(padded(head.mask))))
    return result
