"""Training heads in memory, and simulated low-field pairs drawn from them.

Data sets (see docs/training.md): ``oasis/{train,test}`` (T1w and manual labels), ``openms`` and ``brats``
(co-registered T1w, T2w, FLAIR), ``label_maps``. The folder is given by ``--data`` or ``LOWFIELDENHANCE_DATA``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK
import torch
from scipy import ndimage
from torch import Tensor

from ..errors import BadInput
from ..formats.nifti_names import away_from_namesake
from ..image import CHANNELS
from ..preprocess.intensity import intensity_scale, to_model
from ..segmentation.labels import to_channels

GRID_TOLERANCE_MM = 0.01
CLOSING = 3  # voxels


@dataclass(frozen=True)
class Head:
    """One head on a 1 mm RAS grid.

    Attributes:
        name: ``oasis/1000`` and so on.
        images: float16 (3, I, J, K) in the model range, T1w, T2w, FLAIR; absent contrasts are -1.
        present: (3,) bool.
        mask: bool (I, J, K), the brain.
        labels: uint8 channel indices (see segmentation.labels), or None.
    """

    name: str
    images: Tensor
    present: Tensor
    mask: Tensor
    labels: Tensor | None


def data_root(folder: str | os.PathLike[str] | None = None) -> Path:
    """The data folder from the argument or ``LOWFIELDENHANCE_DATA``.

    Raises:
        BadInput: neither names an existing folder.
    """
    path = folder or os.environ.get("LOWFIELDENHANCE_DATA")
    if not path:
        raise BadInput("the data folder is unknown: give --data or set LOWFIELDENHANCE_DATA")
    if not Path(path).is_dir():
        raise BadInput(f"the data folder {path} does not exist")
    return Path(path)


def read_array(path: Path) -> np.ndarray:
    """Voxels [i, j, k] of a NIfTI file with voxels of 1 mm along R, A, S.

    Everything learned is in voxels, so another grid would teach wrong sizes, and exchanged sides.

    Raises:
        BadInput: the file cannot be read, or lies on another grid.
    """
    try:
        with away_from_namesake(path) as place:
            image = SimpleITK.ReadImage(str(place))
    except RuntimeError as error:
        raise BadInput(f"the training image {path} cannot be read") from error
    if image.GetDimension() != 3:
        raise BadInput(f"the training image {path} has {image.GetDimension()} dimensions instead of 3")
    axes = np.reshape(image.GetDirection(), (3, 3)) * np.array(image.GetSpacing())
    if not np.allclose(axes, np.diag([-1.0, -1.0, 1.0]), atol=GRID_TOLERANCE_MM):  # LPS
        raise BadInput(f"the training image {path} is not on a grid of 1 mm along R, A, S; resample it first")
    return np.ascontiguousarray(SimpleITK.GetArrayFromImage(image).transpose(2, 1, 0))


def brain_of(image: np.ndarray) -> np.ndarray:
    """Brain mask of a brain-only image: its non-zero voxels, closed and filled."""
    # an erosion takes what lies beyond the array's edge for background: room, so that the edge loses nothing
    mask = ndimage.binary_closing(np.pad(image > 0, CLOSING), iterations=CLOSING)
    return ndimage.binary_fill_holes(mask[(slice(CLOSING, -CLOSING),) * 3])


def load_head(folder: Path, name: str) -> Head:
    """Read all contrasts and labels of one co-registered head ``<folder>/<name>_*.nii.gz``.

    Raises:
        BadInput: no image, one that cannot be used (see :func:`read_array`), or of another shape than the others.
    """
    found = {c: folder / f"{name}_{c}.nii.gz" for c in CHANNELS if (folder / f"{name}_{c}.nii.gz").exists()}
    if not found:
        raise BadInput(f"no image of {name} in {folder}")
    arrays = {c: read_array(p).astype(np.float32) for c, p in found.items()}
    aseg = folder / f"{name}_aseg.nii.gz"
    anatomy = read_array(aseg) if aseg.exists() else None
    shapes = {array.shape for array in (*arrays.values(), *([] if anatomy is None else [anatomy]))}
    if len(shapes) > 1:
        raise BadInput(f"the images of the training head {folder / name} differ in shape: {sorted(shapes)}")
    mask = brain_of(next(iter(arrays.values())))
    images = np.full((3, *mask.shape), -1, dtype=np.float16)
    for channel, contrast in enumerate(CHANNELS):
        if contrast in arrays:
            array = np.maximum(arrays[contrast], 0) * mask
            images[channel] = to_model(array, intensity_scale(array, mask))
    labels = None if anatomy is None else torch.from_numpy(to_channels(anatomy))
    present = torch.tensor([c in found for c in CHANNELS])
    return Head(f"{folder.parent.name}/{name}", torch.from_numpy(images), present, torch.from_numpy(mask), labels)


def head_names(folder: Path) -> list[str]:
    """Heads in a folder: the prefixes of its ``*_T1w.nii.gz`` files."""
    return sorted(p.name.removesuffix("_T1w.nii.gz") for p in folder.glob("*_T1w.nii.gz"))


def load_heads(root: Path, sets: Sequence[str], split: str = "train", limit: int | None = None) -> list[Head]:
    """All co-registered heads of the named data sets (openms ``long*`` scans are on separate grids and left out).

    Raises:
        BadInput: there is none, or one cannot be used (see :func:`load_head`).
    """
    heads = []
    for data_set in sets:
        folder = root / data_set / split
        names = [n for n in head_names(folder) if not n.startswith("long")]
        heads += [load_head(folder, name) for name in names[:limit]]
    if not heads:
        folders = ", ".join(f"{data_set}/{split}" for data_set in sets)
        raise BadInput(f"no training heads (<head>_T1w.nii.gz) found in {folders} under {root}")
    return heads


def said(heads: Sequence[Head], what: str, split: str = "train") -> str:
    """For the training record: how many heads of which data sets, and what was done with them."""
    sets = dict.fromkeys(head.name.split("/")[0] for head in heads)
    return f"{len(heads)} head{'s' * (len(heads) > 1)} of {', '.join(f'{name}/{split}' for name in sets)}; {what}"
