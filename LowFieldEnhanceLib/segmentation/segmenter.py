"""The segmenter: FreeSurfer labels with left and right, and a confidence a structure, from one network pass."""

from __future__ import annotations

from collections.abc import Iterator

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
from .labels import LabelMap, from_channels, label_table

MODEL = "segmenter"
TOP_PERCENTILE = 99.0
SLAB = 64  # planes that the fine level works on at once
SMALLEST_SLAB = 16
HALO = 12  # voxels around them: the reach of the fine level's convolutions
BRAIN_MARGIN = 8  # voxels around the coarsely found brain that are looked at finely


class Segmenter:
    """Holds the network; use one for several images.

    Args:
        device: torch device.

    Raises:
        MissingModel, CorruptModel: see weights.load_network.
    """

    def __init__(self, device: str = "cpu") -> None:
        self.device = device
        self.network, self.info = load_network(MODEL, device)

    @property
    def provenance(self) -> dict[str, str]:
        """Name and checksum of the weights."""
        info: ModelInfo = self.info
        return {"name": info.name, "sha256": info.sha256}

    def segment(self, image: Image, events: Events | None = None) -> LabelMap:
        """Labels of a whole head or a brain, on the image's own grid.

        The network works on the canonical grid of 1 mm. Its coarse part sees the whole head at once; its fine part
        draws the borders around the brain that was found coarsely. An image on another grid takes the nearest label.

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
        pad = [n for size in reversed(values.shape) for n in (0, -size % multiple)]
        x = F.pad(shown, pad, mode="constant", value=-1.0).to(self.device)
        channels, posterior = np.zeros(x.shape[2:], dtype=np.uint8), np.ones(x.shape[2:], dtype=np.float32)
        with torch.no_grad(), checked(self.network, events.check), half_precision(self.device):
            try:
                features, scores = self.network.coarse_pass(x)
            except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
                raise _known(error) from error
            brain = _brain_box(scores)
            for place, best, value in self._fine(x, features, scores, brain):
                channels[place], posterior[place] = best, value
        inner = tuple(slice(0, n) for n in values.shape)
        whole, certain = np.zeros(array.shape, dtype=np.uint8), np.ones(array.shape, dtype=np.float32)
        whole[box], certain[box] = channels[inner], posterior[inner]
        return whole, certain

    def _fine(
        self, x: Tensor, features: Tensor, scores: Tensor, box: tuple[slice, ...]
    ) -> Iterator[tuple[tuple[slice, ...], np.ndarray, np.ndarray]]:
        """Slab by slab of the box: place, channels and their posterior; the slab is halved when memory runs out."""
        slab, first = SLAB, box[2].start
        while first < box[2].stop:
            last = min(first + slab, box[2].stop)
            start, stop = max(first - HALO, 0), min(last + HALO, x.shape[4])
            shown = (*box[:2], slice(start, stop))
            try:
                best, value = self._slab(x, features, scores, shown, slice(first - start, last - start))
            except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
                if slab <= SMALLEST_SLAB or not is_out_of_memory(error):
                    raise _known(error) from error
                slab //= 2
                continue
            yield (*box[:2], slice(first, last)), best, value
            first = last

    def _slab(
        self, x: Tensor, features: Tensor, scores: Tensor, shown: tuple[slice, ...], kept: slice
    ) -> tuple[np.ndarray, np.ndarray]:
        middle, deep = (tuple(slice(p.start // s, p.stop // s) for p in shown) for s in (2, FEATURE_STRIDE))
        logits = self.network.fine_pass(x[(..., *shown)], features[(..., *deep)], scores[(..., *middle)])
        logits = logits[0, ..., kept].float()
        highest, best = logits.max(dim=0)
        return best.to(torch.uint8).cpu().numpy(), torch.exp(highest - logits.logsumexp(0)).cpu().numpy()


def _known(error: Exception) -> Exception:
    """A lack of memory in words for the user; any other error as it is."""
    if not is_out_of_memory(error):
        return error
    return OutOfMemory(f"memory ran out in the segmentation; {FREE_MEMORY}")


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
