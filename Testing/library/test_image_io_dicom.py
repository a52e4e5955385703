"""A DICOM series: every voxel at the place its headers say, and what is no head scan is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from phantoms import refused
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid
from scipy.spatial.transform import Rotation

from LowFieldEnhanceLib import image_io


def write_series(
    folder: Path,
    array: np.ndarray,
    lps: np.ndarray,
    modality: str = "MR",
    leave_out: tuple[int, ...] = (),
    series: str | None = None,
    change: Callable[[Dataset, int], None] = lambda *_: None,
) -> None:
    """One classic MR file a slice k of array [i, j, k]; ``lps`` maps the index to LPS mm, ``change`` alters one."""
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
        change(data, k)
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


def test_the_contrast_is_that_of_the_protocol_where_the_description_does_not_tell(tmp_path: Path) -> None:
    def change(data: Dataset, _: int) -> None:
        data.SeriesDescription, data.ProtocolName = "head", "t2_tse_tra"

    write_series(tmp_path / "series", counts(), series_affine(), change=change)
    assert image_io.read_image(tmp_path / "series").contrast == "T2w"


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


def test_a_single_slice_is_no_scan_and_the_user_is_told_what_to_give(tmp_path: Path) -> None:
    write_series(tmp_path / "series", counts(), series_affine())
    one, *others = sorted((tmp_path / "series").iterdir())
    said = f"{one.name} is one slice, not a volume; give the folder that holds all slices of its series"
    assert refused(one) == said
    for other in others:
        other.unlink()
    assert refused(tmp_path / "series").endswith("holds one slice alone, not a volume; give all slices of the series")


def without(keyword: str) -> Callable[[Dataset, int], None]:
    def change(data: Dataset, k: int) -> None:
        if k == 3:
            delattr(data, keyword)

    return change


def moved(places: Callable[[int], list[int]]) -> Callable[[Dataset, int], None]:
    def change(data: Dataset, k: int) -> None:
        data.ImageOrientationPatient, data.ImagePositionPatient = [1, 0, 0, 0, 1, 0], places(k)

    return change


def in_all(**values: object) -> Callable[[Dataset, int], None]:
    def change(data: Dataset, _: int) -> None:
        for name, value in values.items():
            setattr(data, name, value)

    return change


def only_in_one(**values: object) -> Callable[[Dataset, int], None]:
    def change(data: Dataset, k: int) -> None:
        if k == 3:
            for name, value in values.items():
                setattr(data, name, value)

    return change


@pytest.mark.parametrize(
    ("sentence", "change"),
    [
        ("has no ImagePositionPatient", without("ImagePositionPatient")),
        ("has no ImageOrientationPatient", without("ImageOrientationPatient")),
        ("has no PixelSpacing", without("PixelSpacing")),
        ("pixels of different sizes", only_in_one(PixelSpacing=["1.2", "1.2"])),
        ("differently oriented", only_in_one(ImageOrientationPatient=["1", "0", "0", "0", "0.97", "0.2431"])),
        ("PixelSpacing that is not above 0", in_all(PixelSpacing=["0", "0"])),
        ("PixelSpacing that is not above 0", in_all(PixelSpacing=["-1.6", "1.6"])),
        ("ImageOrientationPatient without direction", in_all(ImageOrientationPatient=["0"] * 6)),
        ("ImageOrientationPatient without direction", only_in_one(ImageOrientationPatient=["0"] * 6)),
        ("several patients", only_in_one(PatientID="2")),
        ("CT, not MR", only_in_one(Modality="CT")),
        ("shifted against one another by up to 7.0 mm", moved(lambda k: [0, k, 5 * k])),
        ("lie at the same place", moved(lambda k: [0, 0, 5 * (k // 2)])),
        ("lie at the same place", moved(lambda k: [0, 0, 0])),
    ],
)
def test_slices_that_make_no_volume_are_refused(
    tmp_path: Path, sentence: str, change: Callable[[Dataset, int], None]
) -> None:
    write_series(tmp_path / "series", counts(), series_affine(), change=change)
    assert sentence in refused(tmp_path / "series")


@pytest.mark.parametrize("first", ["1", "0.5"])
def test_every_slice_has_its_own_scale(tmp_path: Path, first: str) -> None:
    """Scanners write one for each slice; a whole one of the first slice must not round the others."""
    array = np.random.default_rng(4).integers(1, 900, (6, 5, 4)).astype("<i2")
    slopes = [float(first), 0.37, 2.0, 1.1]

    def change(data: Dataset, k: int) -> None:
        data.RescaleSlope, data.RescaleIntercept = str(slopes[k]), "3" if k == 1 else "0"

    write_series(tmp_path / "series", array, np.diag([1.0, 1.0, 3.0, 1.0]), change=change)
    image = image_io.read_image(tmp_path / "series")
    wanted = array * slopes + np.array([0, 3, 0, 0])
    found = np.sort(image.array, axis=None)
    np.testing.assert_allclose(found, np.sort(wanted, axis=None), rtol=1e-5)


@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom warns of such values
@pytest.mark.parametrize("given", [b"abcd", b"1.0 ", b"\xb2   ", b"    "])
def test_a_number_of_frames_that_is_no_whole_number_counts_as_one(given: bytes, tmp_path: Path) -> None:
    folder = tmp_path / "series"
    write_series(folder, counts(), series_affine(), change=lambda data, _: setattr(data, "NumberOfFrames", 7777))
    for path in folder.iterdir():
        content = path.read_bytes()
        assert b"IS\x04\x007777" in content
        path.write_bytes(content.replace(b"IS\x04\x007777", b"IS\x04\x00" + given))
    np.testing.assert_array_equal(image_io.read_image(folder).array, counts())


def test_a_folder_that_gdcm_stumbles_over_is_refused_in_a_sentence(tmp_path: Path) -> None:
    def coloured(data: Dataset, _: int) -> None:
        data.PhotometricInterpretation = "PALETTE COLOR"  # without its palette

    write_series(tmp_path / "ct", np.ones((8, 9, 5)), np.eye(4), change=coloured)
    assert "holds a DICOM file that is damaged or no grey-scale image" in refused(tmp_path / "ct")


def test_of_uneven_gaps_itk_says_nothing_beside_the_refusal(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_series(tmp_path / "mr", np.ones((8, 9, 6)), np.diag([1, 1, 5.0, 1]), leave_out=(3,))
    assert "some are missing or doubled" in refused(tmp_path / "mr")
    assert capfd.readouterr().err == ""
