"""The enhanced volume as a DICOM series: every voxel at its place, within half a step, valid to another program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_support import (
    GRIDS,
    PROVENANCE,
    any_grid,
    at,
    headers,
    real_values,
    validator_errors,
    voxels,
    world_lps,
    write_source,
)
from hypothesis import given, settings

from LowFieldEnhanceLib.dicom.series import write_series
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.image_io import read_image

# geometry and values


@settings(max_examples=15, deadline=None, database=None)
@given(affine=any_grid())
def test_every_pixel_lies_where_the_standards_equation_says(
    affine: np.ndarray, tmp_path_factory: pytest.TempPathFactory
) -> None:
    image = Image(voxels(), affine)
    seen = 0
    for data in headers(write_series(image, tmp_path_factory.mktemp("x") / "series", PROVENANCE)):
        half_step = float(data.RescaleSlope) / 2
        difference = np.abs(real_values(data) - at(image, world_lps(data) * [-1, -1, 1]))
        assert difference.max() <= half_step * (1 + 1e-6)
        seen += difference.size
    assert seen == image.array.size


@pytest.mark.parametrize("name", GRIDS)
def test_simpleitk_reads_every_voxel_at_its_place(name: str, tmp_path: Path) -> None:
    image = Image(voxels(), GRIDS[name], "T1w")
    paths = write_series(image, tmp_path / "series", PROVENANCE)
    again = read_image(tmp_path / "series")
    index = np.array(list(np.ndindex(*again.shape)))
    expected = at(image, index @ again.affine[:3, :3].T + again.affine[:3, 3])
    half_step = float(pydicom.dcmread(paths[0]).RescaleSlope) / 2
    assert again.array.size == image.array.size
    assert np.abs(again.array.ravel() - expected).max() <= half_step * (1 + 1e-3)
    assert half_step < 1200 / 65535


@pytest.mark.parametrize(
    ("name", "orientation"),
    [
        ("ras", [1, 0, 0, 0, 1, 0]),
        ("lps", [1, 0, 0, 0, 1, 0]),
        ("left-handed", [1, 0, 0, 0, 1, 0]),
        ("coronal", [1, 0, 0, 0, 0, -1]),
        ("sagittal and left-handed", [0, 1, 0, 0, 0, -1]),
    ],
)
def test_slices_are_stored_as_radiologists_look_at_them(name: str, orientation: list[int], tmp_path: Path) -> None:
    data = pydicom.dcmread(write_series(Image(voxels(), GRIDS[name]), tmp_path / "series", PROVENANCE)[0])
    assert [float(v) for v in data.ImageOrientationPatient] == orientation


@pytest.mark.parametrize("name", GRIDS)
def test_instances_are_numbered_along_the_normal_at_even_distance(name: str, tmp_path: Path) -> None:
    slices = headers(write_series(Image(voxels(), GRIDS[name]), tmp_path / "series", PROVENANCE))
    axes = np.array(slices[0].ImageOrientationPatient, dtype=float).reshape(2, 3)
    along = np.array([s.ImagePositionPatient for s in slices], dtype=float) @ np.cross(*axes)
    np.testing.assert_allclose(np.diff(along), 2.7, atol=1e-8)
    assert [s.InstanceNumber for s in slices] == list(range(1, 7))
    assert all(float(s.SpacingBetweenSlices) == float(s.SliceThickness) == 2.7 for s in slices)
    np.testing.assert_allclose([float(s.SliceLocation) for s in slices], along, atol=1e-8)


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3, 1), (-1e-4, 5e-5), (-9, -2), (0, 1e6), (2, 70000.5)])
def test_any_range_is_stored_to_half_a_step_of_16_bits(low: float, high: float, tmp_path: Path) -> None:
    image = Image(voxels(low, high), np.eye(4))
    slices = headers(write_series(image, tmp_path / "series", PROVENANCE))
    found = np.stack([real_values(s) for s in slices])[:, ::-1, ::-1]  # the identity's i and j run to R and A
    step = max(abs(low), high) / (32767 if low < 0 else 65535)
    assert np.abs(found.transpose(2, 1, 0) - image.array).max() <= 0.51 * step
    assert {float(s.RescaleIntercept) for s in slices} == {0.0}
    for s in slices:
        assert (s.SmallestImagePixelValue, s.LargestImagePixelValue) == (s.pixel_array.min(), s.pixel_array.max())


@pytest.mark.parametrize(("low", "high"), [(0, 65535), (-32768, 32767)])
def test_whole_numbers_are_stored_as_they_are_without_rescaling(low: int, high: int, tmp_path: Path) -> None:
    array = np.rint(voxels(low, high))
    array[0, 0, 0], array[-1, -1, -1] = low, high
    slices = headers(write_series(Image(array, np.eye(4)), tmp_path / "series", PROVENANCE))
    found = np.stack([s.pixel_array for s in slices])[:, ::-1, ::-1]
    np.testing.assert_array_equal(found.transpose(2, 1, 0), array)
    assert not any(k in s for s in slices for k in ("RescaleSlope", "RescaleIntercept", "RescaleType"))


def test_the_window_covers_the_tissue_and_not_the_background(tmp_path: Path) -> None:
    array = np.zeros((20, 20, 20), dtype=np.float32)
    array[5:15, 5:15, 5:15] = voxels(400, 600, (10, 10, 10))
    data = pydicom.dcmread(write_series(Image(array, np.eye(4)), tmp_path / "series", PROVENANCE)[0])
    assert float(data.WindowCenter) == pytest.approx(500, abs=5)
    assert float(data.WindowWidth) == pytest.approx(199, abs=5)
    narrow = write_series(Image(array / 1000, np.eye(4)), tmp_path / "narrow", PROVENANCE)[0]
    assert pydicom.dcmread(narrow).VOILUTFunction == "LINEAR_EXACT"  # LINEAR needs a width of at least 1


# an independent validator


@pytest.mark.parametrize(
    ("array", "name", "changes"),
    [
        (voxels(), "oblique and left-handed", None),
        (voxels(-5, 9), "coronal", {}),
        (voxels(0, 1), "sagittal and left-handed", {"ScanningSequence": None, "SequenceVariant": None}),
        (np.rint(voxels()), "ras", {"InversionTime": None, "EchoTime": None, "PatientPosition": None}),
        (voxels(), "lps", {"ScanningSequence": "GR", "ScanOptions": "CG", "FrameOfReferenceUID": None}),
        (voxels(), "lps", {"ScanningSequence": "EP", "SequenceVariant": "SP", "InversionTime": "0"}),
        (voxels(), "ras", {"PatientIdentityRemoved": "YES", "DeidentificationMethod": "by hand", "PatientName": ""}),
    ],
    ids=["no source", "source", "unknown sequence", "missing times", "gated", "echo planar", "de-identified"],
)
def test_dciodvfy_finds_no_error(array: np.ndarray, name: str, changes: dict[str, Any] | None, tmp_path: Path) -> None:
    source = None if changes is None else write_source(tmp_path / "source", **changes)
    paths = write_series(Image(array, GRIDS[name], "T1w"), tmp_path / "out", PROVENANCE, source)
    assert validator_errors(paths[0]) == []
    assert validator_errors(paths[-1]) == []


def test_axes_that_a_header_has_rounded_are_at_right_angles_again(tmp_path: Path) -> None:
    affine = GRIDS["oblique"].copy()
    affine[:3, 1] += 1.5e-3 * 1.3 * affine[:3, 0] / 0.9  # as much as is taken for rounding, see image.MAX_SHEAR
    path = write_series(Image(voxels(), affine, "T1w"), tmp_path / "out", PROVENANCE)[0]
    assert validator_errors(path) == []
    row, column = np.array(pydicom.dcmread(path).ImageOrientationPatient, dtype=float).reshape(2, 3)
    assert abs(row @ column) < 1e-9
    assert np.linalg.norm(row) == pytest.approx(1, abs=1e-9) and np.linalg.norm(column) == pytest.approx(1, abs=1e-9)


def test_dciodvfy_would_find_an_error(tmp_path: Path) -> None:
    path = write_series(Image(voxels(), np.eye(4)), tmp_path / "out", PROVENANCE)[0]
    data = pydicom.dcmread(path)
    del data.ScanningSequence, data.ImageOrientationPatient
    data.save_as(path)
    errors = " ".join(validator_errors(path))
    assert "ScanningSequence" in errors
    assert "ImageOrientationPatient" in errors
