"""Added detail is found by planting it: spots put in, structures taken out, and detail that the scan cannot see."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from phantoms import FLUID, GREY, WHITE, phantom_head
from scipy import ndimage

from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.evaluation.added_detail import (
    FLAG_PERCENT,
    AddedDetail,
    added_detail,
    cropped,
    local_contrast,
    support,
)
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.physics.noise import filter_noise
from LowFieldEnhanceLib.physics.operator import ForwardOperator
from LowFieldEnhanceLib.physics.simulate import Protocol, simulate
from LowFieldEnhanceLib.preprocess.grid import Grid, resample

SHAPE = (72, 80, 60)
SIGMA = WHITE / 20
SPOT_MM = (25.0, -28.0, 4.0)  # in plain white matter
LESION_MM = (-25.0, -28.0, 0.0)
BRIGHT = 0.3 * WHITE


def ball(image: Image, centre: tuple[float, float, float], diameter: float) -> np.ndarray:
    """A ball with an edge one voxel wide, 0..1."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in image.shape), indexing="ij"), axis=-1)
    world = index @ image.affine[:3, :3].T + image.affine[:3, 3]
    return np.clip(diameter / 2 + 0.5 - np.linalg.norm(world - np.asarray(centre), axis=-1), 0, 1)


class Head:
    """The middle of a phantom head at 1 mm with a bright lesion, its noisy 1.6 x 1.6 x 5 mm scan, and that at 1 mm."""

    def __init__(self) -> None:
        plain = phantom_head(SHAPE, (1.0, 1.0, 1.0))[0]
        self.without_lesion = plain
        self.truth = plain.with_array(plain.array + BRIGHT * ball(plain, LESION_MM, 8.0))
        self.scan = simulate(self.truth, Protocol(snr=20.0), seed=4, signal_level=WHITE)
        self.before = resample(self.scan, Grid.of(self.truth), "cubic")
        self.brain = np.zeros(SHAPE, dtype=bool)
        self.brain[6:-6, 6:-6, 6:-6] = True

    def judge(self, enhanced: Image) -> AddedDetail:
        return added_detail(self.before, enhanced, self.scan, SIGMA, self.brain)


@pytest.fixture(scope="module")
def head() -> Head:
    return Head()


@pytest.fixture(scope="module")
def clean(head: Head) -> AddedDetail:
    return head.judge(head.truth)


def at(detail: Image, region: np.ndarray) -> float:
    return float(detail.array[region > 0.5].mean())


@pytest.mark.parametrize("diameter", [4.0, 5.0, 6.0])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_planted_spot_is_flagged_and_stands_out(head: Head, diameter: float, sign: int) -> None:
    spot = ball(head.truth, SPOT_MM, diameter)
    found = head.judge(head.truth.with_array(head.truth.array + sign * BRIGHT * spot))
    assert sign * at(found.percent, spot) > 2 * FLAG_PERCENT
    distance = ndimage.distance_transform_edt(spot == 0)
    around = (distance > 3) & (distance < 10)
    assert abs(at(found.percent, spot)) > 5 * np.abs(found.percent.array[around]).mean()


@pytest.mark.parametrize("diameter", [5.0, 6.0])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_planted_spot_as_wide_as_a_slice_is_the_first_that_is_named(head: Head, diameter: float, sign: int) -> None:
    spot = ball(head.truth, SPOT_MM, diameter)
    first = head.judge(head.truth.with_array(head.truth.array + sign * BRIGHT * spot)).summary["spots"][0]
    assert np.linalg.norm(np.subtract(first["centre_ras_mm"], SPOT_MM)) < 2.5
    assert first["sign"] == ("brighter" if sign > 0 else "darker")
    assert sign * first["peak_percent"] > FLAG_PERCENT


def test_a_planted_spot_is_above_999_of_1000_other_voxels(head: Head) -> None:
    spot = ball(head.truth, SPOT_MM, 5.0)
    found = head.judge(head.truth.with_array(head.truth.array + BRIGHT * spot)).contradicting.array
    assert np.mean(np.abs(found[head.brain & (spot == 0)]) < found[spot > 0.5].max()) > 0.999


def test_a_lesion_taken_out_is_the_first_that_is_named(head: Head, clean: AddedDetail) -> None:
    lesion = ball(head.truth, LESION_MM, 8.0)
    found = head.judge(head.without_lesion)
    assert at(found.contradicting, lesion) < -2 * FLAG_PERCENT
    assert abs(at(clean.contradicting, lesion)) < 0.2 * FLAG_PERCENT
    first = found.summary["spots"][0]
    assert first["sign"] == "darker"
    assert np.linalg.norm(np.subtract(first["centre_ras_mm"], LESION_MM)) < 2.5


def test_detail_that_the_slice_averages_away_is_unseen_not_contradicted(head: Head) -> None:
    """Planes that alternate by voxel along the slice direction have no mean over a 5 mm slice."""
    stripes = np.where(np.arange(SHAPE[2]) % 2 == 0, 1.0, -1.0) * (ball(head.truth, SPOT_MM, 20.0) > 0.5)
    plain = head.judge(head.truth)
    found = head.judge(head.truth.with_array(head.truth.array + 0.1 * WHITE * stripes))
    inner = (ball(head.truth, SPOT_MM, 14.0) > 0.5) & head.brain
    unseen = (found.unseen.array - plain.unseen.array)[inner] * stripes[inner]
    against = (found.contradicting.array - plain.contradicting.array)[inner]
    assert unseen.min() > 0.3 * FLAG_PERCENT
    assert np.abs(against).mean() < 0.05 * unseen.mean()


def test_the_truth_contradicts_its_own_scan_hardly_anywhere(clean: AddedDetail) -> None:
    assert clean.summary["share_flagged"]["contradicting"] < 0.01
    assert clean.summary["share_flagged"]["unseen"] > clean.summary["share_flagged"]["contradicting"]


def test_noise_that_neighbours_share_is_noise_too(head: Head, clean: AddedDetail) -> None:
    """A scanner's filter leaves noise in patches; against the truth itself they are no contradiction."""
    exact = simulate(head.truth, Protocol(snr=float("inf")))
    noise = torch.randn(exact.shape, generator=torch.Generator().manual_seed(4))
    patches = exact.with_array(exact.array + SIGMA * filter_noise(noise, (1.8, 1.8, 1.4)).numpy())
    before = resample(patches, Grid.of(head.truth), "cubic")
    found = added_detail(before, head.truth, patches, SIGMA, head.brain).summary["share_flagged"]
    assert found["contradicting"] < 1.5 * clean.summary["share_flagged"]["contradicting"] + 1e-3


def test_interpolation_adds_less_than_half_of_the_unseen_detail_of_the_truth(head: Head, clean: AddedDetail) -> None:
    cubic = head.judge(head.before).summary["rms_percent"]["unseen"]
    assert cubic < 0.4 * clean.summary["rms_percent"]["unseen"]


@pytest.mark.parametrize("sign", [1, -1])
def test_what_is_flagged_is_brighter_or_darker(head: Head, clean: AddedDetail, sign: int) -> None:
    spot = ball(head.truth, SPOT_MM, 20.0)
    found = head.judge(head.truth.with_array(head.truth.array + sign * BRIGHT * spot)).summary
    assert found["share_brighter"] + found["share_darker"] == pytest.approx(found["share_flagged"]["all"], abs=1e-12)
    more, less = ("share_brighter", "share_darker")[::sign]
    assert found[more] - clean.summary[more] > 2 * abs(found[less] - clean.summary[less])


def test_a_part_of_an_image_stays_at_its_place() -> None:
    affine = np.array([[0, -1.5, 0, 7.0], [2.0, 0, 0, -3.0], [0, 0, 3.0, 11.0], [0, 0, 0, 1]])
    image = Image(np.arange(5 * 6 * 7).reshape(5, 6, 7), affine, "T2w")
    part = cropped(image, (slice(1, 4), slice(2, 6), slice(3, 5)))
    assert part.shape == (3, 4, 2) and part.contrast == "T2w"
    for index in np.ndindex(part.shape):
        whole = tuple(np.add(index, (1, 2, 3)))
        assert part.array[index] == image.array[whole]
        np.testing.assert_allclose(part.affine @ [*index, 1], affine @ [*whole, 1])


def test_a_change_of_intensity_scale_is_no_detail(head: Head, clean: AddedDetail) -> None:
    scaled = head.judge(head.truth.with_array(3.0 * head.truth.array + 100.0))
    assert np.allclose(scaled.percent.array, clean.percent.array, atol=0.5)


def test_the_two_parts_add_up_and_end_at_the_brain(head: Head, clean: AddedDetail) -> None:
    assert np.allclose(clean.percent.array, clean.contradicting.array + clean.unseen.array, atol=1e-3)
    assert not clean.percent.array[~head.brain].any()
    assert np.array_equal(clean.percent.affine, head.before.affine)


def test_the_summary_is_json_and_says_nothing_of_error(clean: AddedDetail) -> None:
    text = json.dumps(clean.summary, allow_nan=False)
    assert "error" not in text
    assert "accuracy" not in text


TURN = np.array([[0.96, -0.28, 0, 0], [0.28, 0.96, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])


@pytest.mark.parametrize("grid", ["parallel", "flipped and permuted", "oblique"])
def test_support_is_the_regularised_least_squares_solution(grid: str) -> None:
    """Against the dense solve with the same lambda."""
    fine, coarse = (9, 8, 10), (5, 4, 3)
    affine = np.diag([2.0, 2.0, 3.5, 1.0])
    if grid == "oblique":
        affine = TURN @ affine
    elif grid == "flipped and permuted":
        affine, coarse = affine[:, [2, 0, 1, 3]], (3, 5, 4)
        affine[:3, 3] += affine[:3, 1] * 4
        affine[:3, 1] *= -1
    operator = ForwardOperator(fine, np.eye(4), coarse, affine, dtype=torch.float64)
    columns = torch.eye(720, dtype=torch.float64).reshape(720, *fine)
    dense = operator(columns).reshape(720, -1).T.numpy()
    gram = dense @ dense.T
    measured = np.random.default_rng(2).random(60)
    found = support(operator, torch.from_numpy(measured).reshape(coarse)).numpy().ravel()
    shift = 0.02 * np.linalg.eigvalsh(gram)[-1]
    expected = dense.T @ np.linalg.solve(gram + shift * np.eye(60), measured)
    assert np.linalg.norm(found - expected) < (0.02 if grid == "oblique" else 1e-9) * np.linalg.norm(expected)


def test_local_contrast_of_two_equal_shares_is_their_difference() -> None:
    board = np.indices((24, 24, 24)).sum(axis=0) % 2 * (WHITE - GREY) + GREY
    contrast = local_contrast(board, np.ones(board.shape, dtype=bool), (1.0, 1.0, 1.0), 1.0)
    assert contrast == pytest.approx(np.full(board.shape, WHITE - GREY), rel=0.02)
    flat = local_contrast(np.full(board.shape, FLUID), np.ones(board.shape, dtype=bool), (1.0, 1.0, 1.0), 7.0)
    assert (flat == 7.0).all()


def test_refuses_other_grids_no_noise_and_a_scan_elsewhere(head: Head) -> None:
    small = Image(head.truth.array[1:], head.truth.affine, "T1w")
    with pytest.raises(BadInput, match="one grid"):
        head.judge(small)
    with pytest.raises(BadInput, match="noise level"):
        added_detail(head.before, head.truth, head.scan, 0.0, head.brain)
    away = Image(head.scan.array, head.scan.affine + np.array([[0, 0, 0, 500.0]] + [[0] * 4] * 3), "T1w")
    with pytest.raises(BadInput, match="does not cover"):
        added_detail(head.before, head.truth, away, SIGMA, head.brain)
