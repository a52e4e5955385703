"""Whether a segmentation is still as its run left it, or was corrected by hand since.

A correction may be hours of work, so no later run overwrites or removes it. Slicer does not tell an edit from a
display change once a scene was saved; so each segmentation carries a fingerprint of its voxels, which survives
saving, cropping of its layers and another order of its segments.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Iterable

import numpy as np
import slicer
from scipy import ndimage

from LowFieldEnhanceLib.segmentation.labels import LabelMap, label_table

from .marks import ATTRIBUTE_PREFIX
from .reference_labels import Layer
from .segmentations import BINARY_LABELMAP

FINGERPRINT = ATTRIBUTE_PREFIX + "Fingerprint"
SAME_AXES, SAME_PLACE = 1e-4, 1e-2  # of a file's rounding: share of a voxel along an axis, and voxels


def fingerprintOf(labels: LabelMap) -> str:
    """Of a label map whose segments are called after their structures, as text; touches no node."""
    names = {label.name: label.id for label in label_table()}
    layer = Layer(None, labels.affine, labels.array)
    return json.dumps({"affine": labels.affine.tolist(), "sha256": _digest([(layer, names)], labels.affine)})


class CorrectionCheck:
    """Compares a segmentation with what its run left, a short step at a time.

    Args:
        node: any segmentation; of one without a fingerprint nothing is known, and it counts as not corrected.
    """

    def __init__(self, node: slicer.vtkMRMLSegmentationNode) -> None:
        self._made = json.loads(node.GetAttribute(FINGERPRINT) or "null")
        self._complete = True
        self._layers: dict[slicer.vtkOrientedImageData, tuple[Layer, dict[str, int]]] = {}
        segmentation = node.GetSegmentation()
        for segmentId in segmentation.GetSegmentIDs() if self._made else ():
            segment = segmentation.GetSegment(segmentId)
            image = segment.GetRepresentation(BINARY_LABELMAP)
            if image is None:  # only its surface was kept
                self._complete = False
                continue
            self._layers.setdefault(image, (Layer.of(image), {}))[1][segmentId] = segment.GetLabelValue()
        self._waiting = deque(layer for layer, _ in self._layers.values())

    def copyNext(self) -> bool:
        """Copy one more layer, on the main thread; False when there is none left."""
        if self._waiting:
            self._waiting.popleft().copy()
        return bool(self._waiting)

    def isCorrected(self) -> bool:
        """Whether any voxel of a structure is another or lies elsewhere; touches no node once all is copied."""
        while self.copyNext():
            pass
        if not self._made:
            return False
        digest = _digest(self._layers.values(), np.array(self._made["affine"])) if self._complete else ""
        return digest != self._made["sha256"]


def isCorrected(node: slicer.vtkMRMLNode) -> bool:
    """The same at once, which takes a tenth of a second for a 1 mm head; False for what is no segmentation."""
    return bool(node.IsA("vtkMRMLSegmentationNode")) and CorrectionCheck(node).isCorrected()


def _digest(layers: Iterable[tuple[Layer, dict[str, int]]], affine: np.ndarray) -> str:
    """SHA-256 of all structures: name, place on the grid of this affine, size and voxels; "" if one is off that grid.

    Args:
        layers: each with the values of its structures by their names; structures without voxels do not count.
    """
    parts: dict[str, tuple[list[int], np.ndarray]] = {}
    for layer, values in layers:
        toGrid = np.linalg.inv(affine) @ layer.affine
        if np.abs(toGrid[:3, :3] - np.eye(3)).max() > SAME_AXES:
            return ""
        whole = layer.voxels if layer.voxels.dtype.kind in "iu" else np.rint(layer.voxels).astype(np.int32)
        boxes = ndimage.find_objects(whole, max(values.values(), default=0)) if whole.size else []
        for name, value in values.items():
            box = boxes[value - 1] if 0 < value <= len(boxes) else None
            if box is None:
                continue
            place = (toGrid @ [*(side.start for side in box), 1.0])[:3]
            if np.abs(place - np.rint(place)).max() > SAME_PLACE:
                return ""
            parts[name] = np.rint(place).astype(int).tolist(), whole[box] == value
    digest = hashlib.sha256()
    for name, (place, mask) in sorted(parts.items()):
        digest.update(json.dumps([name, place, mask.shape]).encode())
        digest.update(np.packbits(mask).tobytes())
    return digest.hexdigest()
