"""MetaImage: ITK says nothing of damage in compressed voxels, so every byte must be accounted for before it reads them,
nor of a scale in the header that it leaves out.
"""

from __future__ import annotations

import gzip
import re
import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from dicom_support import GRIDS
from phantoms import refused, voxels

from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.image_io import read_image, to_sitk

SHAPE = (8, 9, 10)
HEADER = """ObjectType = Image
NDims = 3
BinaryData = True
BinaryDataByteOrderMSB = False
CompressedData = True
TransformMatrix = 1 0 0 0 1 0 0 0 1
ElementSpacing = 1.6 1.6 5
DimSize = 10 9 8
ElementType = MET_FLOAT
"""


def compressed(path: Path) -> bytes:
    """A file as ITK writes it; the voxels as bytes."""
    array = voxels(SHAPE)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array), str(path), useCompression=True)
    return array.tobytes()


def voxels_file(path: Path) -> Path:
    return path if path.suffix == ".mha" else path.with_suffix(".zraw")


@pytest.mark.parametrize("ending", [".mha", ".mhd"])
def test_a_whole_file_is_read(ending: str, tmp_path: Path) -> None:
    compressed(tmp_path / f"scan{ending}")
    np.testing.assert_array_equal(read_image(tmp_path / f"scan{ending}").array, voxels(SHAPE).transpose(2, 1, 0))


@pytest.mark.parametrize("ending", [".mha", ".mhd"])
@pytest.mark.parametrize("place", [-1500, -900, -100, -2])
def test_a_flipped_byte_is_refused(ending: str, place: int, tmp_path: Path) -> None:
    compressed(tmp_path / f"scan{ending}")
    file = voxels_file(tmp_path / f"scan{ending}")
    content = bytearray(file.read_bytes())
    content[place] ^= 0x55
    file.write_bytes(content)
    assert "damaged" in refused(tmp_path / f"scan{ending}")


@pytest.mark.parametrize("ending", [".mha", ".mhd"])
@pytest.mark.parametrize("missing", [1, 4, 700])
def test_a_file_that_ends_too_early_is_refused_even_if_its_header_agrees(
    ending: str, missing: int, tmp_path: Path
) -> None:
    header = tmp_path / f"scan{ending}"
    compressed(header)
    file = voxels_file(header)
    file.write_bytes(file.read_bytes()[:-missing])
    assert "cut off" in refused(header)
    content = header.read_bytes()
    size = int(re.search(rb"CompressedDataSize = (\d+)", content)[1])
    header.write_bytes(content.replace(b"Size = %d" % size, b"Size = %d" % (size - missing)))
    assert "cut off" in refused(header)


@pytest.mark.parametrize(("size", "sentence"), [("10 9 9", "2880 of the 3240"), ("10 9 7", "more than the 2520")])
def test_more_or_fewer_voxels_than_announced_are_refused(size: str, sentence: str, tmp_path: Path) -> None:
    compressed(tmp_path / "scan.mha")
    content = (tmp_path / "scan.mha").read_bytes()
    (tmp_path / "scan.mha").write_bytes(content.replace(b"DimSize = 10 9 8", f"DimSize = {size}".encode()))
    assert sentence in refused(tmp_path / "scan.mha")


def test_without_its_compressed_length_a_file_that_itk_reads_wrongly_is_refused(tmp_path: Path) -> None:
    compressed(tmp_path / "scan.mha")
    content = re.sub(rb"CompressedDataSize = \d+\r?\n", b"", (tmp_path / "scan.mha").read_bytes())
    (tmp_path / "scan.mha").write_bytes(content)
    assert "CompressedDataSize" in refused(tmp_path / "scan.mha")


def test_a_file_of_voxels_that_is_missing_is_named(tmp_path: Path) -> None:
    compressed(tmp_path / "scan.mhd")
    (tmp_path / "scan.zraw").unlink()
    assert "scan.zraw does not exist" in refused(tmp_path / "scan.mhd")


@pytest.mark.parametrize("pack", [zlib.compress, gzip.compress])
@pytest.mark.parametrize("place", ["LOCAL", "Local"])
def test_both_ways_to_compress_and_to_spell_are_read(pack: type, place: str, tmp_path: Path) -> None:
    data = pack(voxels(SHAPE).tobytes())
    header = f"{HEADER}CompressedDataSize = {len(data)}\nElementDataFile = {place}\n"
    (tmp_path / "scan.mha").write_bytes(header.encode() + data)
    np.testing.assert_array_equal(read_image(tmp_path / "scan.mha").array, voxels(SHAPE).transpose(2, 1, 0))


@pytest.mark.parametrize("files", ["LIST\n" + "\n".join(f"{k}.z" for k in range(8)), "%d.z 0 7 1"])
def test_slices_in_files_of_their_own_are_read_and_checked_too(files: str, tmp_path: Path) -> None:
    for k, plane in enumerate(voxels(SHAPE)):
        (tmp_path / f"{k}.z").write_bytes(zlib.compress(plane.tobytes()))
    (tmp_path / "scan.mhd").write_text(f"{HEADER}ElementDataFile = {files}\n")
    np.testing.assert_array_equal(read_image(tmp_path / "scan.mhd").array, voxels(SHAPE).transpose(2, 1, 0))
    (tmp_path / "5.z").write_bytes((tmp_path / "5.z").read_bytes()[:-20])
    assert "cut off" in refused(tmp_path / "scan.mhd")


@pytest.mark.parametrize(("name", "ending"), [("a.MHA", ".mha"), ("a.Mhd", ".mhd")])
def test_an_ending_in_capitals_is_refused_in_our_words(name: str, ending: str, tmp_path: Path) -> None:
    compressed(tmp_path / f"a{ending}")
    (tmp_path / f"a{ending}").rename(tmp_path / name)
    assert refused(tmp_path / name) == f"{name} must end in {ending} in small letters to be read; rename it"


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize(
    ("slope", "offset"), [("2", None), (None, "10"), ("-1", "4095"), ("0", "0"), ("nan", "0"), ("two", "0")]
)
def test_a_scale_of_intensities_that_itk_leaves_out_is_refused(
    slope: str | None, offset: str | None, packed: bool, tmp_path: Path
) -> None:
    said = refused(scaled(tmp_path, slope, offset, packed))
    assert said.startswith(f"the header of scan.mha gives intensities as {slope or 1} x voxel + {offset or 0} (")


@pytest.mark.parametrize(("slope", "offset"), [("1", "0"), ("1.0", None), (None, "0.000")])
def test_a_scale_that_changes_nothing_is_read(slope: str | None, offset: str | None, tmp_path: Path) -> None:
    scan = read_image(scaled(tmp_path, slope, offset, False))
    np.testing.assert_array_equal(scan.array, voxels(SHAPE).transpose(2, 1, 0))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"HeaderSize = 50", "contradicts itself: its voxels begin at byte 50 (HeaderSize)"),
        (b"TransformMatrix = 2 0 0 0 2 0 0 0 2", "have the lengths 2 x 2 x 2 in the place of 1"),
        (b"Rotation = 1 0 0 0 1 0 0 0 0.9", "have the lengths 1 x 1 x 0.9"),
        (b"Offset = nan 0 0", "gives no position: nan 0 0"),
        (b"Position = 0 0 inf", "gives no position: 0 0 inf"),
    ],
)
def test_a_header_that_itk_reads_as_something_else_is_refused(line: bytes, said: str, tmp_path: Path) -> None:
    assert said in refused(with_line(tmp_path, line))


@pytest.mark.parametrize(
    "line", [b"HeaderSize = -1", b"HeaderSize = 0", b"TransformMatrix = 0.6 0.8 0 -0.8 0.6 0 0 0 1"]
)
def test_a_header_that_says_the_same_in_other_words_is_read(line: bytes, tmp_path: Path) -> None:
    scan = read_image(with_line(tmp_path, line))
    np.testing.assert_array_equal(scan.array, voxels(SHAPE).transpose(2, 1, 0))


@pytest.mark.parametrize("ending", [".mha", ".mhd"])
def test_an_oblique_volume_with_a_fourth_axis_of_one_voxel_is_read(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"scan{ending}"
    SimpleITK.WriteImage(SimpleITK.JoinSeries([to_sitk(Image(voxels(SHAPE), GRIDS["oblique"]))]), str(path))
    scan = read_image(path)
    np.testing.assert_array_equal(scan.array, voxels(SHAPE))
    np.testing.assert_allclose(scan.affine, GRIDS["oblique"], atol=1e-9)
    text = path.read_bytes().replace(b"0 0 0 1\n", b"0 0 0 2\n", 1)
    path.write_bytes(text)
    assert "have the lengths 1 x 1 x 1 x 2" in refused(path)


def with_line(folder: Path, line: bytes) -> Path:
    """A file with one line of its header replaced, or added before the voxels' type."""
    path = folder / "scan.mha"
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(voxels(SHAPE)), str(path), useCompression=False)
    same = {b"Rotation": b"TransformMatrix", b"Position": b"Offset"}
    name = line.split(b" ")[0]
    lines = [one for one in path.read_bytes().split(b"\n", 12) if not one.startswith(same.get(name, name) + b" =")]
    place = next(n for n, one in enumerate(lines) if one.startswith(b"ElementType"))
    path.write_bytes(b"\n".join([*lines[:place], line, *lines[place:]]))
    return path


def scaled(folder: Path, slope: str | None, offset: str | None, packed: bool) -> Path:
    """A file whose header says how voxels become intensities."""
    path = folder / "scan.mha"
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(voxels(SHAPE)), str(path), useCompression=packed)
    given = {"Slope": slope, "Offset": offset}
    lines = "".join(f"ElementToIntensityFunction{name} = {value}\n" for name, value in given.items() if value)
    path.write_bytes(path.read_bytes().replace(b"ElementType", lines.encode() + b"ElementType", 1))
    return path
