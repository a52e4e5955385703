"""What the headers of NRRD and MetaImage leave out, which ITK fills with voxels of 1 mm and its own axes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import BadInput

LONGEST = 1 << 16  # bytes of a header, of which a real one has hundreds
PATIENT_SPACES = {"right-anterior-superior", "ras", "left-anterior-superior", "las", "left-posterior-superior", "lps"}
METAIMAGE_AXES = {"transformmatrix", "rotation", "orientation"}


def check_text_header(path: Path) -> str | None:
    """Why the orientation that an NRRD or MetaImage header gives is in doubt; None if it is not.

    Raises:
        BadInput: the header gives no spacing.
    """
    fields = header_fields(path)
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


def header_fields(path: Path) -> dict[str, str]:
    """Names (lower case) and values of the header's lines."""
    with path.open("rb") as stream:
        text = stream.read(LONGEST).decode("latin-1")
    fields: dict[str, str] = {}
    nrrd = text.startswith("NRRD")
    for line in text.splitlines():
        name, mark, value = line.partition(":" if nrrd else "=")
        name = name.strip().lower()
        if mark:
            fields[name] = value.strip()
        if (nrrd and not line.strip()) or name == "elementdatafile":
            break  # voxels may follow
    return fields


def _is_spacing(text: str) -> bool:
    try:
        values = [float(word) for word in text.split()]
    except ValueError:
        return False
    return len(values) >= 3 and bool(np.isfinite(values[-3:]).all()) and min(values[-3:]) > 0
