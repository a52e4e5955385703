"""The canonical grid, and resampling against ramps, SimpleITK and the voxels themselves."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.image_io import to_sitk
from LowFieldEnhanceLib.preprocess.grid import Grid, canonical_grid, resample, same_grid

OBLIQUE = Rotation.from_euler("xyz", [14, -8, 11], degrees=True).as_matrix()
ORIENTATIONS = [(order, signs) for order in permutations(range(3)) for signs in product((1, -1), repeat=3)]
SLOPE = np.array([1.0, -0.6, 0.3])


def oriented(
    order: tuple[int, ...], signs: tuple[int, ...], turned: np.ndarray | None = None
) -> tuple[np.ndarray, tuple]:
    """Affine and shape of a scan whose axis a runs along world axis order[a] with that sign."""
    directions = (np.eye(3) if turned is None else turned)[:, list(order)] * np.array(signs)
    spacing = np.array([1.6, 1.7, 5.0])[list(order)]
    shape = tuple(np.array([9, 8, 5])[list(order)])
    affine = np.eye(4)
    affine[:3, :3] = directions * spacing
    affine[:3, 3] = [10.3, -20.1, 3.3]
    return affine, shape


def places(shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1)
    return index @ affine[:3, :3].T + affine[:3, 3]


def faces(shape: tuple[int, ...], affine: np.ndarray, axes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least and largest coordinate of the outer corners of a grid along the given world directions."""
    corners = np.array([[c[a] * shape[a] - 0.5 for a in range(3)] for c in np.ndindex(2, 2, 2)])
    along = (corners @ affine[:3, :3].T + affine[:3, 3]) @ axes
    return along.min(0), along.max(0)


@pytest.mark.parametrize(("order", "signs"), ORIENTATIONS)
@pytest.mark.parametrize("turned", [None, OBLIQUE])
def test_all_48_orientations_have_a_ras_grid_over_the_same_box(order, signs, turned) -> None:
    affine, shape = oriented(order, signs, turned)
    grid = canonical_grid(Image(np.zeros(shape), affine), 1.0)
    axes = grid.affine[:3, :3]
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-9)
    assert np.all(np.diag(axes) > 0.9)  # close to R, A, S
    low, high = faces(shape, affine, axes)
    low_grid, high_grid = faces(grid.shape, grid.affine, axes)
    assert np.all(low_grid <= low + 1e-2)
    assert np.all(high_grid >= high - 1e-2)
    assert np.all((high_grid - low_grid) - (high - low) < 1.0)
    np.testing.assert_allclose(low_grid + high_grid, low + high, atol=1e-9)  # the same centre


@pytest.mark.parametrize(("order", "signs"), ORIENTATIONS[::5])
@pytest.mark.parametrize("interpolation", ["linear", "cubic"])
@pytest.mark.parametrize("turned", [None, OBLIQUE])
def test_a_ramp_is_exact_inside_whatever_the_orientation(order, signs, interpolation, turned) -> None:
    affine, shape = oriented(order, signs, turned)
    source = Image(places(shape, affine) @ SLOPE, affine, "T2w", {"file": "x"})
    grid = canonical_grid(source, 1.0)
    moved = resample(source, grid, interpolation)
    assert (moved.contrast, moved.meta) == ("T2w", {"file": "x"})
    assert same_grid(Grid.of(moved), grid)
    target = places(grid.shape, grid.affine)
    inverse = np.linalg.inv(affine)
    index = target @ inverse[:3, :3].T + inverse[:3, 3]
    margin = 1 if interpolation == "cubic" else 0
    inside = np.all((index >= margin) & (index <= np.array(shape) - 1 - margin), axis=-1)
    assert inside.sum() > 50
    np.testing.assert_allclose(moved.array[inside], (target @ SLOPE)[inside], atol=1e-4)


def smooth(shape: tuple[int, ...], affine: np.ndarray) -> Image:
    rng = np.random.default_rng(0)
    return Image(rng.normal(300, 100, shape), affine)


@settings(max_examples=25, deadline=None, database=None)
@given(
    orientation=st.sampled_from(ORIENTATIONS),
    target=st.sampled_from(ORIENTATIONS),
    spacing=st.tuples(*[st.floats(0.8, 4)] * 3),
    shift=st.tuples(*[st.floats(-6, 6)] * 3),
)
def test_parallel_linear_resampling_is_simpleitks(orientation, target, spacing, shift) -> None:
    affine, shape = oriented(*orientation, OBLIQUE)
    image = smooth(shape, affine)
    matrix, _ = oriented(*target, OBLIQUE)
    matrix[:3, :3] *= np.array(spacing) / np.linalg.norm(matrix[:3, :3], axis=0)
    centre = affine[:3, :3] @ ((np.array(shape) - 1) / 2) + affine[:3, 3]
    matrix[:3, 3] = centre + shift - matrix[:3, :3] @ [2.5, 2.5, 2.5]
    grid = Grid((6, 6, 6), matrix)
    moved = resample(image, grid, "linear").array
    reference = to_sitk(Image(np.zeros(grid.shape), matrix))
    filtered = SimpleITK.Resample(to_sitk(image), reference, SimpleITK.Transform(), SimpleITK.sitkLinear, 0.0)
    expected = SimpleITK.GetArrayFromImage(filtered).transpose(2, 1, 0)
    # a voxel exactly on the border of the field of view may be rounded either way
    inverse = np.linalg.inv(affine)
    index = places(grid.shape, matrix) @ inverse[:3, :3].T + inverse[:3, 3]
    on_border = (np.abs(index + 0.5) < 1e-4) | (np.abs(index - np.array(shape) + 0.5) < 1e-4)
    clear = ~on_border.any(-1)
    np.testing.assert_allclose(moved[clear], expected[clear], rtol=1e-4, atol=1e-4 * 300)


@pytest.mark.parametrize("interpolation", ["linear", "cubic", "nearest"])
@pytest.mark.parametrize("turned", [None, OBLIQUE])
def test_resampling_to_its_own_grid_changes_nothing(interpolation: str, turned: np.ndarray | None) -> None:
    affine, shape = oriented((2, 0, 1), (-1, 1, -1), turned)
    image = smooth(shape, affine)
    np.testing.assert_allclose(resample(image, Grid.of(image), interpolation).array, image.array, rtol=1e-5)


@pytest.mark.parametrize("interpolation", ["linear", "cubic", "nearest"])
@pytest.mark.parametrize("turned", [None, OBLIQUE])
def test_outside_the_field_of_view_is_zero(interpolation: str, turned: np.ndarray | None) -> None:
    """turned makes the target oblique to the scan, which is the other code path."""
    image = Image(np.full((8, 8, 8), 5.0), np.eye(4))
    matrix = np.eye(4)
    matrix[:3, :3] = np.eye(3) if turned is None else turned
    matrix[:3, 3] = np.array([3.5, 3.5, 3.5]) - matrix[:3, :3] @ [12, 12, 12]
    moved = resample(image, Grid((25, 25, 25), matrix), interpolation).array
    world = places((25, 25, 25), matrix)
    outside = np.any((world < -0.6) | (world > 7.6), axis=-1)
    inside = np.all((world > -0.4) & (world < 7.4), axis=-1)
    assert not moved[outside].any()
    np.testing.assert_allclose(moved[inside], 5.0, rtol=1e-4)


def test_nearest_keeps_labels_and_follows_an_oblique_grid() -> None:
    labels = np.random.default_rng(0).choice([0, 2, 41, 60], (8, 8, 8))
    matrix = np.eye(4)
    matrix[:3, :3] = OBLIQUE * 0.7
    matrix[:3, 3] = np.array([3.5, 3.5, 3.5]) - matrix[:3, :3] @ [4, 4, 4]
    moved = resample(Image(labels, np.eye(4)), Grid((9, 9, 9), matrix), "nearest").array
    world = places((9, 9, 9), matrix)
    clear = np.all(np.abs(world - np.floor(world) - 0.5) > 1e-3, axis=-1) & np.all((world > -0.4) & (world < 7.4), -1)
    index = np.clip(np.round(world).astype(int), 0, 7)
    np.testing.assert_array_equal(moved[clear], labels[tuple(index[clear].T)])


def test_an_anisotropic_working_grid_takes_its_spacing_along_r_a_s() -> None:
    affine, shape = oriented((2, 0, 1), (1, -1, 1))
    grid = canonical_grid(Image(np.zeros(shape), affine), (1.0, 2.0, 4.0))
    np.testing.assert_allclose(np.linalg.norm(grid.affine[:3, :3], axis=0), (1, 2, 4))
    assert grid.shape == (15, 7, 7)  # 9 x 1.6 = 14.4, 8 x 1.7 = 13.6, 5 x 5 = 25 mm


def test_a_scan_turned_by_any_angle_has_a_grid_of_three_axes_at_right_angles() -> None:
    """Also where one axis of the scan is the closest to two of R, A and S."""
    for turn in Rotation.random(300, random_state=0).as_matrix():
        affine = np.eye(4)
        affine[:3, :3] = turn * [1.6, 1.7, 5.0]
        axes = canonical_grid(Image(np.zeros((9, 8, 5)), affine)).affine[:3, :3]
        np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-9)
        assert (np.abs(axes.T @ turn).max(axis=0) > 1 - 1e-9).all()  # they are the scan's own


@pytest.mark.parametrize("edge", [1.0, 1.0000001, 1.00001])
def test_rounding_in_a_header_adds_no_voxel(edge: float) -> None:
    affine = np.diag([edge, edge, edge, 1.0])
    assert canonical_grid(Image(np.zeros((20, 30, 40)), affine)).shape == (20, 30, 40)


@pytest.mark.parametrize("turned", [None, OBLIQUE])
def test_cubic_follows_a_wave_far_closer_than_linear(turned: np.ndarray | None) -> None:
    index = np.indices((20, 20, 20)).sum(0)
    image = Image(np.cos(index * 2 * np.pi / 12), np.eye(4))
    matrix = np.eye(4)
    matrix[:3, :3] = np.eye(3) if turned is None else turned
    matrix[:3, 3] = np.array([9.3, 9.4, 9.6]) - matrix[:3, :3] @ [4, 4, 4]
    truth = np.cos(places((9, 9, 9), matrix).sum(-1) * 2 * np.pi / 12)
    off = {kind: np.abs(resample(image, Grid((9, 9, 9), matrix), kind).array - truth) for kind in ("linear", "cubic")}
    assert off["linear"].mean() > 0.02
    assert off["cubic"].mean() < 0.2 * off["linear"].mean()


def test_same_grid_compares_places_not_numbers() -> None:
    grid = Grid((5, 6, 7), np.eye(4))
    moved = np.eye(4)
    moved[0, 3] = 0.01
    stretched = np.diag([1.001, 1, 1, 1])
    assert same_grid(grid, Grid((5, 6, 7), np.eye(4) + 1e-9))
    assert not same_grid(grid, Grid((5, 6, 8), np.eye(4)))
    assert not same_grid(grid, Grid((5, 6, 7), moved))
    assert not same_grid(grid, Grid((5, 6, 7), stretched))


def test_an_unknown_interpolation_is_refused() -> None:
    with pytest.raises(BadInput, match="unknown interpolation 'sinc'"):
        resample(smooth((5, 5, 5), np.eye(4)), Grid((5, 5, 5), np.eye(4)), "sinc")
