"""Settings of the wrong kind, as a script may give them: a node of another class, a name in the place of a node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from numbers import Integral, Real
from typing import Any

import slicer

from .catalogue import CONTRASTS
from .request import PSF_WIDTHS, Request

SCALAR, SEGMENTATION = "vtkMRMLScalarVolumeNode", "vtkMRMLSegmentationNode"
# What may be chosen, by setting; what else a node must be is checked with the rest of the request.
VOLUMES = {"inputVolume": "input volume", "referenceVolume": "reference volume"}
OTHERS = {"referenceSegmentation": "reference segmentation", "lesions": "map of lesions", "brainMask": "brain mask",
          "outputVolume": "enhanced volume", "outputSegmentation": "segmentation", "outputFidelity": "fidelity map",
          "outputUncertainty": "uncertainty map", "outputAddedDetail": "map of added detail"}  # fmt: skip
WORDS = ("contrast", "method", "preset", "device", "sliceProfile", "displacementFile", "dicomFolder")
FLAGS = tuple(field.name for field in fields(Request) if isinstance(field.default, bool))
WHOLE, NUMBERS = ("seed", "samples"), ("spacing", "noiseLevel", *PSF_WIDTHS)
FURTHER = CONTRASTS[:3]


def reasonAgainstKinds(request: Request) -> str:
    """The first setting that is of the wrong kind, in one sentence; empty if there is none."""
    for name in WORDS:
        if not isinstance(getattr(request, name), str):
            return f"The setting {name} must be a text, not {_kind(getattr(request, name))}."
    for name in FLAGS:
        if not isinstance(getattr(request, name), Integral) or getattr(request, name) not in (0, 1):
            return f"The setting {name} must be True or False, not {getattr(request, name)!r}."
    for name in (*WHOLE, *NUMBERS):
        wanted, words = (Integral, "a whole number") if name in WHOLE else (Real, "a number")
        if not isinstance(getattr(request, name), wanted) or isinstance(getattr(request, name), bool):
            return f"The setting {name} must be {words}, not {_kind(getattr(request, name))}."
    for name, what in VOLUMES.items():
        node = getattr(request, name)
        if node is not None and not _isA(node, SCALAR):
            return f"The {what} must be a scalar volume node, not {_kind(node)}."
    for name, what in OTHERS.items():
        node = getattr(request, name)
        if node is not None and not isinstance(node, slicer.vtkMRMLNode):
            return f"The {what} must be a node of the scene, not {_kind(node)}."
    if request.referenceSegmentation is not None and not _isA(request.referenceSegmentation, SEGMENTATION):
        return f"The reference segmentation must be a segmentation node, not {_kind(request.referenceSegmentation)}."
    return _reasonAgainstFurther(request)


def _reasonAgainstFurther(request: Request) -> str:
    """Of the further contrasts."""
    others: Any = request.otherVolumes
    if not isinstance(others, Mapping):
        return f"otherVolumes must be a dict of volumes by contrast, such as {{'T2w': node}}, not {_kind(others)}."
    for name, node in others.items():
        if name not in FURTHER:
            return f"otherVolumes has no contrast '{name}'; choose {', '.join(FURTHER)}."
        if name == request.contrast:
            return f"The input volume is the {name} volume, so otherVolumes cannot have one; give another contrast."
        if not _isA(node, SCALAR):
            return f"The {name} volume must be a scalar volume node, not {_kind(node)}."
    return ""


def _isA(node: Any, className: str) -> bool:
    return isinstance(node, slicer.vtkMRMLNode) and bool(node.IsA(className))


def _kind(value: Any) -> str:
    return value.GetClassName() if isinstance(value, slicer.vtkMRMLNode) else type(value).__name__
