"""Simulated low-field scans: grid, noise level, signal level, determinism."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from phantoms import phantom_head

from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.physics.simulate import Protocol, reference_level, simulate
from LowFieldEnhanceLib.segmentation.labels import LabelMap


def ball(size: int = 64, value: float = 100.0) -> Image:
    """A bright ball in a dark box, oblique in space."""
    axes = np.indices((size,) * 3) - (size - 1) / 2
    inside = (axes**2).sum(0) < (0.4 * size) ** 2
    angle = 0.3
    affine = np.eye(4)
    affine[:2, :2] = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    affine[:3, 3] = (5, -7, 11)
    return Image(inside * value, affine, "T1w")


def test_scan_covers_the_head_at_the_protocols_spacing_along_the_heads_own_axes() -> None:
    head = ball()
    scan = simulate(head, Protocol(spacing=(1.6, 2.0, 5.0), snr=math.inf))
    assert scan.spacing == pytest.approx((1.6, 2.0, 5.0))
    assert scan.shape == (40, 32, 13)
    directions = scan.affine[:3, :3] / scan.spacing
    assert np.allclose(directions, head.affine[:3, :3], atol=1e-9)
    centre = scan.affine @ [*((np.array(scan.shape) - 1) / 2), 1]
    assert np.allclose(centre, head.affine @ [31.5, 31.5, 31.5, 1], atol=1e-9)


def test_signal_in_the_middle_is_kept_and_total_signal_too() -> None:
    head = ball()
    scan = simulate(head, Protocol(spacing=(2.0, 2.0, 4.0), snr=math.inf))
    assert scan.array[16, 16, 8] == pytest.approx(100, rel=1e-3)
    assert scan.array.sum() * scan.voxel_volume_ml == pytest.approx(head.array.sum() * head.voxel_volume_ml, rel=0.01)


def test_noise_has_the_level_the_snr_says() -> None:
    scan = simulate(ball(), Protocol(spacing=(1, 1, 1), snr=20, noise="gaussian", profile="point"), signal_level=100.0)
    quiet = simulate(ball(), Protocol(spacing=(1, 1, 1), snr=math.inf, profile="point"), signal_level=100.0)
    assert float(np.std(scan.array - quiet.array)) == pytest.approx(5.0, rel=0.02)


def test_a_filter_widens_the_psf_and_keeps_the_level_of_the_noise() -> None:
    usual = Protocol(spacing=(2, 2, 2), snr=math.inf, fwhm=(2, 2, 2), filtered=1.5)
    # Gaussians add in squares: 2 mm and 1.5 voxels of 2 mm
    wide = Protocol(spacing=(2, 2, 2), snr=math.inf, fwhm=(math.hypot(2, 3),) * 3)
    quiet = simulate(ball(), usual)
    np.testing.assert_allclose(quiet.array, simulate(ball(), wide).array, atol=1e-4)
    noise = simulate(ball(), replace(usual, snr=20, noise="gaussian"), signal_level=100.0).array - quiet.array
    assert float(noise.std()) == pytest.approx(5.0, rel=0.05)
    assert float((noise[1:] * noise[:-1]).mean()) > 0.4 * float(noise.var())


def test_same_seed_same_scan_other_seed_other_noise() -> None:
    head = ball(32)
    first, again, other = (simulate(head, Protocol(bias=0.1), seed) for seed in (1, 1, 2))
    assert np.array_equal(first.array, again.array)
    assert not np.allclose(first.array, other.array)


def test_reference_level_is_the_white_matter_mean_when_labels_are_known() -> None:
    head = ball(32)
    labels = np.where(head.array > 0, 41, 0)
    labels[:16][labels[:16] > 0] = 3
    values = head.array.copy()
    values[labels == 3] = 60
    head = head.with_array(values)
    assert reference_level(head, LabelMap(labels, head.affine, {})) == pytest.approx(100)
    assert 60 <= reference_level(head, None) <= 100


@pytest.mark.parametrize(
    "changes",
    [{"bias": float("nan")}, {"bias": 1000.0}, {"bias": -0.1}, {"contrast": float("inf")}, {"fwhm": (1.0, -2.0, 1.0)}],
)
def test_refuses_a_protocol_whose_scan_would_be_empty_or_sharper_than_asked(changes: dict) -> None:
    head, labels = phantom_head()
    with pytest.raises(BadInput):
        simulate(head, Protocol(**changes), labels=labels)


def test_refuses_labels_that_lie_elsewhere() -> None:
    head, labels = phantom_head()
    shifted = labels.affine.copy()
    shifted[0, 3] += 2.0
    for other in (LabelMap(labels.array, shifted, {}), LabelMap(labels.array[:-1], labels.affine, {})):
        with pytest.raises(BadInput, match="another grid"):
            simulate(head, Protocol(), labels=other)


def test_refuses_impossible_protocols() -> None:
    for protocol in (
        Protocol(snr=0),
        Protocol(spacing=(0, 1, 1)),
        Protocol(contrast=1.0),
        Protocol(noise="pink"),
        Protocol(filtered=-1.0),
        Protocol(filtered=9.0),
    ):
        with pytest.raises(BadInput):
            simulate(ball(16), protocol)


def test_without_labels_the_signal_is_the_upper_quartile_of_the_foreground() -> None:
    array = np.zeros((10, 10, 10), dtype=np.float32)
    array[:, :, 4:7], array[:, :, 7:] = 100.0, 200.0
    assert reference_level(Image(array, np.eye(4)), None) == pytest.approx(200)
    array[:, :, 9] = 100.0  # now a third is bright
    assert reference_level(Image(array, np.eye(4)), None) == pytest.approx(200)
    array[:, :, 8] = 100.0  # and now a sixth
    assert reference_level(Image(array, np.eye(4)), None) == pytest.approx(100)
