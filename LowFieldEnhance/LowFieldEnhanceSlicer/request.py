"""What a run is asked for: the same for the panel and a script, on the command line, and found again later."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import slicer

from .catalogue import CONTRASTS, METHODS
from .marks import ATTRIBUTE_PREFIX, NODE_ROLE, isDerived, requireNode

REQUEST_ATTRIBUTE = ATTRIBUTE_PREFIX + "request"
SOURCES, DIGESTS = "sources", "digests"
PLAIN = ("contrast", "method", "preset", "device", "seed", "spacing", "n4", "brainOnly", "makeSegmentation",
         "makeFidelity", "makeUncertainty", "makeAddedDetail", "samples", "dataConsistency",
         "registerReference")  # fmt: skip
PSF_WIDTHS = ("psfWidthI", "psfWidthJ", "psfWidthK")
FORWARD = ("noiseLevel", *PSF_WIDTHS, "sliceProfile")
ADDED = (*FORWARD, "displacementFile", "segmentMirrored")  # plain too; results of earlier versions do not have them
NODES = ("inputVolume", "referenceVolume", "referenceSegmentation", "lesions", "brainMask")

MOST_SAMPLES = 32
MOST_NOISE = 1e6
NARROWEST_MM, WIDEST_MM = 0.1, 30.0


@dataclass(frozen=True)
class Request:
    """One run.

    Attributes:
        inputVolume: the low-field scan.
        contrast: T1w, T2w, FLAIR or other.
        otherVolumes: further contrasts of the same head by name, in the same frame of reference.
        method, preset, device, seed: see the command line.
        referenceVolume, referenceSegmentation: a high-field scan in the same frame of reference, and its structures.
        registerReference: the reference was taken in another position, so it is registered to the scan first.
        lesions: regions to follow: a label map volume, or a segmentation of which every segment is one lesion or more.
        brainMask: the brain, instead of the segmenter's mask: a label map volume, or all segments of a segmentation.
        spacing: of the output, mm.
        n4: correct the bias field first.
        brainOnly: 0 outside the brain.
        makeSegmentation, makeFidelity: outputs beside the enhanced volume and the report.
        makeUncertainty: the spread among the samples as a volume, or what is expected of a single result; with one
            sample, only of some methods.
        makeAddedDetail: what the scan does not support, as a volume in percent of the local contrast.
        samples: 1 to 32 results, whose spread is reported: with other seeds, or of the mirrored scan if the method
            draws nothing.
        dataConsistency: project the result onto the scan at the end.
        segmentMirrored: segment each volume and its mirror image, in twice the time, so that the labels are as wrong
            about left as about right.
        noiseLevel: of the scan, in its units; 0 measures it.
        psfWidthI, psfWidthJ, psfWidthK: full widths at half maximum of the scan's point-spread function along its axes,
            mm; 0 takes the voxel size.
        sliceProfile: gaussian, box or point.
        displacementFile: the field or transform (ITK) with which the scan was unwarped, for the method latent; "" none.
        outputVolume, outputSegmentation, outputFidelity, outputUncertainty, outputAddedDetail: nodes to fill: empty
            ones or earlier results of the same scan; None makes a new one.
        earlierInputs: of a run that repeats another: what that one's volumes were, see :func:`record`.
        earlierWeights: the same for its networks: the SHA-256 of each one's weights by its name.
        dicomFolder: a folder that exists, in which the run makes one of its own with DICOM files; "" makes none.
    """

    inputVolume: slicer.vtkMRMLScalarVolumeNode | None
    contrast: str = "T1w"
    otherVolumes: dict[str, slicer.vtkMRMLScalarVolumeNode] = field(default_factory=dict)
    method: str = "bridged"
    preset: str = "fast"
    device: str = "auto"
    referenceVolume: slicer.vtkMRMLScalarVolumeNode | None = None
    referenceSegmentation: slicer.vtkMRMLSegmentationNode | None = None
    registerReference: bool = False
    lesions: slicer.vtkMRMLLabelMapVolumeNode | slicer.vtkMRMLSegmentationNode | None = None
    brainMask: slicer.vtkMRMLLabelMapVolumeNode | slicer.vtkMRMLSegmentationNode | None = None
    seed: int = 0
    spacing: float = 1.0
    n4: bool = False
    brainOnly: bool = False
    makeSegmentation: bool = True
    makeFidelity: bool = True
    makeUncertainty: bool = True
    makeAddedDetail: bool = True
    samples: int = 1
    dataConsistency: bool = False
    segmentMirrored: bool = False
    noiseLevel: float = 0.0
    psfWidthI: float = 0.0
    psfWidthJ: float = 0.0
    psfWidthK: float = 0.0
    sliceProfile: str = "gaussian"
    displacementFile: str = ""
    outputVolume: slicer.vtkMRMLScalarVolumeNode | None = None
    outputSegmentation: slicer.vtkMRMLSegmentationNode | None = None
    outputFidelity: slicer.vtkMRMLScalarVolumeNode | None = None
    outputUncertainty: slicer.vtkMRMLScalarVolumeNode | None = None
    outputAddedDetail: slicer.vtkMRMLScalarVolumeNode | None = None
    dicomFolder: str = ""
    earlierInputs: dict[str, str] = field(default_factory=dict, compare=False)
    earlierWeights: dict[str, str] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        """A script's numpy numbers and paths become plain ones, which the command line and the provenance can hold."""
        for name in (*PLAIN, *ADDED):
            value = getattr(self, name)
            if type(value).__module__ == "numpy" and hasattr(value, "item"):
                object.__setattr__(self, name, value.item())
        for name in ("displacementFile", "dicomFolder"):
            if isinstance(getattr(self, name), os.PathLike):
                object.__setattr__(self, name, os.fspath(getattr(self, name)))

    @property
    def makesUncertainty(self) -> bool:
        """Whether there is an uncertainty to show and it is wanted."""
        return self.makeUncertainty and self.hasUncertainty

    @property
    def hasUncertainty(self) -> bool:
        """Whether there is one: the spread of several samples, or of a method whose single result has one."""
        entry = METHODS.get(self.method)
        return self.samples > 1 or (entry is not None and self.preset in (*entry.spreads, *entry.expects))

    @property
    def registersReference(self) -> bool:
        """Whether there is a reference to register and that is wanted."""
        return self.registerReference and self.referenceVolume is not None

    @property
    def psfWidths(self) -> tuple[float, ...]:
        """Along i, j and k, mm; empty if none was given."""
        given = [getattr(self, name) for name in PSF_WIDTHS]
        if not any(given):
            return ()
        return tuple(width or size for width, size in zip(given, self.inputVolume.GetSpacing(), strict=True))

    @property
    def maps(self) -> dict[str, slicer.vtkMRMLNode]:
        """The nodes chosen that mark regions, by what they are."""
        named = {"reference segmentation": self.referenceSegmentation, "map of lesions": self.lesions,
                 "brain mask": self.brainMask}  # fmt: skip
        return {what: node for what, node in named.items() if node is not None}

    @property
    def volumes(self) -> dict[str, slicer.vtkMRMLScalarVolumeNode]:
        """All volumes of the run by what they are called in a sentence."""
        named = {"input volume": self.inputVolume, "reference volume": self.referenceVolume}
        named |= {f"{name} volume": node for name, node in self.otherVolumes.items()}
        return {name: node for name, node in named.items() if node is not None}


def arguments(request: Request, files: dict[str, Path], outputs: Path, dicom: Path | None = None) -> list[str]:
    """The command line of the run.

    Args:
        files: of the exported nodes: "input", "T1w" and so on, "reference", "labels", "lesions", "brain", "dicom".
        outputs: the folder for the results.
        dicom: the folder to make for DICOM files, or None.
    """
    line = ["enhance", str(files["input"]), "-o", str(outputs / "enhanced.nrrd")]
    line += ["--method", request.method, "--preset", request.preset, *scanArguments(request, files)]
    line += ["--n4"] if request.n4 else []
    line += ["--brain-only"] if request.brainOnly else []
    line += ["--segmentation", str(outputs / "segmentation.nrrd")] if request.makeSegmentation else []
    line += ["--fidelity", str(outputs / "fidelity.nrrd")] if request.makeFidelity else []
    line += ["--samples", str(request.samples)] if request.samples > 1 else []
    line += ["--uncertainty", str(outputs / "uncertainty.nrrd")] if request.makesUncertainty else []
    line += ["--added-detail", str(outputs / "added_detail.nrrd")] if request.makeAddedDetail else []
    line += ["--data-consistency"] if request.dataConsistency else []
    line += ["--displacement", os.path.abspath(request.displacementFile)] if request.displacementFile else []
    line += ["--dicom", str(dicom)] if dicom is not None else []
    line += ["--dicom-source", str(files["dicom"])] if dicom is not None and "dicom" in files else []
    return [*line, "--report", str(outputs / "report.html"), "--report-json", str(outputs / "report.json")]


def scanArguments(request: Request, files: dict[str, Path]) -> list[str]:
    """What every command that works on a scan is told: what it is, what comes with it, and where it is worked on."""
    line = ["--contrast", request.contrast]
    line += [part for name in request.otherVolumes for part in ("--with", f"{name}={files[name]}")]
    line += ["--reference", str(files["reference"])] if "reference" in files else []
    line += ["--reference-labels", str(files["labels"])] if "labels" in files else []
    line += ["--register"] if request.registersReference else []
    line += ["--lesions", str(files["lesions"])] if "lesions" in files else []
    line += ["--brain-mask", str(files["brain"])] if "brain" in files else []
    line += ["--sigma", repr(request.noiseLevel)] if request.noiseLevel else []
    line += ["--psf", *(f"{width:.6g}" for width in request.psfWidths)] if request.psfWidths else []
    line += ["--profile", request.sliceProfile] if request.sliceProfile != "gaussian" else []
    line += ["--mirrored"] if request.segmentMirrored else []
    return [*line, "--device", request.device, "--seed", str(request.seed), "--spacing", f"{request.spacing:g}"]


def record(request: Request, node: slicer.vtkMRMLNode, digests: Mapping[str, str]) -> None:
    """Write the request onto an output: plain settings as an attribute, nodes as references that follow a reload.

    Args:
        digests: SHA-256 of each volume as it was handed over, by what it is called in a sentence.
    """
    sources = {**{name: getattr(request, name) for name in NODES}, **request.otherVolumes}
    sources = {name: source for name, source in sources.items() if source is not None}
    settings = {name: getattr(request, name) for name in (*PLAIN, *ADDED)}
    # by name too: the reference to a node that is deleted later goes without a trace
    settings[SOURCES] = {name: source.GetName() for name, source in sources.items()}
    settings[DIGESTS] = dict(digests)
    node.SetAttribute(REQUEST_ATTRIBUTE, json.dumps(settings))
    for name, source in sources.items():
        node.SetNodeReferenceID(NODE_ROLE + name, source.GetID())


def inputNameOf(node: slicer.vtkMRMLNode) -> str:
    """The name of the scan that an output was made from, also if that has gone; empty if the output does not say."""
    try:
        return json.loads(node.GetAttribute(REQUEST_ATTRIBUTE) or "")[SOURCES]["inputVolume"]
    except (ValueError, KeyError, TypeError):
        return ""


def weightsOf(node: slicer.vtkMRMLNode) -> dict[str, str]:
    """The SHA-256 of the weights that made an output, by the networks' names; of the segmenter too."""
    try:
        weights = dict(json.loads(node.GetAttribute(ATTRIBUTE_PREFIX + "weights") or "{}"))
        segmenter = json.loads(node.GetAttribute(ATTRIBUTE_PREFIX + "segmenter") or "{}")
        return weights | ({segmenter["name"]: segmenter["sha256"]} if segmenter else {})
    except (ValueError, KeyError, TypeError):
        return {}


def requestFromProvenance(node: slicer.vtkMRMLNode) -> Request:
    """What the run that made this output was asked for.

    Raises:
        ValueError: the node is not an output of this module, or of another version of it, or something that it was
            made from is no longer in the scene.
    """
    requireNode(node)
    try:
        settings: dict[str, Any] = json.loads(node.GetAttribute(REQUEST_ATTRIBUTE) or "")
        made, digests = settings.get(SOURCES, {}), settings.get(DIGESTS, {})
        known = {name: settings[name] for name in ADDED if name in settings}
        settings = {name: settings[name] for name in PLAIN} | known
    except (ValueError, KeyError, TypeError) as error:
        why = "was not made in Slicer" if isDerived(node) else "is no result of LowFieldEnhance"
        raise ValueError(
            f"'{node.GetName()}' {why} and does not say how it was made, so it cannot be made again."
        ) from error
    for name, called in made.items():
        if node.GetNodeReference(NODE_ROLE + name) is None:
            raise ValueError(
                f"'{node.GetName()}' was made with '{called}', which is no longer in the scene, so it cannot be made "
                "again."
            )
    sources = {name: node.GetNodeReference(NODE_ROLE + name) for name in CONTRASTS[:3]}
    return Request(
        **{name: node.GetNodeReference(NODE_ROLE + name) for name in NODES},
        otherVolumes={name: source for name, source in sources.items() if source is not None},
        earlierInputs=digests,
        earlierWeights=weightsOf(node),
        **settings,
    )
