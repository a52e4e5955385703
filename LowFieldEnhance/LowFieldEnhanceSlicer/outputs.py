"""The nodes that a run fills: new ones, or those that the user chose.

A chosen node keeps its name and what it shows until the very end of the run: everything is first made in new nodes,
which can be removed at any moment, and only the last step hands their content over. Then its name gets the mark; a name
that this module gave it is replaced by that of the new node, which says the method and the preset.
"""

from __future__ import annotations

import re
from collections.abc import Container, Generator, Iterable, Sequence
from typing import TYPE_CHECKING

import slicer

from LowFieldEnhanceLib.image_io import DERIVED

from . import hierarchy, overlays, volumes
from .background import Background
from .corrections import CorrectionCheck
from .marks import ATTRIBUTE_PREFIX, ENHANCED, GIVEN_NAME, INPUT_ROLE, OUTPUT_ATTRIBUTE, isDerived, saysDerived
from .request import Request, inputNameOf
from .scene import RunResult
from .segmentations import BINARY_LABELMAP

if TYPE_CHECKING:
    from .loading import ResultFiles

NUMBER = re.compile(r"_\d+$")  # as Slicer makes a name unique
# Settings of a request that name a node, and which output they take.
CHOICES = {
    "outputVolume": "enhanced volume",
    "outputSegmentation": "segmentation",
    "outputFidelity": "fidelity map",
    "outputUncertainty": "uncertainty map",
    "outputAddedDetail": "map of added detail",
}


def chosenOutputs(request: Request) -> dict[str, slicer.vtkMRMLNode]:
    """The chosen nodes by the name of their setting, for the outputs that the run makes."""
    made = {
        "outputVolume": True,
        "outputSegmentation": request.makeSegmentation,
        "outputFidelity": request.makeFidelity,
        "outputUncertainty": request.makesUncertainty,
        "outputAddedDetail": request.makeAddedDetail,
    }
    chosen = {name: getattr(request, name) for name in CHOICES if made[name]}
    return {name: node for name, node in chosen.items() if node is not None}


def reasonAgainstOutputs(request: Request) -> str:
    """Why the chosen nodes cannot be filled, in one sentence; empty if they can."""
    chosen = chosenOutputs(request)
    sources = {node.GetID(): f"the {name}" for name, node in (request.volumes | request.maps).items()}
    for name, node in chosen.items():
        reason = reasonAgainstOutput(name, node, request.inputVolume)
        if reason:
            return reason
        if node.GetID() in sources:
            return f"'{node.GetName()}' is {sources[node.GetID()]}; choose another node for the {CHOICES[name]}."
    if len({node.GetID() for node in chosen.values()}) != len(chosen):
        return "The same volume was chosen for two outputs."
    return ""


def reasonAgainstFilledTwice(request: Request, others: Sequence[Request]) -> str:
    """Why the chosen nodes must wait: other runs, which have not ended, will fill them."""
    taken = {node.GetID() for other in others for node in chosenOutputs(other).values()}
    for name, node in chosenOutputs(request).items():
        if node.GetID() in taken:
            return (
                f"'{node.GetName()}' is to be filled by a run that has not ended; choose another node for the "
                f"{CHOICES[name]}."
            )
    return ""


def reasonAgainstOutput(name: str, node: slicer.vtkMRMLNode, inputVolume: slicer.vtkMRMLScalarVolumeNode) -> str:
    """The same for one of them: only what is empty, or what this module made from the same scan, is overwritten.

    Args:
        name: one of :data:`CHOICES`.
    """
    what = CHOICES[name]
    if node.GetScene() is not inputVolume.GetScene():
        return f"The node that was chosen for the {what} is no longer in the scene."
    wanted = "vtkMRMLSegmentationNode" if name == "outputSegmentation" else "vtkMRMLScalarVolumeNode"
    if node.GetClassName() != wanted:
        return f"'{node.GetName()}' cannot hold the {what}; choose another node."
    if _isEmpty(node):
        return ""
    if not isDerived(node):
        return (
            f"'{node.GetName()}' was not made by LowFieldEnhance and would be overwritten; choose an empty node or an"
            f" earlier result for the {what}."
        )
    if node.GetNodeReference(INPUT_ROLE) is not inputVolume:
        made = f"'{inputNameOf(node)}'" if inputNameOf(node) else "another scan"
        return (
            f"'{node.GetName()}' is a result of {made}, not of '{inputVolume.GetName()}', and would be "
            f"overwritten; choose another node for the {what}."
        )
    return ""


def _isEmpty(node: slicer.vtkMRMLNode) -> bool:
    if node.IsA("vtkMRMLSegmentationNode"):
        return node.GetSegmentation().GetNumberOfSegments() == 0
    imageData = node.GetImageData()
    return imageData is None or imageData.GetPointData().GetScalars() is None


def correctedInSteps(request: Request) -> Generator[None, None, list[slicer.vtkMRMLSegmentationNode]]:
    """Segmentations that the run would overwrite or remove, but that were corrected by hand; yields between steps."""
    found = []
    endangered = [*filter(None, [chosenOutputs(request).get("outputSegmentation")]), *replacedOutputs(request)]
    for node in (node for node in endangered if node.IsA("vtkMRMLSegmentationNode")):
        check = CorrectionCheck(node)
        while check.copyNext():
            yield None
        work = Background(check.isCorrected)
        while not work.done:
            yield None
        if work.value is not False:  # what could not be compared is kept
            found.append(node)
    return found


def handOver(
    mrmlScene: slicer.vtkMRMLScene,
    request: Request,
    result: RunResult,
    files: ResultFiles,
    corrected: Container[slicer.vtkMRMLNode] = (),
) -> None:
    """Fill the chosen nodes and remove the new ones that stood in for them; ``result`` then has the chosen ones' ids.

    A node that was removed or filled by the user during the run is left alone, and the new one stays. All that belongs
    to the volumes that are no more goes, see :func:`replacedOutputs`, but for segmentations that were corrected and for
    what this run was made with.
    """
    chosen, source = chosenOutputs(request), request.inputVolume
    usable = {name: node for name, node in chosen.items() if not reasonAgainstOutput(name, node, source)}
    left = None
    if result.segmentation and usable.get("outputSegmentation") in corrected:
        left = usable.pop("outputSegmentation")
        new = mrmlScene.GetNodeByID(result.segmentation).GetName()
        result.warnings.append(f"'{left.GetName()}' was corrected by hand, so it was kept, and the new one is '{new}'")
    replaced = replacedRuns(usable.values())
    maps = {
        "outputFidelity": overlays.FIDELITY,
        "outputUncertainty": overlays.UNCERTAINTY,
        "outputAddedDetail": overlays.ADDED_DETAIL,
    }
    for name, node in usable.items():
        if name == "outputVolume":
            _handOverVolume(result, mrmlScene.GetNodeByID(result.enhanced), node)
            result.enhanced = node.GetID()
        elif name == "outputSegmentation" and result.segmentation:
            _handOverSegmentation(result, mrmlScene.GetNodeByID(result.segmentation), node, files)
            result.segmentation = node.GetID()
        elif maps.get(name) in result.extraVolumes:
            _handOverVolume(result, mrmlScene.GetNodeByID(result.extraVolumes[maps[name]]), node)
            result.extraVolumes[maps[name]] = node.GetID()
    if "outputVolume" in usable and result.segmentation:
        segmentation = mrmlScene.GetNodeByID(result.segmentation)
        segmentation.SetReferenceImageGeometryParameterFromVolumeNode(usable["outputVolume"])
    for folder in replaced:
        sources = request.maps.values()
        for node in (node for node in hierarchy.runNodes(folder, mrmlScene) if node in corrected or node in sources):
            hierarchy.release(folder, node)
            if node in corrected and node is not left:
                result.warnings.append(f"'{node.GetName()}' was corrected by hand, so it was kept")
        overlays.takeOff(hierarchy.runNodes(folder, mrmlScene))
        hierarchy.removeRun(folder, mrmlScene)


def replacedOutputs(request: Request) -> list[slicer.vtkMRMLNode]:
    """What goes when the chosen nodes are filled: maps, segmentation, tables and report of an enhanced volume that is
    filled anew describe what is no longer there.
    """
    chosen = list(chosenOutputs(request).values())
    scene = request.inputVolume.GetScene()
    outputs = [node for folder in replacedRuns(chosen) for node in hierarchy.runNodes(folder, scene)]
    kept = (*chosen, *request.maps.values())
    return [node for node in outputs if node not in kept]


def replacedRuns(chosen: Iterable[slicer.vtkMRMLNode]) -> list[int]:
    """The folders of the earlier runs whose own enhanced volume is among these nodes."""
    enhanced = [node for node in chosen if node.GetAttribute(OUTPUT_ATTRIBUTE) == ENHANCED]
    folders = [(hierarchy.runFolderOf(node), node) for node in enhanced]
    # the user's copy of an output lies in a folder, too, without being the run's
    return [item for item, node in folders if item and node in hierarchy.runNodes(item, node.GetScene())]


def _handOverVolume(
    result: RunResult, standIn: slicer.vtkMRMLScalarVolumeNode, node: slicer.vtkMRMLScalarVolumeNode
) -> None:
    wasModifying = node.StartModify()
    volumes.copyVoxels(standIn, node)
    _rename(standIn, node)
    _copyMarks(standIn, node)
    volumes.copyDisplay(standIn, node)
    node.EndModify(wasModifying)
    overlays.moveLegend(standIn, node)
    hierarchy.replaceInRun(result.folderItem, standIn, node)


def _handOverSegmentation(
    result: RunResult,
    standIn: slicer.vtkMRMLSegmentationNode,
    node: slicer.vtkMRMLSegmentationNode,
    files: ResultFiles,
) -> None:
    """The segments, on a layer of their own: with its node, a segmentation erases the layer that it has."""
    wasModifying = node.StartModify()
    segmentation, source = node.GetSegmentation(), standIn.GetSegmentation()
    segmentation.RemoveAllSegments()
    segmentation.SetSourceRepresentationName(BINARY_LABELMAP)
    layer = slicer.vtkOrientedImageData()
    layer.DeepCopy(files.labels)
    for segmentId in source.GetSegmentIDs():
        segment = slicer.vtkSegment()
        segment.DeepCopyMetadata(source.GetSegment(segmentId))
        segment.AddRepresentation(BINARY_LABELMAP, layer)
        segmentation.AddSegment(segment, segmentId)
    node.CreateDefaultDisplayNodes()
    node.SetLabelmapConversionColorTableNodeID(result.colourTable)
    enhanced = node.GetScene().GetNodeByID(result.enhanced)
    node.SetReferenceImageGeometryParameterFromVolumeNode(enhanced)
    _rename(standIn, node)
    _copyMarks(standIn, node)
    node.EndModify(wasModifying)
    hierarchy.replaceInRun(result.folderItem, standIn, node)


def _rename(standIn: slicer.vtkMRMLNode, node: slicer.vtkMRMLNode) -> None:
    """The mark in the name: a file is named after its node, and most files hold no attribute."""
    own, new = node.GetName(), standIn.GetName()
    if own == node.GetAttribute(GIVEN_NAME):
        same = NUMBER.sub("", own) == NUMBER.sub("", new)  # it has a number only because the node has the name already
        node.SetName(own if same else new)
        standIn.SetAttribute(GIVEN_NAME, node.GetName())
    elif not saysDerived(own):
        node.SetName(f"{own} ({DERIVED})")


def _copyMarks(standIn: slicer.vtkMRMLTransformableNode, node: slicer.vtkMRMLTransformableNode) -> None:
    """Provenance, references and parent transform; those of an earlier run go."""
    for name in [name for name in node.GetAttributeNames() if name.startswith(ATTRIBUTE_PREFIX)]:
        node.RemoveAttribute(name)
    for name in standIn.GetAttributeNames():
        node.SetAttribute(name, standIn.GetAttribute(name))
    for role in [role for role in _roles(node) if role.startswith(ATTRIBUTE_PREFIX)]:
        node.RemoveNodeReferenceIDs(role)
    for role in [role for role in _roles(standIn) if role.startswith(ATTRIBUTE_PREFIX)]:
        node.SetNodeReferenceID(role, standIn.GetNodeReferenceID(role))
    node.SetAndObserveTransformNodeID(standIn.GetTransformNodeID())


def _roles(node: slicer.vtkMRMLNode) -> list[str]:
    return [node.GetNthNodeReferenceRole(n) for n in range(node.GetNumberOfNodeReferenceRoles())]
