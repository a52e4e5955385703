"""The segmenter: FreeSurfer labels with left and right, and a confidence a structure, from one network pass."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage

from ..errors import BadInput
from ..events import Events
from ..image import Image
from ..networks.windows import WindowedNetwork
from ..preprocess.grid import Grid, canonical_grid, resample, same_grid
from ..weights import ModelInfo, load_network
from .labels import LabelMap, from_channels, label_table

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

        The network works at 1 mm on the canonical grid; other grids are resampled there and the labels back
        (nearest neighbour).

        Raises:
            BadInput: no voxel above 0.
        """
        events = events or Events()
        grid = canonical_grid(image, 1.0)
        work = image if same_grid(grid, Grid.of(image)) else resample(image, grid, "cubic")
        channels, posterior = self._predict(work.array, events)
        labels = LabelMap(from_channels(channels), grid.affine, _confidence(channels, posterior))
        if work is image:
            return labels
        back = resample(labels.as_image(), Grid.of(image), "nearest")
        return LabelMap(np.round(back.array).astype(np.uint8), image.affine, labels.confidence)

    def _predict(self, array: np.ndarray, events: Events) -> tuple[np.ndarray, np.ndarray]:
        """(I, J, K) intensities -> channels uint8 and the winning label's posterior float32."""
        box = _head_box(array)
        values = np.maximum(array[box], 0)
        top = float(np.percentile(values, TOP_PERCENTILE))
        if not top > 0:
            raise BadInput("the image has no intensities above 0, so it cannot be segmented")
        scaled = torch.from_numpy(np.clip(values / top, 0, 1.5) * 2 - 1)[None, None].to(self.device)
        logits = WindowedNetwork(self.network, check=events.check)(scaled)[0]
        channels = np.zeros(array.shape, dtype=np.uint8)
        posterior = np.ones(array.shape, dtype=np.float32)
        best, labels = [], []
        for plane in logits.split(16, dim=1):
            probability, channel = torch.softmax(plane, dim=0).max(dim=0)
            best.append(probability.cpu())
            labels.append(channel.to(torch.uint8).cpu())
        channels[box] = _largest_part(torch.cat(labels).numpy())
        posterior[box] = torch.cat(best).numpy()
        return channels, posterior


def _head_box(array: np.ndarray, margin: int = 8) -> tuple[slice, ...]:
    """Bounding box of the head: everything above 5 % of the 99th percentile after smoothing, plus a margin."""
    coarse = ndimage.uniform_filter(array, 5)[::2, ::2, ::2]
    above = coarse > 0.05 * max(float(np.percentile(array, 99.5)), 1e-6)
    if not above.any():
        return tuple(slice(0, n) for n in array.shape)
    box = []
    for axis, size in enumerate(array.shape):
        hits = np.nonzero(above.any(axis=tuple(a for a in range(3) if a != axis)))[0] * 2
        box.append(slice(max(int(hits[0]) - margin, 0), min(int(hits[-1]) + margin + 2, size)))
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
