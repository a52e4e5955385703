"""A volume's file before ITK reads its voxels: what ITK would read wrongly without a word is refused."""

from __future__ import annotations

from pathlib import Path

from .metaimage import check_metaimage
from .nifti import check_nifti, check_nifti_header, orientation_doubt
from .nrrd import check_nrrd
from .text_headers import check_text_header

NIFTI, METAIMAGE, NRRD = (".nii", ".nii.gz"), (".mha", ".mhd"), (".nrrd", ".nhdr")


def check_volume_header(path: Path) -> None:
    """Refuse the header of a NIfTI file that contradicts itself, before ITK prints its own words about it.

    Raises:
        BadInput: see nifti.check_nifti_header.
    """
    if path.name.lower().endswith(NIFTI):
        check_nifti_header(path)


def check_volume_file(path: Path) -> str | None:
    """Why the orientation that the header of a NIfTI, NRRD or MetaImage file gives is in doubt; None if it is not.

    Raises:
        BadInput: the file is damaged or cut off, or its header contradicts itself or gives no spacing.
    """
    name = path.name.lower()
    if name.endswith(NIFTI):
        check_nifti(path)
        return orientation_doubt(path)
    doubt = check_text_header(path)
    if name.endswith(METAIMAGE):
        check_metaimage(path)
    if name.endswith(NRRD):
        check_nrrd(path)
    return doubt
