"""Removing what cannot be anatomy from a label map: tissue apart from the brain, and stray islands of a structure."""

from __future__ import annotations

import itertools

import numpy as np
from scipy import ndimage

from .labels import FREE_CSF, channel_of

SMALLEST_SHARE = 0.05  # of a structure's largest part; smaller parts are islands
CONNECTED = np.ones((3, 3, 3), dtype=bool)
NEIGHBOURS = [offset for offset in itertools.product((-1, 0, 1), repeat=3) if any(offset)]


def largest_part(channels: np.ndarray) -> np.ndarray:
    """Labels outside the largest connected brain set to 0 (eyes, neck and noise that look like tissue).

    Args:
        channels: uint8 (I, J, K), 0 is background.
    """
    parts, count = ndimage.label(channels > 0)
    if count < 2:
        return channels
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return np.where(parts == int(sizes.argmax()), channels, 0).astype(np.uint8)


def absorb_islands(channels: np.ndarray, share: float = SMALLEST_SHARE) -> np.ndarray:
    """Islands of a structure take the label that most of their neighbours have.

    Every anatomical structure of the table is one piece, but for free CSF, which lies in every sulcus. A part of it
    that touches the largest one nowhere and holds less than ``share`` of its voxels is a mistake, most often of the
    side or of a neighbouring structure.

    Args:
        channels: uint8 (I, J, K), 0 is background.
        share: 0 keeps every part.
    """
    stray, free = np.zeros(channels.shape, dtype=bool), channel_of(FREE_CSF)
    for label, box in enumerate(ndimage.find_objects(channels), start=1):
        if box is None or label == free:
            continue
        parts, count = ndimage.label(channels[box] == label, structure=CONNECTED)
        if count > 1:
            sizes = np.bincount(parts.ravel())
            sizes[0] = 0
            stray[box] |= (sizes < share * sizes.max())[parts] & (parts > 0)
    return _fill(channels, stray)


def _fill(channels: np.ndarray, stray: np.ndarray) -> np.ndarray:
    """Stray voxels take the commonest label among their neighbours that are not stray, from the outside inwards."""
    out, todo = np.pad(channels, 1), np.pad(stray, 1)
    labels, open_ = out.reshape(-1), todo.reshape(-1)  # views
    strides = np.array(out.strides) // out.itemsize
    places = np.flatnonzero(todo)
    while places.size:
        votes = np.zeros((places.size, int(channels.max()) + 1), dtype=np.uint8)
        for offset in NEIGHBOURS:
            around = places + int(strides @ offset)
            rows = np.flatnonzero(~open_[around])
            votes[rows, labels[around[rows]]] += 1
        known = votes.any(axis=1)
        if not known.any():  # nothing but stray voxels: they keep their labels
            break
        labels[places[known]] = votes[known].argmax(axis=1).astype(np.uint8)
        open_[places[known]] = False
        places = places[~known]
    return out[1:-1, 1:-1, 1:-1]
