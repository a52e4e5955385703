"""What a run will roughly take, told before it starts from the scan's size and the method alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import slicer

from .catalogue import BYTES_PER_VOXEL, METHODS, SECONDS_PER_GIGAVOXEL
from .dependencies import installedVersion
from .volumes import affineFromVolumeNode

if TYPE_CHECKING:
    from .request import Request

NETWORK_SPACING = 1.0  # mm, of all networks' grid, whatever the output's; about one evaluation a segmented volume
FIXED_BYTES = 600e6  # Python, torch and the images: rough
SAMPLE_BYTES_PER_VOXEL = 16  # running mean and variance of several results
FIXED_SECONDS = 8.0  # start of the process, files and report: rough


@dataclass(frozen=True)
class Estimate:
    """Rough figures of one run.

    Attributes:
        seconds: by device, for the devices that the run may take.
        memory: bytes.
    """

    seconds: dict[str, float]
    memory: float

    @property
    def text(self) -> str:
        """One line for the panel."""
        names = {"cpu": "on the CPU", "cuda": "on an NVIDIA card", "mps": "on an Apple GPU"}
        times = ", ".join(f"{duration(value)} {names[device]}" for device, value in self.seconds.items())
        return f"Roughly {times}; {self.memory / 1e9:.1f}\u00a0GB of memory"


def voxelsOf(volumeNode: slicer.vtkMRMLScalarVolumeNode, spacing: float) -> float:
    """Voxels of the output grid (mm, isotropic) over the volume's field of view; 0 without voxels."""
    imageData = volumeNode.GetImageData()
    if imageData is None:
        return 0.0
    voxel = np.linalg.norm(affineFromVolumeNode(volumeNode)[:3, :3], axis=0)
    extent = voxel * np.asarray(imageData.GetDimensions())
    return float(np.prod(np.maximum(np.ceil(extent / spacing), 1)))


def estimate(
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    method: str,
    preset: str,
    device: str = "auto",
    spacing: float = 1.0,
    segmentations: int = 2,
    samples: int = 1,
    looks: int = 1,
) -> Estimate:
    """Time by device and memory of a run.

    Args:
        device: "auto" gives the time on an NVIDIA card and on the CPU: which of them there is only torch can tell.
        segmentations: volumes that are labelled: scan, result and an unlabelled reference.
        samples: results of the method, each of which is labelled too if there are several; of a single one that is
            the mean of slice orientations, each of them.
        looks: of the segmenter at each volume that it labels; 2 with the mirror image.
    """
    entry = METHODS[method]
    voxels = voxelsOf(volumeNode, spacing)
    worked = voxelsOf(volumeNode, NETWORK_SPACING) if entry.models else voxels
    samples = entry.samplesOf(preset, samples)
    segmentations += entry.labelledOf(preset, samples)
    labelled = looks * segmentations * voxelsOf(volumeNode, NETWORK_SPACING)
    evaluations = samples * entry.workOf(preset) + entry.toldOf(preset, samples)
    devices = ("cuda", "cpu") if device == "auto" else (device,)
    seconds = {
        name: FIXED_SECONDS
        + samples * entry.seconds
        + (evaluations * worked + labelled) / 1e9 * SECONDS_PER_GIGAVOXEL[name]
        for name in devices
    }
    largest = max(worked * entry.bytesPerVoxel, labelled / max(looks * segmentations, 1) * BYTES_PER_VOXEL)
    moments = voxels * SAMPLE_BYTES_PER_VOXEL if samples > 1 else 0.0
    return Estimate(seconds, FIXED_BYTES + largest + moments)


def estimateRequest(request: Request) -> Estimate:
    """The same for a run with an input volume: scan and result are labelled, and a reference without structures."""
    unlabelled = request.referenceVolume is not None and request.referenceSegmentation is None
    return estimate(
        request.inputVolume,
        request.method,
        request.preset,
        request.device,
        request.spacing,
        2 + unlabelled,
        request.samples,
        looksOf(request),
    )


def looksOf(request: Request) -> int:
    """Of the segmenter at each volume."""
    return 2 if request.segmentMirrored else 1


def estimateComparison(
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    choices: Sequence[tuple[str, str]],
    device: str = "auto",
    spacing: float = 1.0,
    segmentations: int = 1,
    looks: int = 1,
) -> Estimate:
    """Time by device and memory of several methods on one scan, which is prepared once.

    Args:
        choices: methods and presets, at least one.
        segmentations: volumes that are labelled once: the scan, and an unlabelled reference.
        looks: see :func:`estimate`.
    """
    parts = [
        estimate(volumeNode, method, preset, device, spacing, 1 + (segmentations if number == 0 else 0), looks=looks)
        for number, (method, preset) in enumerate(choices)
    ]
    started = FIXED_SECONDS * (len(parts) - 1)  # there is one process
    seconds = {name: sum(part.seconds[name] for part in parts) - started for name in parts[0].seconds}
    return Estimate(seconds, max(part.memory for part in parts))


def duration(seconds: float) -> str:
    """Words for a time: "20 s", "4 min", "3.5 h"."""
    if (fives := round(seconds / 5) * 5) < 60:
        return f"{max(fives, 5)} s"
    if round(seconds / 60) < 60:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"


def torchIsInstalled() -> bool:
    """Whether torch is there; it is not imported."""
    return installedVersion("torch") is not None
