"""The files of a finished run into the scene, without holding up the window.

Reading and converting a 1 mm head takes most of a second. :func:`readResults` does that on a thread, into image data
that no node knows yet. :func:`addInSteps` then lets :func:`scene.addResults` make all nodes from outlines of a few
voxels, and hands each node its voxels in a step of its own, between which the window is drawn.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk

from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.image_io import read_image, read_labels
from LowFieldEnhanceLib.segmentation.labels import LabelMap

from . import hierarchy, outputs, overlays, scene, segmentations, volumes
from .corrections import FINGERPRINT, fingerprintOf
from .lesion_table import addLesionTable
from .marks import ATTRIBUTE_PREFIX, madeOf, markOutput, runName
from .overlays import ADDED_DETAIL, FIDELITY, MAPS, UNCERTAINTY
from .request import Request, record

LESION_TABLE, PAGE, REGISTRATION = "lesion table", "page", "registration"
LOOKED_AT = 1 << 20  # voxels
BRIGHTEST_PERCENTILE = 99.5  # of the uncertainty inside the head: a few voxels at the skull must not decide
REPORT_ROLE = ATTRIBUTE_PREFIX + "Report"


@dataclass
class VolumeFile:
    """Voxels ready for a node, and their affine."""

    imageData: vtk.vtkImageData
    affine: np.ndarray


@dataclass
class ResultFiles:
    """What a run has written, read and ready for the scene.

    Attributes:
        maps: fidelity, uncertainty and added detail, as far as they were made.
        uncertaintyLimit: what the brightest colour of the uncertainty stands for, in the scan's intensity unit.
        labelIds: the FreeSurfer ids that occur in ``labels``.
        fingerprint: of ``labels``, see :func:`corrections.fingerprintOf`.
        report: the JSON report.
        html: the report as a page.
    """

    enhanced: VolumeFile
    maps: dict[str, VolumeFile]
    uncertaintyLimit: float
    labels: slicer.vtkOrientedImageData | None
    labelIds: list[int]
    fingerprint: str
    report: dict[str, Any]
    html: str


def readResults(folder: Path) -> ResultFiles:
    """Read the outputs of a run; touches no scene, so it may run on any thread.

    Raises:
        BadInput: a file is missing or damaged.
    """
    enhanced = _readVolume(read_image(folder / "enhanced.nrrd", "other"))
    maps, limit = {}, 0.0
    for name in MAPS:
        path = folder / f"{name.replace(' ', '_')}.nrrd"
        if path.exists():
            image = read_image(path, "other", is_scan=False)  # a method that draws nothing may have no spread at all
            maps[name] = _readVolume(image)
            if name == UNCERTAINTY:
                limit = _brightest(image.array)
    layer, ids, fingerprint = None, [], ""
    if (folder / "segmentation.nrrd").exists():
        labels = read_labels(folder / "segmentation.nrrd")
        layer = slicer.vtkOrientedImageData()
        volumes.fillImageData(layer, labels.array)
        layer.SetGeometryFromImageToWorldMatrix(volumes.matrixFromAffine(labels.affine))
        ids = [int(value) for value in np.unique(labels.array) if value]
        fingerprint = fingerprintOf(labels)
    report = json.loads(readText(folder / "report.json") or "{}")
    if not isinstance(report, dict):
        raise BadInput("the report of the run is damaged")
    return ResultFiles(enhanced, maps, limit, layer, ids, fingerprint, report, readText(folder / "report.html"))


def _brightest(array: np.ndarray) -> float:
    """Of every n-th voxel, some million: to pick out those of all holds the interpreter, and the window with it."""
    some = array.reshape(-1)[:: array.size // LOOKED_AT | 1]
    inside = some[some > 0]
    return float(np.percentile(inside, BRIGHTEST_PERCENTILE)) if inside.size else 0.0


def _readVolume(image: Image) -> VolumeFile:
    imageData = vtk.vtkImageData()
    volumes.fillImageData(imageData, image.array)
    return VolumeFile(imageData, image.affine)


def readText(path: Path) -> str:
    """The file's text; empty if there is none."""
    return path.read_text(encoding="utf-8") if path.exists() else ""


def addInSteps(
    mrmlScene: slicer.vtkMRMLScene,
    request: Request,
    files: ResultFiles,
    lesionNames: Mapping[int, str] | None = None,
    digests: Mapping[str, str] | None = None,
) -> Iterator[scene.RunResult | None]:
    """Put the results into the scene beside the input; let the window be drawn whenever it yields.

    Args:
        lesionNames: of the lesions' segments by their value.
        digests: see :func:`request.record`.

    Yields None after each step and the result after the last. Closing it earlier, or a failure, removes what was
    added.

    Raises:
        BadInput: the input volume is no longer in the scene, or the labels have unknown ids.
    """
    source = presentInput(mrmlScene, request)
    said = files.report.get("provenance", {})
    provenance = {"method": request.method, "preset": request.preset, **said, **madeOf(source)}
    name = runName(source.GetName(), provenance)
    result = yield from _addOutlines(mrmlScene, request, files, provenance)
    try:
        enhanced = mrmlScene.GetNodeByID(result.enhanced)
        _fill(enhanced, files.enhanced)
        yield None
        for kind, identifier in result.extraVolumes.items():
            _fillMap(mrmlScene.GetNodeByID(identifier), kind, files)
            yield None
        if result.segmentation:
            _fillSegmentation(mrmlScene.GetNodeByID(result.segmentation), files, enhanced)
            yield None
        if files.report.get("lesions"):
            title = f"{name} lesions ({scene.DERIVED})"
            table = addLesionTable(mrmlScene, files.report["lesions"], lesionNames or {}, title)
            addDerived(result.folderItem, table, source, provenance, LESION_TABLE)
            result.lesionTable = table.GetID()
            yield None
        moved = (files.report.get("registration") or {}).get("rigid")
        if moved:
            node = _addRegistration(mrmlScene, source, moved, name)
            addDerived(result.folderItem, node, source, provenance, REGISTRATION)
            result.registration = node.GetID()
            yield None
        if files.html:
            page = addPage(mrmlScene, f"{name} report ({scene.DERIVED})", files.html)
            addDerived(result.folderItem, page, source, provenance, PAGE)
            for node in hierarchy.runNodes(result.folderItem, mrmlScene):
                if node is not page:
                    node.SetNodeReferenceID(REPORT_ROLE, page.GetID())
            yield None
        for node in hierarchy.runNodes(result.folderItem, mrmlScene):
            record(request, node, digests or {})
        yield None
        corrected = yield from outputs.correctedInSteps(request)
    except BaseException:
        hierarchy.removeRun(result.folderItem, mrmlScene)
        raise
    # From here on nodes of the user are outputs of the run, so nothing is taken back.
    outputs.handOver(mrmlScene, request, result, files, corrected)
    yield result


def presentInput(mrmlScene: slicer.vtkMRMLScene, request: Request) -> slicer.vtkMRMLScalarVolumeNode:
    """The input volume.

    Raises:
        BadInput: it is no longer in the scene.
    """
    source = request.inputVolume
    if source.GetScene() is not mrmlScene or not mrmlScene.IsNodePresent(source):
        raise BadInput("the input volume was removed from the scene during the run, so its results were dropped")
    return source


def addDerived(
    folderItem: int,
    node: slicer.vtkMRMLNode,
    source: slicer.vtkMRMLScalarVolumeNode,
    provenance: Mapping[str, Any],
    output: str,
) -> None:
    """Make a node one of the run's outputs; see :func:`marks.markOutput`."""
    markOutput(node, source, provenance, output)
    hierarchy.addToRun(folderItem, node)


def _addOutlines(
    mrmlScene: slicer.vtkMRMLScene, request: Request, files: ResultFiles, provenance: dict[str, Any]
) -> Generator[None, None, scene.RunResult]:
    """All nodes of the run, with voxels enough to tell which segments there are; returns their ids."""
    name = request.inputVolume.GetName()
    outline = Image(np.zeros((2, 2, 2)), files.enhanced.affine)
    labels = None
    if files.labels is not None:
        ids = np.array(files.labelIds or [0], np.uint8)
        labels = LabelMap(ids.reshape(-1, 1, 1), files.enhanced.affine, {})
    steps = scene.addResultsInSteps(
        mrmlScene,
        request.inputVolume,
        outline,
        name,
        labelMap=labels,
        rows=files.report.get("structures"),
        hasReference=bool(files.report.get("has_reference")),
        provenance=provenance,
        extraVolumes=dict.fromkeys(files.maps, outline),
    )
    with contextlib.closing(steps):
        for added in steps:
            result = added
            yield None
    return result


def _fill(node: slicer.vtkMRMLScalarVolumeNode, volume: VolumeFile) -> None:
    wasModifying = node.StartModify()
    node.SetIJKToRASMatrix(volumes.matrixFromAffine(volume.affine))
    node.SetAndObserveImageData(volume.imageData)
    node.EndModify(wasModifying)


def _fillSegmentation(
    node: slicer.vtkMRMLSegmentationNode, files: ResultFiles, enhanced: slicer.vtkMRMLScalarVolumeNode
) -> None:
    """Replace the one layer that all segments share."""
    node.SetReferenceImageGeometryParameterFromVolumeNode(enhanced)
    segmentation = node.GetSegmentation()
    if segmentation.GetNumberOfSegments():
        segmentation.GetNthSegment(0).GetRepresentation(segmentations.BINARY_LABELMAP).ShallowCopy(files.labels)
    node.SetAttribute(FINGERPRINT, files.fingerprint)


def _fillMap(node: slicer.vtkMRMLScalarVolumeNode, name: str, files: ResultFiles) -> None:
    if name == FIDELITY:
        overlays.showFidelity(node)
    elif name == ADDED_DETAIL:
        overlays.showAddedDetail(node)
    else:
        kind = (files.report.get("uncertainty") or {}).get("kind", "")
        overlays.showUncertainty(node, files.uncertaintyLimit, kind)
    _fill(node, files.maps[name])


def _addRegistration(
    mrmlScene: slicer.vtkMRMLScene, source: slicer.vtkMRMLScalarVolumeNode, moved: Mapping[str, Any], run: str
) -> slicer.vtkMRMLLinearTransformNode:
    """The rigid movement as a transform node, which brings the reference onto the scan if it is put under it.

    It was found in the scan's own coordinates, so the scan's parent transform comes after it.
    """
    name = mrmlScene.GetUniqueNameByString(f"{run}: reference to scan ({scene.DERIVED})")
    node = mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", name)
    toScan = np.linalg.inv(np.array(moved["matrix_fixed_to_moving_ras"]))
    node.SetMatrixTransformToParent(volumes.matrixFromAffine(toScan))
    node.SetAndObserveTransformNodeID(source.GetTransformNodeID())
    return node


def addPage(mrmlScene: slicer.vtkMRMLScene, name: str, html: str) -> slicer.vtkMRMLTextNode:
    """A page of the run as a text node, so that it is saved with the scene."""
    page = mrmlScene.AddNewNodeByClass("vtkMRMLTextNode", mrmlScene.GetUniqueNameByString(name))
    page.SetText(html)
    return page
