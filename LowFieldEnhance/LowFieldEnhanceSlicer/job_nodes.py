"""The outputs of a run, by what they are."""

from __future__ import annotations

from dataclasses import dataclass

import slicer

from .loading import REPORT_ROLE
from .overlays import ADDED_DETAIL, FIDELITY, UNCERTAINTY
from .scene import RunResult


@dataclass(frozen=True)
class Nodes:
    """The outputs of a run in the scene; None for what was not asked for or is no longer there."""

    enhanced: slicer.vtkMRMLScalarVolumeNode | None
    segmentation: slicer.vtkMRMLSegmentationNode | None
    fidelity: slicer.vtkMRMLScalarVolumeNode | None
    uncertainty: slicer.vtkMRMLScalarVolumeNode | None
    addedDetail: slicer.vtkMRMLScalarVolumeNode | None
    table: slicer.vtkMRMLTableNode | None
    lesionTable: slicer.vtkMRMLTableNode | None
    registration: slicer.vtkMRMLLinearTransformNode | None
    chart: slicer.vtkMRMLPlotChartNode | None
    beforeAfterChart: slicer.vtkMRMLPlotChartNode | None
    report: slicer.vtkMRMLTextNode | None


def nodesOf(scene: slicer.vtkMRMLScene, result: RunResult | None) -> Nodes:
    """Those that are in the scene now; all None without a result."""
    ids = result or RunResult(0, "")
    found = {
        "enhanced": ids.enhanced,
        "segmentation": ids.segmentation,
        "fidelity": ids.extraVolumes.get(FIDELITY, ""),
        "uncertainty": ids.extraVolumes.get(UNCERTAINTY, ""),
        "addedDetail": ids.extraVolumes.get(ADDED_DETAIL, ""),
        "table": ids.table,
        "lesionTable": ids.lesionTable,
        "registration": ids.registration,
        "chart": ids.chart,
        "beforeAfterChart": ids.beforeAfterChart,
    }
    nodes = {name: scene.GetNodeByID(nodeID) if nodeID else None for name, nodeID in found.items()}
    enhanced = nodes["enhanced"]
    return Nodes(**nodes, report=enhanced.GetNodeReference(REPORT_ROLE) if enhanced else None)
