"""What ITK's NRRD reader hides: it stops before the checksum of compressed voxels."""

from __future__ import annotations

from pathlib import Path

from .text_headers import TextHeader
from .unpacking import unpacked_bytes

GZIP = {"gzip", "gz"}


def check_nrrd(path: Path, header: TextHeader) -> None:
    """Refuse voxels packed with gzip that do not unpack to their end and to their checksum.

    Of other encodings, of several files and of voxels that begin at an offset nothing is said.

    Raises:
        BadInput: see above.
    """
    fields = header.fields
    skips = any(fields.get(name, "0") not in ("", "0") for name in ("line skip", "lineskip", "byte skip", "byteskip"))
    named = fields.get("data file", fields.get("datafile"))
    if fields.get("encoding", "").lower() not in GZIP or skips:
        return
    source, offset = (path, header.end) if named is None else (path.parent / named, 0)
    if not source.is_file():  # a list or a pattern, or a file that ITK will miss
        return
    with source.open("rb") as stream:
        stream.seek(offset)
        unpacked_bytes(stream, path.name)
