"""The forward model: its adjoint, its widths in millimetres, and its samples at the right place in the world."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.physics.operator import ForwardOperator, parallel_axes

FWHM = 2 * math.sqrt(2 * math.log(2))


def grid(
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float],
    rotation: np.ndarray | None = None,
    centre: tuple[float, float, float] = (0, 0, 0),
) -> tuple[tuple[int, int, int], np.ndarray]:
    """Shape and affine of a grid around a world point; rotation's columns are the directions of its axes."""
    affine = np.eye(4)
    affine[:3, :3] = (np.eye(3) if rotation is None else rotation) * np.asarray(spacing)
    affine[:3, 3] = np.asarray(centre) - affine[:3, :3] @ ((np.asarray(shape) - 1) / 2)
    return shape, affine


def world(shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    """(*shape, 3) RAS positions of the voxel centres."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1)
    return index @ affine[:3, :3].T + affine[:3, 3]


FLIPS = [np.eye(3), np.diag([-1.0, 1, 1]), np.eye(3)[:, [2, 0, 1]], np.eye(3)[:, [1, 0, 2]] * [-1, 1, -1]]
OBLIQUE = Rotation.from_euler("xyz", [17, -9, 31], degrees=True).as_matrix()
ROTATIONS = {
    "parallel": FLIPS[0], "flipped": FLIPS[1], "permuted": FLIPS[2], "permuted and flipped": FLIPS[3],
    "oblique": OBLIQUE, "oblique and flipped": OBLIQUE * [1, -1, -1],
}  # fmt: skip


@settings(max_examples=40, deadline=None, database=None)
@given(
    angles=st.one_of(
        st.tuples(*[st.floats(-180, 180)] * 3), st.tuples(*[st.sampled_from((0.0, 90.0, 180.0, -90.0))] * 3)
    ),
    flip=st.sampled_from(FLIPS),
    spacing=st.tuples(*[st.floats(0.7, 5)] * 3),
    centre=st.tuples(*[st.floats(-4, 4)] * 3),
    profile=st.tuples(*[st.sampled_from(("gaussian", "box", "point"))] * 3),
    width=st.floats(0.0, 2.0),
)
def test_the_adjoint_satisfies_its_definition_for_any_two_grids(angles, flip, spacing, centre, profile, width) -> None:
    rotation = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ flip
    fine, coarse = grid((9, 8, 10), (1.0, 1.2, 0.9)), grid((4, 5, 3), spacing, rotation, centre)
    operator = ForwardOperator(*fine, *coarse, np.array(spacing) * width, profile, torch.float64)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(fine[0], dtype=torch.float64, generator=generator)
    y = torch.randn(coarse[0], dtype=torch.float64, generator=generator)
    left, right = float((operator(x) * y).sum()), float((x * operator.adjoint(y)).sum())
    assert left == pytest.approx(right, rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("name", ROTATIONS)
def test_the_gradient_of_a_data_term_is_the_adjoint_of_the_residual(name: str) -> None:
    fine, coarse = grid((9, 8, 10), (1, 1, 1)), grid((5, 4, 3), (1.6, 1.6, 3), ROTATIONS[name])
    operator = ForwardOperator(*fine, *coarse, dtype=torch.float64)
    x = torch.randn(2, 1, *fine[0], dtype=torch.float64, requires_grad=True)
    y = torch.randn(2, 1, *coarse[0], dtype=torch.float64)
    residual = operator(x) - y
    (0.5 * (residual**2).sum()).backward()
    torch.testing.assert_close(x.grad, operator.adjoint(residual.detach()), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ROTATIONS)
@pytest.mark.parametrize("profile", ["gaussian", "box", "point"])
def test_a_constant_image_stays_constant_inside(name: str, profile: str) -> None:
    fine, coarse = grid((24, 24, 24), (1, 1, 1)), grid((4, 4, 3), (1.5, 1.5, 2), ROTATIONS[name])
    y = ForwardOperator(*fine, *coarse, profile=profile)(torch.full(fine[0], 3.0))
    torch.testing.assert_close(y, torch.full(coarse[0], 3.0), rtol=1e-4, atol=0)


@pytest.mark.parametrize("name", ROTATIONS)
@pytest.mark.parametrize("profile", ["gaussian", "box"])
def test_a_ramp_is_seen_at_its_world_position(name: str, profile: str) -> None:
    """Symmetric profiles keep a linear ramp, so every coarse voxel must show the ramp's value at its own centre."""
    fine = grid((30, 28, 26), (1, 1, 1), centre=(3, -2, 5))
    coarse = grid((5, 4, 3), (1.6, 2.0, 3.0), ROTATIONS[name], centre=(2.7, -1.6, 5.3))
    slope = np.array([1.0, -0.7, 0.4])
    x = torch.from_numpy(world(*fine) @ slope)
    y = ForwardOperator(*fine, *coarse, profile=profile, dtype=torch.float64)(x).numpy()
    # a voxel is a constant cell, so a box of width w misses the ramp by up to 1 / (8 w) of its step; a Gaussian hardly
    tolerance = 0.02 if profile == "gaussian" else np.abs(slope).sum() / (8 * 1.6)
    assert np.abs(y - world(*coarse) @ slope).max() < tolerance


@pytest.mark.parametrize("name", ["parallel", "permuted and flipped", "oblique"])
def test_a_gaussian_blob_widens_by_the_square_sum_of_widths(name: str) -> None:
    blob, psf = 3.0, 2.0
    fine = grid((48, 48, 48), (1, 1, 1))
    coarse = grid((24, 24, 24), (1.8, 1.7, 1.9), ROTATIONS[name])
    x = torch.from_numpy(np.exp(-0.5 * (world(*fine) ** 2).sum(-1) / blob**2))
    y = ForwardOperator(*fine, *coarse, [psf * FWHM] * 3, dtype=torch.float64)(x).numpy()
    places = world(*coarse)
    measured = np.sqrt((y[..., None] * places**2).sum((0, 1, 2)) / y.sum())
    # a fine voxel is a cell 1 mm wide (variance 1/12); linear interpolation onto the oblique grid adds up to 1/6 more
    expected = math.sqrt(blob**2 + psf**2 + 1 / 12)
    np.testing.assert_allclose(measured, expected, rtol=0.025 if name == "oblique" else 0.004)


def test_slices_as_thick_as_their_spacing_are_means_of_the_voxels_they_cover() -> None:
    x = torch.randn(8, 12, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    fine, coarse = grid((8, 12, 10), (1, 1, 1)), grid((4, 4, 2), (2, 3, 5))
    y = ForwardOperator(*fine, *coarse, profile="box", dtype=torch.float64)(x)
    expected = x.reshape(4, 2, 4, 3, 2, 5).mean((1, 3, 5))
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-12)


def test_a_permuted_flipped_grid_gives_the_same_values_permuted_and_flipped() -> None:
    x = torch.randn(8, 12, 10, generator=torch.Generator().manual_seed(0))
    fine = grid((8, 12, 10), (1, 1, 1))
    straight = ForwardOperator(*fine, *grid((4, 4, 2), (2, 3, 5)))(x)
    turned = np.eye(3)[:, [2, 0, 1]] * [-1, 1, -1]  # axes: -S, R, -A
    again = ForwardOperator(*fine, *grid((2, 4, 4), (5, 2, 3), turned))(x)
    torch.testing.assert_close(again, straight.permute(2, 0, 1).flip(0, 2))


def test_oblique_and_parallel_ways_agree_where_the_angle_vanishes() -> None:
    """Half a degree makes the grids oblique; on a smooth image the two code paths must then nearly agree."""
    fine = grid((28, 28, 28), (1, 1, 1))
    x = torch.from_numpy(np.exp(-0.5 * (world(*fine) ** 2).sum(-1) / 36)).float()
    tilt = Rotation.from_euler("x", 0.5, degrees=True).as_matrix()
    straight = ForwardOperator(*fine, *grid((8, 8, 4), (2, 2, 4)))(x)
    tilted = ForwardOperator(*fine, *grid((8, 8, 4), (2, 2, 4), tilt))(x)
    assert float((straight - tilted).abs().max()) < 0.01


def test_grids_that_do_not_meet_give_zeros() -> None:
    for name in ("parallel", "oblique"):
        fine, coarse = grid((8, 8, 8), (1, 1, 1)), grid((4, 4, 4), (1, 1, 1), ROTATIONS[name], (100, 0, 0))
        assert not ForwardOperator(*fine, *coarse)(torch.ones(fine[0])).any()


def test_the_default_width_is_the_coarse_spacing() -> None:
    operator = ForwardOperator(*grid((8, 8, 8), (1, 1, 1)), *grid((4, 4, 2), (1.6, 1.7, 5)))
    np.testing.assert_allclose(operator.fwhm, (1.6, 1.7, 5))


def test_axes_are_parallel_up_to_a_hundredth_of_a_degree() -> None:
    def tilted(degrees: float) -> np.ndarray:
        return Rotation.from_euler("x", degrees, degrees=True).as_matrix() @ FLIPS[2]

    assert parallel_axes(FLIPS[2] * 2.0, np.ones(3), np.full(3, 2.0)) == [2, 0, 1]
    assert parallel_axes(tilted(0.001), np.ones(3), np.ones(3)) == [2, 0, 1]
    assert parallel_axes(tilted(0.1), np.ones(3), np.ones(3)) is None


@pytest.mark.parametrize("which", ["fine", "coarse"])
def test_a_singular_affine_is_refused(which: str) -> None:
    good, bad = np.eye(4), np.diag([1.0, 0.0, 1.0, 1.0])
    with pytest.raises(BadInput, match="singular"):
        ForwardOperator((4, 4, 4), bad if which == "fine" else good, (2, 2, 2), good if which == "fine" else bad)


def test_an_unknown_profile_is_refused() -> None:
    with pytest.raises(BadInput, match="unknown slice profile"):
        ForwardOperator((4, 4, 4), np.eye(4), (2, 2, 2), np.eye(4), profile="sinc")


@pytest.mark.parametrize("name", ROTATIONS)
def test_the_factors_of_parallel_grids_multiply_to_the_whole_operator(name: str) -> None:
    fine, coarse = grid((6, 5, 7), (1.0, 1.2, 0.9)), grid((3, 4, 2), (2.0, 1.5, 3.0), ROTATIONS[name])
    operator = ForwardOperator(*fine, *coarse, dtype=torch.float64)
    factors = operator.factors()
    assert (factors is None) == name.startswith("oblique")
    if factors is None:
        return
    x = torch.randn(fine[0], dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    order = [next(a for a in range(3) if m.shape[1] == fine[0][a]) for m in factors]  # all edges differ
    expected = torch.einsum("ai,bj,ck,ijk->abc", *factors, x.permute(order))
    torch.testing.assert_close(operator(x), expected)


@pytest.mark.parametrize("order", [(2, 0, 1), (1, 0, 2), (0, 2, 1)])
@pytest.mark.parametrize("rotation", [np.eye(3), OBLIQUE], ids=["parallel", "oblique"])
def test_widths_and_profiles_belong_to_the_axes_of_the_scan_in_whatever_order(
    rotation: np.ndarray, order: tuple[int, ...]
) -> None:
    fine, (shape, affine) = grid((20, 22, 24), (1.0, 1.0, 1.0)), grid((6, 5, 4), (2.0, 3.0, 4.0), rotation)
    widths, profiles = np.array([2.0, 4.0, 6.0]), ("point", "box", "gaussian")
    x = torch.from_numpy(np.random.default_rng(0).random(fine[0]))
    y = ForwardOperator(*fine, shape, affine, widths, profiles, torch.float64)(x)
    turned = [shape[a] for a in order], affine[:, [*order, 3]]
    other = ForwardOperator(*fine, *turned, widths[list(order)], [profiles[a] for a in order], torch.float64)(x)
    torch.testing.assert_close(other, y.permute(order), rtol=0, atol=1e-9)


def test_beyond_the_volume_an_oblique_scan_sees_nothing_on_either_side() -> None:
    fine, coarse = grid((12, 12, 12), (1.0, 1.0, 1.0)), grid((17, 17, 17), (2.0, 2.0, 2.0), OBLIQUE)
    seen = ForwardOperator(*fine, *coarse, dtype=torch.float64)(torch.ones(fine[0], dtype=torch.float64))
    far = torch.from_numpy(np.linalg.norm(world(*coarse), axis=-1) > math.sqrt(3) * 6 + 4)
    assert far.any() and float(seen[far].abs().max()) < 1e-3 and float(seen.max()) > 0.99
    torch.testing.assert_close(seen, seen.flip(0, 1, 2))  # both grids have one centre
