"""Files: geometry and voxels survive every format, and bad files are refused."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st
from phantoms import SHAPE, refused, voxels
from scipy.spatial.transform import Rotation

from LowFieldEnhanceLib import image_io
from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.formats.nifti_header import Layout, parse_header
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.segmentation.labels import LabelMap


def corners(affine: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    index = np.array([[*c, 1] for c in np.ndindex(2, 2, 2)]) * [*(np.array(shape) - 1), 1]
    return (index @ affine.T)[:, :3]


@st.composite
def affines(draw: st.DrawFn) -> np.ndarray:
    """Oblique, flipped, permuted, anisotropic grids anywhere near the isocentre."""
    rotation = Rotation.from_euler("xyz", draw(st.tuples(*[st.floats(-180, 180)] * 3)), degrees=True).as_matrix()
    signs = np.array(draw(st.tuples(*[st.sampled_from((-1.0, 1.0))] * 3)))
    spacing = np.array(draw(st.tuples(*[st.floats(0.3, 8.0)] * 3)))
    affine = np.eye(4)
    affine[:3, :3] = rotation[:, draw(st.permutations(range(3)))] * signs * spacing
    affine[:3, 3] = draw(st.tuples(*[st.floats(-200, 200)] * 3))
    return affine


@pytest.mark.parametrize("extension", [".nii", ".nii.gz", ".nrrd", ".mha"])
@settings(max_examples=15, deadline=None, database=None)
@given(affine=affines())
def test_every_voxel_keeps_its_value_and_its_place_in_every_format(
    extension: str, affine: np.ndarray, tmp_path_factory: pytest.TempPathFactory
) -> None:
    image = Image(voxels(), affine)
    path = tmp_path_factory.mktemp("round") / f"scan{extension}"
    image_io.write_image(image, path)
    again = image_io.read_image(path)
    np.testing.assert_array_equal(again.array, image.array)
    places = corners(affine, SHAPE)
    # NIfTI's header holds float32: two roundings of the largest coordinate may exceed 1e-5 mm
    tolerance = max(1e-5, 2 * float(np.spacing(np.float32(np.abs(places).max())))) if ".nii" in extension else 1e-5
    assert np.abs(corners(again.affine, SHAPE) - places).max() < tolerance


@settings(max_examples=25, deadline=None, database=None)
@given(affine=affines())
def test_world_positions_are_those_of_simpleitk_with_x_and_y_negated(affine: np.ndarray) -> None:
    image = Image(voxels(), affine)
    source = image_io.to_sitk(image)
    for index in ((0, 0, 0), (4, 0, 5), (2, 6, 1)):
        x, y, z = source.TransformIndexToPhysicalPoint(index)
        expected = affine @ [*index, 1]
        assert np.abs(np.array([-x, -y, z]) - expected[:3]).max() < 1e-9
        assert source[index] == image.array[index]
    np.testing.assert_allclose(image_io.from_sitk(source).affine, affine, atol=1e-9)


def test_labels_keep_their_ids(tmp_path: Path) -> None:
    array = np.random.default_rng(0).choice([0, 2, 17, 41, 60], SHAPE).astype(np.uint8)
    image_io.write_labels(LabelMap(array, np.diag([1, 2, 3, 1]), {2: 0.5}), tmp_path / "labels.nii.gz")
    assert SimpleITK.ReadImage(str(tmp_path / "labels.nii.gz")).GetPixelID() == SimpleITK.sitkUInt8
    again = image_io.read_labels(tmp_path / "labels.nii.gz")
    np.testing.assert_array_equal(again.array, array)
    np.testing.assert_allclose(again.affine, np.diag([1, 2, 3, 1]), atol=1e-6)


@pytest.mark.parametrize("values", [(0, 1.5), (0, 1.4), (-1, 3), (0, 300)])
def test_a_map_that_is_not_of_label_ids_is_refused(values: tuple[float, float], tmp_path: Path) -> None:
    array = np.full(SHAPE, values[0], dtype=np.float32)
    array[2:] = values[1]
    image_io.write_image(Image(array, np.eye(4)), tmp_path / "x.nii")
    with pytest.raises(BadInput, match="FreeSurfer ids.*whole numbers"):
        image_io.read_labels(tmp_path / "x.nii")
    with pytest.raises(BadInput, match=r"x.nii is not a lesion map: .* whole numbers from 0 \(no lesion\) to 255"):
        image_io.read_lesions(tmp_path / "x.nii")


@pytest.mark.parametrize(("value", "which"), [(1, "every voxel"), (0, "no voxel"), (0.4, "no voxel")])
def test_a_brain_mask_that_is_the_same_everywhere_is_refused_as_a_mask(
    value: float, which: str, tmp_path: Path
) -> None:
    array = np.full(SHAPE, value, dtype=np.float32)
    image_io.write_image(Image(array, np.eye(4)), tmp_path / "mask.nii")
    with pytest.raises(BadInput, match=f"the brain mask mask.nii marks {which}"):
        image_io.read_mask(tmp_path / "mask.nii")
    array[2:] = 1 - value
    image_io.write_image(Image(array, np.eye(4)), tmp_path / "mask.nii")
    np.testing.assert_array_equal(image_io.read_mask(tmp_path / "mask.nii").array, array)


def test_a_given_contrast_wins_over_the_name(tmp_path: Path) -> None:
    image_io.write_image(Image(voxels(), np.eye(4)), tmp_path / "t1.nii")
    assert image_io.read_image(tmp_path / "t1.nii").contrast == "T1w"
    assert image_io.read_image(tmp_path / "t1.nii", "T2w").contrast == "T2w"


# refusals


def test_missing_and_unknown_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "scan.jpg").write_bytes(b"not a volume")
    (tmp_path / "scan").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    assert "does not exist" in refused(tmp_path / "none.nii")
    assert "not a format" in refused(tmp_path / "scan.jpg")
    assert "not a format" in refused(tmp_path / "scan")
    assert "no DICOM series" in refused(tmp_path / "folder")


@pytest.mark.parametrize(
    ("array", "vector", "sentence"),
    [
        (np.stack([voxels()] * 2), False, "4-D"),
        (np.stack([voxels()] * 2)[:, None], False, "4-D"),
        (np.stack([voxels()] * 3, -1), True, "3 components"),
        (voxels()[0], False, "2 dimensions"),
        (voxels().astype(np.complex64), False, "complex"),
        (voxels().astype(np.float64) * 1e300, False, "NaN or infinite"),
        (np.ones(SHAPE), False, "same value"),
    ],
)
def test_files_that_hold_no_scalar_volume_are_refused(
    array: np.ndarray, vector: bool, sentence: str, tmp_path: Path
) -> None:
    path = tmp_path / "scan.nii"
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array, isVector=vector), str(path))
    assert sentence in refused(path)


@pytest.mark.parametrize("extension", [".nii", ".nrrd", ".mha"])  # ITK itself drops them of NIfTI alone
@pytest.mark.parametrize("extra", [(1,), (1, 1)])
def test_further_axes_of_length_one_are_dropped(extra: tuple[int, ...], extension: str, tmp_path: Path) -> None:
    array = voxels()
    path = tmp_path / f"scan{extension}"
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array.reshape(*extra, *SHAPE), isVector=False), str(path))
    np.testing.assert_array_equal(image_io.read_image(path).array, array.transpose(2, 1, 0))


@pytest.mark.parametrize("extension", [".nii", ".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_file_cut_off_anywhere_is_refused(extension: str, share: float, tmp_path: Path) -> None:
    path = tmp_path / f"scan{extension}"
    image_io.write_image(Image(voxels((20, 20, 20)), np.eye(4)), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    refused(path)


@pytest.mark.parametrize("place", [0.5, 0.9, 1.0])
def test_a_compressed_file_with_a_flipped_bit_is_refused(place: float, tmp_path: Path) -> None:
    path = tmp_path / "scan.nii.gz"
    image_io.write_image(Image(voxels((20, 20, 20)), np.eye(4)), path)
    damaged = bytearray(path.read_bytes())
    damaged[int(place * len(damaged)) - 6] ^= 0x10
    path.write_bytes(damaged)
    refused(path)


@pytest.mark.parametrize("extension", [".nii", ".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_voxel_that_is_not_finite_is_refused_in_every_format(
    extension: str, value: float, dtype: type, tmp_path: Path
) -> None:
    array = voxels().astype(dtype)
    array[-1, -1, -1] = value
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array), str(tmp_path / f"scan{extension}"))
    assert "1 voxels" in refused(tmp_path / f"scan{extension}")


@pytest.mark.parametrize("extension", [".nii", ".nii.gz"])
def test_a_voxel_that_is_not_finite_is_found_at_the_beginning_of_a_large_file_too(
    extension: str, tmp_path: Path
) -> None:
    array = voxels((70, 70, 70))  # more than the megabyte that is looked at in one piece
    array[0, 0, 0] = np.nan
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array), str(tmp_path / f"scan{extension}"))
    assert "1 voxels" in refused(tmp_path / f"scan{extension}")


def test_bytes_behind_the_voxels_are_none(tmp_path: Path) -> None:
    path = tmp_path / "scan.nii"
    image_io.write_image(Image(voxels(), np.eye(4)), path)
    path.write_bytes(path.read_bytes() + b"\xff" * 64)  # as floats they are NaN
    np.testing.assert_array_equal(image_io.read_image(path).array, voxels())


def test_a_file_that_is_called_compressed_and_is_not_is_read_and_checked_all_the_same(tmp_path: Path) -> None:
    for name, value in (("whole", 7.0), ("damaged", np.nan)):
        array = voxels()
        array[1, 2, 3] = value
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array.transpose(2, 1, 0)), str(tmp_path / f"{name}.nii"))
        (tmp_path / f"{name}.nii").rename(tmp_path / f"{name}.nii.gz")
    assert image_io.read_image(tmp_path / "whole.nii.gz").array[1, 2, 3] == 7
    assert "1 voxels" in refused(tmp_path / "damaged.nii.gz")


@pytest.mark.parametrize("plain", ["scan.nii", "scan.NII"])
def test_each_of_two_files_that_differ_by_packing_alone_has_its_own_voxels(plain: str, tmp_path: Path) -> None:
    packed, array = tmp_path / "scan.nii.gz", voxels()
    image_io.write_image(Image(array, np.eye(4)), tmp_path / "a.nii.gz")
    image_io.write_image(Image(2 * array[::-1, :-2], np.diag([2.0, 2, 2, 1])), tmp_path / "b.nii")
    (tmp_path / "a.nii.gz").rename(packed)
    (tmp_path / "b.nii").rename(tmp_path / plain)
    read = image_io.read_image(packed)
    np.testing.assert_array_equal(read.array, array)
    assert read.meta["file"] == "scan.nii.gz"
    np.testing.assert_array_equal(image_io.read_image(tmp_path / plain).array, 2 * array[::-1, :-2])


@pytest.mark.parametrize("order", ["<", ">"])
def test_where_a_nifti_header_says_the_voxels_are(order: str) -> None:
    first = bytearray(352)
    struct.pack_into(f"{order}i", first, 0, 348)
    struct.pack_into(f"{order}8h", first, 40, 3, 10, 20, 30, 0, 0, 0, 0)
    struct.pack_into(f"{order}2h", first, 70, 4, 16)
    struct.pack_into(f"{order}f", first, 108, 352.0)
    second = bytearray(544)
    struct.pack_into(f"{order}i", second, 0, 540)
    struct.pack_into(f"{order}2h", second, 12, 64, 64)
    struct.pack_into(f"{order}8q", second, 16, 3, 100, 200, 300, 1, 1, 1, 1)
    struct.pack_into(f"{order}q", second, 168, 544)
    headers = [parse_header(bytes(content)) for content in (first, second)]
    assert [header and header.layout for header in headers] == [
        Layout(352, 10 * 20 * 30 * 2, None, 352),
        Layout(544, 100 * 200 * 300 * 8, f"{order}f8", 544),
    ]
    assert parse_header(b"\x00" * 600) is None
    assert parse_header(b"") is None


def test_a_sheared_header_is_refused(tmp_path: Path) -> None:
    affine = np.eye(4)
    affine[0, 1] = 0.05
    image_io.write_image(Image(voxels(), affine), tmp_path / "scan.nrrd")
    assert "sheared" in refused(tmp_path / "scan.nrrd")
