"""Headers whose orientation is absent or contradicts itself; the axes that ITK writes are the oracle."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from phantoms import refused
from scipy.spatial.transform import Rotation

from LowFieldEnhanceLib.formats.nifti import orientation_doubt, read_header
from LowFieldEnhanceLib.image import ORIENTATION_DOUBT
from LowFieldEnhanceLib.image_io import read_image


def written(path: Path, seed: int = 0, flipped: bool = False) -> Path:
    rng = np.random.default_rng(seed)
    image = SimpleITK.GetImageFromArray(rng.random((9, 10, 11)).astype(np.float32))
    turn = Rotation.random(random_state=seed).as_matrix() @ np.diag([1, 1, -1 if flipped else 1])
    image.SetDirection(turn.ravel().tolist())
    image.SetSpacing((1.6, 1.7, 5.0))
    image.SetOrigin(rng.uniform(-80, 80, 3).tolist())
    SimpleITK.WriteImage(image, str(path))
    return path


def doubt_of(path: Path) -> str | None:
    header = read_header(path)
    return None if header is None else orientation_doubt(header, path.name)


def changed(path: Path, offset: int, form: str, *values: float) -> Path:
    content = bytearray(path.read_bytes())
    struct.pack_into(f"<{form}", content, offset, *values)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_two_orientations_that_agree_raise_no_doubt(tmp_path: Path, seed: int, flipped: bool) -> None:
    for ending in ("nii", "nii.gz"):
        path = written(tmp_path / f"a.{ending}", seed, flipped)
        assert doubt_of(path) is None
    assert ORIENTATION_DOUBT not in read_image(path, "T1w").meta


def test_a_header_without_orientation_is_in_doubt(tmp_path: Path) -> None:
    path = changed(written(tmp_path / "a.nii"), 252, "2h", 0, 0)
    assert "gives no orientation" in doubt_of(path)
    assert "gives no orientation" in read_image(path, "T1w").meta[ORIENTATION_DOUBT]


def test_one_orientation_is_enough(tmp_path: Path) -> None:
    assert doubt_of(changed(written(tmp_path / "a.nii"), 252, "2h", 1, 0)) is None
    assert doubt_of(changed(written(tmp_path / "b.nii"), 252, "2h", 0, 1)) is None


def test_two_orientations_that_disagree_are_in_doubt(tmp_path: Path) -> None:
    path = written(tmp_path / "a.nii")
    row = struct.unpack_from("<4f", path.read_bytes(), 280)
    changed(path, 280, "4f", *(-value for value in row))  # left and right exchanged in the sform
    assert "disagree" in doubt_of(path) or "mm apart" in doubt_of(path)
    near = written(tmp_path / "b.nii")
    changed(near, 280 + 12, "f", struct.unpack_from("<f", near.read_bytes(), 280 + 12)[0] + 0.5)
    assert doubt_of(near) is None


def test_what_is_no_nifti_is_left_to_itk(tmp_path: Path) -> None:
    (tmp_path / "a.nii").write_bytes(b"no header")
    assert doubt_of(tmp_path / "a.nii") is None


@pytest.mark.parametrize("codes", [(0, 1), (1, 1)])
def test_a_header_with_two_voxel_sizes_is_refused(tmp_path: Path, codes: tuple[int, int]) -> None:
    path = changed(written(tmp_path / "a.nii"), 252, "2h", *codes)
    changed(path, 80, "3f", 1.0, 1.0, 1.0)
    assert "1 x 1 x 1 mm (pixdim) and 1.6 x 1.7 x 5 mm (sform)" in refused(path)
    changed(path, 80, "3f", 1.605, 1.7, 4.98)  # rounded by whoever wrote it
    read_image(path, "T1w")


def test_where_only_the_qform_counts_its_voxel_size_is_the_one(tmp_path: Path) -> None:
    path = changed(written(tmp_path / "a.nii"), 252, "2h", 1, 0)
    changed(path, 80, "3f", 1.0, 2.0, 3.0)
    assert read_image(path, "T1w").spacing == pytest.approx((1, 2, 3))


NRRD = "NRRD0004\ntype: float\ndimension: 3\nsizes: 9 10 11\nencoding: raw\nendian: little\n"
META = "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\nDimSize = 9 10 11\n"
META_END = "ElementType = MET_FLOAT\nElementDataFile = LOCAL\n"
DIRECTIONS = "space directions: (1.6,0,0) (0,1.7,0) (0,0,5)\n"
SPACE = "space: left-posterior-superior\nspace origin: (0,0,0)\n"


def with_header(path: Path, text: str) -> Path:
    path.write_bytes(text.encode() + np.random.default_rng(0).random(990).astype("<f4").tobytes())
    return path


@pytest.mark.parametrize(
    ("name", "text", "missing"),
    [
        ("a.nrrd", NRRD + "spacings: 1.6 1.7 5\n\n", "space directions"),
        ("a.nrrd", NRRD + "space dimension: 3\n" + DIRECTIONS + "\n", "space"),
        ("a.mha", META + "ElementSpacing = 1.6 1.7 5\n" + META_END, "TransformMatrix"),
    ],
)
def test_a_text_header_without_axes_is_in_doubt(tmp_path: Path, name: str, text: str, missing: str) -> None:
    image = read_image(with_header(tmp_path / name, text), "T1w")
    assert image.spacing == pytest.approx((1.6, 1.7, 5))
    assert image.meta[ORIENTATION_DOUBT] == f"the header of {name} gives no orientation (no {missing})"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.nrrd", NRRD + "\n"),
        ("a.nrrd", NRRD + "spacings: 1.6 nan 5\n\n"),
        ("a.mha", META + "TransformMatrix = 1 0 0 0 1 0 0 0 1\n" + META_END),
    ],
)
def test_a_text_header_without_spacing_is_refused(tmp_path: Path, name: str, text: str) -> None:
    assert "the size of its voxels is unknown" in refused(with_header(tmp_path / name, text))


def test_a_whole_text_header_raises_no_doubt(tmp_path: Path) -> None:
    meta = META + "TransformMatrix = 1 0 0 0 1 0 0 0 1\nElementSpacing = 1.6 1.7 5\n" + META_END
    for path in (
        with_header(tmp_path / "b.nrrd", NRRD + SPACE + DIRECTIONS + "\n"),
        with_header(tmp_path / "b.mha", meta),
        written(tmp_path / "c.nrrd"),
        written(tmp_path / "c.mha"),
        written(tmp_path / "c.nhdr"),
        written(tmp_path / "c.mhd"),
    ):
        assert ORIENTATION_DOUBT not in read_image(path, "T1w").meta


@pytest.mark.parametrize("axes", ["TransformMatrix", "Orientation", "Rotation"])
@pytest.mark.parametrize("edges", ["ElementSpacing", "ElementSize"])
def test_the_other_names_that_metaimage_knows_for_axes_and_spacing_count(tmp_path: Path, axes: str, edges: str) -> None:
    text = META + f"{axes} = 0 1 0 -1 0 0 0 0 1\n{edges} = 1.6 1.7 5\n" + META_END
    image = read_image(with_header(tmp_path / "a.mha", text), "T1w")
    assert ORIENTATION_DOUBT not in image.meta
    np.testing.assert_allclose(image.affine[:3, :3], [[0, 1.7, 0], [-1.6, 0, 0], [0, 0, 5]], atol=1e-9)
