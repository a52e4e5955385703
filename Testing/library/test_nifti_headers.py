"""NIfTI of both versions and byte orders, packed here field by field after the standard's own table of offsets.

Whether NIfTI-2 can be read at all is up to the installed ITK; what its header says is checked in any case.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from phantoms import refused, voxels
from scipy.spatial.transform import Rotation
from test_orientation_doubt import doubt_of

from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.formats import nifti
from LowFieldEnhanceLib.formats.nifti import check_voxels, read_header
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.image_io import read_image, write_image

SIZE, SPACING, OFFSET = (9, 10, 11), (1.6, 1.7, 5.0), (-40.0, 12.5, 30.25)
KINDS = [(1, "<"), (1, ">"), (2, "<"), (2, ">")]
# offset and form of each field: nifti1.h and nifti2.h
FIELDS = {
    1: {"size": (0, "i"), "magic": (344, "4s"), "dim": (40, "8h"), "type": (70, "2h"), "pixdim": (76, "8f"),
        "start": (108, "f"), "slope": (112, "2f"), "codes": (252, "2h"), "quaternion": (256, "6f"),
        "rows": (280, "12f")},
    2: {"size": (0, "i"), "magic": (4, "8s"), "dim": (16, "8q"), "type": (12, "2h"), "pixdim": (104, "8d"),
        "start": (168, "q"), "slope": (176, "2d"), "codes": (344, "2i"), "quaternion": (352, "6d"),
        "rows": (400, "12d")},
}  # fmt: skip


def oblique() -> tuple[np.ndarray, np.ndarray]:
    """An affine (RAS mm), and the quaternion b, c, d with the offsets that stand for the same."""
    turn = Rotation.from_euler("xyz", [20, -10, 5], degrees=True)
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn.as_matrix() * SPACING, OFFSET
    b, c, d, a = turn.as_quat()
    return affine, np.array([*(np.array([b, c, d]) * np.sign(a)), *OFFSET])


def written(path: Path, version: int, order: str, **changes: tuple[float, ...]) -> np.ndarray:
    """Write a file, with some fields other than they should be; returns its voxels [i, j, k]."""
    array, (affine, quaternion) = voxels(SIZE), oblique()
    length = {1: 348, 2: 540}[version]
    values = {
        "size": (length,),
        "magic": (b"n+1\0" if version == 1 else b"n+2\0\r\n\032\n",),
        "dim": (3, *SIZE, 1, 1, 1, 1),
        "type": (16, 32),
        "pixdim": (1, *SPACING, 1, 1, 1, 1),
        "start": (length + 4,),
        "slope": (1, 0),
        "codes": (1, 1),
        "quaternion": tuple(quaternion),
        "rows": tuple(affine[:3].ravel()),
        **changes,
    }
    header = bytearray(length + 4)
    for name, (offset, form) in FIELDS[version].items():
        struct.pack_into(order + form, header, offset, *values[name])
    path.write_bytes(bytes(header) + array.astype(f"{order}f4").tobytes(order="F"))
    return array


def check_nifti(path: Path) -> bool:
    """What is checked before ITK reads the file; whether it is NIfTI at all."""
    header = read_header(path)
    if header is not None:
        check_voxels(path, header)
    return header is not None


@pytest.mark.parametrize("order", ["<", ">"])
def test_every_voxel_is_read_at_its_place_in_either_byte_order(order: str, tmp_path: Path) -> None:
    array = written(tmp_path / "scan.nii", 1, order)
    image = read_image(tmp_path / "scan.nii")
    np.testing.assert_array_equal(image.array, array)
    np.testing.assert_allclose(image.affine, oblique()[0], atol=1e-4)


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_second_version_is_read_or_named_as_the_reason(order: str, tmp_path: Path) -> None:
    array = written(tmp_path / "scan.nii", 2, order)
    try:
        scan = read_image(tmp_path / "scan.nii")
    except BadInput as refusal:
        assert "it is NIfTI-2, which the installed ITK does not know" in str(refusal)
    else:
        np.testing.assert_array_equal(scan.array, array)
    written(tmp_path / "first.nii", 1, order, dim=(9, *SIZE, 1, 1, 1, 1))
    assert "NIfTI-2" not in refused(tmp_path / "first.nii")


@pytest.mark.parametrize(("version", "order"), KINDS)
def test_in_a_good_header_nothing_is_in_doubt(version: int, order: str, tmp_path: Path) -> None:
    written(tmp_path / "scan.nii", version, order)
    assert check_nifti(tmp_path / "scan.nii")
    assert doubt_of(tmp_path / "scan.nii") is None


@pytest.mark.parametrize(("version", "order"), KINDS)
def test_left_and_right_exchanged_in_one_of_two_orientations_is_in_doubt(
    version: int, order: str, tmp_path: Path
) -> None:
    path, rows = tmp_path / "scan.nii", oblique()[0][:3]
    rows[0] *= -1
    written(path, version, order, rows=tuple(rows.ravel()))
    assert "mm apart" in str(doubt_of(path))
    for codes in ((1, 0), (0, 1)):  # the other one does not count
        written(path, version, order, rows=tuple(rows.ravel()), codes=codes)
        assert doubt_of(path) is None
    written(path, version, order, codes=(0, 0))
    assert "gives no orientation" in str(doubt_of(path))


@pytest.mark.parametrize("shift", [3.0, -3.0])
@pytest.mark.parametrize(("version", "order"), KINDS)
def test_two_orientations_a_shift_apart_are_in_doubt(version: int, order: str, shift: float, tmp_path: Path) -> None:
    rows = oblique()[0][:3]
    rows[:, 3] += shift
    written(tmp_path / "scan.nii", version, order, rows=tuple(rows.ravel()))
    assert "up to 3 mm apart" in str(doubt_of(tmp_path / "scan.nii"))


@pytest.mark.parametrize("factor", [0.9, 0.98, 1.02, 1.1])
@pytest.mark.parametrize(("version", "order"), KINDS)
def test_an_edge_that_the_header_gives_twice_and_differently_is_refused(
    version: int, order: str, factor: float, tmp_path: Path
) -> None:
    edges = (SPACING[0], SPACING[1], SPACING[2] * factor)
    written(tmp_path / "scan.nii", version, order, pixdim=(1, *edges, 1, 1, 1, 1))
    with pytest.raises(BadInput, match="two voxel sizes"):
        check_nifti(tmp_path / "scan.nii")


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("codes", [(1, 1), (1, 0), (0, 1), (0, 0)])
@pytest.mark.parametrize(("version", "order"), KINDS)
def test_a_voxel_size_that_is_none_is_refused(
    version: int, order: str, codes: tuple[int, int], axis: int, tmp_path: Path
) -> None:
    path, edges = tmp_path / "scan.nii", list(SPACING)
    for value, said in ((-edges[axis], "a negative voxel size"), (0.0, "voxel size"), (np.nan, "voxel size")):
        edges[axis] = value
        written(path, version, order, pixdim=(1, *edges, 1, 1, 1, 1), codes=codes)
        with pytest.raises(BadInput, match=said):
            check_nifti(path)


@pytest.mark.parametrize(("version", "order"), KINDS)
def test_an_orientation_or_a_place_that_is_no_number_is_refused(version: int, order: str, tmp_path: Path) -> None:
    path, turned = tmp_path / "scan.nii", (np.nan, 0.0, 0.0, *OFFSET)
    written(path, version, order, quaternion=turned, codes=(1, 0))
    with pytest.raises(BadInput, match="is not a number"):
        check_nifti(path)
    starts = (0, 348, np.nan) if version == 1 else (0, 540)
    for start in starts:
        written(path, version, order, start=(start,))
        with pytest.raises(BadInput, match="where its voxels begin"):
            check_nifti(path)


@pytest.mark.parametrize(("version", "order"), KINDS)
def test_a_file_that_ends_too_early_is_refused(version: int, order: str, tmp_path: Path) -> None:
    written(tmp_path / "scan.nii", version, order)
    content = (tmp_path / "scan.nii").read_bytes()
    (tmp_path / "scan.nii").write_bytes(content[:-100])
    with pytest.raises(BadInput, match="is cut off: it holds 3860 of the 3960 bytes"):
        check_nifti(tmp_path / "scan.nii")


@pytest.mark.parametrize("bits", [0, 8, -32, 64])
@pytest.mark.parametrize(("version", "order"), KINDS)
def test_a_wrong_number_of_bits_hides_no_damage_and_makes_none(
    version: int, order: str, bits: int, tmp_path: Path
) -> None:
    path = tmp_path / "scan.nii"
    written(path, version, order, type=(16, bits))
    assert check_nifti(path)
    whole = path.read_bytes()
    for damaged, said in (
        (whole[:-100], "holds 3860 of the 3960 bytes"),
        (whole[:-4] + np.array(np.nan, f"{order}f4").tobytes(), "1 voxels"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(BadInput, match=said):
            check_nifti(path)


BENT = {
    "is singular": np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]),
    "is sheared": np.array([[1.0, 0.1, 0.0], [0.0, np.sqrt(0.99), 0.0], [0.0, 0.0, 1.0]]),
    "is not a number": np.diag([1.0, np.nan, 1.0]),
}


@pytest.mark.parametrize("sentence", [*BENT, "zero"])
@pytest.mark.parametrize("codes", [(1, 1), (0, 1), (0, 2)])
@pytest.mark.parametrize(("version", "order"), KINDS)
def test_an_sform_that_is_no_grid_is_refused_whatever_the_qform_says(
    version: int, order: str, codes: tuple[int, int], sentence: str, tmp_path: Path
) -> None:
    path, rows = tmp_path / "scan.nii", oblique()[0][:3]
    rows[:, :3] = rows[:, :3] / SPACING @ BENT.get(sentence, np.zeros((3, 3))) * SPACING
    written(path, version, order, rows=tuple(rows.ravel()), codes=codes)
    with pytest.raises(BadInput, match=rf"\(sform\) {sentence if sentence in BENT else 'is singular'}"):
        read_image(path)
    written(path, version, order, rows=tuple(rows.ravel()), codes=(1, 0))  # it does not count
    assert check_nifti(path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_sform_without_a_place_is_refused_too(value: float, tmp_path: Path) -> None:
    rows = oblique()[0][:3]
    rows[0, 3] = value
    written(tmp_path / "scan.nii", 1, "<", rows=tuple(rows.ravel()))
    with pytest.raises(BadInput, match=r"\(sform\) is not a number"):
        read_image(tmp_path / "scan.nii")


def test_a_header_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_image(Image(voxels(), np.eye(4)), tmp_path / "scan.nii.gz")
    seen = []
    parse = nifti.parse_header
    monkeypatch.setattr(nifti, "parse_header", lambda content: seen.append(len(content)) or parse(content))
    read_image(tmp_path / "scan.nii.gz", "T1w")
    assert seen == [544]


@pytest.mark.parametrize(("version", "order"), KINDS)
@pytest.mark.parametrize("magic", [b"\0\0\0\0", b"n+3\0"])
def test_a_header_without_the_mark_of_nifti_is_refused_as_analyze(
    magic: bytes, version: int, order: str, tmp_path: Path
) -> None:
    written(tmp_path / "a.nii", version, order, magic=(magic,))
    with pytest.raises(BadInput, match="a.nii lacks the mark of NIfTI"):
        check_nifti(tmp_path / "a.nii")


@pytest.mark.parametrize(("version", "order"), KINDS)
@pytest.mark.parametrize("code", [0, 1, 255, 9999])
def test_voxels_of_an_unknown_type_are_refused_before_itk_speaks(
    code: int, version: int, order: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path / "a.nii", version, order, type=(code, 32))
    assert (
        refused(tmp_path / "a.nii") == f"the header of a.nii gives its voxels a type that cannot be read (code {code})"
    )
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(("version", "order"), KINDS)
def test_a_quaternion_that_is_no_rotation_is_refused_where_it_alone_gives_the_orientation(
    version: int, order: str, tmp_path: Path
) -> None:
    long = (0.9, 0.9, 0.9, *OFFSET)
    written(tmp_path / "a.nii", version, order, quaternion=long, codes=(1, 0))
    with pytest.raises(BadInput, match="is no rotation"):
        check_nifti(tmp_path / "a.nii")
    for quaternion, codes in ((long, (0, 1)), ((1.00001, 0, 0, *OFFSET), (1, 0))):  # not used; and rounding
        written(tmp_path / "a.nii", version, order, quaternion=quaternion, codes=codes)
        assert check_nifti(tmp_path / "a.nii")


@pytest.mark.parametrize(("slope", "offset"), [(0, 5), (0, -1024), (np.nan, 5), (np.inf, 5)])
@pytest.mark.parametrize(("version", "order"), KINDS)
def test_an_offset_without_a_slope_is_refused_as_programs_read_it_differently(
    version: int, order: str, slope: float, offset: float, tmp_path: Path
) -> None:
    written(tmp_path / "a.nii", version, order, slope=(slope, offset))
    said = refused(tmp_path / "a.nii")
    assert f"an offset without a slope (scl_slope {slope:g}, scl_inter {offset:g})" in said


@pytest.mark.parametrize("offset", [np.nan, np.inf])
@pytest.mark.parametrize(("version", "order"), KINDS)
def test_an_offset_that_is_no_number_is_refused(version: int, order: str, offset: float, tmp_path: Path) -> None:
    written(tmp_path / "a.nii", version, order, slope=(2, offset))
    assert f"an offset that is not a number (scl_inter {offset:g})" in refused(tmp_path / "a.nii")


@pytest.mark.parametrize(
    ("slope", "offset", "factor", "added"),
    [
        (0, 0, 1, 0), (np.nan, np.nan, 1, 0), (np.nan, 0, 1, 0), (0, np.nan, 1, 0), (np.inf, 0, 1, 0), (1, 0, 1, 0),
        (2, 0, 2, 0), (0.5, -7, 0.5, -7), (-1, 100, -1, 100), (1, 5, 1, 5),
    ],
)  # fmt: skip
@pytest.mark.parametrize("order", ["<", ">"])
def test_intensities_are_slope_times_voxel_plus_offset(
    order: str, slope: float, offset: float, factor: float, added: float, tmp_path: Path
) -> None:
    array = written(tmp_path / "a.nii", 1, order, slope=(slope, offset))
    np.testing.assert_allclose(read_image(tmp_path / "a.nii").array, factor * array + added, rtol=1e-6)
