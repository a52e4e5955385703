"""The labels as a DICOM segmentation: every labelled voxel at its place, with name, code and colour, and valid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
from dicom_support import GRIDS, PROVENANCE, SHAPE, headers, validator_errors, voxels, world_lps, write_source
from pydicom.dataset import Dataset

from LowFieldEnhanceLib.dicom import files
from LowFieldEnhanceLib.dicom.segmentation import write_segmentation
from LowFieldEnhanceLib.dicom.series import write_series
from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.image_io import DERIVED
from LowFieldEnhanceLib.segmentation.labels import LabelMap, label_by_id, label_table

SOME = (2, 17, 53, 16, 60)


def label_map(name: str = "oblique and left-handed", ids: tuple[int, ...] = SOME) -> LabelMap:
    array = np.random.default_rng(8).choice([0, *ids], SHAPE).astype(np.uint8)
    array[:, :, 2] = 0  # a slice without any structure
    return LabelMap(array, GRIDS[name], {})


def series_for(labels: LabelMap, folder: Path, source: list[Path] | None = None) -> list[Path]:
    return write_series(Image(voxels(), labels.affine, "T1w"), folder, PROVENANCE, source)


def written(tmp_path: Path, labels: LabelMap, source: list[Path] | None = None) -> tuple[Dataset, list[Dataset]]:
    series = series_for(labels, tmp_path / "series", source)
    return pydicom.dcmread(write_segmentation(labels, tmp_path / "seg", series, PROVENANCE)), headers(series)


def label_id(segment: Dataset) -> int:
    return int(segment.SegmentDescription.removeprefix("FreeSurfer label "))


@pytest.mark.parametrize("name", GRIDS)
def test_every_labelled_voxel_lies_at_its_place(name: str, tmp_path: Path) -> None:
    labels = label_map(name)
    data, _ = written(tmp_path, labels)
    shared = data.SharedFunctionalGroupsSequence[0]
    ids = {s.SegmentNumber: label_id(s) for s in data.SegmentSequence}
    inverse = np.linalg.inv(labels.affine)
    found = np.zeros(SHAPE, dtype=np.uint8)
    for frame, pixels in zip(data.PerFrameFunctionalGroupsSequence, data.pixel_array, strict=True):
        plane = Dataset()
        plane.Rows, plane.Columns = data.Rows, data.Columns
        plane.PixelSpacing = shared.PixelMeasuresSequence[0].PixelSpacing
        plane.ImageOrientationPatient = shared.PlaneOrientationSequence[0].ImageOrientationPatient
        plane.ImagePositionPatient = frame.PlanePositionSequence[0].ImagePositionPatient
        ras = world_lps(plane)[pixels > 0] * [-1, -1, 1]
        index = ras @ inverse[:3, :3].T + inverse[:3, 3]
        nearest = np.round(index).astype(int)
        assert np.abs((index - nearest) @ labels.affine[:3, :3].T).max() < 1e-4
        assert not found[tuple(nearest.T)].any(), "segments overlap"
        found[tuple(nearest.T)] = ids[frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber]
    np.testing.assert_array_equal(found, labels.array)


def test_each_structure_that_occurs_is_one_segment_with_name_code_side_and_colour(tmp_path: Path) -> None:
    ids = tuple(label.id for label in label_table())
    data, _ = written(tmp_path, label_map(ids=ids))
    assert [label_id(s) for s in data.SegmentSequence] == sorted(ids)
    assert [s.SegmentNumber for s in data.SegmentSequence] == list(range(1, len(ids) + 1))
    for segment in data.SegmentSequence:
        label = label_by_id()[label_id(segment)]
        kind = segment.SegmentedPropertyTypeCodeSequence[0]
        assert segment.SegmentLabel == label.name
        assert (kind.CodeValue, kind.CodingSchemeDesignator, kind.CodeMeaning) == (
            label.code,
            label.scheme,
            label.meaning,
        )
        side = [s.CodeMeaning.lower() for s in kind.get("SegmentedPropertyTypeModifierCodeSequence", [])]
        assert side == ([label.side] if label.side else [])
        category = segment.SegmentedPropertyCategoryCodeSequence[0]
        assert (category.CodeValue, category.CodingSchemeDesignator) == ("123037004", "SCT")
        colour = highdicom.color.CIELabColor.from_dicom_value(segment.RecommendedDisplayCIELabValue).to_rgb(clip=True)
        assert np.abs(np.subtract(colour, label.colour)).max() <= 2


def test_the_colours_are_cielab_of_the_standard(tmp_path: Path) -> None:
    data, _ = written(tmp_path, label_map(ids=(24,)))  # CSF is grey, (60, 60, 60): a* = b* = 0
    lightness, a, b = data.SegmentSequence[0].RecommendedDisplayCIELabValue
    luminance = ((60 / 255 + 0.055) / 1.055) ** 2.4  # sRGB, IEC 61966-2-1
    expected = 116 * luminance ** (1 / 3) - 16
    assert lightness / 65535 * 100 == pytest.approx(expected, abs=0.1)
    assert [v / 65535 * 255 - 128 for v in (a, b)] == pytest.approx([0, 0], abs=0.3)


def test_the_algorithm_is_named_with_its_version(tmp_path: Path) -> None:
    data, _ = written(tmp_path, label_map())
    for segment in data.SegmentSequence:
        algorithm = segment.SegmentationAlgorithmIdentificationSequence[0]
        assert segment.SegmentAlgorithmType == "AUTOMATIC"
        assert segment.SegmentAlgorithmName == algorithm.AlgorithmName == "LowFieldEnhance segmenter"
        assert algorithm.AlgorithmVersion == "lowfield-enhance 0.1.0 weights cd34cd34cd34"
    assert list(data.SoftwareVersions) == ["lowfield-enhance 0.1.0", "torch 2.13.0"]
    assert data.SeriesDescription.startswith(DERIVED)
    assert data.SegmentationType == "BINARY"


def test_it_refers_to_the_enhanced_series_and_belongs_to_the_same_patient_and_study(tmp_path: Path) -> None:
    data, series = written(tmp_path, label_map(), write_source(tmp_path / "source"))
    for keyword in (
        "PatientName PatientID PatientBirthDate PatientSex PatientAge StudyInstanceUID StudyDate AccessionNumber "
        "StudyDescription ReferringPhysicianName FrameOfReferenceUID"
    ).split():
        assert data[keyword].value == series[0][keyword].value, keyword
    assert data.SeriesInstanceUID != series[0].SeriesInstanceUID
    (referenced,) = data.ReferencedSeriesSequence
    assert referenced.SeriesInstanceUID == series[0].SeriesInstanceUID
    instances = {r.ReferencedSOPInstanceUID for r in referenced.ReferencedInstanceSequence}
    assert instances == {s.SOPInstanceUID for s in series}
    position = {s.SOPInstanceUID: list(s.ImagePositionPatient) for s in series}
    for frame in data.PerFrameFunctionalGroupsSequence:
        (image,) = frame.DerivationImageSequence[0].SourceImageSequence
        here = frame.PlanePositionSequence[0].ImagePositionPatient
        assert position[image.ReferencedSOPInstanceUID] == list(here)


def test_the_order_of_the_files_does_not_matter(tmp_path: Path) -> None:
    labels = label_map()
    series = series_for(labels, tmp_path / "series")
    one = pydicom.dcmread(write_segmentation(labels, tmp_path / "one", series, PROVENANCE))
    two = pydicom.dcmread(write_segmentation(labels, tmp_path / "two", series[::-1], PROVENANCE))
    assert one.PixelData == two.PixelData


@pytest.mark.parametrize("with_source", [False, True], ids=["no source", "source"])
@pytest.mark.parametrize("name", ["ras", "oblique and left-handed"])
def test_dciodvfy_finds_no_error(name: str, with_source: bool, tmp_path: Path) -> None:
    labels = label_map(name, tuple(label.id for label in label_table()))
    source = write_source(tmp_path / "source") if with_source else None
    series = series_for(labels, tmp_path / "series", source)
    assert validator_errors(write_segmentation(labels, tmp_path / "seg.dcm", series, PROVENANCE)) == []


def test_dciodvfy_would_find_an_error(tmp_path: Path) -> None:
    labels = label_map()
    path = write_segmentation(labels, tmp_path / "x.dcm", series_for(labels, tmp_path / "series"), PROVENANCE)
    data = pydicom.dcmread(path)
    del data.SegmentSequence[0].SegmentAlgorithmType
    data.save_as(path)
    assert "SegmentAlgorithmType" in " ".join(validator_errors(path))


# files and refusals


def refusal(labels: LabelMap, target: Path, series: list[Path]) -> str:
    with pytest.raises(BadInput) as caught:
        write_segmentation(labels, target, series, PROVENANCE)
    return str(caught.value)


def test_the_target_is_a_new_file_or_a_new_folder(tmp_path: Path) -> None:
    labels = label_map()
    series = series_for(labels, tmp_path / "series")
    before = {p.name: p.read_bytes() for p in series}
    assert write_segmentation(labels, tmp_path / "a.dcm", series, PROVENANCE) == tmp_path / "a.dcm"
    assert write_segmentation(labels, tmp_path / "b", series, PROVENANCE) == tmp_path / "b" / "segmentation.dcm"
    assert "exists already" in refusal(labels, tmp_path / "a.dcm", series)
    assert "exists already" in refusal(labels, series[0], series)
    assert "not empty" in refusal(labels, tmp_path / "series", series)
    assert "does not exist" in refusal(labels, tmp_path / "no" / "where.dcm", series)
    assert {p.name: p.read_bytes() for p in (tmp_path / "series").iterdir()} == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.dcm", "b", "series"]


@pytest.mark.parametrize("target", ["seg", "seg.dcm"])
def test_nothing_is_left_after_a_failure(target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = label_map()
    series = series_for(labels, tmp_path / "series")

    def full(self: Dataset, path: Path, **options: Any) -> None:
        Path(path).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(highdicom.seg.Segmentation, "save_as", full)
    with pytest.raises(OSError, match="disk full"):
        write_segmentation(labels, tmp_path / target, series, PROVENANCE)
    assert [p.name for p in tmp_path.iterdir()] == ["series"]


STEPS = [np.outer(axis, [0, 0, 0, 0.01]) for axis in np.eye(4)[:3]]  # a hundredth of a millimetre along R, A or S


def test_labels_on_another_grid_are_refused(tmp_path: Path) -> None:
    labels = label_map()
    series = series_for(labels, tmp_path / "series")
    wider = labels.affine.copy()
    wider[:3, 0] *= 1.01
    for other in (
        *(LabelMap(labels.array, labels.affine + sign * step, {}) for step in STEPS for sign in (1, -1)),
        LabelMap(labels.array, wider, {}),
        LabelMap(labels.array[:, :, 1:], labels.affine, {}),
        LabelMap(labels.array[:, 1:], labels.affine, {}),
    ):
        assert "not on the grid" in refusal(other, tmp_path / "seg", series)
    assert "not on the grid" in refusal(labels, tmp_path / "seg", series[1:])
    assert "not on the grid" in refusal(labels, tmp_path / "seg", [])


def test_maps_without_a_structure_or_with_a_nameless_one_are_refused(tmp_path: Path) -> None:
    labels = label_map()
    series = series_for(labels, tmp_path / "series")
    empty = LabelMap(np.zeros(SHAPE, np.uint8), labels.affine, {})
    assert "no structure" in refusal(empty, tmp_path / "seg", series)
    nameless = LabelMap(np.full(SHAPE, 255, np.uint8), labels.affine, {})
    assert "255" in refusal(nameless, tmp_path / "seg", series)


def test_files_that_are_no_series_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.dcm").write_text("no")
    assert "DICOM MR series" in refusal(label_map(), tmp_path / "seg", [tmp_path / "x.dcm"])
    labels = label_map()
    segmentation = write_segmentation(labels, tmp_path / "s.dcm", series_for(labels, tmp_path / "series"), PROVENANCE)
    assert "DICOM MR series" in refusal(labels, tmp_path / "seg", [segmentation])


def test_a_missing_highdicom_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = label_map()
    series = series_for(labels, tmp_path / "series")
    find = files.importlib.util.find_spec
    monkeypatch.setattr(files.importlib.util, "find_spec", lambda n: None if n == "highdicom" else find(n))
    text = refusal(labels, tmp_path / "seg", series)
    assert "highdicom is not installed" in text
    assert "pydicom" not in text
