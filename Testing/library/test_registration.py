"""A reference in another position is brought back; one that shows something else is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK
from phantoms import WHITE, phantom_head
from scipy import ndimage
from scipy.spatial.transform import Rotation

from LowFieldEnhanceLib.errors import BadInput, Cancelled
from LowFieldEnhanceLib.evaluation import registration
from LowFieldEnhanceLib.evaluation.registration import Registration, foreground, register_rigid
from LowFieldEnhanceLib.events import Events
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.physics.simulate import Protocol, simulate
from LowFieldEnhanceLib.preprocess.grid import Grid, resample

CORNERS = np.array([[x, y, z, 1.0] for x in (-60, 60) for y in (-70, 70) for z in (-60, 60)])


def movement(angles: tuple[float, float, float], shift: tuple[float, float, float]) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    matrix[:3, 3] = shift
    return matrix


def textured_head() -> Image:
    """The phantom is round in places; folds of about 10 mm make its position unique, as they do in a head."""
    head, labels = phantom_head((60, 70, 60), (3.0, 3.0, 3.0))
    folds = ndimage.gaussian_filter(np.random.default_rng(3).standard_normal(head.shape), 1.5)
    inside = labels.array > 0
    return head.with_array(head.array + np.where(inside, 150 * folds / folds.std(), 0).clip(-250, 250))


MOVED = movement((9.0, -7.0, 12.0), (22.0, -15.0, 18.0))


@pytest.fixture(scope="module")
def head() -> Image:
    return textured_head()


@pytest.fixture(scope="module")
def scan(head: Image) -> Image:
    return simulate(head, Protocol(spacing=(3.0, 3.0, 6.0), snr=20.0), seed=2, signal_level=WHITE)


def placed(image: Image, matrix: np.ndarray) -> Image:
    """The same voxels elsewhere: the patient lies in another position."""
    return Image(image.array, matrix @ image.affine, image.contrast)


@pytest.fixture(scope="module")
def found(head: Image, scan: Image) -> Registration:
    return register_rigid(placed(head, MOVED), scan)


def test_a_turned_and_shifted_reference_is_recovered_within_a_millimetre_and_a_degree(found: Registration) -> None:
    left = np.linalg.inv(MOVED) @ found.matrix
    assert np.linalg.norm((CORNERS @ left.T - CORNERS)[:, :3], axis=1).max() < 1.0
    assert np.rad2deg(Rotation.from_matrix(left[:3, :3]).magnitude()) < 1.0


def test_the_movement_is_reported(found: Registration) -> None:
    assert found.rotation_degrees == pytest.approx(np.rad2deg(Rotation.from_matrix(MOVED[:3, :3]).magnitude()), abs=1)
    assert found.overlap == pytest.approx(1.0)
    summary = json.loads(json.dumps(found.summary(), allow_nan=False))
    assert np.allclose(summary["matrix_fixed_to_moving_ras"], found.matrix, atol=1e-5)


def test_the_moved_reference_lies_on_the_head_with_its_own_voxels(head: Image, found: Registration) -> None:
    assert np.array_equal(found.moved.array, head.array)
    assert np.allclose(found.moved.affine, np.linalg.inv(found.matrix) @ MOVED @ head.affine)
    back = resample(found.moved, Grid.of(head), "linear").array
    inside = head.array > 300
    assert np.corrcoef(back[inside], head.array[inside])[0, 1] > 0.9


@pytest.fixture
def coarse_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough for what needs no fine position."""
    monkeypatch.setattr(registration, "LEVELS_MM", (8.0, 4.0))


def test_another_contrast_and_a_mask_do_not_matter(head: Image, scan: Image) -> None:
    """Dark where the scan is bright, as in another sequence, and the mask of the scan's head given."""
    dark = placed(head.with_array(np.where(head.array > 0, 1200 - head.array, 0).clip(0)), MOVED)
    left = np.linalg.inv(MOVED) @ register_rigid(dark, scan, fixed_mask=foreground(scan)).matrix
    assert np.linalg.norm((CORNERS @ left.T - CORNERS)[:, :3], axis=1).max() < 1.5


def test_the_result_repeats_to_the_last_digit_and_the_thread_count_is_put_back(
    head: Image, scan: Image, coarse_levels: None
) -> None:
    threads = SimpleITK.ProcessObject.GetGlobalDefaultNumberOfThreads()
    first, again = (register_rigid(placed(head, MOVED), scan).matrix for _ in range(2))
    assert np.array_equal(first, again)
    assert SimpleITK.ProcessObject.GetGlobalDefaultNumberOfThreads() == threads


def test_foreground_is_the_head(head: Image) -> None:
    truth = ndimage.binary_fill_holes(head.array > 0)
    found = foreground(head)
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.95


def test_something_else_than_this_head_is_refused(head: Image, scan: Image, coarse_levels: None) -> None:
    clouds = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal(head.shape), 3)
    other = head.with_array(500 + 200 * clouds / clouds.std())
    with pytest.raises(BadInput, match="could not be registered|cannot be registered"):
        register_rigid(other, scan)


def test_a_reference_that_shows_a_third_of_the_head_is_refused(head: Image, scan: Image, coarse_levels: None) -> None:
    part = Image(head.array[:, :, :20], head.affine, "T1w")
    with pytest.raises(BadInput, match="registered"):
        register_rigid(part, scan)


def test_cancel_and_progress(head: Image, scan: Image) -> None:
    seen: list[dict] = []

    def sink(event: dict) -> None:
        seen.append(event)
        events.cancel()

    events = Events(sink)
    with pytest.raises(Cancelled):
        register_rigid(head, scan, events)
    assert [e["stage"] for e in seen] == ["register the reference"]
