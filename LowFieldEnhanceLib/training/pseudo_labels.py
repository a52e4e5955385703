"""Labels for heads that have none, so that the segmenter meets real T2w and FLAIR images (self-training, Lee 2013).

The segmenter labels the T1w image of a head with several co-registered contrasts; these labels then serve for all of
its contrasts. Fluid in the sulci is told by the T1w intensity. Brain that it missed is left open, and so is a tumour.
Labels that it is not sure of count too: those are the borders, and with them left open nothing told the network how
large a structure is on T2w and FLAIR.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from ..evaluation.checks import bounding_box
from .data import Head, head_names, load_heads, read_array
from .free_fluid import FREE_FLUID, open_sulci
from .labelled_heads import IGNORE, LabelledHead
from .surroundings import nearness, padded

Labeller = Callable[[np.ndarray], np.ndarray]


def pseudo_labelled(head: Head, label: Labeller, tumour: np.ndarray | None = None) -> list[LabelledHead]:
    """One labelled head for each contrast of ``head``, cropped to the brain; [] without a T1w image.

    Args:
        head: co-registered contrasts.
        label: (I, J, K) non-negative T1w intensities -> uint8 channels.
        tumour: above 0 where the labels are left open.
    """
    if not bool(head.present[0]):
        return []
    shown = ((head.images[0].float() + 1) / 2).numpy()
    channels = label(shown)
    brain = head.mask.numpy()
    for fluid in open_sulci(shown, channels, brain):
        channels = np.where(fluid, FREE_FLUID, channels)
    open_ = brain & (channels == 0)
    if tumour is not None:
        open_ |= tumour > 0
    target = np.where(brain, channels, 0).astype(np.uint8)
    target[open_] = IGNORE
    box = bounding_box(brain)
    cropped = padded(torch.from_numpy(np.ascontiguousarray(target[box])))
    near = nearness(padded(head.mask[box]))
    return [
        LabelledHead(cropped, cropped, padded(((head.images[(channel, *box)].float() + 1) / 2).half()), near)
        for channel in range(3)
        if bool(head.present[channel])
    ]


def load_pseudo_labelled(root: Path, label: Labeller) -> list[LabelledHead]:
    """What there is of openms/train and brats/train, contrast by contrast."""
    result = []
    sets = [name for name in ("openms", "brats") if head_names(root / name / "train")]
    for head in load_heads(root, sets) if sets else []:
        data_set, name = head.name.split("/")
        path = root / data_set / "train" / f"{name}_tumour.nii.gz"
        result += pseudo_labelled(head, label, read_array(path) if path.exists() else None)
    return result
