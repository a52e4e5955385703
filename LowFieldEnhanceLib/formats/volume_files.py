"""A volume's file before ITK reads its voxels: what ITK would read wrongly without a word is refused."""

from __future__ import annotations

from pathlib import Path

from ..errors import BadInput
from .metaimage import check_metaimage
from .nifti import check_voxels, orientation_doubt, read_header
from .nifti_header import Header
from .nrrd import check_nrrd
from .text_headers import check_text_header, read_text_header

NIFTI, METAIMAGE, NRRD = (".nii", ".nii.gz"), (".mha", ".mhd"), (".nrrd", ".nhdr")


def check_volume_header(path: Path) -> Header | None:
    """Refuse the header of a NIfTI file that contradicts itself, before ITK prints its own words about it; and a name
    that ITK does not take for that of a MetaImage file.

    Returns:
        That header, for :func:`check_volume_file`; None of another file.

    Raises:
        BadInput: see above, and nifti.read_header.
    """
    name = path.name
    if name.lower().endswith(METAIMAGE) and not name.endswith(METAIMAGE):
        raise BadInput(f"{name} must end in {name[-4:].lower()} in small letters to be read; rename it")
    return read_header(path) if path.name.lower().endswith(NIFTI) else None


def check_volume_file(path: Path, header: Header | None) -> str | None:
    """Why the orientation that the header of a NIfTI, NRRD or MetaImage file gives is in doubt; None if it is not.

    Args:
        path: of the file.
        header: from :func:`check_volume_header`.

    Raises:
        BadInput: the file is damaged or cut off, or its header gives no spacing.
    """
    name = path.name.lower()
    if name.endswith(NIFTI):
        if header is None:  # ITK will say what it is
            return None
        check_voxels(path, header)
        return orientation_doubt(header, path.name)
    text = read_text_header(path)
    doubt = check_text_header(path, text.fields)
    if name.endswith(METAIMAGE):
        check_metaimage(path, text)
    if name.endswith(NRRD):
        check_nrrd(path, text)
    return doubt
