"""Compressed NRRD files: the checksum, which ITK does not come to, and spaces that say nothing of left and right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.formats.nrrd import _behind_header, check_nrrd
from LowFieldEnhanceLib.image_io import read_image


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    voxels = np.random.default_rng(0).integers(1, 900, (12, 11, 10)).astype(np.int16)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(voxels), str(tmp_path / "head_T1w.nrrd"), True)
    return tmp_path / "head_T1w.nrrd"


def test_every_flipped_byte_of_the_voxels_is_noticed(packed: Path) -> None:
    whole = packed.read_bytes()
    begin = _behind_header(packed)
    assert whole[begin : begin + 2] == b"\x1f\x8b"
    check_nrrd(packed)
    for place in range(begin + 10, len(whole) - 4, 41):
        packed.write_bytes(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
        with pytest.raises(BadInput, match="damaged|cut off"):
            read_image(packed)


def test_a_file_that_is_cut_off_is_refused_and_what_is_behind_the_voxels_is_not_read(packed: Path) -> None:
    whole = packed.read_bytes()
    packed.write_bytes(whole[:-20])
    with pytest.raises(BadInput, match="cut off"):
        read_image(packed)
    packed.write_bytes(whole + b"\n")
    read_image(packed)


def test_a_detached_file_is_checked_too(packed: Path) -> None:
    whole, begin = packed.read_bytes(), _behind_header(packed)
    (packed.parent / "voxels.gz").write_bytes(whole[begin:-20])
    header = packed.with_suffix(".nhdr")
    header.write_bytes(whole[: begin - 1] + b"data file: voxels.gz\n\n")
    with pytest.raises(BadInput, match="cut off"):
        check_nrrd(header)
    (packed.parent / "voxels.gz").write_bytes(whole[begin:])
    check_nrrd(header)


@pytest.mark.parametrize(
    ("space", "doubt"),
    [("left-posterior-superior", ""), ("RAS", ""), ("scanner-xyz", "scanner-xyz"), ("3D-left-handed", "handed")],
)
def test_a_space_that_names_no_side_of_the_patient_leaves_left_and_right_in_doubt(
    packed: Path, space: str, doubt: str
) -> None:
    packed.write_bytes(packed.read_bytes().replace(b"space: left-posterior-superior", f"space: {space}".encode()))
    said = read_image(packed).sides_in_doubt or ""
    assert doubt in said and bool(doubt) == bool(said)
