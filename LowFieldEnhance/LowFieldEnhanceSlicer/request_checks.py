"""Why a run cannot start, in one sentence, before any work."""

from __future__ import annotations

from pathlib import Path

import slicer

from .catalogue import CONTRASTS, DEVICES, METHODS, PROFILES
from .dependencies import installedVersion
from .marks import isDerived
from .outputs import reasonAgainstOutputs
from .reference_labels import MOST_NUMBERED
from .request import MOST_NOISE, MOST_SAMPLES, NARROWEST_MM, PSF_WIDTHS, WIDEST_MM, Request
from .request_kinds import reasonAgainstKinds
from .segmentations import BINARY_LABELMAP
from .source import modality
from .structure_names import listed, unknownSegments
from .volumes import isWarped, matrixBetween


def reasonAgainst(request: Request) -> str:
    """Why the run cannot start, in one sentence; empty if it can. Looks at no voxels, so it is quick."""
    if reason := reasonAgainstKinds(request):
        return reason
    entry = METHODS.get(request.method)
    if entry is None:
        return f"There is no method '{request.method}'; choose {', '.join(METHODS)}."
    if request.preset not in entry.presets:
        return f"{entry.title} has no preset '{request.preset}'; choose {', '.join(entry.presets)}."
    if request.contrast not in CONTRASTS or request.device not in DEVICES:
        return f"Choose a contrast of {', '.join(CONTRASTS)} and a device of {', '.join(DEVICES)}."
    if not 0.3 <= request.spacing <= 5.0:
        return f"The output spacing {request.spacing:g} mm must be between 0.3 and 5 mm."
    if not 1 <= request.samples <= MOST_SAMPLES:
        return f"The number of samples {request.samples} must be between 1 and {MOST_SAMPLES}."
    if request.inputVolume is None:
        return "Choose an input volume."
    if reason := _reasonAgainstForwardModel(request):
        return reason
    if request.referenceSegmentation is not None and request.referenceVolume is None:
        return "A reference segmentation needs a reference volume."
    for package in entry.packages:
        if installedVersion(package) is None:
            return f"{entry.title} needs the optional Python package {package}, which is not installed."
    reasons = (_reasonAgainstVolume(f"The {name}", node, request) for name, node in request.volumes.items())
    further = (_reasonAgainstOthers, _reasonAgainstReferenceSegmentation, _reasonAgainstRegions,
               _reasonAgainstDisplacement, reasonAgainstOutputs, _reasonAgainstDicom)  # fmt: skip
    return next(filter(None, reasons), "") or next(filter(None, (check(request) for check in further)), "")


def _reasonAgainstForwardModel(request: Request) -> str:
    """What the user knows better of the scan than it is measured."""
    if not 0 <= request.noiseLevel <= MOST_NOISE:
        return f"The noise level {request.noiseLevel:g} must be between 0 and {MOST_NOISE:.0f}; 0 measures it."
    if request.sliceProfile not in PROFILES:
        return f"There is no slice profile '{request.sliceProfile}'; choose {', '.join(PROFILES)}."
    widths = [getattr(request, name) for name in PSF_WIDTHS]
    if not all(width == 0 or NARROWEST_MM <= width <= WIDEST_MM for width in widths):
        return f"The PSF widths must be between {NARROWEST_MM:g} and {WIDEST_MM:g} mm; 0 takes the voxel size."
    if request.sliceProfile == "point" and any(widths):
        return "The slice profile 'point' has no width; give no PSF widths, or choose another profile."
    return ""


def _reasonAgainstVolume(name: str, node: slicer.vtkMRMLScalarVolumeNode, request: Request) -> str:
    imageData = node.GetImageData()
    if node.GetScene() is None:
        return f"{name} is no longer in the scene."
    if imageData is None or imageData.GetPointData().GetScalars() is None:
        return f"{name} '{node.GetName()}' has no voxels; load the scan first."
    if imageData.GetNumberOfScalarComponents() != 1 or node.IsA("vtkMRMLLabelMapVolumeNode"):
        return f"{name} '{node.GetName()}' is not a scalar image."
    if min(imageData.GetDimensions()) < 4:
        return f"{name} '{node.GetName()}' is too thin: at least 4 voxels along each axis are needed."
    kind = modality(node)
    if kind not in ("", "MR"):
        return f"{name} '{node.GetName()}' is {kind}, not MR."
    if isDerived(node):
        instead = "the scan it was made from" if node is request.inputVolume else "a volume that a scanner acquired"
        return f"{name} '{node.GetName()}' is itself an output of LowFieldEnhance; choose {instead}."
    if node.GetTransformNodeID() != request.inputVolume.GetTransformNodeID():
        return f"{name} '{node.GetName()}' is under another transform than the input volume; harden the transforms."
    return ""


def _reasonAgainstOthers(request: Request) -> str:
    nodes = [request.inputVolume, *request.otherVolumes.values()]
    if len({node.GetID() for node in nodes}) != len(nodes):
        return "The same volume was chosen for two contrasts."
    if request.referenceVolume is request.inputVolume:
        return "The input volume was chosen as its own reference."
    if request.contrast == "other" and "T1w" in request.otherVolumes:
        return "A scan of other contrast takes the place of the T1w volume; give one or the other, not both."
    return ""


def _reasonAgainstReferenceSegmentation(request: Request) -> str:
    node = request.referenceSegmentation
    reason = _reasonAgainstSegmentation("reference segmentation", node, request.referenceVolume)
    if node is None or reason:
        return reason
    unknown = unknownSegments(node.GetSegmentation())
    if len(unknown) == node.GetSegmentation().GetNumberOfSegments():
        return (
            f"No segment of the reference segmentation '{node.GetName()}' is a structure of the report, by name or by "
            f"terminology; it has {listed(unknown)}."
        )
    return ""


def _reasonAgainstRegions(request: Request) -> str:
    """Of the nodes that may be a label map volume as well as a segmentation."""
    regions = ((request.lesions, "label map of lesions", "segmentation of lesions"),
               (request.brainMask, "brain mask", "segmentation of the brain"))  # fmt: skip
    chosen = (_reasonAgainstRegion(node, *names, request.inputVolume) for node, *names in regions if node is not None)
    return next(filter(None, chosen), "")


def _reasonAgainstRegion(
    node: slicer.vtkMRMLNode, labelMap: str, segmentation: str, inputVolume: slicer.vtkMRMLScalarVolumeNode
) -> str:
    if node.IsA("vtkMRMLSegmentationNode"):
        reason = _reasonAgainstSegmentation(segmentation, node, inputVolume)
        if not reason and node.GetSegmentation().GetNumberOfSegments() > MOST_NUMBERED:
            return f"The {segmentation} '{node.GetName()}' has more than {MOST_NUMBERED} segments; merge some."
        return reason
    if not node.IsA("vtkMRMLLabelMapVolumeNode"):
        return f"The {labelMap} '{node.GetName()}' is neither a label map volume nor a segmentation."
    if node.GetScene() is None:
        return f"The {labelMap} is no longer in the scene."
    if node.GetImageData() is None or node.GetImageData().GetPointData().GetScalars() is None:
        return f"The {labelMap} '{node.GetName()}' has no voxels."
    if node.GetTransformNodeID() != inputVolume.GetTransformNodeID():
        moved = "is under another transform than the input volume; harden the transforms."
        return f"The {labelMap} '{node.GetName()}' {moved}"
    return ""


def _reasonAgainstSegmentation(
    what: str, node: slicer.vtkMRMLSegmentationNode | None, volumeNode: slicer.vtkMRMLScalarVolumeNode
) -> str:
    if node is None:
        return ""
    if node.GetScene() is None:
        return f"The {what} is no longer in the scene."
    segmentation = node.GetSegmentation()
    if not segmentation.GetNumberOfSegments() or not segmentation.ContainsRepresentation(BINARY_LABELMAP):
        return f"The {what} '{node.GetName()}' has no binary label map; create it first."
    if matrixBetween(volumeNode, node) is None:
        warped = f"The {what} '{node.GetName()}'" if isWarped(node) else f"The volume '{volumeNode.GetName()}'"
        return f"{warped} is under a warping transform; harden it first."
    return ""


def _reasonAgainstDisplacement(request: Request) -> str:
    if request.displacementFile and not Path(request.displacementFile).is_file():
        return f"The displacement field '{request.displacementFile}' is not a file that exists."
    return ""


def _reasonAgainstDicom(request: Request) -> str:
    if not request.dicomFolder:
        return ""
    if not Path(request.dicomFolder).is_dir():
        return f"The folder for DICOM files '{request.dicomFolder}' does not exist."
    return ""
