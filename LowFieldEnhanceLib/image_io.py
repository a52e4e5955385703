"""Reading and writing volumes through SimpleITK: NIfTI, NRRD, MetaImage; DICOM is left to formats.dicom_input.

ITK's world is LPS and its arrays are [k, j, i]; ours is RAS and [i, j, k]. Files are written under a temporary name
and renamed, so that a crash or a cancel never leaves half a volume.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK

from .contrast_names import guess_contrast
from .errors import BadInput
from .formats import nifti
from .formats.dicom_elements import is_dicom
from .formats.dicom_input import read_dicom_file, read_series
from .formats.field_strength import sidecar_field
from .formats.itk import NO_READER, check_path, reason_of
from .formats.nifti_names import away_from_namesake, namesake_of
from .formats.volume_files import NIFTI, check_volume_file, check_volume_header
from .image import LPS_FROM_RAS, ORIENTATION_DOUBT, Image, check_image
from .safe_files import check_folder, replaced
from .segmentation.labels import LabelMap

EXTENSIONS = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")
WRITE_EXTENSIONS = (".nii", ".nii.gz", ".nrrd", ".mha")
DERIVED = "ENHANCED - not for diagnosis"
LABELS = "FreeSurfer aseg ids by LowFieldEnhance"
SIMULATED = "SIMULATED low-field scan"
RESIDUAL = "residual (y - A x) / sigma"
DEVIATION = "standard deviation among samples"
ADDED_DETAIL = "added detail, percent of the local contrast"
NOTES = (DERIVED, LABELS, SIMULATED, RESIDUAL, DEVIATION, ADDED_DETAIL)  # begin the note in every volume's header
SECOND_VERSION = "it is NIfTI-2, which the installed ITK does not know; convert it to NIfTI-1"
VOXELS, VOXEL_DIGITS = "; voxels ", 16  # and end it, with so much of their SHA-256: an editor may keep the note


def from_sitk(source: SimpleITK.Image, contrast: str = "other", meta: dict[str, Any] | None = None) -> Image:
    """SimpleITK image -> :class:`Image`, geometry exact.

    Raises:
        BadInput: not 3-D, complex, or more than one component a voxel.
    """
    if source.GetDimension() != 3:
        raise BadInput(f"the image has {source.GetDimension()} dimensions; only 3-D volumes can be used")
    components = source.GetNumberOfComponentsPerPixel()
    if components != 1:
        raise BadInput(f"the image has {components} components a voxel; only scalar volumes can be used")
    affine = np.eye(4)
    direction = np.array(source.GetDirection()).reshape(3, 3)
    affine[:3, :3] = direction * np.array(source.GetSpacing())
    affine[:3, 3] = source.GetOrigin()
    array = SimpleITK.GetArrayFromImage(source).transpose(2, 1, 0)
    if np.iscomplexobj(array):
        raise BadInput("the image is complex; only magnitude volumes can be used")
    with np.errstate(over="ignore"):  # beyond float32 becomes infinite, which check_image refuses
        values = array.astype(np.float32)
    return Image(values, LPS_FROM_RAS @ affine, contrast, meta or {})


def to_sitk(image: Image, dtype: type = np.float32) -> SimpleITK.Image:
    """:class:`Image` -> SimpleITK image (LPS), geometry exact."""
    affine = LPS_FROM_RAS @ image.affine
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    target = SimpleITK.GetImageFromArray(np.ascontiguousarray(image.array.transpose(2, 1, 0).astype(dtype)))
    target.SetSpacing(spacing.tolist())
    target.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
    target.SetOrigin(affine[:3, 3].tolist())
    return target


def read_image(path: str | os.PathLike[str], contrast: str | None = None, is_scan: bool = True) -> Image:
    """Read and check one volume.

    Args:
        path: a file with one of :data:`EXTENSIONS`, a DICOM file with all frames, or a folder with one DICOM series.
        contrast: T1w, T2w, FLAIR or other; None guesses it from the name and the DICOM description.
        is_scan: see :func:`image.check_image`.

    Raises:
        BadInput: missing, a name that is not UTF-8, unreadable, 4-D, or refused by :func:`image.check_image`.
    """
    check_path(path)
    path = Path(path)
    if not path.exists():
        raise BadInput(f"the input {path} does not exist")
    if path.is_dir():
        source, meta = read_series(path)
    elif path.name.lower().endswith(EXTENSIONS):
        source, meta = _read_file(path)
    elif is_dicom(path):
        source, meta = read_dicom_file(path)
    else:
        raise BadInput(f"{path.name} is not a format that can be read; use one of {', '.join(EXTENSIONS)} or DICOM")
    image = from_sitk(source, contrast or guess_contrast(names_of(meta)), meta)
    check_image(image, is_scan)
    return image


def names_of(meta: Mapping[str, Any]) -> str:
    """The names in an image's ``meta`` that tell its contrast: of the series, of the protocol, of the file."""
    return " ".join(str(meta.get(key, "")) for key in ("SeriesDescription", "ProtocolName", "file"))


def _read_file(path: Path) -> tuple[SimpleITK.Image, dict[str, Any]]:
    with away_from_namesake(path) as place:
        source, doubt = _read_placed(place, path)
    meta = {"file": path.name, **sidecar_field(path), **({ORIENTATION_DOUBT: doubt} if doubt else {})}
    return source, meta


def _read_placed(place: Path, path: Path) -> tuple[SimpleITK.Image, str | None]:
    """Read ``place``, which is ``path`` under whatever name; the image, and why its orientation is in doubt."""
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(place))
    header = check_volume_header(path)
    try:
        reader.ReadImageInformation()
        size = reader.GetSize()
        if len(size) > 3 and any(n > 1 for n in size[3:]):
            raise BadInput(f"{path.name} is 4-D (size {' x '.join(map(str, size))}); give one 3-D volume")
        if len(size) > 3:
            reader.SetExtractSize([*size[:3], *[0] * (len(size) - 3)])
        doubt = check_volume_file(path, header)
        return reader.Execute(), doubt
    except RuntimeError as error:
        second = header is not None and header.is_second and NO_READER in str(error)
        reason = SECOND_VERSION if second else reason_of(error)
        raise BadInput(f"{path.name} cannot be read: {reason}") from error


def is_whole(path: Path) -> bool:
    """Whether nothing of a volume's file is missing or damaged, even if what it holds is no scan, such as NaN."""
    if path.name.lower().endswith(NIFTI):  # of which NaN counts as damage when it is read
        return nifti.is_whole(path)
    try:
        _read_file(path)
    except BadInput:
        return False
    return True


def check_output(path: str | os.PathLike[str], inputs: list[str | os.PathLike[str]]) -> None:
    """Refuse, before any work, an output with an unknown extension or a name that is not UTF-8, or that is an input.

    Raises:
        BadInput: see above.
    """
    check_path(path)
    target = Path(path)
    if not target.name.endswith(WRITE_EXTENSIONS):
        small = " in small letters" if target.name.lower().endswith(WRITE_EXTENSIONS) else ""
        raise BadInput(f"the output {target.name} must end in one of {', '.join(WRITE_EXTENSIONS)}{small}")
    check_folder(target.parent)
    if target.is_dir():
        raise BadInput(f"the output {target} is a folder; name a file")
    namesake = namesake_of(target)
    if namesake is not None:
        raise BadInput(
            f"beside {namesake.name} the output {target.name} would be read wrongly: many programs take the voxels of "
            "the one for those of the other; choose another name"
        )
    for source in inputs:
        if target.exists() and Path(source).exists() and os.path.samefile(target, source):
            raise BadInput(f"the output {target} is the input itself; an input is never overwritten")


def write_image(image: Image, path: str | os.PathLike[str], description: str = DERIVED) -> None:
    """Write float32 voxels; ``description`` goes into the NIfTI header (80 characters), one of :data:`NOTES` with the
    checksum of the voxels.

    Raises:
        BadInput: see :func:`check_output`; or the disk refuses (full, no permission).
    """
    _write(to_sitk(image), path, _note(description, image))


def write_labels(labels: LabelMap, path: str | os.PathLike[str]) -> None:
    """Write FreeSurfer ids as uint8."""
    image = labels.as_image()
    _write(to_sitk(image, np.uint8), path, _note(LABELS, image))


def voxels_noted(image: Image) -> str:
    """How the note of a volume of ours says which voxels were written."""
    return f"{VOXELS}{image.voxels_sha256()[:VOXEL_DIGITS]}"


def _note(description: str, image: Image) -> str:
    return description + voxels_noted(image) if description.startswith(NOTES) else description


def _write(target: SimpleITK.Image, path: str | os.PathLike[str], description: str) -> None:
    check_output(path, [])
    target.SetMetaData("ITK_FileNotes", description[:79])  # becomes the NIfTI header's descrip
    with replaced(path) as temporary:
        try:
            SimpleITK.WriteImage(target, str(temporary), useCompression=True)
        except RuntimeError as error:
            raise BadInput(f"{path} cannot be written: {reason_of(error)}") from error
        if not temporary.stat().st_size:
            raise BadInput(f"{path} cannot be written: nothing came of it")


def read_labels(path: str | os.PathLike[str]) -> LabelMap:
    """Read a label map of FreeSurfer ids.

    Raises:
        BadInput: unreadable, or values that are not whole numbers from 0 to 255.
    """
    return _read_ids(path, "is not a map of FreeSurfer ids: its values are not whole numbers from 0 to 255")


def read_lesions(path: str | os.PathLike[str]) -> LabelMap:
    """Read a mask or a label map of lesions.

    Raises:
        BadInput: see :func:`read_labels`.
    """
    said = "its values must be whole numbers from 0 (no lesion) to 255, so give a probability map a threshold first"
    return _read_ids(path, f"is not a lesion map: {said}")


def _read_ids(path: str | os.PathLike[str], refusal: str) -> LabelMap:
    image = read_image(path, "other", is_scan=False)
    ids = np.round(image.array)
    if np.abs(ids - image.array).max() > 1e-3 or ids.min() < 0 or ids.max() > 255:
        raise BadInput(f"{Path(path).name} {refusal}")
    known = image.meta.get("file", ""), image.meta.get(ORIENTATION_DOUBT)
    return LabelMap(ids.astype(np.uint8), image.affine, {}, *known)


def read_mask(path: str | os.PathLike[str]) -> Image:
    """Read a brain mask: above 0.5 is brain, whatever the value.

    Raises:
        BadInput: unreadable, or it marks every voxel or none.
    """
    image = read_image(path, "other", is_scan=False)
    marked = image.array > 0.5
    if marked.all() or not marked.any():
        which = "every voxel" if marked.any() else "no voxel"
        raise BadInput(f"the brain mask {Path(path).name} marks {which}, so it does not tell where the brain is")
    return image
