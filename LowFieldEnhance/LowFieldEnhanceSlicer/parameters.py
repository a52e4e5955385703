"""The panel's settings as a parameter node: they are saved with the scene and survive a reload of the module."""

import enum
from collections.abc import Collection
from typing import Annotated, Optional, Union

import slicer
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper

from .catalogue import ALL_METHODS, METHODS
from .method_texts import methodTitle
from .outputs import CHOICES
from .request import MOST_NOISE, MOST_SAMPLES, PSF_WIDTHS, WIDEST_MM, Request


class _Method(enum.Enum):
    def label(self):
        return methodTitle(self.value)


# BRIDGED = "bridged" and so on: the methods of the catalogue, as on the command line
Method = _Method("Method", {name.upper(): name for name in METHODS}, module=__name__)


class Preset(enum.Enum):
    """How much time a run takes."""

    FAST = "fast"
    STANDARD = "standard"
    PAPER = "paper"

    def label(self):
        return {
            "fast": _("Fast"),
            "standard": _("Standard"),
            "paper": _("Paper's schedule"),
        }[self.value]


class Contrast(enum.Enum):
    """The contrast of the input."""

    T1W = "T1w"
    T2W = "T2w"
    FLAIR = "FLAIR"
    OTHER = "other"

    def label(self):
        return _("Other (taken for T1w)") if self is Contrast.OTHER else self.value


class SliceProfile(enum.Enum):
    """How a slice of the scan sees the head through its thickness."""

    GAUSSIAN = "gaussian"
    BOX = "box"
    POINT = "point"

    def label(self):
        return {"gaussian": _("Gaussian"), "box": _("Box"), "point": _("Point (no width)")}[self.value]


class Device(enum.Enum):
    """Where the networks run."""

    AUTO = "auto"
    CUDA = "cuda"
    MPS = "mps"
    CPU = "cpu"

    def label(self):
        return {
            "auto": _("Automatic"),
            "cuda": _("NVIDIA GPU (CUDA)"),
            "mps": _("Apple GPU (MPS)"),
            "cpu": _("CPU"),
        }[self.value]


MOST_SEED = 2**31 - 1  # of a spin box; a script may give any


@parameterNodeWrapper
class LowFieldEnhanceParameterNode:
    """See :class:`~LowFieldEnhanceSlicer.request.Request` for the meaning of each.

    Decimals and steps are in the .ui file: as annotations Slicer heeds them too, but warns of each at every start.
    """

    inputVolume: slicer.vtkMRMLScalarVolumeNode
    contrast: Contrast = Contrast.T1W
    contrastOf: str  # id of the volume for which the contrast was set, so that it is guessed once
    t1wVolume: slicer.vtkMRMLScalarVolumeNode
    t2wVolume: slicer.vtkMRMLScalarVolumeNode
    flairVolume: slicer.vtkMRMLScalarVolumeNode
    method: Method = Method.BRIDGED
    preset: Preset = Preset.FAST
    device: Device = Device.AUTO
    referenceVolume: slicer.vtkMRMLScalarVolumeNode
    referenceSegmentation: slicer.vtkMRMLSegmentationNode
    registerReference: bool = False
    # Slicer takes no "A | B" for a node of two classes.
    lesions: Optional[Union[slicer.vtkMRMLLabelMapVolumeNode, slicer.vtkMRMLSegmentationNode]]  # noqa: UP007, UP045
    brainMask: Optional[Union[slicer.vtkMRMLLabelMapVolumeNode, slicer.vtkMRMLSegmentationNode]]  # noqa: UP007, UP045
    seed: Annotated[int, WithinRange(0, MOST_SEED)] = 0
    spacing: Annotated[float, WithinRange(0.3, 5.0)] = 1.0
    n4: bool = False
    brainOnly: bool = False
    makeSegmentation: bool = True
    makeFidelity: bool = True
    makeUncertainty: bool = True
    makeAddedDetail: bool = True
    samples: Annotated[int, WithinRange(1, MOST_SAMPLES)] = 1
    dataConsistency: bool = False
    segmentMirrored: bool = False
    # 0: measured, and the voxel size; the panel says so in words
    noiseLevel: Annotated[float, WithinRange(0.0, MOST_NOISE)] = 0.0
    psfWidthI: Annotated[float, WithinRange(0.0, WIDEST_MM)] = 0.0
    psfWidthJ: Annotated[float, WithinRange(0.0, WIDEST_MM)] = 0.0
    psfWidthK: Annotated[float, WithinRange(0.0, WIDEST_MM)] = 0.0
    sliceProfile: SliceProfile = SliceProfile.GAUSSIAN
    displacementFile: str
    outputVolume: slicer.vtkMRMLScalarVolumeNode
    outputSegmentation: slicer.vtkMRMLSegmentationNode
    outputFidelity: slicer.vtkMRMLScalarVolumeNode
    outputUncertainty: slicer.vtkMRMLScalarVolumeNode
    outputAddedDetail: slicer.vtkMRMLScalarVolumeNode
    dicomFolder: str
    resultVolume: slicer.vtkMRMLScalarVolumeNode
    comparedMethods: str = ALL_METHODS  # as on the command line
    comparisonTable: slicer.vtkMRMLTableNode


ENUMS = {"method": Method, "preset": Preset, "contrast": Contrast, "sliceProfile": SliceProfile, "device": Device}


def forgetUnknownChoices(node: slicer.vtkMRMLScriptedModuleNode) -> list[str]:
    """Unset choices that this version does not have, as a scene of another one may hold; returns their names.

    With one of them Slicer could not read the node at all.
    """
    stored = {name: node.GetParameter(name) for name in ENUMS}
    unknown = [name for name, text in stored.items() if text and text not in ENUMS[name].__members__]
    with slicer.util.NodeModify(node):
        for name in unknown:
            node.UnsetParameter(name)
    return unknown


# Settings that are called the same in a request and mean the same.
SAME_NAME = ("referenceVolume", "referenceSegmentation", "registerReference", "lesions", "brainMask", "seed", "spacing",
             "n4", "brainOnly", "makeSegmentation", "makeFidelity", "makeUncertainty", "makeAddedDetail", "samples",
             "dataConsistency", "segmentMirrored", "noiseLevel", *PSF_WIDTHS, "displacementFile")  # fmt: skip
TARGETS = (*CHOICES, "dicomFolder")  # the same, of where results go: an earlier result does not tell these
NODES = ("inputVolume", "t1wVolume", "t2wVolume", "flairVolume", "referenceVolume", "referenceSegmentation", "lesions",
         "brainMask", *CHOICES, "resultVolume", "comparisonTable")  # fmt: skip
OTHER_VOLUMES = {"T1w": "t1wVolume", "T2w": "t2wVolume", "FLAIR": "flairVolume"}


def requestOf(parameters: LowFieldEnhanceParameterNode) -> Request:
    """The settings as what a run is asked for."""
    contrast = parameters.contrast.value
    others = {name: getattr(parameters, attribute) for name, attribute in OTHER_VOLUMES.items() if name != contrast}
    presets = METHODS[parameters.method.value].presets
    preset = parameters.preset.value
    return Request(
        inputVolume=parameters.inputVolume,
        contrast=contrast,
        otherVolumes={name: node for name, node in others.items() if node is not None},
        method=parameters.method.value,
        preset=preset if preset in presets else presets[0],
        device=parameters.device.value,
        sliceProfile=parameters.sliceProfile.value,
        **{name: getattr(parameters, name) for name in (*SAME_NAME, *TARGETS)},
    )


def setFromRequest(
    parameters: LowFieldEnhanceParameterNode, request: Request, names: Collection[str] | None = None
) -> None:
    """The reverse of :func:`requestOf`: the panel shows what was asked for; where results go stays as it is.

    Args:
        names: of the settings to show, beside the input volume and its contrast; None shows all.

    Raises:
        ValueError: a choice that this version does not have, or a seed that the panel cannot hold; nothing was set.
    """
    values = {name: getattr(request, name) for name in SAME_NAME}
    values |= {name: _choice(name, getattr(request, name)) for name in ENUMS}
    if not 0 <= request.seed <= MOST_SEED:
        raise ValueError(
            f"The panel cannot be set to the seed {request.seed}, only to one from 0 to {MOST_SEED}; 'Run again' takes "
            "it as it is."
        )
    with slicer.util.NodeModify(parameters):
        parameters.contrastOf = request.inputVolume.GetID() if request.inputVolume is not None else ""
        parameters.inputVolume = request.inputVolume
        parameters.contrast = values.pop("contrast")
        if names is None or "otherVolumes" in names:
            for name, attribute in OTHER_VOLUMES.items():
                setattr(parameters, attribute, request.otherVolumes.get(name))
        for name, value in values.items():
            if names is None or name in names:
                setattr(parameters, name, value)


def _choice(name: str, value: str) -> enum.Enum:
    try:
        return ENUMS[name](value)
    except ValueError as error:
        what = "slice profile" if name == "sliceProfile" else name
        raise ValueError(
            f"The panel cannot be set to the {what} '{value}', which this version does not have."
        ) from error


def renewContrastOf(parameters: LowFieldEnhanceParameterNode) -> None:
    """After a scene was loaded, let the contrast be that of the input volume, whose id may be another than it was.

    Else it would be taken for that of whichever volume has the earlier id now.
    """
    if parameters.contrastOf:
        node = parameters.inputVolume
        parameters.contrastOf = node.GetID() if node is not None else ""


def forget(parameters: LowFieldEnhanceParameterNode, node: slicer.vtkMRMLNode) -> None:
    """Nothing is chosen any more where this node was."""
    held = [name for name in NODES if getattr(parameters, name) is node]
    if held:
        with slicer.util.NodeModify(parameters):
            for name in held:
                setattr(parameters, name, None)


def usePossiblePreset(parameters: LowFieldEnhanceParameterNode) -> None:
    """Choose the method's first preset if it does not have the one that is chosen: what is shown is what will run."""
    presets = METHODS[parameters.method.value].presets
    if parameters.preset.value not in presets:
        parameters.preset = Preset(presets[0])
