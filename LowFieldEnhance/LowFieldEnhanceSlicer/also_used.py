"""What a run would use beside its input volume: chosen for one scan, out of sight in folded sections of the panel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import slicer
from slicer.i18n import tr as _

from .parameters import OTHER_VOLUMES, LowFieldEnhanceParameterNode, SliceProfile, requestOf
from .request import PSF_WIDTHS, Request

# What belongs to one scan, as the panel's parameters call it; all else (method, outputs, samples) is a way to work.
OF_ONE_SCAN = (*OTHER_VOLUMES.values(), "referenceVolume", "referenceSegmentation", "lesions", "brainMask",
               "noiseLevel", *PSF_WIDTHS, "sliceProfile", "displacementFile")  # fmt: skip
CARRIED_COLOUR = "#b26a00"


class AlsoUsed:
    """A line above Apply, and a button that clears what the line names.

    Args:
        ui: the widgets of the panel by name.
        parameters: returns the panel's parameters, or None while there are none.
    """

    def __init__(self, ui: Any, parameters: Callable[[], LowFieldEnhanceParameterNode | None]) -> None:
        self._ui = ui
        self._parameters = parameters
        self._text = ""
        self._carried: tuple[str, str] | None = None  # what was used, and the name of the scan that it was chosen for
        ui.clearAlsoUsedButton.clicked.connect(self._onClear)

    def inputChanged(self, earlierName: str) -> None:
        """Another input volume has been chosen by hand: whatever is still set was chosen for the one before."""
        self._carried = (self._text, earlierName) if self._text else None

    def chosenAnew(self) -> None:
        """All that is set now was chosen for the input volume of now, as by the settings of a result."""
        self._carried = None
        self.refresh(requestOf(self._parameters()))

    def refresh(self, request: Request | None) -> None:
        """Show what is set now, and which further contrasts can be."""
        if request is not None:
            self._refreshOthers(request)
        self._text = alsoUsed(request) if request is not None else ""
        carried = self._carried is not None and self._carried[0] == self._text
        label = self._ui.alsoUsedLabel
        label.text = (
            _("Still set, as chosen for '{name}': {settings}.").format(name=self._carried[1], settings=self._text)
            if carried
            else _("Also used: {settings}.").format(settings=self._text)
        )
        label.styleSheet = f"color: {CARRIED_COLOUR};" if carried else ""
        label.visible = self._ui.clearAlsoUsedButton.visible = bool(self._text)

    def _refreshOthers(self, request: Request) -> None:
        """The input's own contrast cannot be given twice."""
        for name in OTHER_VOLUMES:
            selector = getattr(self._ui, f"{name.lower()}Selector")
            selector.enabled = name != request.contrast
            selector.toolTip = (
                _("The input is the {name} volume").format(name=name)
                if name == request.contrast
                else _("{name} scan of the same head, in the same position").format(name=name)
            )

    def _onClear(self) -> None:
        """Back to what the panel begins with."""
        parameters = self._parameters()
        if parameters is None:
            return
        with slicer.util.NodeModify(parameters):
            for name in OF_ONE_SCAN:
                setattr(parameters, name, DEFAULTS.get(name))


DEFAULTS = {field.name: field.default for field in fields(Request) if field.name in OF_ONE_SCAN}
PLAIN_PROFILE = DEFAULTS["sliceProfile"]
DEFAULTS["sliceProfile"] = SliceProfile(PLAIN_PROFILE)


def alsoUsed(request: Request) -> str:
    """Further contrasts, reference, regions and what is told of the scan, with commas between; empty without any."""
    named = [f"{name} '{node.GetName()}'" for name, node in request.otherVolumes.items()]
    if request.referenceVolume is not None:
        named.append(_("reference '{name}'").format(name=request.referenceVolume.GetName()))
    texts = {
        "reference segmentation": _("reference segmentation '{name}'"),
        "map of lesions": _("lesions '{name}'"),
        "brain mask": _("brain mask '{name}'"),
    }
    named += [texts[what].format(name=node.GetName()) for what, node in request.maps.items()]
    if request.noiseLevel:
        named.append(_("noise level {value}").format(value=f"{request.noiseLevel:g}"))
    widths = [getattr(request, name) for name in PSF_WIDTHS]
    if any(widths):
        named.append(_("PSF {widths} mm").format(widths=" x ".join(f"{width:g}" if width else "-" for width in widths)))
    if request.sliceProfile != PLAIN_PROFILE:
        named.append(_("slice profile {name}").format(name=request.sliceProfile))
    if request.displacementFile:
        named.append(_("displacement field"))
    return ", ".join(named)
