"""The segmenter: FreeSurfer labels with left and right, and a confidence a structure, from one network.

It looks at the head once or, ``mirrored``, at the head and at its mirror image: nothing in the network makes it treat
left and right alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from ..autocast import half_precision
from ..errors import FREE_MEMORY, BadInput, OutOfMemory, is_out_of_memory
from ..events import Events
from ..image import Image
from ..networks.coarse_to_fine_unet import FEATURE_STRIDE
from ..networks.windows import checked
from ..preprocess.grid import Grid, canonical_grid, resample, same_grid
from ..weights import ModelInfo, load_network
from .cleanup import absorb_islands, largest_part
from .labels import LabelMap, from_channels, label_table, mirrored_channels

MODEL = "segmenter"
TOP_PERCENTILE = 99.0
BRAIN_PERCENTILE = 95.0  # of the coarsely found brain, which holds some fat at its edge
DARK_BRAIN = 0.75  # of the scale's top: a brain that ends below it is scaled by its own intensities
SLAB = 64  # planes that the fine level works on at once
SMALLEST_SLAB = 16
HALO = 12  # voxels around them: the reach of the fine level's convolutions
BRAIN_MARGIN = 8  # voxels around the coarsely found brain that are looked at finely
SIDES = 2  # axis of (1, C, I, J, K) from left to right
Box = tuple[slice, ...]


@dataclass(frozen=True)
class _Look:
    """The head or its mirror image as the network sees it: intensities, and its coarse features and scores."""

    x: Tensor
    features: Tensor
    scores: Tensor
    mirrored: bool

    def box(self, box: Box) -> Box:
        """The place of a box of the head in this look, and the other way round."""
        if not self.mirrored:
            return box
        size = self.x.shape[SIDES]
        return (slice(size - box[0].stop, size - box[0].start), *box[1:])


class Segmenter:
    """Holds the network; use one for several images.

    Args:
        device: torch device.
        mirrored: mean of the posteriors of the head and of its mirror image, which is as wrong about left as about
            right; takes twice the time.

    Raises:
        MissingModel, CorruptModel: see weights.load_network.
    """

    def __init__(self, device: str = "cpu", mirrored: bool = False) -> None:
        self.device, self.mirrored = device, mirrored
        self.network, self.info = load_network(MODEL, device)

    @property
    def provenance(self) -> dict[str, str]:
        """Name and checksum of the weights."""
        info: ModelInfo = self.info
        return info.identity

    def segment(self, image: Image, events: Events | None = None) -> LabelMap:
        """Labels of a whole head or a brain, on the image's own grid.

        The network works on the canonical grid of 1 mm. Its coarse part sees the whole head at once, and once more with
        the brain's own scale where fat outshines it (T1w spin echo); its fine part draws the borders around the brain
        that was found coarsely. An image on another grid takes the nearest label.

        Raises:
            BadInput: no voxel above 0.
            OutOfMemory: even for a slab of 16 planes, or for the coarse part. That is not cut: it reaches further than
                a head is long, and at a quarter of the resolution it takes little more memory than such a slab.
        """
        events = events or Events()
        grid = canonical_grid(image, self.network.spacing)
        on_grid = same_grid(grid, Grid.of(image))
        work = image if on_grid else resample(image, grid, "linear")
        channels, posterior = self.label(work.array, events)
        channels = absorb_islands(largest_part(channels))
        labels = LabelMap(from_channels(channels), grid.affine, {})
        confidence = _confidence(channels, posterior)
        if not on_grid:
            moved = resample(labels.as_image(), Grid.of(image), "nearest").array
            labels = LabelMap(np.round(moved).astype(np.uint8), image.affine, {})
        return LabelMap(labels.array, image.affine, confidence)

    def label(self, array: np.ndarray, events: Events) -> tuple[np.ndarray, np.ndarray]:
        """(I, J, K) intensities -> uint8 channels and float32 posterior of each voxel's own label."""
        box = _head_box(array)
        values = np.maximum(array[box], 0)
        top = float(np.percentile(values, TOP_PERCENTILE))
        if not top > 0:
            raise BadInput("the image has no intensities above 0, so it cannot be segmented")
        shown = torch.from_numpy(np.clip(values / top, 0, 1.5) * 2 - 1)[None, None]
        multiple = int(self.network.multiple)
        padding = [(0, -size % multiple) for size in values.shape]
        if self.mirrored:
            padding[0] = _even(values, sum(padding[0]))
        pad = [n for both in reversed(padding) for n in both]
        x = F.pad(shown, pad, mode="constant", value=-1.0).to(self.device)
        channels, posterior = np.zeros(x.shape[2:], dtype=np.uint8), np.ones(x.shape[2:], dtype=np.float32)
        with torch.no_grad(), checked(self.network, events.check), half_precision(self.device):
            try:
                looks = [self._look(x, mirrored=False)]
                level = _brain_level(looks[0])
                if level < DARK_BRAIN:
                    x = ((x + 1) / level).clamp(0, 3) - 1
                    looks = [self._look(x, mirrored=False)]
                if self.mirrored:
                    looks.append(self._look(x, mirrored=True))
            except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
                raise _known(error) from error
            for place, best, value in self._fine(looks):
                channels[place], posterior[place] = best, value
        inner = tuple(slice(first, first + n) for (first, _), n in zip(padding, values.shape, strict=True))
        whole, certain = np.zeros(array.shape, dtype=np.uint8), np.ones(array.shape, dtype=np.float32)
        whole[box], certain[box] = channels[inner], posterior[inner]
        return whole, certain

    def _look(self, x: Tensor, mirrored: bool) -> _Look:
        shown = x.flip(SIDES) if mirrored else x
        return _Look(shown, *self.network.coarse_pass(shown), mirrored)

    def _fine(self, looks: list[_Look]) -> Iterator[tuple[Box, np.ndarray, np.ndarray]]:
        """Slab by slab of the brain: place, channels and their posterior; a slab is halved when memory runs out."""
        box = _around([look.box(_brain_box(look.scores)) for look in looks])
        slab, first = SLAB, box[2].start
        while first < box[2].stop:
            last = min(first + slab, box[2].stop)
            start, stop = max(first - HALO, 0), min(last + HALO, looks[0].x.shape[4])
            shown = (*box[:2], slice(start, stop))
            try:
                best, value = self._slab(looks, shown, slice(first - start, last - start))
            except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
                if slab <= SMALLEST_SLAB or not is_out_of_memory(error):
                    raise _known(error) from error
                slab //= 2
                continue
            yield (*box[:2], slice(first, last)), best, value
            first = last

    def _slab(self, looks: list[_Look], shown: Box, kept: slice) -> tuple[np.ndarray, np.ndarray]:
        if len(looks) == 1:
            logits = self._logits(looks[0], shown, kept)
            highest, best = logits.max(dim=0)
            value = torch.exp(highest - logits.logsumexp(0))
        else:
            value, best = (sum(self._logits(look, shown, kept).softmax(0) for look in looks) / len(looks)).max(dim=0)
        return best.to(torch.uint8).cpu().numpy(), value.cpu().numpy()

    def _logits(self, look: _Look, shown: Box, kept: slice) -> Tensor:
        """(C, i, j, k) of a slab of the head; those of the mirror image are mirrored back, left and right exchanged."""
        place = look.box(shown)
        middle, deep = (tuple(slice(p.start // s, p.stop // s) for p in place) for s in (2, FEATURE_STRIDE))
        logits = self.network.fine_pass(
            look.x[(..., *place)], look.features[(..., *deep)], look.scores[(..., *middle)]
        )[0, ..., kept].float()
        return logits.flip(1)[torch.from_numpy(mirrored_channels()).to(logits.device)] if look.mirrored else logits


def _known(error: Exception) -> Exception:
    """A lack of memory in words for the user; any other error as it is."""
    if not is_out_of_memory(error):
        return error
    return OutOfMemory(f"memory ran out in the segmentation; {FREE_MEMORY}")


def _brain_level(look: _Look) -> float:
    """The brain's brightest as a share of the scale's top: :data:`BRAIN_PERCENTILE` of what the coarse scores call
    brain; 1 where they find none or it is dark altogether.
    """
    brain = look.scores[0].argmax(0) > 0
    shown = (look.x[0, 0, ::2, ::2, ::2][brain].float() + 1) / 2
    if not len(shown):
        return 1.0
    level = float(np.percentile(shown.cpu().numpy(), BRAIN_PERCENTILE))
    return level if level > 0 else 1.0


def _brain_box(scores: Tensor) -> tuple[slice, ...]:
    """Where the coarse scores (1, C, I/2, J/2, K/2) find brain, with a margin; full-resolution multiples of 4."""
    brain = scores[0].argmax(0) > 0
    box = []
    for axis in range(3):
        hits = torch.nonzero(brain.movedim(axis, 0).flatten(1).any(1))
        size = 2 * brain.shape[axis]
        if not len(hits):
            return tuple(slice(0, 0) for _ in range(3))
        low, high = 2 * int(hits[0]) - BRAIN_MARGIN, 2 * int(hits[-1]) + 2 + BRAIN_MARGIN
        box.append(slice(max(low // 4 * 4, 0), min(-(-high // 4) * 4, size)))
    return tuple(box)


def _even(values: np.ndarray, count: int) -> tuple[int, int]:
    """So many planes before and behind the first axis, as many on the left as on the right; what is over goes to the
    brighter side. A head and its mirror image are then mirror images with their padding too.
    """
    less, more = count // 2, count - count // 2
    return (more, less) if values[0].sum() > values[-1].sum() else (less, more)


def _around(boxes: list[Box]) -> Box:
    """The smallest box around those that hold anything."""
    found = [box for box in boxes if box[0].stop > box[0].start] or boxes
    return tuple(slice(min(p.start for p in parts), max(p.stop for p in parts)) for parts in zip(*found, strict=True))


def _head_box(array: np.ndarray, margin: int = 4) -> tuple[slice, ...]:
    """Bounding box of the head: everything above 5 % of the 99th percentile after smoothing, plus a margin."""
    coarse = ndimage.uniform_filter(array, 3)
    above = coarse > 0.05 * max(float(np.percentile(array, 99.5)), 1e-6)
    if not above.any():
        return tuple(slice(0, n) for n in array.shape)
    box = []
    for axis, size in enumerate(array.shape):
        hits = np.nonzero(above.any(axis=tuple(a for a in range(3) if a != axis)))[0]
        box.append(slice(max(int(hits[0]) - margin, 0), min(int(hits[-1]) + margin + 1, size)))
    return tuple(box)


def _confidence(channels: np.ndarray, posterior: np.ndarray) -> dict[int, float]:
    """FreeSurfer id -> mean posterior of the voxels that carry the label."""
    sums = np.bincount(channels.ravel(), weights=posterior.ravel(), minlength=1 + len(label_table()))
    counts = np.bincount(channels.ravel(), minlength=1 + len(label_table()))
    return {label.id: float(sums[n] / counts[n]) for n, label in enumerate(label_table(), start=1) if counts[n]}
