"""The results of one run as a whole in a MRML scene, and the scene as one file."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import slicer

from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.image_io import DERIVED
from LowFieldEnhanceLib.segmentation.labels import LabelMap

from . import charts, hierarchy, report, segmentations, volumes
from .corrections import FINGERPRINT, fingerprintOf
from .marks import BEFORE_AFTER_CHART, ENHANCED, STRUCTURE_TABLE, VOLUME_CHART, markOutput, runName


@dataclass
class RunResult:
    """Where the outputs of a run are: node ids, empty for what was not asked for, and the folder's item."""

    folderItem: int
    input: str
    enhanced: str = ""
    segmentation: str = ""
    colourTable: str = ""
    table: str = ""
    lesionTable: str = ""
    registration: str = ""
    chart: str = ""
    beforeAfterChart: str = ""
    series: list[str] = field(default_factory=list)
    extraVolumes: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)  # of what was not done as asked for


def addResults(
    scene: slicer.vtkMRMLScene,
    inputImage: Image,
    enhancedImage: Image,
    inputName: str,
    labelMap: LabelMap | None = None,
    rows: Sequence[dict[str, Any]] | None = None,
    hasReference: bool = False,
    provenance: dict[str, Any] | None = None,
    extraVolumes: dict[str, Image] | None = None,
    inputNode: slicer.vtkMRMLScalarVolumeNode | None = None,
) -> RunResult:
    """Put the outputs of a run into a folder beside the input volume.

    Args:
        inputNode: the input in the scene; without it a volume node is made from ``inputImage``. It is the user's scan
            either way: neither marked as derived nor removed with the run.
        rows: the report's rows, one a structure (:func:`report.addReportTable`).
        provenance: of every output, see :func:`marks.markOutput`; they are named after it, see :func:`marks.runName`.
        extraVolumes: more volumes by name (an uncertainty map, say), with display settings of their own.

    Outputs follow the input's parent transform, because they were computed in its frame. If anything fails, what was
    added is removed again before the exception goes on.
    """
    source = volumes.addVolume(scene, inputImage, inputName) if inputNode is None else inputNode
    try:
        *_, result = addResultsInSteps(
            scene, source, enhancedImage, inputName, labelMap, rows, hasReference, provenance, extraVolumes
        )
    except Exception:
        if inputNode is None:
            hierarchy.removeNode(scene, source)
        raise
    return result


def addResultsInSteps(
    scene: slicer.vtkMRMLScene,
    source: slicer.vtkMRMLScalarVolumeNode,
    enhancedImage: Image,
    inputName: str,
    labelMap: LabelMap | None = None,
    rows: Sequence[dict[str, Any]] | None = None,
    hasReference: bool = False,
    provenance: dict[str, Any] | None = None,
    extraVolumes: dict[str, Image] | None = None,
) -> Iterator[RunResult]:
    """The same as :func:`addResults` with a pause after each step, in which the window can be drawn.

    Yields what has been added so far; the last one is complete. Closing it before its end removes what was added.
    """
    name = runName(inputName, provenance or {})
    folderItem = hierarchy.addRunFolder(scene, source, name)
    result = RunResult(folderItem, source.GetID())
    try:
        _addVolumes(scene, result, source, enhancedImage, name, extraVolumes or {})
        yield result
        if labelMap is not None:
            _addSegmentation(scene, result, source, labelMap, name)
            yield result
        if rows:
            title = f"{name} structures: {'error' if hasReference else 'change'} ({DERIVED})"
            tableNode = report.addReportTable(scene, rows, title, hasReference)
            hierarchy.addToRun(folderItem, tableNode)
            result.table = tableNode.GetID()
            yield result
            title = f"{name} structure volumes ({DERIVED})"
            result.chart = _addChart(result, charts.addVolumeChart(scene, tableNode, title, hasReference))
            yield result
            title = f"{name} structures before and after ({DERIVED})"
            result.beforeAfterChart = _addChart(result, charts.addBeforeAfterChart(scene, rows, title, hasReference))
            yield result
        _finish(scene, result, source, provenance or {})
        yield result
    except BaseException:
        hierarchy.removeRun(folderItem, scene)
        raise


def _addVolumes(
    scene: slicer.vtkMRMLScene,
    result: RunResult,
    source: slicer.vtkMRMLScalarVolumeNode,
    enhancedImage: Image,
    name: str,
    extraVolumes: dict[str, Image],
) -> None:
    enhancedNode = volumes.addVolume(scene, enhancedImage, f"{name} ({DERIVED})")
    hierarchy.addToRun(result.folderItem, enhancedNode)
    volumes.copyDisplay(source, enhancedNode)
    result.enhanced = enhancedNode.GetID()
    for kind, image in extraVolumes.items():
        node = volumes.addVolume(scene, image, f"{name} {kind} ({DERIVED})")
        hierarchy.addToRun(result.folderItem, node)
        result.extraVolumes[kind] = node.GetID()


def _addSegmentation(
    scene: slicer.vtkMRMLScene,
    result: RunResult,
    source: slicer.vtkMRMLScalarVolumeNode,
    labelMap: LabelMap,
    name: str,
) -> None:
    colourNode = segmentations.addColourTable(scene, f"{name} structures")
    hierarchy.addToRun(result.folderItem, colourNode, inFolder=False)
    enhancedNode = scene.GetNodeByID(result.enhanced)
    onSource = volumes.sameGrid(source, labelMap.affine, labelMap.array.shape)
    segmentationNode = segmentations.addSegmentation(
        scene, labelMap, f"{name} segmentation ({DERIVED})", source if onSource else enhancedNode, colourNode
    )
    segmentationNode.SetAttribute(FINGERPRINT, fingerprintOf(labelMap))
    hierarchy.addToRun(result.folderItem, segmentationNode)
    result.colourTable, result.segmentation = colourNode.GetID(), segmentationNode.GetID()


def _addChart(result: RunResult, nodes: Sequence[slicer.vtkMRMLNode]) -> str:
    """A chart, the first of the nodes, with all that it needs becomes a part of the run; returns its id, "" if none."""
    for node in nodes:
        hierarchy.addToRun(result.folderItem, node, inFolder=not node.GetHideFromEditors())
    result.series += [node.GetID() for node in nodes if node.IsA("vtkMRMLPlotSeriesNode")]
    return nodes[0].GetID() if nodes else ""


def _finish(
    scene: slicer.vtkMRMLScene,
    result: RunResult,
    source: slicer.vtkMRMLScalarVolumeNode,
    provenance: dict[str, Any],
) -> None:
    """Marks and parent transform on every output."""
    named = {identifier: name for name, identifier in result.extraVolumes.items()}
    named |= {
        result.enhanced: ENHANCED,
        result.table: STRUCTURE_TABLE,
        result.chart: VOLUME_CHART,
        result.beforeAfterChart: BEFORE_AFTER_CHART,
    }
    for node in hierarchy.runNodes(result.folderItem, scene):
        markOutput(node, source, provenance, named.get(node.GetID(), ""))
        if node.IsA("vtkMRMLTransformableNode"):
            node.SetAndObserveTransformNodeID(source.GetTransformNodeID())


def writeMrb(scene: slicer.vtkMRMLScene, path: str | os.PathLike[str]) -> Path:
    """Write the scene as a MRML bundle (.mrb), complete or not at all; returns the path.

    The bundle is made in a temporary folder beside the target and renamed into place, so that an earlier file at
    ``path`` survives any failure. The scene's own file names stay as they are.

    Raises:
        OSError: one sentence says what could not be written and why; no temporary files are left.
    """
    path = Path(path).absolute()
    if path.suffix.lower() != ".mrb":
        raise OSError(f"The scene cannot be written to {path}: the file name must end in .mrb.")
    if not path.parent.is_dir():
        raise OSError(f"The scene cannot be written to {path}: the folder {path.parent} does not exist.")
    if path.is_dir():
        raise OSError(f"The scene cannot be written to {path}: a folder has this name.")
    try:
        with tempfile.TemporaryDirectory(prefix=".LowFieldEnhance-", dir=path.parent) as folder:
            bundle = Path(folder, path.stem)
            bundle.mkdir()
            _saveBundle(scene, bundle)
            archive = shutil.make_archive(os.path.join(folder, "bundle"), "zip", folder, bundle.name)
            os.replace(archive, path)
    except OSError as error:
        raise OSError(f"The scene could not be written to {path}: {error.strerror or error}.") from error
    return path


def _saveBundle(scene: slicer.vtkMRMLScene, folder: Path) -> None:
    messages = slicer.vtkMRMLMessageCollection()
    if not scene.SaveSceneToSlicerDataBundleDirectory(str(folder), None, messages):
        # One message a node, most with the temporary folder in it: the first one tells the user enough.
        first = messages.GetAllMessagesAsString().strip().partition("\n")[0].removeprefix("- ").removeprefix("Error: ")
        raise OSError(first.replace(f"{folder}{os.sep}", "") or "Slicer could not save all nodes of the scene")


@contextlib.contextmanager
def createStandaloneScene() -> Iterator[slicer.vtkMRMLScene]:
    """A scene with the logics that its nodes need, for use without the Slicer application; inside it, Slicer's own.

    A context manager: the logics and the cache folder live as long as the block.
    """
    if getattr(slicer, "mrmlScene", None) is not None:
        yield slicer.mrmlScene
        return
    cache = tempfile.mkdtemp(prefix="LowFieldEnhance-")
    scene = slicer.vtkMRMLScene()
    try:
        logics = connectLogics(scene, cache)
        yield scene
        scene.Clear(True)
        del logics
    finally:
        shutil.rmtree(cache, ignore_errors=True)


def connectLogics(scene: slicer.vtkMRMLScene, cache: str) -> dict[str, slicer.vtkMRMLAbstractLogic]:
    """The logics by module name; the caller keeps them alive.

    The colour logic is the basic one: Slicer's looks for the colour files of an installed application.
    """
    application = slicer.vtkMRMLApplicationLogic()
    application.SetMRMLScene(scene)
    application.SetTemporaryPath(cache)
    scene.RegisterNodeClass(slicer.vtkMRMLColorLegendDisplayNode())  # Slicer's colour module does it
    remote = slicer.vtkMRMLRemoteIOLogic()
    remote.GetCacheManager().SetRemoteCacheDirectory(cache)
    remote.SetMRMLScene(scene)
    remote.AddDataIOToScene()
    transfers = slicer.vtkDataIOManagerLogic()
    transfers.SetMRMLApplicationLogic(application)
    transfers.SetAndObserveDataIOManager(remote.GetDataIOManager())
    logics = {
        "Colors": slicer.vtkMRMLColorLogic(),
        "Volumes": slicer.vtkSlicerVolumesLogic(),
        "SubjectHierarchy": slicer.vtkSlicerSubjectHierarchyModuleLogic(),
        "Segmentations": slicer.vtkSlicerSegmentationsModuleLogic(),
        "Tables": slicer.vtkSlicerTablesLogic(),
        "Plots": slicer.vtkSlicerPlotsLogic(),
    }
    application.SetColorLogic(logics["Colors"])
    for name, logic in logics.items():
        logic.SetMRMLApplicationLogic(application)
        logic.SetMRMLScene(scene)
        application.SetModuleLogic(name, logic)
    return logics | {"Application": application, "RemoteIO": remote, "DataIO": transfers}
