"""The choice of an overlay in the panel: which map of a run lies over the anatomy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
from slicer.i18n import tr as _

from . import overlays


class OverlayView:
    """Fills and follows a combo box.

    Args:
        widget: a QComboBox.
        onChosen: called with the name of the map that shall be shown, "" for none.
    """

    def __init__(self, widget: Any, onChosen: Callable[[str], Any]) -> None:
        self._widget = widget
        self._onChosen = onChosen
        self._names: list[str] = []
        self._nodes: list[slicer.vtkMRMLScalarVolumeNode | None] = []
        self._filling = False
        widget.currentIndexChanged.connect(self._onIndexChanged)

    def show(self, nodes: dict[str, slicer.vtkMRMLScalarVolumeNode]) -> None:
        """Offer these maps by name; the current one is what the slice views show."""
        texts = {
            overlays.FIDELITY: _("Fidelity (residual / noise)"),
            overlays.UNCERTAINTY: _("Uncertainty"),
            overlays.ADDED_DETAIL: _("Added detail (not supported by the scan)"),
        }
        offered: list[slicer.vtkMRMLScalarVolumeNode | None] = [None, *nodes.values()]
        self._filling = True
        try:
            if offered != self._nodes:
                # Those that have gone had ids that other nodes may have now.
                there = [node for node in self._nodes if node is not None and node.GetScene() is not None]
                earlier = overlays.shownOverlay(there)
                if earlier is not None and earlier not in offered:
                    self._onChosen("")  # of another scan, and there would be no way to take it off here
                self._names, self._nodes = ["", *nodes], offered
                self._widget.clear()
                self._widget.addItems([_("None"), *(texts[name] for name in nodes)])
            self._widget.enabled = len(offered) > 1
            self._widget.currentIndex = offered.index(overlays.shownOverlay(list(nodes.values())))
        finally:
            self._filling = False

    def _onIndexChanged(self, changed: int | str) -> None:
        index = self._widget.currentIndex  # Qt 5 has this signal with the text as well
        if self._filling or not 0 <= index < len(self._nodes):
            return
        self._onChosen(self._names[index])
