"""The segmenter: FreeSurfer labels with left and right, and a confidence a structure, from one network pass."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage

from ..errors import BadInput
from ..events import Events
from ..image import Image
from ..networks.windows import WindowedNetwork
from ..preprocess.grid import Grid, canonical_grid, resample
from ..weights import ModelInfo, load_network
from .labels import WORK_SPACING, LabelMap, from_channels, label_table

MODEL = "segmenter"
TOP_PERCENTILE = 99.0


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

        The network works at 2 mm on the canonical grid, where it sees the whole head at once; its posteriors are
        interpolated to the image's grid, and each voxel takes the likeliest label there.

        Raises:
            BadInput: no voxel above 0.
        """
        events = events or Events()
        work = resample(image, canonical_grid(image, WORK_SPACING), "linear")
        posteriors, box = self._posteriors(work.array, events)
        best = np.zeros(image.shape, dtype=np.float32)
        channels = np.zeros(image.shape, dtype=np.uint8)
        grid = Grid.of(image)
        for channel, values in enumerate(posteriors):
            events.check()
            coarse = np.full(work.shape, float(channel == 0), dtype=np.float32)
            coarse[box] = values
            fine = resample(work.with_array(coarse), grid, "linear").array
            better = fine > best
            best[better] = fine[better]
            channels[better] = channel
        channels = _largest_part(channels)
        return LabelMap(from_channels(channels), image.affine, _confidence(channels, best))

    def _posteriors(self, array: np.ndarray, events: Events) -> tuple[np.ndarray, tuple[slice, ...]]:
        """(I, J, K) intensities -> posteriors (channels, i, j, k) inside the head's box, and the box."""
        box = _head_box(array)
        values = np.maximum(array[box], 0)
        top = float(np.percentile(values, TOP_PERCENTILE))
        if not top > 0:
            raise BadInput("the image has no intensities above 0, so it cannot be segmented")
        scaled = torch.from_numpy(np.clip(values / top, 0, 1.5) * 2 - 1)[None, None].to(self.device)
        logits = WindowedNetwork(self.network, check=events.check)(scaled)[0]
        return torch.softmax(logits, dim=0).cpu().numpy(), box


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


def _largest_part(channels: np.ndarray) -> np.ndarray:
    """Labels outside the largest connected brain are removed (eyes, neck and noise that look like tissue)."""
    parts, count = ndimage.label(channels > 0)
    if count < 2:
        return channels
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return np.where(parts == int(sizes.argmax()), channels, 0).astype(np.uint8)


def _confidence(channels: np.ndarray, posterior: np.ndarray) -> dict[int, float]:
    """FreeSurfer id -> mean posterior of the voxels that carry the label."""
    sums = np.bincount(channels.ravel(), weights=posterior.ravel(), minlength=1 + len(label_table()))
    counts = np.bincount(channels.ravel(), minlength=1 + len(label_table()))
    return {label.id: float(sums[n] / counts[n]) for n, label in enumerate(label_table(), start=1) if counts[n]}
