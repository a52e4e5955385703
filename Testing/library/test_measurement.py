"""The data of a case, its exact data step, and the coordinate network that fits it."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.methods.base import Case
from LowFieldEnhanceLib.methods.coordinate_fit import CoordinateFit, FitSettings
from LowFieldEnhanceLib.methods.diffdeur import solve
from LowFieldEnhanceLib.methods.measurement import ForwardSettings, Measurement, data_weight, intensity, model_range
from LowFieldEnhanceLib.physics.operator import ForwardOperator
from LowFieldEnhanceLib.preprocess.grid import Grid, resample

SMALL = FitSettings(coarsest=6.0, finest=1.5, levels=3, features=2, hidden=16, edge=12, tolerance=-1.0)


def fine_grid(shape: tuple[int, int, int]) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, 3] = -np.asarray(shape) / 2
    return affine


def truth(shape: tuple[int, int, int]) -> np.ndarray:
    """Smooth intensities between 0.2 and 0.8."""
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    return 0.5 + 0.3 * np.sin(3 * axes[0]) * np.cos(2 * axes[1] + axes[2])


def case_of(
    shape: tuple[int, int, int] = (16, 18, 16), scalp: bool = False, sigma: float = 0.02, noise: float = 0.0
) -> tuple[Case, torch.Tensor]:
    """A ball of a smooth volume in a mask that is slightly larger, scanned with 2 x 2 x 4 mm voxels.

    With ``scalp``, bright tissue outside the mask.
    """
    affine = fine_grid(shape)
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    radius = sum(a**2 for a in axes)
    mask = radius < 0.8
    values = np.where(radius < 0.45, truth(shape), np.where(mask, 0.0, 0.9 if scalp else 0.0)).astype(np.float32)
    coarse = affine @ np.diag([2.0, 2.0, 4.0, 1.0])
    coarse[:3, 3] = affine[:3, 3] + [0.5, 0.5, 1.5]
    coarse_shape = tuple(-(-n // s) for n, s in zip(shape, (2, 2, 4), strict=True))
    scan = ForwardOperator(shape, affine, coarse_shape, coarse)(torch.from_numpy(values)).numpy()
    scan = scan + noise * np.random.default_rng(0).standard_normal(scan.shape)
    measured = Image(scan, coarse, "T1w")
    low = resample(measured, Grid(shape, affine), "linear").array
    image = Image(np.where(mask, 2 * low - 1, -1), affine, "T1w")
    return Case({"T1w": image}, "T1w", mask, measured, sigma), torch.from_numpy(values * mask).float()


def test_the_true_volume_leaves_less_than_the_noise() -> None:
    case, values = case_of()
    measurement = Measurement(case)
    assert measurement.rms(values) < 0.8
    assert measurement.rms(torch.zeros_like(values)) > 5
    noisy = Measurement(case_of(noise=0.02)[0])
    assert noisy.rms(values) == pytest.approx(1.0, abs=0.35)


def test_tissue_outside_the_mask_is_taken_off_the_data() -> None:
    case, values = case_of(scalp=True)
    plain = Measurement(replace(case, measured=case_of()[0].measured))
    with_scalp = Measurement(case)
    scan = torch.from_numpy(case.measured.array)
    not_taken_off = ((scan - with_scalp.operator(values)) * with_scalp.visible).square().mean().sqrt()
    assert with_scalp.residual(values).square().mean().sqrt() < 0.4 * not_taken_off
    assert torch.equal(plain.visible, with_scalp.visible)


def test_only_voxels_that_see_the_mask_count() -> None:
    case, values = case_of()
    measurement = Measurement(case)
    assert 0 < int(measurement.visible.sum()) < measurement.visible.numel()
    assert not measurement.residual(torch.rand(case.shape))[~measurement.visible].any()


def test_the_adjoint_is_that_of_the_masked_operator() -> None:
    case, _ = case_of()
    measurement = Measurement(case)
    generator = torch.Generator().manual_seed(0)
    v, r = torch.rand(case.shape, generator=generator), torch.rand(case.measured.shape, generator=generator)
    forward = measurement.operator(v * measurement.mask) * measurement.visible
    assert float((forward * r).sum()) == pytest.approx(float((v * measurement.adjoint(r)).sum()), rel=1e-4)


def test_a_mask_that_the_scan_does_not_see_is_refused() -> None:
    case, _ = case_of()
    far = case.measured.affine.copy()
    far[:3, 3] += 500
    with pytest.raises(BadInput, match="no voxel of the scan"):
        Measurement(replace(case, measured=Image(case.measured.array, far, "T1w")))


def test_the_users_profile_width_and_noise_replace_the_defaults() -> None:
    case, values = case_of()
    usual = Measurement(case)
    assert usual.sigma == 0.02
    np.testing.assert_allclose(usual.operator.fwhm, (2, 2, 4))
    own = Measurement(case, ForwardSettings(fwhm=(3.0, 3.0, 6.0), profile="box", sigma=0.05))
    assert own.sigma == 0.05
    np.testing.assert_allclose(own.operator.fwhm, (3, 3, 6))
    assert own.operator.profile == ["box"] * 3
    assert float(own.residual(values).abs().max()) > 1.5 * float(usual.residual(values).abs().max())
    for wrong in (0.0, -1.0, float("nan")):
        with pytest.raises(BadInput, match="noise level"):
            Measurement(case, ForwardSettings(sigma=wrong))


@pytest.mark.parametrize("oblique", [False, True])
def test_the_blocks_together_are_the_whole_operator(oblique: bool) -> None:
    case, _ = case_of()
    if oblique:
        turn = np.eye(4)
        turn[:2, :2] = [[np.cos(0.2), -np.sin(0.2)], [np.sin(0.2), np.cos(0.2)]]
        case = replace(case, measured=Image(case.measured.array, turn @ case.measured.affine, "T1w"))
    measurement = Measurement(case)
    v = torch.from_numpy(truth(case.shape)).float() * measurement.mask
    whole = measurement.operator(v)
    found = torch.zeros_like(whole)
    for block in measurement.blocks(edge=8, reach=2.0):
        found[block.place] += block.operator(v[block.box])
    assert float(((found - whole) * measurement.visible).abs().max()) < 5e-3


def test_the_weight_of_the_prior_is_the_ratio_of_the_variances_in_one_unit() -> None:
    assert data_weight(0.1, 0.2) == pytest.approx(1.0)  # 0.2 of the model range is 0.1 of the intensity
    assert data_weight(0.1, 0.4, strength=2.0) == pytest.approx(0.5)


def test_the_density_is_about_the_largest_eigenvalue_of_the_operator() -> None:
    case, _ = case_of()
    measurement = Measurement(case)
    v = measurement.mask.float()
    for _ in range(50):
        v = measurement.normal(v / v.norm(), 0.0)
    spacing = np.asarray(case.measured.spacing) / np.asarray(case.inputs[case.target].spacing)
    assert measurement.density == pytest.approx(1 / np.prod(spacing))
    assert float(v.norm()) == pytest.approx(measurement.density, rel=0.3)


def test_intensity_and_model_range_are_inverse_inside_the_mask() -> None:
    mask = torch.tensor([True, True, False])
    x = model_range(torch.tensor([0.25, 3.0, 0.7]), mask)
    assert x.tolist() == [-0.5, 1.5, -1.0]
    assert float(intensity(x)[0]) == 0.25


@pytest.mark.parametrize("rho", [1.0, 0.01])
def test_conjugate_gradients_solve_the_data_step_as_the_dense_system_does(rho: float) -> None:
    case, _ = case_of((6, 7, 8))
    measurement = Measurement(case)
    z = torch.rand(case.shape, generator=torch.Generator().manual_seed(0)) * measurement.mask
    unknown = measurement.mask.reshape(-1)
    basis = torch.eye(unknown.numel())[unknown]
    columns = measurement.operator(basis.reshape(-1, *case.shape)) * measurement.visible
    matrix = columns.reshape(len(basis), -1).T.double()
    right = matrix.T @ measurement.data.reshape(-1).double() + rho * z.reshape(-1)[unknown].double()
    exact = torch.linalg.solve(matrix.T @ matrix + rho * torch.eye(len(basis)).double(), right)
    found, _ = solve(measurement, z, rho, tolerance=1e-6)
    torch.testing.assert_close(found.reshape(-1)[unknown].double(), exact, rtol=1e-3, atol=1e-4)
    assert not found.reshape(-1)[~unknown].any()


def start(case: Case) -> torch.Tensor:
    """A prior's image that contradicts the data: the volume's mean."""
    mask = torch.from_numpy(case.mask)
    return torch.where(mask, 0.5, 0.0)


@pytest.mark.parametrize("embedding", ["exact", "fitted"])
def test_the_coordinate_network_lowers_the_residual_towards_the_exact_solution(embedding: str) -> None:
    case, _ = case_of()
    measurement = Measurement(case)
    z, rho = start(case), 0.005
    exact, _ = solve(measurement, z, rho)

    def objective(v: torch.Tensor) -> float:
        return float(measurement.residual(v).square().sum() + rho * (v - z).square().sum())

    fit = CoordinateFit(measurement, replace(SMALL, embedding=embedding), torch.Generator().manual_seed(0))
    v, record = fit.fit(z, rho, 20)
    assert measurement.rms(v) < 0.5 * measurement.rms(z)
    assert objective(exact) <= objective(v) < objective(exact) + 0.3 * (objective(z) - objective(exact))
    assert record.iterations == 20 * len(fit.blocks) and len(record.residuals) == 20
    assert not v[~measurement.mask].any()


def test_a_step_that_the_data_do_not_ask_for_leaves_the_prior_as_it_is() -> None:
    case, values = case_of()
    measurement = Measurement(case)
    fit = CoordinateFit(measurement, replace(SMALL, embedding="exact"), torch.Generator().manual_seed(0))
    v, _ = fit.fit(values, 1e4, 2)
    torch.testing.assert_close(v, values)


def test_a_step_too_long_is_shortened_until_it_helps() -> None:
    case, _ = case_of()
    measurement = Measurement(case)
    z, rho = start(case), 0.005
    hasty = replace(SMALL, embedding="exact", learning_rate=0.1)
    v, _ = CoordinateFit(measurement, hasty, torch.Generator().manual_seed(0)).fit(z, rho, 1)

    def objective(v: torch.Tensor) -> float:
        return float(measurement.residual(v).square().sum() + rho * (v - z).square().sum())

    assert 0 < float((v - z).abs().max())
    assert measurement.rms(v) < measurement.rms(z)
    # along its own direction there is nothing better
    assert objective(v) <= min(objective(z + share * (v - z)) for share in (0.0, 0.9, 1.1)) * (1 + 1e-6)


def test_a_warm_start_needs_a_fifth_of_the_iterations_of_a_fit_from_scratch_at_the_same_residual() -> None:
    case, values = case_of()
    measurement = Measurement(case)
    fit = CoordinateFit(measurement, SMALL, torch.Generator().manual_seed(0))
    before, _ = fit.fit(values, 0.005, 40)
    # the prior of the next level: the last volume, changed a little
    z = (before + 0.02 * torch.sin(torch.arange(case.shape[0]) / 3)[:, None, None]) * measurement.mask
    target = 1.2 * measurement.rms(before)
    _, warm = fit.fit(z, 0.005, 40, target=target)
    _, cold = CoordinateFit(measurement, SMALL, torch.Generator().manual_seed(1)).fit(z, 0.005, 40, target=target)
    assert warm.residuals[-1] <= target
    assert cold.iterations >= 5 * warm.iterations


def test_the_fit_stops_at_the_target_or_when_the_residual_no_longer_falls() -> None:
    case, values = case_of(noise=0.02)
    measurement = Measurement(case)
    reached = CoordinateFit(measurement, SMALL, torch.Generator().manual_seed(0)).fit(None, 0.0, 60, target=3.0)[1]
    assert reached.residuals[-1] <= 3.0 < reached.residuals[-2]
    stopping = CoordinateFit(measurement, replace(SMALL, tolerance=0.05), torch.Generator().manual_seed(0))
    halted = stopping.fit(None, 0.0, 60)[1]
    assert 3 <= len(halted.residuals) < 60
    assert min(halted.residuals[-2:]) > 0.95 * min(halted.residuals[:-2])
    assert halted.objectives == halted.residuals  # without a prior there is nothing else


def test_the_fit_goes_on_while_the_prior_is_still_approached_though_the_residual_stands_still() -> None:
    case, values = case_of(noise=0.02)
    measurement, rho = Measurement(case), 3.0
    settings = replace(SMALL, tolerance=0.02)
    v, record = CoordinateFit(measurement, settings, torch.Generator().manual_seed(0)).fit(values, rho, 60)
    still = [after > 0.98 * before for before, after in pairwise(record.residuals)]
    first = still.index(True) + 1
    assert first < len(record.residuals) - 2
    assert record.objectives[-1] < 0.8 * record.objectives[first]
    assert len(record.residuals) == 60 or min(record.objectives[-2:]) > 0.98 * min(record.objectives[:-2])
    # what is recorded is the objective: of the volume at the end, which the last epoch's steps have still improved
    whole = measurement.residual(v).square().sum() + rho * ((v - values)[measurement.mask] ** 2).sum()
    ended = (float(whole) / int(measurement.visible.sum())) ** 0.5 / measurement.sigma
    assert ended == pytest.approx(record.objectives[-1], rel=0.25)


def test_the_same_generator_gives_the_same_fit_and_the_check_ends_it() -> None:
    case, _ = case_of()
    measurement = Measurement(case)
    first, again = (
        CoordinateFit(measurement, SMALL, torch.Generator().manual_seed(5)).fit(start(case), 0.1, 2)[0]
        for _ in range(2)
    )
    assert torch.equal(first, again)

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        CoordinateFit(measurement, SMALL, torch.Generator(), stop).fit(start(case), 0.1, 1)


@pytest.mark.parametrize("voxel", [0.5, 1.0, 2.0, 6.0])
def test_the_cells_of_the_coordinate_network_are_in_millimetres(voxel: float) -> None:
    case, _ = case_of()
    world = np.diag([voxel / case.inputs[case.target].spacing[0]] * 3 + [1.0])
    inputs = {name: replace(image, affine=world @ image.affine) for name, image in case.inputs.items()}
    measured = replace(case.measured, affine=world @ case.measured.affine)
    measurement = Measurement(replace(case, inputs=inputs, measured=measured))
    cells = np.array(CoordinateFit(measurement, SMALL, torch.Generator().manual_seed(0)).network.grid.cells)
    assert cells[0] * voxel == pytest.approx(SMALL.coarsest)
    assert cells[-1] * voxel == pytest.approx(max(SMALL.finest, voxel))
