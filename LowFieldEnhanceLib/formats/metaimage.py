"""What ITK's MetaImage reader hides: of compressed voxels that are damaged or cut off it reports success, and it leaves
out the scale that a header gives intensities, and takes a place that is none.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from ..errors import BadInput
from .text_headers import LONGEST, METAIMAGE_AXES, TextHeader
from .unpacking import unpacked_bytes

ELEMENT_BYTES = {
    "MET_CHAR": 1, "MET_UCHAR": 1, "MET_SHORT": 2, "MET_USHORT": 2, "MET_INT": 4, "MET_UINT": 4, "MET_LONG": 4,
    "MET_ULONG": 4, "MET_LONG_LONG": 8, "MET_ULONG_LONG": 8, "MET_FLOAT": 4, "MET_DOUBLE": 8,
}  # fmt: skip
SLOPE, OFFSET = "elementtointensityfunctionslope", "elementtointensityfunctionoffset"
ORIGINS = ("offset", "position", "origin")
MOST_DIFFERENT = 0.01  # of the length of an axis from 1


def check_metaimage(path: Path, header: TextHeader) -> None:
    """Refuse intensities that are not the voxels as they stand, a place that is none, and compressed voxels that do not
    unpack to exactly the bytes that the header announces.

    Raises:
        BadInput: see above; or a file of voxels that does not exist, or a header without their number or length.
    """
    fields = header.fields
    _check_scale(path, fields)
    _check_geometry(path, fields)
    begin = _whole(fields.get("headersize")) or 0
    if begin > 0 and begin != header.end and fields.get("elementdatafile", "").upper() == "LOCAL":
        raise BadInput(
            f"the header of {path.name} contradicts itself: its voxels begin at byte {begin} (HeaderSize) and behind "
            f"the header, at byte {header.end}"
        )
    if not fields.get("compresseddata", "").lower().startswith(("t", "1")):
        return
    announced = _announced(fields)
    if announced is None:
        raise BadInput(f"the header of {path.name} does not say how many voxels it holds, or of which type")
    found = 0
    for source, offset in _places(path, header):
        packed = _whole(fields.get("compresseddatasize")) or None
        if packed is None and offset:  # ITK unpacks such a file from its first byte
            raise BadInput(
                f"the header of {path.name} does not give the length of its compressed voxels (CompressedDataSize), "
                "without which they are read wrongly"
            )
        if not source.is_file():
            raise BadInput(f"the voxels of {path.name} cannot be read: the file {source.name} does not exist")
        with source.open("rb") as stream:
            stream.seek(offset)
            found += unpacked_bytes(stream, path.name, packed, announced)
    if found != announced:
        held = "more than" if found > announced else f"{found} of"
        raise BadInput(f"{path.name} is damaged: it holds {held} the {announced} bytes of voxels it announces")


def _check_scale(path: Path, fields: dict[str, str]) -> None:
    """MetaIO defines intensity = slope x voxel + offset; ITK, and so 3D Slicer, reads both and applies neither, so a
    volume read by the definition here would not be the one that the user sees there.
    """
    slope, offset = fields.get(SLOPE, "1"), fields.get(OFFSET, "0")
    try:
        plain = float(slope) == 1 and float(offset) == 0
    except ValueError:
        plain = False
    if not plain:
        raise BadInput(
            f"the header of {path.name} gives intensities as {slope} x voxel + {offset} (ElementToIntensityFunction), "
            "which ITK and 3D Slicer leave out; write the voxels as the intensities that they stand for"
        )


def _check_geometry(path: Path, fields: dict[str, str]) -> None:
    """ITK multiplies axes of another length than 1 with the spacing, others do not; and it takes NaN for 0."""
    axes = max(_whole(fields.get("ndims")) or 3, 3)  # a fourth one that is one voxel long does no harm
    for name in METAIMAGE_AXES & fields.keys():
        lengths = np.linalg.norm(np.reshape(_numbers(fields[name], axes * axes), (axes, axes)), axis=1)
        if (lengths > 0).all() and np.abs(lengths - 1).max() > MOST_DIFFERENT:  # of others ITK says what they are
            said = " x ".join(f"{length:.4g}" for length in lengths)
            raise BadInput(
                f"the axes in the header of {path.name} have the lengths {said} in the place of 1, so the size of its "
                "voxels is unknown"
            )
    for name in ORIGINS:
        if name in fields and not np.isfinite(_numbers(fields[name], 3)).all():
            raise BadInput(f"the header of {path.name} gives no position: {fields[name]} is not three numbers")


def _numbers(text: str, count: int) -> np.ndarray:
    """The first ``count`` numbers; NaN where there is none."""
    found = np.full(count, np.nan)
    for n, word in enumerate(text.split()[:count]):
        try:
            found[n] = float(word)
        except ValueError:
            break
    return found


def _places(path: Path, header: TextHeader) -> list[tuple[Path, int]]:
    """The files that hold the voxels, and where in them they begin."""
    named = header.fields.get("elementdatafile", "")
    if named.upper() == "LOCAL":
        return [(path, header.end)]
    if named.upper().startswith("LIST"):
        with path.open("rb") as stream:
            stream.seek(header.end)
            names = stream.read(LONGEST).decode("utf-8", "surrogateescape").split("\n")
    elif "%" in named:
        pattern, *numbers = named.split()
        try:
            first, last, step = (int(number) for number in (*numbers, "1")[:3])
            names = [pattern % n for n in range(first, last + 1, step)]
        except (TypeError, ValueError) as error:
            raise BadInput(f"the header of {path.name} does not say which files hold its voxels") from error
    else:
        names = [named]
    skipped = max(_whole(header.fields.get("headersize")) or 0, 0)
    return [(path.parent / name.strip(), skipped) for name in names if name.strip()]


def _announced(fields: dict[str, str]) -> int | None:
    """Bytes of all voxels; None if the header does not say."""
    size = [_whole(word) for word in fields.get("dimsize", "").split()]
    channels = _whole(fields.get("elementnumberofchannels", "1"))
    each = ELEMENT_BYTES.get(fields.get("elementtype", "").upper())
    numbers = [*size, channels, each]
    return math.prod(n for n in numbers if n) if size and all(numbers) else None


def _whole(text: str | None) -> int | None:
    try:
        return int(text or "")
    except ValueError:
        return None
