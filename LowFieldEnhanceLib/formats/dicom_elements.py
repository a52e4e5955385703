"""The few elements of a DICOM file that tell which series it is of, what that is, and whether its pixels are all there.

GDCM says nothing of a file that it cannot read, and pydicom is not always installed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

MARK_AT, MARK = 128, b"DICM"
SOP_CLASS, SYNTAX, SERIES = 0x00020002, 0x00020010, 0x0020000E
MODALITY, DESCRIPTION = 0x00080060, 0x0008103E
SAMPLES, FRAMES, ROWS, COLUMNS, BITS = 0x00280002, 0x00280008, 0x00280010, 0x00280011, 0x00280100
PIXELS = 0x7FE00010
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
UNDEFINED = 0xFFFFFFFF
LONGEST = 256  # bytes of a value that is kept: 64 letters of any alphabet
LONG_FORMS = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
IMPLICIT, DEFLATED, BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"


@dataclass(frozen=True)
class Elements:
    """What was found until the pixels, the end of the file, or the first thing that makes no sense.

    Attributes:
        sop_class, series: their UIDs, "" where the file has or holds none.
        modality, description: of the series, likewise.
        rows, columns, bits, samples, frames: of the pixels; ``bits`` are those that one value takes in the file.
        pixel_bytes: that are in the file; None if they are compressed, or were not found.
    """

    sop_class: str = ""
    series: str = ""
    rows: int | None = None
    columns: int | None = None
    bits: int | None = None
    samples: int = 1
    frames: int = 1
    pixel_bytes: int | None = None
    modality: str = ""
    description: str = ""


@dataclass(frozen=True)
class _Coding:
    order: str = "<"
    explicit: bool = True


def is_dicom(path: Path) -> bool:
    """Whether a file has the mark of DICOM behind its preamble."""
    with path.open("rb") as stream:
        stream.seek(MARK_AT)
        return stream.read(len(MARK)) == MARK


def read_elements(path: Path) -> Elements:
    """Of any file; without the mark of DICOM behind a preamble nothing is found."""
    if not is_dicom(path):
        return Elements()
    found: dict[int, bytes] = {}
    pixel_bytes = None
    end = path.stat().st_size
    with path.open("rb") as stream:
        stream.seek(MARK_AT + len(MARK))
        for tag, length in _walk(stream, end):
            if tag == PIXELS:
                pixel_bytes = None if length == UNDEFINED else min(length, end - stream.tell())
            elif length <= LONGEST:
                found[tag] = stream.read(length)
    order = "<" if _text(found, SYNTAX) != BIG_ENDIAN else ">"
    rows, columns, bits, samples = (_number(found, tag, order) for tag in (ROWS, COLUMNS, BITS, SAMPLES))
    return Elements(
        _text(found, SOP_CLASS), _text(found, SERIES), rows, columns, bits, samples or 1,
        frames_of(_text(found, FRAMES)), pixel_bytes, _text(found, MODALITY), _text(found, DESCRIPTION),
    )  # fmt: skip


def frames_of(text: str) -> int:
    """How many frames a file says that it holds; 1 where it does not, or gives no whole number."""
    return int(text) if text.isdecimal() else 1


def _text(found: dict[int, bytes], tag: int) -> str:
    return found.get(tag, b"").decode("latin-1").strip(" \0")


def _number(found: dict[int, bytes], tag: int, order: str) -> int | None:
    value = found.get(tag, b"")
    return struct.unpack(order + "H", value)[0] if len(value) == 2 else None


def _walk(stream: BinaryIO, end: int) -> Iterator[tuple[int, int]]:
    """Tag and length of the elements above PIXELS that lie whole in the file, and PIXELS as far as they do; the stream
    stands at the value.
    """
    syntax, coding = "", None
    while True:
        start = stream.tell()
        if coding is None and stream.read(2) != b"\x02\x00":  # behind the file's meta information, which is explicit
            if syntax in ("", DEFLATED):
                return
            coding = _Coding(">" if syntax == BIG_ENDIAN else "<", syntax != IMPLICIT)
        stream.seek(start)
        head = _head(stream, coding or _Coding())
        if head is None:
            return
        tag, length, value = *head, stream.tell()
        if length == UNDEFINED and tag != PIXELS:
            if not _skip_items(stream, coding or _Coding(), 0):
                return
            continue
        if tag > PIXELS or (tag != PIXELS and value + length > end):
            return
        yield tag, length
        if tag == PIXELS:
            return
        if tag == SYNTAX:
            stream.seek(value)
            syntax = stream.read(length).decode("latin-1").strip(" \0")
        stream.seek(value + length)


def _head(stream: BinaryIO, coding: _Coding) -> tuple[int, int] | None:
    """Tag and length of the element here; None at the end of the file."""
    head = stream.read(8)
    if len(head) < 8:
        return None
    group, element = struct.unpack(coding.order + "2H", head[:4])
    tag = group << 16 | element
    if not coding.explicit or group == 0xFFFE:
        return tag, struct.unpack(coding.order + "I", head[4:])[0]
    if head[4:6] not in LONG_FORMS:
        return tag, struct.unpack(coding.order + "H", head[6:])[0]
    more = stream.read(4)
    return (tag, struct.unpack(coding.order + "I", more)[0]) if len(more) == 4 else None


def _skip_items(stream: BinaryIO, coding: _Coding, depth: int) -> bool:
    """Pass the items of a sequence of undefined length; whether its end was found."""
    while depth < 32 and (head := _head(stream, coding)) is not None:
        tag, length = head
        if tag == SEQUENCE_END:
            return True
        if tag != ITEM:
            return False
        if length != UNDEFINED:
            stream.seek(length, 1)
        elif not _skip_item(stream, coding, depth):
            return False
    return False


def _skip_item(stream: BinaryIO, coding: _Coding, depth: int) -> bool:
    while (head := _head(stream, coding)) is not None:
        tag, length = head
        if tag == ITEM_END:
            return True
        if length != UNDEFINED:
            stream.seek(length, 1)
        elif not _skip_items(stream, coding, depth + 1):
            return False
    return False
