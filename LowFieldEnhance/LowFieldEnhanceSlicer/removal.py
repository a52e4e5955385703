"""The questions before a run is removed from the scene, by hand or by a later one: what goes with it."""

from __future__ import annotations

from collections.abc import Iterable

import slicer
from slicer.i18n import tr as _

from .corrections import isCorrected
from .loading import LESION_TABLE, PAGE, REGISTRATION
from .marks import BEFORE_AFTER_CHART, ENHANCED, OUTPUT_ATTRIBUTE, STRUCTURE_TABLE, VOLUME_CHART
from .outputs import replacedOutputs
from .overlays import ADDED_DETAIL, FIDELITY, UNCERTAINTY
from .request import Request
from .result_actions import ResultActions


def confirmRemoval(node: slicer.vtkMRMLNode) -> bool:
    """Ask whether this output and all else that its run has made shall go, but for what was corrected by hand."""
    others = [other for other in ResultActions.outputsOf(node) if other is not node]
    kept = [other for other in others if isCorrected(other)]
    question = _("Remove '{name}' and all else that its run has made ({others})? The scan stays.")
    text = question.format(name=node.GetName(), others=listed(other for other in others if other not in kept))
    text += _said(kept)
    # Other runs go on while the question is open.
    return slicer.util.confirmYesNoDisplay(text, _("Low-Field Enhance - Remove")) and node.GetScene() is not None


def confirmReplacing(request: Request) -> bool:
    """Ask whether the run may take away a segmentation, which may hold hours of work, with the rest of an earlier run.

    True at once if no enhanced volume that has one is filled anew, or its segmentation is filled too. One that was
    corrected by hand stays in any case.
    """
    outputs = replacedOutputs(request)
    kept = [node for node in outputs if isCorrected(node)]
    going = [node for node in outputs if node not in kept]
    if not any(node.IsA("vtkMRMLSegmentationNode") for node in going):
        return True
    question = _("All else that the earlier run of the chosen output has made ({others}) will be removed. Go on?")
    text = question.format(others=listed(going)) + _said(kept)
    return slicer.util.confirmYesNoDisplay(text, _("Low-Field Enhance - Apply"))


def listed(outputs: Iterable[slicer.vtkMRMLNode]) -> str:
    """What these outputs are, with commas between; what only supports others is left out."""
    texts = {
        ENHANCED: _("enhanced volume"),
        FIDELITY: _("fidelity map"),
        UNCERTAINTY: _("uncertainty map"),
        ADDED_DETAIL: _("map of added detail"),
        STRUCTURE_TABLE: _("table of structures"),
        LESION_TABLE: _("table of lesions"),
        VOLUME_CHART: _("chart of volumes"),
        BEFORE_AFTER_CHART: _("chart before and after"),
        REGISTRATION: _("registration"),
        PAGE: _("report"),
    }
    found = [
        _("segmentation")
        if node.IsA("vtkMRMLSegmentationNode")
        else texts.get(node.GetAttribute(OUTPUT_ATTRIBUTE) or "", "")
        for node in outputs
    ]
    return ", ".join(filter(None, found)) or _("nothing else")


def _said(kept: Iterable[slicer.vtkMRMLNode]) -> str:
    """One sentence for each segmentation that was corrected, to go on with."""
    sentence = _("'{name}' was corrected by hand and stays.")
    return "".join(" " + sentence.format(name=node.GetName()) for node in kept)
