"""The Jacobian determinant of a gradient-nonlinearity correction, from the displacement field that the user has.

A scan that was unwarped through T(x) = x + u(x), x in the corrected and T(x) in the distorted scan, has the right
geometry, but where T spreads space its signal is too low: corrected intensity = det(dT/dx) x unwarped intensity
(Janke et al., Magnetic Resonance in Medicine 2004;52:115). The logarithm of the determinant is what networks are given.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK
from scipy import ndimage

from ..errors import BadInput
from ..formats.itk import check_path
from ..formats.nifti_header import Header
from ..formats.nifti_names import away_from_namesake
from ..formats.volume_files import check_volume_file, check_volume_header
from ..image import LPS_FROM_RAS, Image
from ..image_io import EXTENSIONS, to_sitk
from ..weight_files import file_sha256
from .grid import Grid

COMPONENTS = 3


@dataclass(frozen=True)
class Displacement:
    """A spatial transform of ITK (points in LPS, mm), from the corrected to the distorted scan.

    Attributes:
        transform: of ITK.
        name: of its file.
        sha256: of its file; None for a transform that was read from none.
        orientation_doubt: why the orientation in that file's header is in doubt; None if it is not.
    """

    transform: SimpleITK.Transform
    name: str
    sha256: str | None = None
    orientation_doubt: str | None = None


def read_displacement(path: str | os.PathLike[str]) -> Displacement:
    """Read a displacement field (three components a voxel, mm, LPS, as ITK and ANTs write it) or a transform of ITK.

    Raises:
        BadInput: missing, a name that is not UTF-8, unreadable, damaged or cut off, not three components a voxel, or
            displacements that are not finite.
    """
    check_path(path)
    path = Path(path)
    if not path.is_file():
        raise BadInput(f"the displacement field {path} does not exist")
    try:
        if not path.name.lower().endswith(EXTENSIONS):
            return Displacement(SimpleITK.ReadTransform(str(path)), path.name, file_sha256(path))
        header = check_volume_header(path)
        with away_from_namesake(path) as place:
            field, doubt = _read_field(place, path, header)
    except RuntimeError as error:
        raise BadInput(f"{path.name} can be read neither as a displacement field nor as a transform") from error
    if field.GetDimension() != COMPONENTS or field.GetNumberOfComponentsPerPixel() != COMPONENTS:
        raise BadInput(f"{path.name} is no displacement field: it must be a volume with three components a voxel")
    vectors = SimpleITK.Cast(field, SimpleITK.sitkVectorFloat64)
    _check_finite(SimpleITK.GetArrayViewFromImage(vectors), path.name)
    return Displacement(SimpleITK.DisplacementFieldTransform(vectors), path.name, file_sha256(path), doubt)


def _read_field(place: Path, path: Path, header: Header | None) -> tuple[SimpleITK.Image, str | None]:
    """Read ``place``, which is ``path`` under whatever name; the field, and why its orientation is in doubt.

    Args:
        header: from volume_files.check_volume_header.
    """
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(place))
    reader.ReadImageInformation()
    doubt = check_volume_file(path, header)
    return reader.Execute(), doubt


def _check_finite(vectors: np.ndarray, name: str) -> None:
    if not np.isfinite(vectors).all():
        raise BadInput(f"the displacement field {name} holds NaN or infinite values, so it is damaged")


def log_jacobian(displacement: Displacement, grid: Grid) -> np.ndarray:
    """Logarithm of det(dT/dx) on a grid, float32 [i, j, k]; 0 where the field does not reach.

    Raises:
        BadInput: the field is not finite, or folds space (a determinant of 0 or less) where it reaches.
    """
    reference = to_sitk(Image(np.zeros(grid.shape, dtype=np.float32), grid.affine))
    field = SimpleITK.TransformToDisplacementField(
        displacement.transform, SimpleITK.sitkVectorFloat64, reference.GetSize(), reference.GetOrigin(),
        reference.GetSpacing(), reference.GetDirection(),
    )  # fmt: skip
    vectors = SimpleITK.GetArrayFromImage(field).transpose(2, 1, 0, 3).astype(np.float32)
    _check_finite(vectors, displacement.name)
    determinant = _determinant(vectors, np.linalg.inv((LPS_FROM_RAS @ grid.affine)[:3, :3]))
    reached = _reached(displacement.transform, reference)
    if not (determinant[reached] > 0).all():
        raise BadInput(f"the displacement field {displacement.name} folds space, so it cannot be that of a scanner")
    return np.log(np.where(reached, determinant, np.float32(1.0)))


def _determinant(vectors: np.ndarray, to_index: np.ndarray) -> np.ndarray:
    """det(1 + du/dx) of displacements (I, J, K, 3); ``to_index`` is d(index)/dx."""
    rows = []
    for component in range(COMPONENTS):
        shift = vectors[..., component]
        slopes = [np.gradient(shift, axis=n) if shift.shape[n] > 1 else np.zeros_like(shift) for n in range(3)]
        row = []
        for column in range(COMPONENTS):
            along = sum(slope * np.float32(to_index[n, column]) for n, slope in enumerate(slopes))
            row.append(along + np.float32(component == column))
        rows.append(row)
    (a, b, c), (d, e, f), (g, h, i) = rows
    return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)


def _reached(transform: SimpleITK.Transform, reference: SimpleITK.Image) -> np.ndarray:
    """Where the derivatives are the field's own: bool [i, j, k]. At its rim ITK's displacement jumps to 0."""
    if transform.GetName() != "DisplacementFieldTransform":
        return np.ones(reference.GetSize(), dtype=bool)
    field = SimpleITK.DisplacementFieldTransform(transform).GetDisplacementField()
    ones = SimpleITK.Image(field.GetSize(), SimpleITK.sitkFloat32) + 1.0
    ones.CopyInformation(field)
    inside = SimpleITK.GetArrayFromImage(SimpleITK.Resample(ones, reference)).transpose(2, 1, 0) > 0.999
    return ndimage.binary_erosion(inside, np.ones((3, 3, 3)), border_value=1)
