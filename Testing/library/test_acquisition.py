"""What networks are told of a scan: its sampling along the working grid's axes, and its noise."""

from __future__ import annotations

import math

import numpy as np
import pytest

from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.physics.acquisition import Acquisition
from LowFieldEnhanceLib.preprocess.grid import Grid, canonical_grid


def scan(affine: np.ndarray) -> Image:
    return Image(np.ones((10, 12, 8), dtype=np.float32), affine, "T1w")


def working(image: Image, spacing: float = 1.0) -> Image:
    grid: Grid = canonical_grid(image, spacing)
    return Image(np.zeros(grid.shape, dtype=np.float32), grid.affine)


@pytest.mark.parametrize(
    ("affine", "steps"),
    [
        (np.diag([1.6, 1.6, 5.0, 1]), (1.6, 1.6, 5.0)),
        (np.diag([-1.6, -1.6, 5.0, 1]), (1.6, 1.6, 5.0)),
        # stored sagittal: slices run along R, rows along S
        (np.array([[0, 0, 5.0, 0], [1.6, 0, 0, 0], [0, -1.5, 0, 0], [0, 0, 0, 1]]), (5.0, 1.6, 1.5)),
    ],
)
def test_the_steps_are_those_of_the_scan_along_right_anterior_superior(affine: np.ndarray, steps: tuple) -> None:
    image = scan(affine)
    found = Acquisition.of(image, working(image), 0.04)
    np.testing.assert_allclose(found.steps, steps, rtol=1e-6)
    assert found.sigma == 0.04


def test_an_oblique_scan_keeps_its_steps_and_a_finer_working_grid_has_more_of_them() -> None:
    angle = np.radians(20)
    affine = np.eye(4)
    affine[:3, :3] = [[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]]
    affine[:3, :3] *= (1.6, 1.6, 5.0)
    image = scan(affine)
    np.testing.assert_allclose(Acquisition.of(image, working(image), 0.04).steps, (1.6, 1.6, 5.0), rtol=1e-6)
    np.testing.assert_allclose(Acquisition.of(image, working(image, 0.8), 0.04).steps, (2, 2, 6.25), rtol=1e-6)


def test_coordinates_run_from_nothing_lost_to_the_worst_that_is_known() -> None:
    quietest = math.log10(2)
    assert Acquisition((1, 1, 1), 0.02).coordinates() == pytest.approx((0, 0, 0, quietest))
    assert Acquisition((6, 6, 6), 0.1).coordinates() == pytest.approx((1, 1, 1, 1))
    assert Acquisition((0.7, 9, math.sqrt(6)), 0).coordinates() == pytest.approx((0, 1, 0.5, quietest))


def test_a_scan_with_hardly_any_noise_was_interpolated_and_is_not_told_of() -> None:
    assert Acquisition((1.6, 1.6, 5), 0.04).plausible
    assert not Acquisition((1, 1, 1), 0.001).plausible
