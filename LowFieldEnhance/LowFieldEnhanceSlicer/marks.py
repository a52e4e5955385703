"""What a node of the scene says of itself: that it is derived, which output of a run it is, from what and how made."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

import slicer

from LowFieldEnhanceLib.image_io import DERIVED
from LowFieldEnhanceLib.ours import is_enhanced

ATTRIBUTE_PREFIX = "LowFieldEnhance."
DERIVED_ATTRIBUTE = ATTRIBUTE_PREFIX + "Derived"
OUTPUT_ATTRIBUTE, ENHANCED = ATTRIBUTE_PREFIX + "Output", "enhanced"
VOLUME_CHART, BEFORE_AFTER_CHART, STRUCTURE_TABLE = "volume chart", "before-after chart", "structure table"
NODE_ROLE = ATTRIBUTE_PREFIX + "Source."  # and what a source is to the run: references of each output
INPUT_ROLE = NODE_ROLE + "inputVolume"
GIVEN_NAME = ATTRIBUTE_PREFIX + "Name"  # by this module: a node that is called otherwise was named by the user
MADE, INPUT_NAME = "made", "input_name"  # of the provenance: when, ISO 8601 with the time zone, and of which scan
NO_LETTERS = re.compile(r"[^a-z]+")
DERIVED_LETTERS = NO_LETTERS.sub("", DERIVED.lower())


def isDerived(node: slicer.vtkMRMLNode) -> bool:
    """Whether the node is marked as an enhanced volume, or as what was made of one.

    By its attribute; by its name, since many files hold no attributes and a volume is named after its file; or by the
    note in that file, as the command line writes it, which becomes its attribute, since Slicer saves no such note.
    """
    if node.GetAttribute(DERIVED_ATTRIBUTE):
        return True
    if saysDerived(node.GetName()):
        return True
    if not _isDerivedByFile(node):
        return False
    node.SetAttribute(DERIVED_ATTRIBUTE, DERIVED)
    return True


def saysDerived(name: str | None) -> bool:
    """Whether a node's name carries the mark, whatever a file name has made of its spaces and signs."""
    return DERIVED_LETTERS in NO_LETTERS.sub("", (name or "").lower())


def _isDerivedByFile(node: slicer.vtkMRMLNode) -> bool:
    storage = node.GetStorageNode() if node.IsA("vtkMRMLScalarVolumeNode") else None
    path = (storage.GetFileName() if storage is not None else None) or ""
    try:
        return bool(path) and _fileSaysEnhanced(path, os.stat(path).st_mtime_ns)
    except OSError:  # the file is gone; what it said is not known
        return False


@lru_cache(maxsize=256)
def _fileSaysEnhanced(path: str, changed: int) -> bool:
    """``changed`` is when the file was written, so that another one of that name is read anew."""
    return is_enhanced(path)


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
    node.SetAttribute(GIVEN_NAME, node.GetName())
    node.SetNodeReferenceID(INPUT_ROLE, source.GetID())
    if output:
        node.SetAttribute(OUTPUT_ATTRIBUTE, output)


def madeOf(source: slicer.vtkMRMLScalarVolumeNode) -> dict[str, str]:
    """For the provenance of what is being put into the scene: that this is done now, and of which scan it was made."""
    return {INPUT_NAME: source.GetName(), MADE: datetime.now().astimezone().isoformat(timespec="seconds")}


def requireNode(node: Any) -> None:
    """Raise ValueError unless this is a node, as a script may have given the name of one."""
    if not isinstance(node, slicer.vtkMRMLNode):
        raise ValueError(f"An output of a run is wanted, as a node of the scene, not {type(node).__name__}.")


def runName(inputName: str, provenance: Mapping[str, Any]) -> str:
    """What the outputs of a run are named after, such as "Head bridged standard": scan, method and preset."""
    return " ".join([inputName, *(str(provenance[key]) for key in ("method", "preset") if provenance.get(key))])


def _attributeText(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> Any:
    """What JSON does not know: numpy scalars and arrays as numbers and lists, the rest (paths, dates) as text."""
    return value.tolist() if hasattr(value, "tolist") else str(value)
