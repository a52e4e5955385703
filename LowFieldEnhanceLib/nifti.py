"""What ITK's NIfTI reader hides: it fills a cut-off file with zeros, turns NaN into 0, and reports success."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from .errors import BadInput

BLOCK = 1 << 20
FLOAT_CODES = {16: "f4", 64: "f8"}  # NIfTI datatype codes of real floating point


@dataclass(frozen=True)
class Layout:
    """Where the voxels of a single-file NIfTI are: byte offset, length in bytes, and dtype if they are floats."""

    offset: int
    length: int
    floats: str | None


def check_nifti(path: Path) -> None:
    """Refuse a file that is shorter than its header announces, fails its checksum, or holds NaN or infinite voxels.

    Raises:
        BadInput: see above.
    """
    with path.open("rb") as stream:
        packed = stream.read(2) == b"\x1f\x8b"
    try:
        with gzip.open(path, "rb") if packed else path.open("rb") as stream:
            layout = nifti_layout(stream.read(544))
            if layout is None:
                return  # not NIfTI: ITK says so
            stream.seek(layout.offset)
            length, bad = _scan(stream, layout)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise BadInput(f"{path.name} is damaged or cut off: {error}") from error
    if length < layout.length:
        raise BadInput(f"{path.name} is cut off: it holds {length} of the {layout.length} bytes of voxels it announces")
    if bad:
        raise BadInput(f"{bad} voxels of {path.name} are NaN or infinite, so the scan is damaged")


def _scan(stream: BinaryIO, layout: Layout) -> tuple[int, int]:
    """Bytes from here to the end of the file (which verifies a compressed one), and how many voxels are not finite."""
    length = bad = 0
    while block := stream.read(BLOCK):
        voxels = block[: max(layout.length - length, 0)]
        if layout.floats is not None:
            size = np.dtype(layout.floats).itemsize
            values = np.frombuffer(voxels[: len(voxels) // size * size], dtype=layout.floats)
            bad += int(values.size - np.isfinite(values).sum())
        length += len(block)
    return length, bad


def nifti_layout(header: bytes) -> Layout | None:
    """The layout from the first 544 bytes of a single-file NIfTI-1 or NIfTI-2; None if it is neither."""
    for order in "<>":
        if len(header) >= 348 and struct.unpack_from(f"{order}i", header, 0)[0] == 348:
            dimensions = struct.unpack_from(f"{order}8h", header, 40)
            code, bits = struct.unpack_from(f"{order}2h", header, 70)
            offset = struct.unpack_from(f"{order}f", header, 108)[0]
        elif len(header) >= 540 and struct.unpack_from(f"{order}i", header, 0)[0] == 540:
            code, bits = struct.unpack_from(f"{order}2h", header, 12)
            dimensions = struct.unpack_from(f"{order}8q", header, 16)
            offset = struct.unpack_from(f"{order}q", header, 168)[0]
        else:
            continue
        count = math.prod(max(n, 1) for n in dimensions[1 : dimensions[0] + 1])
        floats = FLOAT_CODES.get(code)
        return Layout(int(offset), count * bits // 8, None if floats is None else order + floats)
    return None
