"""The volumes of a run as files for the child process: copied on the main thread, written on another.

A copy of the memory as it is takes milliseconds even for a large volume; turning it into float32 and compressing it
does not, so that happens in :meth:`InputCopies.write`, which touches no node.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import slicer
from vtk.util import numpy_support

from LowFieldEnhanceLib.errors import LowFieldEnhanceError
from LowFieldEnhanceLib.formats.field_strength import FIELD_STRENGTH
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.image_io import write_image
from LowFieldEnhanceLib.weights import model_info

from . import volumes
from .reference_labels import SegmentationCopy
from .request import Request
from .source import dicomFiles, fieldStrength
from .structure_names import listed, unknownSegments

NO_DICOM_SOURCE = (
    "the DICOM files that the input was loaded from are no longer there, so the DICOM output names no patient and study"
)
CHANGED = "this is no repetition of the earlier result, whose scans had other voxels or lay elsewhere"
OTHER_WEIGHTS = "this is no repetition of the earlier result, which was made with other weights of"
UNKNOWN_SEGMENTS = (
    "these segments of the reference segmentation were left out, because neither their name nor their terminology is "
    "that of a structure of the report"
)


class VolumeCopy:
    """The voxels and the geometry of a scalar volume node at one moment; a parent transform is not applied."""

    def __init__(self, node: slicer.vtkMRMLScalarVolumeNode) -> None:
        imageData = node.GetImageData()
        # A writable copy in VTK's own order (i fastest) and number type: no conversion on the main thread.
        self._voxels = np.array(numpy_support.vtk_to_numpy(imageData.GetPointData().GetScalars()), copy=True)
        self._shape = imageData.GetDimensions()
        self._affine = volumes.affineFromVolumeNode(node)
        self.digest = ""

    def write(self, path: Path) -> None:
        """Write as float32 with exact geometry; ``digest`` is the SHA-256 of that from then on.

        Raises:
            BadInput: the disk refuses.
        """
        array = self._voxels.reshape(self._shape[::-1]).transpose(2, 1, 0)
        image = Image(array, self._affine)
        write_image(image, path, "scan for LowFieldEnhance")
        self.digest = image.sha256()


class InputCopies:
    """All that a run reads, at the moment of Apply.

    Args:
        request: what is asked for.
        folder: where :meth:`write` puts the files.

    Attributes:
        files: by the names that :func:`request.arguments` knows.
        warnings: for the user.
        lesionNames: of the lesions' segments, by the value that stands for each.
        digests: SHA-256 of each volume by what it is called in a sentence, when :meth:`write` has returned.
    """

    def __init__(self, request: Request, folder: Path) -> None:
        self.files: dict[str, Path] = {}
        self.warnings: list[str] = []
        self._folder = folder
        self._writers: dict[str, Callable[[Path], None]] = {}
        self.lesionNames: dict[int, str] = {}
        self._labels: list[SegmentationCopy] = []
        self.digests: dict[str, str] = {}
        self._earlier, self._earlierWeights = request.earlierInputs, request.earlierWeights
        self._volumes = {name: VolumeCopy(node) for name, node in request.volumes.items()}
        for name, copy in self._volumes.items():
            self._add(name.removesuffix(" volume"), copy.write)
        self._field = fieldStrength(request.inputVolume)
        if request.referenceSegmentation is not None:
            self._addStructures(request.referenceSegmentation, request.referenceVolume)
        if request.lesions is not None:
            self.lesionNames = self._addRegions("lesions", request.lesions, request.inputVolume)
        if request.brainMask is not None:
            self._addRegions("brain", request.brainMask, request.inputVolume)
        if request.dicomFolder:
            self._addDicom(request.inputVolume)

    def copyOn(self) -> bool:
        """One more short step on the main thread; False when all is copied."""
        return any(labels.copyNext() for labels in self._labels)

    def write(self) -> None:
        """Write all files; touches no node.

        Raises:
            BadInput: the disk refuses.
            OSError: the same, for DICOM files.
        """
        for name, writer in self._writers.items():
            writer(self.files[name])
        if self._field:  # as the sidecar of BIDS has it, since no volume format does
            text = json.dumps({FIELD_STRENGTH: self._field})
            self.files["input"].with_suffix(".json").write_text(text, encoding="utf-8")
        self.digests |= {name: copy.digest for name, copy in self._volumes.items()}
        changed = [name for name, digest in self.digests.items() if self._earlier.get(name, digest) != digest]
        if changed:
            self.warnings.append(f"{CHANGED}: {', '.join(changed)}")
        replaced = [name for name, digest in self._earlierWeights.items() if installed(name) not in (digest, None)]
        if replaced:
            self.warnings.append(f"{OTHER_WEIGHTS} {listed(replaced)}")

    def _add(self, name: str, writer: Callable[[Path], None], ending: str = ".nrrd") -> None:
        self._writers[name] = writer
        self.files[name] = self._folder / f"{name}{ending}"

    def _addSegmentation(self, name: str, labels: SegmentationCopy) -> None:
        self._labels.append(labels)
        self._add(name, labels.write)

    def _addStructures(
        self, node: slicer.vtkMRMLSegmentationNode, referenceVolume: slicer.vtkMRMLScalarVolumeNode
    ) -> None:
        self._addSegmentation("labels", SegmentationCopy(node, referenceVolume))
        unknown = unknownSegments(node.GetSegmentation())
        if unknown:
            self.warnings.append(f"{UNKNOWN_SEGMENTS}: {listed(unknown)}")

    def _addRegions(
        self, name: str, node: slicer.vtkMRMLDisplayableNode, inputVolume: slicer.vtkMRMLScalarVolumeNode
    ) -> dict[int, str]:
        """A label map volume, or a segmentation with its segments numbered; the segments' names by number."""
        if node.IsA("vtkMRMLSegmentationNode"):
            labels = SegmentationCopy(node, inputVolume, numbered=True)
            self._addSegmentation(name, labels)
            return labels.names
        self._add(name, VolumeCopy(node).write)
        return {}

    def _addDicom(self, node: slicer.vtkMRMLScalarVolumeNode) -> None:
        """The input's own DICOM files alone: in Slicer's database they may lie beside those of other series."""
        files = dicomFiles(node)
        if files is None:
            self.warnings.append(NO_DICOM_SOURCE)
        elif files:
            self._add("dicom", lambda folder: _copyFiles(files, folder), "")


def installed(network: str) -> str | None:
    """The SHA-256 of a network's weights as the registry has them; None if they are not there, which ends the run."""
    try:
        return model_info(network)[0].sha256
    except LowFieldEnhanceError:
        return None


def _copyFiles(files: list[str], folder: Path) -> None:
    folder.mkdir()
    for number, file in enumerate(files):
        shutil.copyfile(file, folder / f"{number:05d}.dcm")
