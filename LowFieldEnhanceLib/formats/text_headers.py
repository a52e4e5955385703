"""What the headers of NRRD and MetaImage leave out, which ITK fills with voxels of 1 mm and its own axes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import BadInput

LONGEST = 1 << 24  # bytes of a header; most have hundreds, that of a segmentation with many segments 100 000
PATIENT_SPACES = {"right-anterior-superior", "ras", "left-anterior-superior", "las", "left-posterior-superior", "lps"}
MILLIMETRES = {"mm", "MM", "millimeter", "millimeters", "millimetre", "millimetres"}
METAIMAGE_AXES = {"transformmatrix", "rotation", "orientation"}


@dataclass(frozen=True)
class TextHeader:
    """Of an NRRD or MetaImage file.

    Attributes:
        fields: values by the names of the lines, in small letters.
        end: byte at which the lines end and voxels in the same file begin.
    """

    fields: dict[str, str]
    end: int


def check_text_header(path: Path, fields: Mapping[str, str]) -> str | None:
    """Why the orientation that an NRRD or MetaImage header gives is in doubt; None if it is not.

    Args:
        path: of the file.
        fields: of its header.

    Raises:
        BadInput: the header gives no spacing, or lengths in another unit than mm, which ITK takes for mm.
    """
    units = set(re.findall(r"[^\s\"?]+", f"{fields.get('space units', '')} {fields.get('distanceunits', '')}"))
    if units - MILLIMETRES:
        raise BadInput(
            f"the header of {path.name} gives lengths in {sorted(units - MILLIMETRES)[0]}, which would be read as mm; "
            "convert it to mm first"
        )
    if path.name.lower().endswith((".nrrd", ".nhdr")):
        given = "space directions" in fields or _is_spacing(fields.get("spacings", ""))
        if not given:
            raise BadInput(f"the header of {path.name} gives no spacing, so the size of its voxels is unknown")
        missing = next((name for name in ("space directions", "space") if name not in fields), None)
        if missing:
            return f"the header of {path.name} gives no orientation (no {missing})"
        space = fields["space"].lower()
        return None if space in PATIENT_SPACES else f"the header of {path.name} gives no orientation (space {space})"
    if not any(_is_spacing(fields.get(name, "")) for name in ("elementspacing", "elementsize")):
        raise BadInput(f"the header of {path.name} gives no ElementSpacing, so the size of its voxels is unknown")
    if METAIMAGE_AXES & fields.keys():
        return None
    return f"the header of {path.name} gives no orientation (no TransformMatrix)"


def read_text_header(path: Path) -> TextHeader:
    """Read the lines up to the empty one of NRRD, or the one of MetaImage that says where the voxels are."""
    fields: dict[str, str] = {}
    nrrd, end = False, 0
    with path.open("rb") as stream:
        while end < LONGEST and (line := stream.readline(LONGEST)):
            nrrd = nrrd or (end == 0 and line.startswith(b"NRRD"))
            end += len(line)
            name, mark, value = line.decode("latin-1").partition(":" if nrrd else "=")
            name = name.strip().lower()
            if mark and not (nrrd and value.startswith("=")):  # a pair of key:=value is the user's own
                fields[name] = value.strip()
            if (nrrd and not line.strip()) or name == "elementdatafile":
                break  # voxels may follow
    return TextHeader(fields, end)


def _is_spacing(text: str) -> bool:
    try:
        values = [float(word) for word in text.split()]
    except ValueError:
        return False
    return len(values) >= 3 and bool(np.isfinite(values[-3:]).all()) and min(values[-3:]) > 0
