"""Files: geometry and voxels survive every format, bad files are refused, and writing never damages anything."""

from __future__ import annotations

import gzip
import os
import stat
import struct
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid
from scipy.spatial.transform import Rotation

from LowFieldEnhanceLib import image_io
from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.nifti import Layout, nifti_layout
from LowFieldEnhanceLib.segmentation.labels import LabelMap

SHAPE = (5, 7, 6)


def voxels(shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(3).normal(300, 100, shape).astype(np.float32)


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


@pytest.mark.parametrize("values", [(0, 1.5), (-1, 3), (0, 300)])
def test_a_map_that_is_not_of_label_ids_is_refused(values: tuple[float, float], tmp_path: Path) -> None:
    array = np.full(SHAPE, values[0], dtype=np.float32)
    array[2:] = values[1]
    image_io.write_image(Image(array, np.eye(4)), tmp_path / "x.nii")
    with pytest.raises(BadInput, match="whole numbers"):
        image_io.read_labels(tmp_path / "x.nii")


@pytest.mark.parametrize(
    ("name", "contrast"),
    [
        ("sub-01_T1w.nii.gz", "T1w"),
        ("ax_t2_flair", "FLAIR"),
        ("T2 axial", "T2w"),
        ("MPRAGE_1mm.nii", "T1w"),
        ("sub-t21_dwi", "other"),
        ("scan12.nii", "other"),
    ],
)
def test_the_contrast_is_guessed_from_the_name(name: str, contrast: str) -> None:
    assert image_io.guess_contrast(name) == contrast


def test_a_given_contrast_wins_over_the_name(tmp_path: Path) -> None:
    image_io.write_image(Image(voxels(), np.eye(4)), tmp_path / "t1.nii")
    assert image_io.read_image(tmp_path / "t1.nii").contrast == "T1w"
    assert image_io.read_image(tmp_path / "t1.nii", "T2w").contrast == "T2w"


# refusals


def refused(path: Path) -> str:
    with pytest.raises(BadInput) as refusal:
        image_io.read_image(path)
    message = str(refusal.value)
    assert "\n" not in message
    assert ".cxx" not in message
    return message


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


@pytest.mark.parametrize("extra", [(1,), (1, 1)])
def test_further_axes_of_length_one_are_dropped(extra: tuple[int, ...], tmp_path: Path) -> None:
    array = voxels()
    path = tmp_path / "scan.nii"
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
    assert nifti_layout(bytes(first)) == Layout(352, 10 * 20 * 30 * 2, None)
    assert nifti_layout(bytes(second)) == Layout(544, 100 * 200 * 300 * 8, f"{order}f8")
    assert nifti_layout(b"\x00" * 600) is None
    assert nifti_layout(b"") is None


def test_a_sheared_header_is_refused(tmp_path: Path) -> None:
    affine = np.eye(4)
    affine[0, 1] = 0.05
    image_io.write_image(Image(voxels(), affine), tmp_path / "scan.nrrd")
    assert "sheared" in refused(tmp_path / "scan.nrrd")


# DICOM


def write_series(
    folder: Path,
    array: np.ndarray,
    lps: np.ndarray,
    modality: str = "MR",
    leave_out: tuple[int, ...] = (),
    series: str | None = None,
) -> None:
    """One classic MR file a slice k of array [i, j, k]; ``lps`` maps the index to LPS mm."""
    folder.mkdir(exist_ok=True)
    series = series or generate_uid()
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    shared = {"StudyInstanceUID": generate_uid(), "FrameOfReferenceUID": generate_uid(), "SeriesInstanceUID": series}

    def decimals(values: np.ndarray) -> list[str]:
        return [f"{v:.10g}" for v in values]

    for k in range(array.shape[2]):
        if k in leave_out:
            continue
        data, meta = Dataset(), FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = data.SOPClassUID = MRImageStorage
        meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
        data.file_meta = meta
        for name, value in shared.items():
            setattr(data, name, value)
        data.Modality, data.SeriesDescription, data.MagneticFieldStrength = modality, "ax t2", "0.064"
        data.PatientName, data.PatientID, data.InstanceNumber = "phantom", "1", k + 1
        data.Rows, data.Columns = array.shape[1], array.shape[0]
        data.PixelSpacing = decimals(spacing[[1, 0]])
        data.SliceThickness = decimals(spacing[[2]])[0]
        data.ImageOrientationPatient = decimals(np.concatenate([lps[:3, 0] / spacing[0], lps[:3, 1] / spacing[1]]))
        data.ImagePositionPatient = decimals(lps[:3, 3] + k * lps[:3, 2])
        data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = 1, "MONOCHROME2", 0
        data.BitsAllocated, data.BitsStored, data.HighBit = 16, 16, 15
        data.PixelData = array[:, :, k].T.astype("<u2").tobytes()
        pydicom.dcmwrite(folder / f"{series[-8:]}_{k:03d}.dcm", data, enforce_file_format=True)


def series_affine(reverse: bool = False) -> np.ndarray:
    affine = np.eye(4)
    rotation = Rotation.from_euler("xyz", [20, -10, 5], degrees=True).as_matrix()
    affine[:3, :3] = rotation * [1.6, 1.7, -5.0 if reverse else 5.0]
    affine[:3, 3] = [-50.5, 20.25, 30.125]
    return affine


def counts() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 1000, (6, 7, 8))


@pytest.mark.parametrize("reverse", [False, True])
def test_a_dicom_series_has_every_voxel_at_the_place_its_headers_say(reverse: bool, tmp_path: Path) -> None:
    array, lps = counts(), series_affine(reverse)
    write_series(tmp_path / "series", array, lps)
    image = image_io.read_image(tmp_path / "series")
    index = np.array(list(np.ndindex(*array.shape)))
    world = (index @ lps[:3, :3].T + lps[:3, 3]) * [-1, -1, 1]
    inverse = np.linalg.inv(image.affine)
    found = world @ inverse[:3, :3].T + inverse[:3, 3]
    assert np.abs(found - np.round(found)).max() < 1e-5
    np.testing.assert_array_equal(image.array[tuple(np.round(found).astype(int).T)], array.ravel())


def test_a_dicom_series_brings_its_description(tmp_path: Path) -> None:
    write_series(tmp_path / "series", counts(), series_affine(), series="1.2.3.4")
    image = image_io.read_image(tmp_path / "series")
    assert image.contrast == "T2w"
    assert image.meta["Modality"] == "MR"
    assert image.meta["SeriesInstanceUID"] == "1.2.3.4"
    assert float(image.meta["MagneticFieldStrength"]) == 0.064
    assert len(image.meta["dicom_files"]) == 8


def test_a_series_that_misses_a_slice_is_refused(tmp_path: Path) -> None:
    write_series(tmp_path / "series", counts(), series_affine(), leave_out=(3,))
    assert "missing or doubled" in refused(tmp_path / "series")


def test_a_folder_of_two_series_is_refused(tmp_path: Path) -> None:
    write_series(tmp_path / "series", counts(), series_affine())
    write_series(tmp_path / "series", counts(), series_affine())
    assert "2 DICOM series" in refused(tmp_path / "series")


def test_computed_tomography_is_refused_as_a_series_and_as_a_single_file(tmp_path: Path) -> None:
    write_series(tmp_path / "series", counts(), series_affine(), modality="CT")
    assert "CT, not MR" in refused(tmp_path / "series")
    assert "CT, not MR" in refused(next((tmp_path / "series").iterdir()))


def test_a_single_slice_is_too_thin_to_be_a_scan(tmp_path: Path) -> None:
    write_series(tmp_path / "series", counts(), series_affine(), leave_out=tuple(range(1, 8)))
    assert "too thin" in refused(tmp_path / "series")


# writing


def test_an_output_that_is_an_input_is_refused_even_through_links(tmp_path: Path) -> None:
    scan, other = tmp_path / "scan.nii.gz", tmp_path / "other.nii.gz"
    image_io.write_image(Image(voxels(), np.eye(4)), scan)
    other.write_bytes(b"earlier result")
    (tmp_path / "soft.nii.gz").symlink_to(scan)
    os.link(scan, tmp_path / "hard.nii.gz")
    for name in ("scan.nii.gz", "soft.nii.gz", "hard.nii.gz"):
        with pytest.raises(BadInput, match="never overwritten"):
            image_io.check_output(tmp_path / name, [other, scan])
    image_io.check_output(other, [scan])
    image_io.check_output(tmp_path / "new.mha", [scan])


@pytest.mark.parametrize("name", ["scan.png", "scan", "scan.nii.zip", "missing/scan.nii"])
def test_an_output_that_cannot_be_written_is_refused_beforehand(name: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput):
        image_io.check_output(tmp_path / name, [])
    with pytest.raises(BadInput):
        image_io.write_image(Image(voxels(), np.eye(4)), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_folder_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "scan.nii.gz"
    path.write_bytes(b"earlier result")

    def full_disk(_image: object, name: str, **_: object) -> None:
        Path(name).write_bytes(b"half a vol")
        raise RuntimeError("ITK ERROR: NiftiImageIO(0x1): no space left on device")

    monkeypatch.setattr(SimpleITK, "WriteImage", full_disk)
    with pytest.raises(BadInput, match="no space left on device"):
        image_io.write_image(Image(voxels(), np.eye(4)), path)
    assert path.read_bytes() == b"earlier result"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupted_write_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), image_io.replaced(tmp_path / "scan.nii.gz") as temporary:
        temporary.write_bytes(b"half a vol")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_result_is_replaced_at_once_not_written_into(tmp_path: Path) -> None:
    path, link = tmp_path / "scan.nii", tmp_path / "link.nii"
    path.write_bytes(b"earlier result")
    os.link(path, link)
    image_io.write_image(Image(voxels(), np.eye(4)), path)
    assert link.read_bytes() == b"earlier result"
    np.testing.assert_array_equal(image_io.read_image(path).array, voxels())


def test_a_written_file_has_the_permissions_of_any_other_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    image_io.write_image(Image(voxels(), np.eye(4)), tmp_path / "scan.nii")
    assert stat.S_IMODE((tmp_path / "scan.nii").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_the_nifti_header_says_that_the_volume_is_derived(tmp_path: Path) -> None:
    image_io.write_image(Image(voxels(), np.eye(4)), tmp_path / "scan.nii.gz")
    description = gzip.decompress((tmp_path / "scan.nii.gz").read_bytes())[148:228].rstrip(b"\x00").decode()
    assert description == image_io.DERIVED
