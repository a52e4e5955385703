"""Compressed NRRD files: the checksum, which ITK does not come to, and spaces that say nothing of left and right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.formats.nrrd import check_nrrd
from LowFieldEnhanceLib.formats.text_headers import read_text_header
from LowFieldEnhanceLib.formats.volume_files import check_volume_file
from LowFieldEnhanceLib.image_io import read_image


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    voxels = np.random.default_rng(0).integers(1, 900, (12, 11, 10)).astype(np.int16)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(voxels), str(tmp_path / "head_T1w.nrrd"), True)
    return tmp_path / "head_T1w.nrrd"


def test_every_flipped_byte_of_the_voxels_is_noticed(packed: Path) -> None:
    whole = packed.read_bytes()
    begin = read_text_header(packed).end
    assert whole[begin : begin + 2] == b"\x1f\x8b"
    check_nrrd(packed, read_text_header(packed))
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
    whole, begin = packed.read_bytes(), read_text_header(packed).end
    (packed.parent / "voxels.gz").write_bytes(whole[begin:-20])
    header = packed.with_suffix(".nhdr")
    header.write_bytes(whole[: begin - 1] + b"data file: voxels.gz\n\n")
    with pytest.raises(BadInput, match="cut off"):
        check_nrrd(header, read_text_header(header))
    (packed.parent / "voxels.gz").write_bytes(whole[begin:])
    check_nrrd(header, read_text_header(header))


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


def test_a_pair_of_the_users_own_is_no_field_of_the_header(packed: Path) -> None:
    whole = packed.read_bytes()
    packed.write_bytes(whole.replace(b"\nspace directions:", b"\nspace:=the scanner's\nspace directions:"))
    assert read_image(packed).sides_in_doubt is None


def test_a_header_may_be_as_long_as_the_names_of_many_segments(packed: Path) -> None:
    lines = b"".join(b"Segment%d_Tags:=%s\n" % (n, b"Tissue^" * 60) for n in range(300))
    voxels, whole, begin = read_image(packed).array, packed.read_bytes(), read_text_header(packed).end
    packed.write_bytes(whole[: begin - 1] + lines + whole[begin - 1 :])
    np.testing.assert_array_equal(read_image(packed).array, voxels)
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(BadInput, match="cut off"):
        read_image(packed)


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
def test_the_file_is_opened_for_its_header_once_and_for_its_voxels_once(
    ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = SimpleITK.GetImageFromArray(np.arange(720.0).reshape(8, 9, 10))
    SimpleITK.WriteImage(image, str(tmp_path / f"head_T1w{ending}"), True)
    opened, plain = [], Path.open
    monkeypatch.setattr(Path, "open", lambda path, *how: (opened.append(path), plain(path, *how))[1])
    check_volume_file(tmp_path / f"head_T1w{ending}", None)
    assert opened == 2 * [tmp_path / f"head_T1w{ending}"]


@pytest.mark.parametrize(
    ("ending", "line", "unit"),
    [
        (".nrrd", 'space units: "cm" "cm" "cm"', "cm"),
        (".nrrd", 'space units: "mm" "mm" "mm"', None),
        (".nrrd", 'space units: "" "" ""', None),
        (".mha", "DistanceUnits = um", "um"),
        (".mha", "DistanceUnits = mm", None),
        (".mha", "DistanceUnits = ?", None),
    ],
)
def test_lengths_in_another_unit_than_mm_are_refused(ending: str, line: str, unit: str | None, tmp_path: Path) -> None:
    path = tmp_path / f"head_T1w{ending}"
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(np.arange(720.0).reshape(8, 9, 10)), str(path))
    before = {".nrrd": b"space directions:", ".mha": b"ElementSpacing"}[ending]
    path.write_bytes(path.read_bytes().replace(before, line.encode() + b"\n" + before))
    if unit is None:
        assert read_image(path).spacing == (1.0, 1.0, 1.0)
    else:
        with pytest.raises(BadInput, match=f"gives lengths in {unit}, which would be read as mm"):
            read_image(path)
