"""The image type: what it holds, and which headers and voxels it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.image import Image, check_image


def noise(shape: tuple[int, ...] = (5, 6, 7)) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def affine(columns: list[list[float]], origin: tuple[float, float, float] = (0, 0, 0)) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(columns, dtype=float).T
    matrix[:3, 3] = origin
    return matrix


def test_spacing_and_volume_follow_from_the_affine() -> None:
    image = Image(noise(), affine([[0, 2, 0], [0, 0, -3], [1.5, 0, 0]]))
    assert image.spacing == pytest.approx((2, 3, 1.5))
    assert image.voxel_volume_ml == pytest.approx(2 * 3 * 1.5 / 1000)
    assert image.shape == (5, 6, 7)


def test_voxels_are_float32_and_contiguous_whatever_is_given() -> None:
    image = Image(np.arange(4 * 5 * 6, dtype=np.int16).reshape(6, 5, 4).transpose(2, 1, 0), np.eye(4))
    assert image.array.dtype == np.float32
    assert image.array.flags["C_CONTIGUOUS"]
    assert image.array[1, 2, 3] == 3 * 20 + 2 * 4 + 1


def test_changing_the_given_affine_later_does_not_move_the_image() -> None:
    matrix = np.eye(4)
    image = Image(noise(), matrix)
    matrix[0, 3] = 100
    assert image.affine[0, 3] == 0


def test_other_voxels_on_the_same_grid_must_have_its_shape() -> None:
    image = Image(noise(), np.eye(4), "T2w", {"file": "x"})
    other = image.with_array(np.zeros((5, 6, 7)))
    assert (other.contrast, other.meta) == ("T2w", {"file": "x"})
    with pytest.raises(BadInput, match="does not fit the grid"):
        image.with_array(np.zeros((5, 6, 8)))


def test_the_checksum_tells_voxels_positions_and_shapes_apart() -> None:
    base = Image(noise(), np.eye(4))
    moved = np.eye(4)
    moved[2, 3] = 0.01
    changed = noise()
    changed[0, 0, 0] += 1e-3
    same = Image(noise().astype(np.float64), np.eye(4), "T1w", {"file": "elsewhere"})
    others = [Image(noise(), moved), Image(changed, np.eye(4)), Image(noise().reshape(6, 5, 7), np.eye(4))]
    assert same.sha256() == base.sha256()
    assert len({base.sha256(), *(image.sha256() for image in others)}) == 4


@pytest.mark.parametrize(
    ("array", "matrix", "contrast", "sentence"),
    [
        (np.zeros((4, 4, 4, 2)), np.eye(4), "T1w", "4 dimensions"),
        (np.zeros((4, 4)), np.eye(4), "T1w", "2 dimensions"),
        (np.zeros((4, 4, 4)), np.eye(3), "T1w", "must be 4 x 4"),
        (np.zeros((4, 4, 4)), np.eye(4), "T1", "unknown contrast 'T1'"),
    ],
)
def test_what_is_no_volume_cannot_become_an_image(
    array: np.ndarray, matrix: np.ndarray, contrast: str, sentence: str
) -> None:
    with pytest.raises(BadInput, match=sentence):
        Image(array, matrix, contrast)


def with_voxel(value: float) -> np.ndarray:
    array = noise()
    array[1, 2, 3] = value
    return array


LAST_ROW = np.eye(4)
LAST_ROW[3, 0] = 1


@pytest.mark.parametrize(
    ("array", "matrix", "sentence"),
    [
        (with_voxel(np.nan), np.eye(4), "1 voxels are NaN or infinite"),
        (with_voxel(-np.inf), np.eye(4), "1 voxels are NaN or infinite"),
        (np.zeros((0, 5, 5)), np.eye(4), "empty or too thin"),
        (noise((3, 9, 9)), np.eye(4), "empty or too thin"),
        (np.full((5, 5, 5), 7.0), np.eye(4), "all voxels have the same value"),
        (noise(), affine([[1, 0, 0], [0, 1, 0], [0, 0, 0]]), "singular"),
        (noise(), affine([[1, 0, 0], [1, 0, 0], [0, 0, 1]]), "singular"),
        (noise(), affine([[1, 0, 0], [0.1, 1, 0], [0, 0, 1]]), "sheared"),
        (noise(), affine([[1, 0, 0], [0.003, 1, 0], [0, 0, 1]]), "sheared"),
        (noise(), affine([[0.001, 0, 0], [0, 1, 0], [0, 0, 1]]), "absurd"),
        (noise(), affine([[1, 0, 0], [0, 1, 0], [0, 0, 1000]]), "absurd"),
        (noise(), affine([[1, 0, 0], [0, 1, 0], [0, 0, 20.1]]), "absurd"),
        (noise(), affine([[0.049, 0, 0], [0, 1, 0], [0, 0, 1]]), "absurd"),
        (noise(), affine([[np.nan, 0, 0], [0, 1, 0], [0, 0, 1]]), "NaN or infinite values"),
        (noise(), LAST_ROW, "last row"),
    ],
)
def test_what_cannot_be_a_scan_is_refused_in_one_sentence(array: np.ndarray, matrix: np.ndarray, sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence) as refusal:
        check_image(Image(array, matrix))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("spacing", [(1, 1, 1), (1.6, 1.6, 5), (0.4, 0.4, 8)])
def test_scans_of_all_usual_spacings_pass(spacing: tuple[float, float, float]) -> None:
    check_image(Image(noise(), np.diag([*spacing, 1.0])))
