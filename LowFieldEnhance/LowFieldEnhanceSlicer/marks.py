"""What a node of the scene says of itself: that it is derived, which output of a run it is, from what and how made."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import slicer

from LowFieldEnhanceLib.image_io import DERIVED

ATTRIBUTE_PREFIX = "LowFieldEnhance."
DERIVED_ATTRIBUTE = ATTRIBUTE_PREFIX + "Derived"
OUTPUT_ATTRIBUTE, ENHANCED = ATTRIBUTE_PREFIX + "Output", "enhanced"
VOLUME_CHART, BEFORE_AFTER_CHART, STRUCTURE_TABLE = "volume chart", "before-after chart", "structure table"
NODE_ROLE = ATTRIBUTE_PREFIX + "Source."  # and what a source is to the run: references of each output
INPUT_ROLE = NODE_ROLE + "inputVolume"
NO_LETTERS = re.compile(r"[^a-z]+")
DERIVED_LETTERS = NO_LETTERS.sub("", DERIVED.lower())


def isDerived(node: slicer.vtkMRMLNode) -> bool:
    """Whether the node is marked as an output of this module: by its attribute or, since many files hold no attributes
    and a volume is named after its file, by its name.
    """
    return bool(node.GetAttribute(DERIVED_ATTRIBUTE)) or DERIVED_LETTERS in NO_LETTERS.sub(
        "", (node.GetName() or "").lower()
    )


def markOutput(
    node: slicer.vtkMRMLNode, source: slicer.vtkMRMLScalarVolumeNode, provenance: Mapping[str, Any], output: str = ""
) -> None:
    """Say of an output that it is derived, from which scan, how, and which one it is.

    Args:
        provenance: becomes the attributes "LowFieldEnhance.<key>": strings as they are, else JSON.
        output: by which the panel finds it among the outputs of its run; "" for what only supports others.
    """
    for key, value in provenance.items():
        node.SetAttribute(ATTRIBUTE_PREFIX + key, _attributeText(value))
    node.SetAttribute(DERIVED_ATTRIBUTE, DERIVED)
    node.SetNodeReferenceID(INPUT_ROLE, source.GetID())
    if output:
        node.SetAttribute(OUTPUT_ATTRIBUTE, output)


def _attributeText(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> Any:
    """What JSON does not know: numpy scalars and arrays as numbers and lists, the rest (paths, dates) as text."""
    return value.tolist() if hasattr(value, "tolist") else str(value)
