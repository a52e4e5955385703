"""A multi-frame DICOM file: every frame at the place its functional groups say; PS3.3 C.7.6.2.1-1 is the oracle."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pydicom
import pytest
from phantoms import refused
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian, generate_uid
from scipy.spatial.transform import Rotation

from LowFieldEnhanceLib.image_io import read_image

ROWS, COLUMNS, COUNT = 7, 6, 8
STRAIGHT = np.eye(3)
OBLIQUE = Rotation.from_euler("xyz", [20, -10, 5], degrees=True).as_matrix()
CORNER = np.array([-50.5, 20.25, 30.125])
COUNTS = np.random.default_rng(1).integers(0, 1000, (COUNT, ROWS, COLUMNS)).astype("<u2")


def sequence(**values: object) -> list[Dataset]:
    item = Dataset()
    for name, value in values.items():
        setattr(item, name, value)
    return [item]


def write_frames(
    path: Path,
    order: Sequence[int] = range(COUNT),
    places: Sequence[float] = tuple(5.0 * k for k in range(COUNT)),
    axes: np.ndarray = STRAIGHT,
    shared: bool = True,
    change: Callable[[Dataset, int], None] = lambda *_: None,
) -> Path:
    """Frames of 1.7 x 1.6 mm pixels, stored in an order; ``change`` alters the functional groups of one."""
    data, meta = Dataset(), FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = data.SOPClassUID = EnhancedMRImageStorage
    meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
    data.file_meta = meta
    data.StudyInstanceUID, data.SeriesInstanceUID, data.FrameOfReferenceUID = (generate_uid() for _ in range(3))
    data.Modality, data.SeriesDescription, data.MagneticFieldStrength = "MR", "ax t2", 0.064
    data.PatientName, data.PatientID, data.InstanceNumber = "phantom", "1", 1
    data.Rows, data.Columns, data.NumberOfFrames = ROWS, COLUMNS, len(order)
    data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = 1, "MONOCHROME2", 0
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 16, 15

    def plane(item: Dataset) -> None:
        cosines = [f"{v:.10g}" for v in (*axes[:, 0], *axes[:, 1])]
        item.PlaneOrientationSequence = sequence(ImageOrientationPatient=cosines)
        item.PixelMeasuresSequence = sequence(PixelSpacing=["1.7", "1.6"], SliceThickness="4")

    common, frames = Dataset(), []
    common.PixelValueTransformationSequence = sequence(RescaleSlope="2", RescaleIntercept="0", RescaleType="US")
    if shared:
        plane(common)
    for k in order:
        frame = Dataset()
        position = [f"{v:.10g}" for v in CORNER + axes[:, 2] * places[k]]
        frame.PlanePositionSequence = sequence(ImagePositionPatient=position)
        if not shared:
            plane(frame)
        change(frame, k)
        frames.append(frame)
    data.SharedFunctionalGroupsSequence, data.PerFrameFunctionalGroupsSequence = [common], frames
    data.PixelData = COUNTS[list(order)].tobytes()
    pydicom.dcmwrite(path, data, enforce_file_format=True)
    return path


def check_places(path: Path, axes: np.ndarray, places: Sequence[float]) -> None:
    """Every stored value is found where the standard puts its pixel."""
    image = read_image(path)
    k, row, column = np.mgrid[:COUNT, :ROWS, :COLUMNS]
    steps = (column * 1.6, row * 1.7, np.asarray(places)[k])
    lps = CORNER + sum(step[..., None] * axis for step, axis in zip(steps, axes.T, strict=True))
    inverse = np.linalg.inv(image.affine)
    found = (lps * [-1, -1, 1]).reshape(-1, 3) @ inverse[:3, :3].T + inverse[:3, 3]
    assert np.abs(found - np.round(found)).max() < 1e-5
    np.testing.assert_array_equal(image.array[tuple(np.round(found).astype(int).T)], 2 * COUNTS.ravel())


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("axes", [STRAIGHT, OBLIQUE], ids=["straight", "oblique"])
@pytest.mark.parametrize(
    "order", [range(8), range(7, -1, -1), (0, 2, 4, 6, 1, 3, 5, 7)], ids=["up", "down", "interleaved"]
)
def test_every_frame_is_at_its_place_in_whatever_order_it_is_stored(
    tmp_path: Path, order: Sequence[int], axes: np.ndarray, shared: bool
) -> None:
    places = [6.0 * k for k in range(COUNT)]
    path = write_frames(tmp_path / "scan.dcm", order, places, axes, shared)
    check_places(path, axes, places)


def test_a_folder_that_holds_one_multi_frame_file_is_read_as_the_file(tmp_path: Path) -> None:
    (tmp_path / "series").mkdir()
    order = (0, 2, 4, 6, 1, 3, 5, 7)
    write_frames(tmp_path / "series" / "IM1", order)
    check_places(tmp_path / "series", STRAIGHT, [5.0 * k for k in range(COUNT)])
    assert read_image(tmp_path / "series").meta["file"] == "series"  # the provenance names what the user chose


def test_a_multi_frame_file_brings_its_description(tmp_path: Path) -> None:
    image = read_image(write_frames(tmp_path / "scan.dcm"))
    assert image.contrast == "T2w"
    assert (image.meta["Modality"], image.meta["SeriesDescription"]) == ("MR", "ax t2")
    assert image.meta["dicom_files"] == [str(tmp_path / "scan.dcm")]


def turned(frame: Dataset, k: int) -> None:
    if k == 3:
        frame.PlaneOrientationSequence = sequence(ImageOrientationPatient=["1", "0", "0", "0", "0.97", "0.2431"])


def finer(frame: Dataset, k: int) -> None:
    if k == 3:
        frame.PixelMeasuresSequence = sequence(PixelSpacing=["1.2", "1.2"])


def brighter(frame: Dataset, k: int) -> None:
    frame.PixelValueTransformationSequence = sequence(RescaleSlope=str(k + 1), RescaleIntercept="0")


def flat(frame: Dataset, _: int) -> None:
    frame.PlaneOrientationSequence = sequence(ImageOrientationPatient=["1", "0", "0", "0", "0", "0"])


def nowhere(frame: Dataset, k: int) -> None:
    if k == 3:
        del frame.PlanePositionSequence


def aside(frame: Dataset, k: int) -> None:
    frame.PlanePositionSequence = sequence(ImagePositionPatient=[f"{k}", "0", f"{5 * k}"])


@pytest.mark.parametrize(
    ("sentence", "settings"),
    [
        ("missing or doubled", {"places": (0, 5, 10, 15, 40, 45, 50, 55)}),
        ("at the same place", {"order": (*range(8), *range(8))}),
        ("differently oriented", {"change": turned}),
        ("pixels of different sizes", {"change": finer}),
        ("different rescale slopes", {"change": brighter}),
        ("does not say where its frames lie", {"change": nowhere}),
        ("does not say where its frames lie", {"change": flat}),
        ("shifted against one another", {"change": aside}),
    ],
)
def test_frames_that_make_no_volume_are_refused(tmp_path: Path, sentence: str, settings: dict) -> None:
    assert sentence in refused(write_frames(tmp_path / "scan.dcm", **settings))


def test_a_file_that_places_fewer_frames_than_it_holds_is_refused(tmp_path: Path) -> None:
    data = pydicom.dcmread(write_frames(tmp_path / "scan.dcm"))
    del data.PerFrameFunctionalGroupsSequence[-1]
    data.save_as(tmp_path / "scan.dcm")
    assert "says where 7 of its 8 frames lie" in refused(tmp_path / "scan.dcm")


def test_without_pydicom_a_multi_frame_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_frames(tmp_path / "scan.dcm")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    assert "pydicom is not installed" in refused(path)


def test_a_folder_of_several_multi_frame_files_is_refused(tmp_path: Path) -> None:
    series = generate_uid()
    for number in range(2):
        data = pydicom.dcmread(write_frames(tmp_path / f"{number}.dcm"))
        data.SeriesInstanceUID, data.InstanceNumber = series, number + 1
        data.save_as(tmp_path / f"{number}.dcm")
    assert "several multi-frame files" in refused(tmp_path)
