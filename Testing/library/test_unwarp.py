"""The Jacobian determinant of a displacement field, against fields whose determinant is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.preprocess.grid import Grid
from LowFieldEnhanceLib.preprocess.unwarp import Displacement, log_jacobian, read_displacement

TURNED = np.array([[0.0, -1.5, 0.0, 5.0], [2.0, 0.0, 0.0, -7.0], [0.0, 0.0, 1.0, 3.0], [0.0, 0.0, 0.0, 1.0]])


def affine(scales: tuple[float, float, float], shear: float = 0.0) -> SimpleITK.AffineTransform:
    transform = SimpleITK.AffineTransform(3)
    matrix = np.diag(scales)
    matrix[0, 1] = shear
    transform.SetMatrix(matrix.ravel().tolist())
    return transform


@pytest.mark.parametrize("grid", [Grid((6, 7, 8), np.eye(4)), Grid((6, 7, 8), TURNED)])
def test_an_affine_transform_has_the_determinant_of_its_matrix_on_every_grid(grid: Grid) -> None:
    found = log_jacobian(Displacement(affine((1.1, 0.9, 1.2), 0.3), "a"), grid)
    assert found.dtype == np.float32 and found.shape == grid.shape
    np.testing.assert_allclose(np.exp(found), 1.1 * 0.9 * 1.2, rtol=1e-5)


def test_no_displacement_is_the_identity() -> None:
    np.testing.assert_allclose(
        log_jacobian(Displacement(SimpleITK.Transform(), "i"), Grid((4, 5, 6), TURNED)), 0, atol=1e-9
    )


def field_along_left(rate: float) -> SimpleITK.Image:
    """u = (rate x^2 / 2, 0, 0) in LPS, on 21 x 9 x 9 voxels of 2 mm around 0: det = 1 + rate x."""
    x = (np.arange(21) - 10) * 2.0
    vectors = np.zeros((9, 9, 21, 3))
    vectors[..., 0] = rate * x**2 / 2
    image = SimpleITK.GetImageFromArray(vectors, isVector=True)
    image.SetSpacing((2.0, 2.0, 2.0))
    image.SetOrigin((-20.0, -8.0, -8.0))
    return image


@pytest.mark.parametrize("ending", [".nii.gz", ".mha"])
def test_a_field_in_a_file_gives_its_determinant_at_the_right_side(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"warp{ending}"
    SimpleITK.WriteImage(field_along_left(0.02), str(path))
    ras = np.eye(4)
    ras[:3, 3] = (-8, -3, -3)
    found = log_jacobian(read_displacement(path), Grid((17, 7, 7), ras))
    right = np.arange(17) - 8.0
    expected = np.broadcast_to((1 - 0.02 * right)[:, None, None], found.shape)  # LPS x is minus R
    np.testing.assert_allclose(np.exp(found)[1:-1], expected[1:-1], atol=0.011)  # linear between samples 2 mm apart


def test_beyond_the_field_nothing_is_displaced(tmp_path: Path) -> None:
    path = tmp_path / "warp.mha"
    SimpleITK.WriteImage(field_along_left(0.02), str(path))
    far = np.eye(4)
    far[:3, 3] = 100
    np.testing.assert_allclose(log_jacobian(read_displacement(path), Grid((4, 4, 4), far)), 0, atol=1e-9)


def test_a_transform_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "t.tfm"
    SimpleITK.WriteTransform(affine((2.0, 1.0, 1.0)), str(path))
    displacement = read_displacement(path)
    assert displacement.name == "t.tfm"
    np.testing.assert_allclose(log_jacobian(displacement, Grid((3, 3, 3), np.eye(4))), np.log(2), rtol=1e-6)


def test_a_field_that_folds_space_is_refused() -> None:
    with pytest.raises(BadInput, match="folds space"):
        log_jacobian(Displacement(affine((-1.0, 1.0, 1.0)), "mirror"), Grid((3, 3, 3), np.eye(4)))


def test_what_is_no_field_is_refused_in_one_sentence(tmp_path: Path) -> None:
    scalar = tmp_path / "scalar.nii.gz"
    SimpleITK.WriteImage(SimpleITK.Image(4, 4, 4, SimpleITK.sitkFloat32), str(scalar))
    broken = tmp_path / "broken.tfm"
    broken.write_text("nothing")
    for path, reason in ((scalar, "three components"), (broken, "neither"), (tmp_path / "no.nii", "does not exist")):
        with pytest.raises(BadInput, match=reason) as refusal:
            read_displacement(path)
        assert "\n" not in str(refusal.value)


def test_a_field_that_covers_a_part_of_the_scan_counts_where_it_reaches(tmp_path: Path) -> None:
    """A shift of 4 mm everywhere: its determinant is 1, and at the rim, where the displacement ends, nothing folds."""
    vectors = np.zeros((20, 20, 20, 3))
    vectors[..., 0] = 4.0
    image = SimpleITK.GetImageFromArray(vectors, isVector=True)
    image.SetSpacing((2.0, 2.0, 2.0))
    image.SetOrigin((-19.0, -19.0, -19.0))
    path = tmp_path / "shift.mha"
    SimpleITK.WriteImage(image, str(path))
    ras = np.diag([2.0, 2.0, 2.0, 1.0])
    ras[:3, 3] = -30.0
    np.testing.assert_allclose(log_jacobian(read_displacement(path), Grid((31, 31, 31), ras)), 0, atol=1e-5)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".mha", ".nrrd"])
def test_a_field_that_is_cut_off_or_damaged_is_refused(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"warp{ending}"
    SimpleITK.WriteImage(field_along_left(0.02), str(path), useCompression=ending != ".nii")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 5 // 6])
    with pytest.raises(BadInput):
        read_displacement(path)
    damaged = bytearray(whole)
    damaged[-9] ^= 0x55
    path.write_bytes(damaged)
    if ending in (".nii.gz", ".mha"):
        with pytest.raises(BadInput):
            read_displacement(path)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".mha", ".nrrd"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_field_that_is_not_finite_is_damaged_and_does_not_fold_space(
    ending: str, value: float, tmp_path: Path
) -> None:
    vectors = SimpleITK.GetArrayFromImage(field_along_left(0.02))
    vectors[3, 3, 3, 1] = value
    field = SimpleITK.GetImageFromArray(vectors, isVector=True)
    field.SetSpacing((2.0, 2.0, 2.0))
    SimpleITK.WriteImage(field, str(tmp_path / f"warp{ending}"))
    with pytest.raises(BadInput, match="NaN or infinite.*, so (it|the file) is damaged"):
        read_displacement(tmp_path / f"warp{ending}")


def test_a_transform_that_is_not_finite_does_not_fold_space_either() -> None:
    transform = SimpleITK.TranslationTransform(3, (0.0, float("nan"), 0.0))
    with pytest.raises(BadInput, match="NaN or infinite"):
        log_jacobian(Displacement(transform, "shift.tfm"), Grid((3, 3, 3), np.eye(4)))
