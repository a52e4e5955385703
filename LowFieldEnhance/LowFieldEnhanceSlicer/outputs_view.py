"""The panel's outputs and what belongs to them: which nodes are filled, how many samples, and the paths of files."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import ctk
from slicer.i18n import tr as _

from .catalogue import METHODS, MIRRORED
from .parameters import LowFieldEnhanceParameterNode
from .request import Request


class OutputsView:
    """Enables what makes sense with the settings, and couples the DICOM folder and the displacement field with them.

    Args:
        ui: the widgets of the panel by name.
        parameters: returns the panel's parameters, or None while there are none.
    """

    def __init__(self, ui: Any, parameters: Callable[[], LowFieldEnhanceParameterNode | None]) -> None:
        self._ui = ui
        self._parameters = parameters
        # By hand: Slicer connects these widgets with paths only, and an empty path would be shown as ".".
        ui.dicomPathLineEdit.filters = ctk.ctkPathLineEdit.Dirs
        ui.displacementPathLineEdit.filters = ctk.ctkPathLineEdit.Files
        self._paths = {"dicomFolder": ui.dicomPathLineEdit, "displacementFile": ui.displacementPathLineEdit}
        for name, edit in self._paths.items():
            edit.currentPathChanged.connect(partial(self._onPath, name))
            edit.validInputChanged.connect(partial(self._onValid, name))

    def refresh(self, request: Request) -> None:
        """Follow the settings."""
        ui, entry = self._ui, METHODS[request.method]
        ui.outputSegmentationSelector.enabled = request.makeSegmentation
        ui.outputFidelitySelector.enabled = request.makeFidelity
        ui.uncertaintyCheckBox.enabled = request.hasUncertainty
        ui.outputUncertaintySelector.enabled = request.makesUncertainty
        ui.outputAddedDetailSelector.enabled = request.makeAddedDetail
        ui.registerCheckBox.enabled = request.referenceVolume is not None
        ui.samplesSpinBox.toolTip = (
            _("Results with other seeds: the enhanced volume is their mean, and their spread is reported")
            if request.preset in entry.draws
            else _(
                "This method and preset draw nothing: from two on, up to {count} results of the mirrored scan tell how"
                " far the enhanced volume depends on the head's orientation"
            ).format(count=MIRRORED)
        )
        ui.uncertaintyCheckBox.toolTip = (
            _("A map of the standard deviation among the samples")
            if request.samples > 1
            else _("A map of the standard deviation among the method's three slice orientations")
            if request.preset in entry.spreads
            else _("A map of how far the result is expected to lie from a high-field scan, as in simulated scans")
            if request.preset in entry.expects
            else _("A map of the standard deviation among the samples: needs two samples or more")
        )
        for name, edit in self._paths.items():
            if edit.currentPath != getattr(request, name):
                edit.currentPath = getattr(request, name)

    def _onValid(self, name: str, valid: bool) -> None:
        """CTK tells of no path when the line was emptied, only that what is there is none."""
        if not valid:
            self._onPath(name, "")

    def _onPath(self, name: str, path: str) -> None:
        parameters = self._parameters()
        if parameters is not None and getattr(parameters, name) != path:
            setattr(parameters, name, path)
