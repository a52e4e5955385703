"""Voxels packed with zlib or gzip, unpacked to their end and their checksum, which ITK does not always do."""

from __future__ import annotations

import math
import zlib
from typing import BinaryIO

from ..errors import BadInput

BLOCK = 1 << 20
ZLIB_OR_GZIP = 47  # window bits with which zlib finds out which of both it is, as ITK does


def unpacked_bytes(stream: BinaryIO, name: str, packed: int | None = None, most: float = math.inf) -> int:
    """How many bytes of voxels a file holds; none is kept.

    Args:
        stream: stands at the packed voxels.
        name: of the file, for the sentence of a refusal.
        packed: bytes that they take; None: all that follow.
        most: unpack at most one block more than this.

    Raises:
        BadInput: they are damaged, or do not come to their end.
    """
    unpacker = zlib.decompressobj(ZLIB_OR_GZIP)
    found = 0
    try:
        while not unpacker.eof and found <= most:
            block = unpacker.unconsumed_tail
            if not block:
                block = stream.read(BLOCK if packed is None else min(BLOCK, packed))
                packed = None if packed is None else packed - len(block)
            out = unpacker.decompress(block, BLOCK)
            if not block and not out:
                raise BadInput(f"{name} is cut off: its compressed voxels end too early")
            found += len(out)
    except zlib.error as error:
        raise BadInput(f"the compressed voxels of {name} are damaged and cannot be unpacked") from error
    return found
