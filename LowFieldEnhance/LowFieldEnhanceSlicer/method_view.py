"""What the panel says about the chosen method: what it does, its presets, time and memory, and its model cards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from .catalogue import METHODS, cardPaths
from .estimate import estimateRequest, torchIsInstalled
from .method_texts import methodSummary, methodTitle
from .parameters import LowFieldEnhanceParameterNode, requestOf
from .request import Request


class MethodView:
    """The widgets around the method.

    Args:
        ui: the panel's widgets by name.
        parameters: gives those that are shown.
    """

    def __init__(self, ui: Any, parameters: Callable[[], LowFieldEnhanceParameterNode | None]) -> None:
        self._ui, self._parameters = ui, parameters
        self.card: Any = None
        self._torchSeen = False
        ui.cardButton.clicked.connect(self._onCard)

    def refresh(self, request: Request) -> None:
        """Show the chosen method, its presets and what the run will take."""
        ui, entry = self._ui, METHODS[request.method]
        ui.methodLabel.text = methodSummary(entry.name)
        ui.cardButton.enabled = bool(entry.models)
        ui.cardButton.toolTip = (
            _("What the method's networks are, what they were trained on and their licence")
            if entry.models
            else _("This method has no network, so there is no model card")
        )
        several = len(entry.presets) > 1
        ui.presetComboBox.enabled = several
        ui.presetComboBox.toolTip = (
            _("How much time the method takes") if several else _("This method has the preset Fast only")
        )
        ui.estimateLabel.text = self._estimateText(request)

    def _estimateText(self, request: Request) -> str:
        lines = []
        if request.inputVolume is None:
            lines.append(_("Time and memory are estimated once an input volume is chosen."))
        else:
            lines.append(estimateRequest(request).text + ".")
        self._torchSeen = self._torchSeen or torchIsInstalled()  # looking takes milliseconds
        if not self._torchSeen:
            lines.append(_("PyTorch is not installed yet: Apply asks before it installs anything."))
        return "\n".join(lines)

    def _onCardGone(self, result: int) -> None:
        self.card = None

    def _onCard(self) -> None:
        """The cards of the method's networks in a window of their own, which blocks nothing."""
        entry = METHODS[requestOf(self._parameters()).method]
        if self.card is not None:
            self.card.close()
        self.card = qt.QDialog(slicer.util.mainWindow())
        self.card.setAttribute(qt.Qt.WA_DeleteOnClose)
        self.card.finished.connect(self._onCardGone)
        self.card.windowTitle = _("Model card: {title}").format(title=methodTitle(entry.name))
        text = qt.QTextBrowser()
        text.openExternalLinks = True
        text.markdown = "\n\n---\n\n".join(path.read_text(encoding="utf-8") for path in cardPaths(entry.name))
        box = qt.QVBoxLayout(self.card)
        box.addWidget(text)
        self.card.size = qt.QSize(640, 560)
        self.card.show()
