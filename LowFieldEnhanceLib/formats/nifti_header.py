"""The header of a NIfTI file of either version and byte order, field by field after nifti1.h and nifti2.h."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

import numpy as np

HEADER_BYTES = 544  # of NIfTI-2, the longer one, with its extension flag
FLOAT_CODES = {16: "f4", 64: "f8"}  # NIfTI datatype codes of real floating point
VOXEL_BYTES = {  # by datatype code: integers, floating point, complex, colours
    2: 1, 4: 2, 8: 4, 16: 4, 32: 8, 64: 8, 128: 3, 256: 1, 512: 2, 768: 4, 1024: 8, 1280: 8, 1536: 16, 1792: 16,
    2048: 32, 2304: 4,
}  # fmt: skip
# by the length of the header, which is its first field: offset and form of the others
FIELDS = {
    348: {"dimensions": (40, "8h"), "code": (70, "h"), "steps": (76, "4f"), "offset": (108, "f"),
          "scale": (112, "2f"), "codes": (252, "2h"), "numbers": (256, "18f"), "mark": (344, "4s")},
    540: {"dimensions": (16, "8q"), "code": (12, "h"), "steps": (104, "4d"), "offset": (168, "q"),
          "scale": (176, "2d"), "codes": (344, "2i"), "numbers": (352, "18d"), "mark": (4, "4s")},
}  # fmt: skip


@dataclass(frozen=True)
class Layout:
    """Where the voxels of a single-file NIfTI are: byte offset (-1: not a number), length in bytes, dtype if they are
    floats, and where they can begin at the earliest, behind the header and its extension flag."""

    offset: int
    length: int
    floats: str | None
    least_offset: int


@dataclass(frozen=True)
class Geometry:
    """What a header says of space: the affines (3 x 4) of qform and sform, None where the code is 0; the number of
    voxels along the axes; pixdim, which is qfac and the voxel's edges; and the sum of the squares of the qform's
    numbers b, c and d, 0 where its code is 0."""

    qform: np.ndarray | None
    sform: np.ndarray | None
    size: tuple[int, ...]
    steps: tuple[float, ...]
    turned: float = 0.0


@dataclass(frozen=True)
class Header:
    """The fields as they stand.

    Attributes:
        order: of the bytes, ``<`` or ``>``.
        length: of the header, bytes: 348 of NIfTI-1, 540 of NIfTI-2.
        dimensions: how many axes there are, and the number of voxels along each of seven.
        code: of a voxel's type, which alone says how long it is, as for ITK: some files hold a bitpix of 0.
        steps: qfac, and the voxel's edges along the first three axes, mm.
        offset: byte at which the voxels begin.
        slope, intercept: of the intensities.
        qform_code, sform_code: 0 where that orientation is not given.
        numbers: b, c, d and the offsets of the qform, and the three rows of the sform.
        mark: which tells NIfTI from Analyze.
    """

    order: str
    length: int
    dimensions: tuple[int, ...]
    code: int
    steps: tuple[float, ...]
    offset: float
    slope: float
    intercept: float
    qform_code: int
    sform_code: int
    numbers: tuple[float, ...]
    mark: bytes

    @property
    def is_second(self) -> bool:
        """Whether it is that of NIfTI-2."""
        return self.length == 540

    @property
    def layout(self) -> Layout:
        """Where the voxels are."""
        count = math.prod(max(n, 1) for n in self.dimensions[1 : self.dimensions[0] + 1])
        begin = int(self.offset) if math.isfinite(self.offset) else -1
        floats = self.order + FLOAT_CODES[self.code] if self.code in FLOAT_CODES else None
        return Layout(begin, count * VOXEL_BYTES.get(self.code, 0), floats, self.length + 4)

    @property
    def geometry(self) -> Geometry:
        """What it says of space."""
        qform, sform, turned = None, None, 0.0
        if self.qform_code > 0:
            qform = _from_quaternion(self.numbers[:6], self.steps)
            turned = sum(n * n for n in self.numbers[:3])
        if self.sform_code > 0:
            sform = np.reshape(self.numbers[6:], (3, 4))
        return Geometry(qform, sform, self.dimensions[1:4], self.steps, turned)


def parse_header(content: bytes) -> Header | None:
    """The header in the first 544 bytes of a file; None if they are of neither version of NIfTI."""
    for order in "<>":
        for length, fields in FIELDS.items():
            if len(content) >= length and struct.unpack_from(f"{order}i", content)[0] == length:
                found = {name: struct.unpack_from(order + form, content, at) for name, (at, form) in fields.items()}
                return Header(
                    order, length, found["dimensions"], *found["code"], found["steps"], *found["offset"],
                    *found["scale"], *found["codes"], found["numbers"], *found["mark"],
                )  # fmt: skip
    return None


def _from_quaternion(values: tuple[float, ...], steps: tuple[float, ...]) -> np.ndarray:
    """The affine of NIfTI's method 2: b, c, d and the offsets; ``steps`` are qfac and the voxel's edges."""
    b, c, d = values[:3]
    a = math.sqrt(max(0.0, 1.0 - b * b - c * c - d * d))
    turn = np.array([
        [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
        [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
        [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b],
    ])  # fmt: skip
    flip = -1.0 if steps[0] < 0 else 1.0
    return np.column_stack([turn * np.array([steps[1], steps[2], flip * steps[3]]), values[3:]])
