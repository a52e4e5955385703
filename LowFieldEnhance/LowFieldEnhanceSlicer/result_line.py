"""One line on a result, for the panel: how and when it was made, and of which scan."""

from __future__ import annotations

from datetime import datetime

import slicer
from slicer.i18n import tr as _

from .marks import ATTRIBUTE_PREFIX, INPUT_NAME, INPUT_ROLE, MADE
from .method_texts import methodTitle
from .parameters import Preset


def resultLine(node: slicer.vtkMRMLNode) -> str:
    """Method, preset, local time and scan of an output, as far as it says so; "" if it says nothing."""
    method, preset = _said(node, "method"), _said(node, "preset")
    scan = node.GetNodeReference(INPUT_ROLE)
    name = scan.GetName() if scan is not None else _said(node, INPUT_NAME)
    parts = [methodTitle(method), _presetLabel(preset), _localTime(_said(node, MADE))]
    parts.append(_("of '{name}'").format(name=name) if name else "")
    return ", ".join(filter(None, parts))


def _said(node: slicer.vtkMRMLNode, key: str) -> str:
    return node.GetAttribute(ATTRIBUTE_PREFIX + key) or ""


def _presetLabel(preset: str) -> str:
    known = {choice.value: choice for choice in Preset}
    return known[preset].label() if preset in known else preset


def _localTime(text: str) -> str:
    """To the minute; "" if there is none or it cannot be read."""
    try:
        return f"{datetime.fromisoformat(text).astimezone():%Y-%m-%d %H:%M}"
    except ValueError:
        return ""
