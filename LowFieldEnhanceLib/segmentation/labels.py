"""The anatomical labels: FreeSurfer ids, names, colours and standard codes, from ``Resources/Labels/labels.csv``."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import ndimage

from ..image import Image
from ..resources import resource

# What FreeSurfer-style label maps contain beyond the table, and where it belongs (vessels, lesions and what was left
# undetermined to their surroundings, choroid plexus to the ventricle that holds it, the 5th ventricle to the 3rd).
MERGED = {25: 2, 57: 41, 30: 2, 62: 41, 72: 14, 77: 2, 31: 4, 63: 43, 136: 4, 163: 43, 137: 5, 164: 44, 85: 24,
          29: 2, 61: 41, 78: 2, 79: 41}  # fmt: skip
# The corpus callosum in five parts, or as one: white matter whose id does not tell the side.
CALLOSUM = (192, 251, 252, 253, 254, 255)
FREE_CSF = 24  # around the brain and in its sulci
INFERIOR_HORNS = (5, 44)  # of the lateral ventricles, left and right
LEFT_WHITE, RIGHT_WHITE = WHITE_MATTER = (2, 41)  # cerebral


@dataclass(frozen=True)
class Label:
    """One anatomical structure.

    Attributes:
        id: FreeSurfer id (aseg).
        name: English name with its side.
        side: ``left``, ``right`` or empty.
        partner: id of the same structure on the other side (its own id on the midline).
        tissue: ``WM``, ``GM`` or ``CSF``: the main tissue, for the contrast model.
        colour: red, green, blue in 0..255 (FreeSurfer's colours).
        scheme, code, meaning: DICOM code triple (CID 7140).
    """

    id: int
    name: str
    side: str
    partner: int
    tissue: str
    colour: tuple[int, int, int]
    scheme: str
    code: str
    meaning: str


@dataclass(frozen=True)
class LabelMap:
    """Integer labels on a grid.

    Attributes:
        array: uint8 [i, j, k], FreeSurfer ids, 0 is background.
        affine: 4 x 4, index to RAS mm.
        confidence: id to mean posterior of the segmenter inside the structure (0..1); empty for manual labels.
        file: name of the file that it was read from; empty if it was made here.
        orientation_doubt: why the orientation in that file's header is in doubt; None if it is not.
    """

    array: np.ndarray
    affine: np.ndarray
    confidence: dict[int, float]
    file: str = ""
    orientation_doubt: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "array", np.ascontiguousarray(self.array, dtype=np.uint8))
        object.__setattr__(self, "affine", np.array(self.affine, dtype=np.float64))

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel in millilitres."""
        return float(abs(np.linalg.det(self.affine[:3, :3])) / 1000.0)

    def as_image(self) -> Image:
        """The ids as an :class:`Image` (float32 holds them exactly)."""
        return Image(self.array.astype(np.float32), self.affine)


@cache
def label_table() -> tuple[Label, ...]:
    """All labels in the order of their ids (the network's channels are background, then this order)."""
    with resource("Labels", "labels.csv").open(newline="", encoding="utf-8") as stream:
        return tuple(
            Label(
                id=int(row["id"]),
                name=row["name"],
                side=row["side"],
                partner=int(row["partner"]),
                tissue=row["tissue"],
                colour=(int(row["red"]), int(row["green"]), int(row["blue"])),
                scheme=row["scheme"],
                code=row["code"],
                meaning=row["meaning"],
            )
            for row in csv.DictReader(stream)
        )


@cache
def label_by_id() -> dict[int, Label]:
    """FreeSurfer id to :class:`Label`."""
    return {label.id: label for label in label_table()}


def to_channels(array: np.ndarray) -> np.ndarray:
    """FreeSurfer ids of any size of vocabulary -> uint8 channel indices; what is not in the table becomes 0.

    The corpus callosum goes voxel by voxel to the white matter of the side that is nearer.
    """
    lookup = np.zeros(int(max(array.max(), 255)) + 1, dtype=np.uint8)
    for channel, label in enumerate(label_table(), start=1):
        lookup[label.id] = channel
    for source, target in MERGED.items():
        lookup[source] = lookup[target]
    channels = lookup[np.maximum(array, 0).astype(np.int64)]
    callosum = np.isin(array, CALLOSUM)
    if callosum.any():
        channels[callosum] = _nearer_side(array, callosum, lookup[LEFT_WHITE], lookup[RIGHT_WHITE])
    return channels


def channel_of(label_id: int) -> int:
    """Channel index of one FreeSurfer id."""
    return int(to_channels(np.array([label_id]))[0])


def _nearer_side(array: np.ndarray, where: np.ndarray, left: int, right: int) -> np.ndarray:
    """``left`` or ``right`` for each voxel of ``where``: that of the white matter which is fewer voxels away."""
    distances = []
    for side in (LEFT_WHITE, RIGHT_WHITE):
        present = array == side
        distances.append(ndimage.distance_transform_edt(~present)[where] if present.any() else np.inf)
    return np.where(np.less_equal(*distances), left, right)


def from_channels(array: np.ndarray) -> np.ndarray:
    """Channel indices -> uint8 FreeSurfer ids, the inverse of :func:`to_channels`."""
    ids = np.array([0, *(label.id for label in label_table())], dtype=np.uint8)
    return ids[array]


def mirrored_channels() -> np.ndarray:
    """(C,) permutation that exchanges left and right channels."""
    ids = [0, *(label.id for label in label_table())]
    partners = [0, *(label.partner for label in label_table())]
    return np.array([ids.index(p) for p in partners])
