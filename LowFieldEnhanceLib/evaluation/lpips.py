"""LPIPS v0.1 with SqueezeNet 1.1: a learned perceptual distance, without torchvision.

Source: Zhang et al., The Unreasonable Effectiveness of Deep Features as a Perceptual Metric, CVPR 2018; SqueezeNet:
Iandola et al., arXiv:1602.07360. Backbone weights have torchvision's state-dict layout (``features.0.weight``,
``features.3.squeeze.weight`` ...); the 1 x 1 heads (``lin0.model.1.weight`` ...) come from the PyPI package ``lpips``.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ..errors import BadInput, CorruptModel, MissingModel
from ..weight_files import file_sha256
from .checks import as_pair, bounding_box

DATA_VARIABLE = "LOWFIELDENHANCE_DATA"
TAPS = (1, 4, 7, 9, 10, 11, 12)  # features after these layers are compared; the slices end here
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
EPSILON = 1e-10
MIN_EDGE = 32  # pixels; the three poolings need about this much
MIN_AREA_SHARE = 0.1
STRIDE = 2


class Fire(nn.Module):
    """SqueezeNet's block: 1 x 1 squeeze, then 1 x 1 and 3 x 3 expansions side by side, all with ReLU."""

    def __init__(self, channels: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, channels, H, W) -> (N, 2 expanded, H, W)."""
        x = torch.relu(self.squeeze(x))
        return torch.cat([torch.relu(self.expand1x1(x)), torch.relu(self.expand3x3(x))], dim=1)


class SqueezeNetFeatures(nn.Module):
    """The convolutional part of SqueezeNet 1.1; its state dict is torchvision's without ``classifier``."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 3, stride=2),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, ceil_mode=True),
            Fire(64, 16, 64),
            Fire(128, 16, 64),
            nn.MaxPool2d(3, stride=2, ceil_mode=True),
            Fire(128, 32, 128),
            Fire(256, 32, 128),
            nn.MaxPool2d(3, stride=2, ceil_mode=True),
            Fire(256, 48, 192),
            Fire(384, 48, 192),
            Fire(384, 64, 256),
            Fire(512, 64, 256),
        )

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """(N, 3, H, W) -> the seven feature maps with 64, 128, 256, 384, 384, 512 and 512 channels."""
        taps = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in TAPS:
                taps.append(x)
        return taps


class Lpips:
    """The metric, loaded and frozen; 0 for identical images, usually below 1, lower is better.

    Args:
        backbone_path: SqueezeNet 1.1 weights (torchvision layout); None means :func:`default_backbone_path`.
        heads_path: the heads' weights; None means those of the installed package ``lpips`` (which is not imported).
        device: where to compute.

    Attributes:
        sha256: of the two files, ``backbone`` and ``heads``, for the provenance.
        check: called before every batch of slices (raises to cancel); None at first.

    Raises:
        MissingModel: a file is not there.
        CorruptModel: a file does not hold these weights.
    """

    def __init__(
        self, backbone_path: str | Path | None = None, heads_path: str | Path | None = None, device: str = "cpu"
    ) -> None:
        backbone_path = default_backbone_path() if backbone_path is None else Path(backbone_path)
        heads_path = default_heads_path() if heads_path is None else Path(heads_path)
        self.device = torch.device(device)
        self._network = _load_backbone(backbone_path).to(self.device)
        self._heads = [head.to(self.device) for head in _load_heads(heads_path)]
        self.check: Callable[[], object] | None = None
        self.sha256 = {"backbone": file_sha256(backbone_path), "heads": file_sha256(heads_path)}
        self._shift = torch.tensor(SHIFT, device=self.device).view(1, 3, 1, 1)
        self._scale = torch.tensor(SCALE, device=self.device).view(1, 3, 1, 1)

    def __call__(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Distance of image pairs: (N, 3, H, W) in -1..1, H and W at least 32 -> (N,) float32; differentiable.

        Raises:
            BadInput: the shapes differ, are not (N, 3, H, W), or an edge is below 32 pixels.
        """
        if a.shape != b.shape or a.ndim != 4 or a.shape[1] != 3 or min(a.shape[2:]) < MIN_EDGE:
            shapes = f"{tuple(a.shape)} and {tuple(b.shape)}"
            raise BadInput(f"LPIPS needs two batches (N, 3, H, W), edges at least {MIN_EDGE} pixels, not {shapes}")
        total = torch.zeros(len(a), device=self.device)
        for head, features_a, features_b in zip(self._heads, self._features(a), self._features(b), strict=True):
            difference = (_unit_channels(features_a) - _unit_channels(features_b)) ** 2
            total = total + (difference * head).sum(dim=1).mean(dim=(1, 2))
        return total

    def volume(
        self,
        reference: np.ndarray,
        image: np.ndarray,
        mask: np.ndarray,
        data_range: float,
        stride: int = STRIDE,
        batch_size: int = 8,
    ) -> float:
        """LPIPS of two volumes: the mean over slices in each of the three planes, then the mean of the planes.

        The reference's lowest value in the mask becomes -1 and that plus ``data_range`` becomes 1, in both volumes;
        values beyond are clipped; voxels outside the mask become -1; slices are cropped to the mask's bounding box
        (padded to 32 pixels if smaller) and repeated in three channels. Slices with less than a tenth of the largest
        mask area of their plane are left out, and of the rest every ``stride``-th counts.

        Args:
            reference, image, mask: [i, j, k] of one shape; the images in one intensity unit.
            data_range: width of the intensity range, above 0, in that unit.
            stride: 1 takes every slice; higher is faster.
            batch_size: slices a pass.

        Raises:
            BadInput: shapes differ, they are not 3-D, the mask is empty, a voxel is NaN or infinite, or an option is
                not above 0.
        """
        reference, image, inside = as_pair(reference, image, mask)
        if reference.ndim != 3:
            raise BadInput(f"the volumes have {reference.ndim} dimensions; LPIPS needs 3-D volumes")
        if not (data_range > 0 and stride >= 1 and batch_size >= 1):
            raise BadInput("the data range must be above 0, and stride and batch size at least 1")
        low, box = float(reference[inside].min()), bounding_box(inside)
        a, b = (_to_unit_range(v[box], inside[box], low, data_range) for v in (reference, image))
        planes = [self._plane(a, b, axis, slice_indices(inside[box], axis, stride), batch_size) for axis in range(3)]
        return float(np.mean(planes))

    def _plane(self, a: np.ndarray, b: np.ndarray, axis: int, indices: np.ndarray, batch_size: int) -> float:
        values: list[float] = []
        with torch.no_grad():
            for batch in _batches(indices, batch_size):
                if self.check is not None:
                    self.check()
                values += self(_stack(a, axis, batch), _stack(b, axis, batch)).tolist()
        return float(np.mean(values))

    def _features(self, x: torch.Tensor) -> list[torch.Tensor]:
        x = x.to(self.device, torch.float32)
        return self._network((x - self._shift) / self._scale)


def read_lpips(path: str | os.PathLike[str]) -> Lpips:
    """The metric with a user's file of SqueezeNet weights, on the processor, so that figures do not depend on a device.

    Raises:
        BadInput: the file is missing, cannot be read or does not hold these weights, or the package ``lpips`` with the
            heads is not installed.
    """
    try:
        return Lpips(Path(path))
    except (MissingModel, CorruptModel) as error:
        raise BadInput(str(error)) from error
    except TypeError as error:
        raise BadInput(f"the weights for LPIPS must be the path of a file, not {type(path).__name__}") from error


def default_backbone_path() -> Path:
    """``lpips/squeezenet1_1.pth`` in the folder that the environment variable LOWFIELDENHANCE_DATA names.

    Raises:
        MissingModel: the variable is not set.
    """
    folder = os.environ.get(DATA_VARIABLE)
    if not folder:
        raise MissingModel(f"LPIPS needs SqueezeNet 1.1 weights; give their path or set {DATA_VARIABLE}")
    return Path(folder) / "lpips" / "squeezenet1_1.pth"


def default_heads_path() -> Path:
    """The SqueezeNet heads inside the installed package ``lpips``, located without importing it (it needs torchvision).

    Raises:
        MissingModel: the package is not installed.
    """
    spec = importlib.util.find_spec("lpips")
    if spec is None or not spec.submodule_search_locations:
        raise MissingModel("LPIPS needs the heads of the package lpips; install it with: pip install --no-deps lpips")
    return Path(next(iter(spec.submodule_search_locations))) / "weights" / "v0.1" / "squeeze.pth"


def slice_indices(mask: np.ndarray, axis: int, stride: int) -> np.ndarray:
    """Indices along ``axis`` whose mask area is at least a tenth of the largest, then every ``stride``-th of them."""
    area = np.count_nonzero(mask, axis=tuple(other for other in range(mask.ndim) if other != axis))
    return np.flatnonzero(area >= MIN_AREA_SHARE * area.max())[::stride]


def _load_backbone(path: Path) -> SqueezeNetFeatures:
    network = SqueezeNetFeatures()
    state = {key: value for key, value in _load_state(path).items() if str(key).startswith("features.")}
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise CorruptModel(f"{path} does not hold SqueezeNet 1.1 weights in torchvision's layout") from error
    return network.eval().requires_grad_(False)


def _load_heads(path: Path) -> list[torch.Tensor]:
    """Seven tensors (1, C, 1, 1), one a tap."""
    state = _load_state(path)
    heads = [state.get(f"lin{index}.model.1.weight") for index in range(len(TAPS))]
    channels = (64, 128, 256, 384, 384, 512, 512)
    if any(h is None or h.shape != (1, c, 1, 1) for h, c in zip(heads, channels, strict=True)):
        raise CorruptModel(f"{path} does not hold the seven LPIPS heads for SqueezeNet")
    return [head.float() for head in heads if head is not None]


def _load_state(path: Path) -> dict[str, torch.Tensor]:
    if not path.is_file():
        raise MissingModel(f"the LPIPS weights {path} are not there")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of a file that is something else the unpickler raises errors of any kind
        raise CorruptModel(f"the LPIPS weights {path} cannot be read") from error
    if not isinstance(state, dict):
        raise CorruptModel(f"the LPIPS weights {path} are not a state dict")
    return state


def _unit_channels(features: torch.Tensor) -> torch.Tensor:
    # Where no channel fires the root's gradient is NaN; the ReLU in front of every tap stops it there.
    return features / (features.pow(2).sum(dim=1, keepdim=True).sqrt() + EPSILON)


def _to_unit_range(volume: np.ndarray, inside: np.ndarray, low: float, data_range: float) -> np.ndarray:
    scaled = np.clip((volume - low) / data_range * 2.0 - 1.0, -1.0, 1.0)
    return np.where(inside, scaled, -1.0).astype(np.float32)


def _stack(volume: np.ndarray, axis: int, indices: np.ndarray) -> torch.Tensor:
    """(n, 3, H, W) slices, padded with background at the far edges to at least 32 pixels."""
    slices = torch.from_numpy(np.ascontiguousarray(np.moveaxis(volume, axis, 0)[indices]))
    missing = [max(MIN_EDGE - edge, 0) for edge in slices.shape[1:]]
    padded = nn.functional.pad(slices, (0, missing[1], 0, missing[0]), value=-1.0)
    return padded.unsqueeze(1).expand(-1, 3, -1, -1)


def _batches(indices: np.ndarray, size: int) -> Iterator[np.ndarray]:
    for start in range(0, len(indices), size):
        yield indices[start : start + size]
