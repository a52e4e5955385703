"""Files of a DICOM series that are damaged, cut off or empty, and what else may lie beside them in the folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from phantoms import refused
from pydicom.dataset import Dataset
from pydicom.uid import (
    BasicTextSRStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MRImageStorage,
    RLELossless,
    generate_uid,
)
from test_image_io_dicom import counts, series_affine, write_series

from LowFieldEnhanceLib.formats.dicom_elements import Elements, read_elements
from LowFieldEnhanceLib.image_io import read_image

PIXEL_BYTES = 2 * 6 * 7


def written(folder: Path, change: Callable[[Dataset, int], None] = lambda *_: None) -> list[Path]:
    write_series(folder, counts(), series_affine(), series="1.2.3", change=change)
    return sorted(folder.iterdir())


@pytest.mark.parametrize("slice_number", [0, 3, -1])
@pytest.mark.parametrize("kept", [0, 60, 134, 200, 400, -PIXEL_BYTES, -1])
def test_a_slice_that_is_cut_off_anywhere_is_not_left_out_in_silence(
    slice_number: int, kept: int, tmp_path: Path
) -> None:
    path = written(tmp_path / "series")[slice_number]
    path.write_bytes(path.read_bytes()[:kept])
    assert f"{path.name} in {tmp_path / 'series'} is empty, damaged or cut off" in refused(tmp_path / "series")


def test_nor_is_one_of_two_that_would_leave_a_single_slice(tmp_path: Path) -> None:
    for path in written(tmp_path / "series")[1:]:
        path.write_bytes(path.read_bytes()[:-1])
    assert "is empty, damaged or cut off" in refused(tmp_path / "series")


def test_what_is_no_slice_may_lie_beside_the_series(tmp_path: Path) -> None:
    first = written(tmp_path / "series")[0]
    report = pydicom.dcmread(first)
    for keyword in ("PixelData", "Rows", "Columns", "BitsAllocated"):
        delattr(report, keyword)
    report.file_meta.MediaStorageSOPClassUID = report.SOPClassUID = BasicTextSRStorage
    report.Modality, report.SeriesInstanceUID = "SR", generate_uid()
    pydicom.dcmwrite(tmp_path / "series" / "report.dcm", report)
    directory = bytearray(first.read_bytes()[:700])
    place = directory.index(MRImageStorage.encode())
    directory[place : place + len(MRImageStorage)] = b"1.2.840.10008.1.3.10\0\0\0\0\0"[: len(MRImageStorage)]
    (tmp_path / "series" / "DICOMDIR").write_bytes(directory)
    (tmp_path / "series" / ".dcm").write_bytes(b"")
    (tmp_path / "series" / "notes.txt").write_bytes(b"")
    (tmp_path / "series" / "._000.dcm").write_bytes(b"\0\5\x16\7" + bytes(60))
    (tmp_path / "series" / "more").mkdir()
    assert read_image(tmp_path / "series").shape == (6, 7, 8)


def test_a_damaged_file_of_another_series_belongs_to_nothing_here(tmp_path: Path) -> None:
    written(tmp_path / "series")
    write_series(tmp_path / "other", counts(), series_affine(), series="1.2.4")
    other = min((tmp_path / "other").iterdir())
    (tmp_path / "series" / "other.dcm").write_bytes(other.read_bytes()[:-1])
    assert read_image(tmp_path / "series").shape == (6, 7, 8)


def test_pixels_that_a_slice_lacks_are_not_made_up(tmp_path: Path) -> None:
    def change(data: Dataset, k: int) -> None:
        if k == 3:
            data.PixelData = data.PixelData[:40]

    paths = written(tmp_path / "series", change)
    assert "holds 40 of the 84 bytes of pixels" in refused(tmp_path / "series")
    assert "holds 40 of the 84 bytes of pixels" in refused(paths[3])


@pytest.mark.parametrize("odd", [0, 3])
def test_slices_of_different_sizes_are_refused_in_words(odd: int, tmp_path: Path) -> None:
    def change(data: Dataset, k: int) -> None:
        if k == odd:
            data.Rows, data.PixelData = 5, data.PixelData[: 2 * 6 * 5]

    written(tmp_path / "series", change)
    assert "different numbers of rows or columns" in refused(tmp_path / "series")


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless])
def test_the_elements_are_found_in_every_coding_behind_sequences_of_any_length(syntax: str, tmp_path: Path) -> None:
    inner, outer = Dataset(), Dataset()
    inner.SeriesInstanceUID, inner.Rows = "9.9", 99
    outer.ReferencedSeriesSequence = [inner, inner]
    outer["ReferencedSeriesSequence"].is_undefined_length = True
    outer.is_undefined_length_sequence_item = True

    def change(data: Dataset, k: int) -> None:
        data.ReferencedStudySequence = [outer]
        data["ReferencedStudySequence"].is_undefined_length = k % 2 == 0
        data.file_meta.TransferSyntaxUID = syntax
        if syntax == RLELossless:
            data.PixelData = pydicom.encaps.encapsulate([b"\0" * 64])
            data["PixelData"].is_undefined_length = True

    for path in written(tmp_path / "series", change):
        pixels = None if syntax == RLELossless else PIXEL_BYTES
        assert read_elements(path) == Elements(MRImageStorage, "1.2.3", 7, 6, 16, 1, 1, pixels, "MR", "ax t2")


def test_a_file_of_anything_else_has_no_elements(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(np.random.default_rng(0).bytes(900))
    assert read_elements(tmp_path / "x") == Elements()
    (tmp_path / "x").write_bytes(bytes(128) + b"DICM" + np.random.default_rng(0).bytes(900))
    assert read_elements(tmp_path / "x").pixel_bytes is None
