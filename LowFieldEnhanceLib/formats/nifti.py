"""What ITK's NIfTI reader hides: it fills a cut-off file with zeros, turns NaN into 0, and reports success."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..errors import BadInput
from ..image import LEAST_VOLUME, MAX_SHEAR, grid_corners
from .nifti_header import HEADER_BYTES, VOXEL_BYTES, Geometry, Header, Layout, parse_header

BLOCK = 1 << 20
MOST_APART_MM = 1.0  # of the corners, by qform and sform
MOST_DIFFERENT = 0.01  # share of a voxel's edge, by pixdim and sform
MARKS = (b"n+1\0", b"ni1\0", b"n+2\0", b"ni2\0")
MOST_TURNED = 1.001  # of the squares of a quaternion's three numbers; 1 is the most there can be, and rounding more


def read_header(path: Path) -> Header | None:
    """Read a header; None of another file than NIfTI.

    Raises:
        BadInput: two voxel sizes, none, or a negative one; an orientation that is not a number, no rotation, singular
            or sheared; voxels of a type that NIfTI does not know; intensities with an offset that is not a number, or
            without a slope; no mark of NIfTI; or the file is compressed, and damaged in its header.
    """
    header = _parsed(path)
    if header is None:
        return None
    _check_kind(header, path)
    _check_scale(header, path)
    _check_geometry(header.geometry, path)
    return header


def is_whole(path: Path) -> bool:
    """Whether a file is NIfTI and holds all the voxels that it announces, whatever they are and wherever they lie."""
    try:
        header = _parsed(path)
        if header is not None:
            _count_bad(path, header.layout)
    except BadInput:
        return False
    return header is not None


def check_voxels(path: Path, header: Header) -> None:
    """Refuse a file that is shorter than its header announces, fails its checksum, or holds NaN or infinite voxels.

    Raises:
        BadInput: see above.
    """
    bad = _count_bad(path, header.layout)
    if bad:
        raise BadInput(f"{bad} voxels of {path.name} are NaN or infinite, so the file is damaged")


def _parsed(path: Path) -> Header | None:
    try:
        with _opened(path) as stream:
            return parse_header(stream.read(HEADER_BYTES))
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise BadInput(f"{path.name} is damaged or cut off: {error}") from error


def _count_bad(path: Path, layout: Layout) -> int:
    """How many voxels are NaN or infinite; a file that is shorter than announced or fails its checksum is refused."""
    if layout.offset < layout.least_offset:
        raise BadInput(f"the header of {path.name} does not say where its voxels begin")
    try:
        with _opened(path) as stream:
            stream.seek(layout.offset)
            length, bad = _scan(stream, layout)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise BadInput(f"{path.name} is damaged or cut off: {error}") from error
    if length < layout.length:
        raise BadInput(f"{path.name} is cut off: it holds {length} of the {layout.length} bytes of voxels it announces")
    return bad


def _opened(path: Path) -> BinaryIO:
    """The file's content, unpacked if it is compressed, whatever its name says."""
    with path.open("rb") as stream:
        packed = stream.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if packed else path.open("rb")


def _check_kind(header: Header, path: Path) -> None:
    """Without a mark ITK takes the header for Analyze's, with other numbers in the place of the orientation."""
    if header.mark not in MARKS:
        raise BadInput(
            f"the header of {path.name} lacks the mark of NIfTI, so it is Analyze's, which does not say where left and "
            "right are; convert it first"
        )
    if header.code not in VOXEL_BYTES:
        raise BadInput(f"the header of {path.name} gives its voxels a type that cannot be read (code {header.code})")


def _check_scale(header: Header, path: Path) -> None:
    """NIfTI's intensity is slope x voxel + offset, and without a slope the voxel itself. ITK, and so 3D Slicer, adds an
    offset there too, so a volume read by the standard here would not be the one that the user sees there.
    """
    has_slope = header.slope != 0 and math.isfinite(header.slope)
    if has_slope and not math.isfinite(header.intercept):
        raise BadInput(
            f"the header of {path.name} gives intensities an offset that is not a number (scl_inter "
            f"{header.intercept:g}), so they are unknown"
        )
    if not has_slope and math.isfinite(header.intercept) and header.intercept != 0:
        raise BadInput(
            f"the header of {path.name} gives intensities an offset without a slope (scl_slope {header.slope:g}, "
            f"scl_inter {header.intercept:g}), which NIfTI leaves out and 3D Slicer adds; set scl_slope to 1 if it "
            "counts, else scl_inter to 0"
        )


def _check_geometry(geometry: Geometry, path: Path) -> None:
    """A wrong pixdim or a wrong sform would scale the anatomy or mirror it, and nothing tells which of them it is."""
    edges = np.array(geometry.steps[1:4])
    if (edges < 0).any():  # ITK mirrors the axis, NIfTI knows no such thing
        size = " x ".join(f"{n:.4g}" for n in edges)
        raise BadInput(
            f"the header of {path.name} gives a negative voxel size ({size} mm), so left and right are unknown"
        )
    if geometry.sform is None:
        if not (edges > 0).all():
            raise BadInput(f"the header of {path.name} gives no voxel size, so the size of the anatomy is unknown")
        if geometry.qform is not None and not np.isfinite(geometry.qform).all():
            raise BadInput(f"the orientation in the header of {path.name} (qform) is not a number")
        if geometry.turned > MOST_TURNED:
            raise BadInput(f"the orientation in the header of {path.name} (qform) is no rotation, so it is unknown")
        return
    columns = _checked_columns(geometry.sform, path)
    if not (np.abs(edges / columns - 1) <= MOST_DIFFERENT).all():
        first, second = (" x ".join(f"{n:.4g}" for n in numbers) for numbers in (edges, columns))
        raise BadInput(
            f"the header of {path.name} gives two voxel sizes: {first} mm (pixdim) and {second} mm (sform), so the "
            "size of the anatomy is unknown"
        )


def _checked_columns(sform: np.ndarray, path: Path) -> np.ndarray:
    """Lengths of the sform's columns, mm; where it is no grid of a scanner ITK goes by the qform without a word."""
    what = f"the orientation in the header of {path.name} (sform)"
    if not np.isfinite(sform).all():
        raise BadInput(f"{what} is not a number")
    columns = np.linalg.norm(sform[:, :3], axis=0)
    axes = sform[:, :3] / np.where(columns > 0, columns, 1.0)
    if abs(np.linalg.det(axes)) < LEAST_VOLUME:
        raise BadInput(f"{what} is singular: its axes do not span space, so voxels have no volume")
    if np.abs(axes.T @ axes - np.eye(3)).max() > MAX_SHEAR:
        raise BadInput(f"{what} is sheared: its axes are not at right angles, which no scanner grid is")
    return columns


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


def orientation_doubt(header: Header, name: str) -> str | None:
    """Why the orientation that the header of the file of this name gives is in doubt; None if it is not.

    ITK takes the axes of a header without orientation for those of its own world, and one of two that disagree,
    without a word; left and right may then be exchanged.
    """
    found = header.geometry
    qform, sform = found.qform, found.sform
    if qform is None and sform is None:
        return f"the header of {name} gives no orientation (qform and sform code 0)"
    if qform is None or sform is None:
        return None
    apart = np.abs(grid_corners(found.size, qform - sform)).max()
    if apart <= MOST_APART_MM:
        return None
    return f"the two orientations in the header of {name} (qform and sform) are up to {apart:.0f} mm apart"
