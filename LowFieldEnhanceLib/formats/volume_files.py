"""A volume's file before ITK reads its voxels: what ITK would read wrongly without a word is refused."""

from __future__ import annotations

from pathlib import Path

from .metaimage import check_metaimage
from .nifti import check_nifti, orientation_doubt
from .text_headers import check_text_header


def check_volume_file(path: Path) -> str | None:
    """Why the orientation that the header of a NIfTI, NRRD or MetaImage file gives is in doubt; None if it is not.

    Raises:
        BadInput: the file is damaged or cut off, or its header contradicts itself or gives no spacing.
    """
    name = path.name.lower()
    if name.endswith((".nii", ".nii.gz")):
        check_nifti(path)
        return orientation_doubt(path)
    doubt = check_text_header(path)
    if name.endswith((".mha", ".mhd")):
        check_metaimage(path)
    return doubt
