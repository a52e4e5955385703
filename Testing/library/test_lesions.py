"""Lesions of known contrast, size and edge in a plain brain."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy import ndimage

from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.evaluation.lesions import (
    UNMEASURED,
    lesion_report,
    lesion_section,
    outside_brain,
    sphere_diameter,
)  # fmt: skip
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.segmentation.labels import LabelMap

SHAPE = (48, 44, 40)
TISSUE, NOISE = 400.0, 10.0
BRAIN = np.ones(SHAPE, dtype=bool)
CENTRES = {1: (15, 15, 20), 2: (33, 30, 20)}
RADII = {1: 6.0, 2: 4.0}


def distance(centre: tuple[float, float, float]) -> np.ndarray:
    return np.sqrt(sum((index - c) ** 2 for index, c in zip(np.indices(SHAPE), centre, strict=True)))


def brain_with(contrasts: dict[int, float], blur: float = 0.0, seed: int = 1) -> Image:
    """Balls 1 and 2 with the given relative contrasts in noisy tissue; the noise is not blurred."""
    array = np.full(SHAPE, TISSUE)
    for n, contrast in contrasts.items():
        array[distance(CENTRES[n]) <= RADII[n]] *= 1 + contrast
    array = ndimage.gaussian_filter(array, blur) if blur else array
    noise = NOISE * np.random.default_rng(seed).standard_normal(SHAPE)
    return Image((array + noise).astype(np.float32), np.eye(4), "FLAIR")


def drawn(*numbers: int) -> LabelMap:
    array = np.zeros(SHAPE, dtype=np.uint8)
    for n in numbers:
        array[distance(CENTRES[n]) <= RADII[n]] = 1
    return LabelMap(array, np.eye(4), {})


def test_contrast_volume_and_place_are_those_of_the_ball() -> None:
    image = brain_with({1: 0.5, 2: -0.3})
    rows = lesion_report(image, image, drawn(1, 2), BRAIN)
    assert [row["centre_ras_mm"] for row in rows] == [[15, 15, 20], [33, 30, 20]]
    for row, contrast, n in zip(rows, (50, -30), (1, 2), strict=True):
        count = int((distance(CENTRES[n]) <= RADII[n]).sum())
        assert row["volume_mm3"] == count
        for name in ("input", "enhanced"):
            assert row[name]["contrast_percent"] == pytest.approx(contrast, abs=1)
            assert row[name]["volume_mm3"] == pytest.approx(count, rel=0.02)
            assert row[name]["visible"]
        assert row["survives"]
        assert row["contrast_change_percent"] == 0
    assert "reference" not in rows[0]


def test_difference_is_counted_in_the_noise_of_the_shell() -> None:
    image = brain_with({1: 0.5})
    row = lesion_report(image, image, drawn(1), BRAIN)[0]
    assert row["input"]["difference_sd"] == pytest.approx(0.5 * TISSUE / NOISE, rel=0.1)


@pytest.mark.parametrize("blur", [1.2, 1.8])
def test_edge_is_the_ten_to_ninety_percent_width_of_the_blur(blur: float) -> None:
    image = brain_with({1: 0.8}, blur)
    edge = lesion_report(image, image, drawn(1), BRAIN)[0]["input"]["edge_mm"]
    assert edge == pytest.approx(2.563 * blur, rel=0.2)


def test_a_sharper_image_has_a_shorter_edge() -> None:
    row = lesion_report(brain_with({1: 0.8}, 1.8), brain_with({1: 0.8}, 0.8), drawn(1), BRAIN)[0]
    assert row["enhanced"]["edge_mm"] < 0.7 * row["input"]["edge_mm"]


@pytest.mark.parametrize(("left", "survives"), [(0.5, True), (0.3, True), (0.2, False), (0.0, False), (-0.5, False)])
def test_half_of_the_contrast_with_its_sign_survives(left: float, survives: bool) -> None:
    row = lesion_report(brain_with({1: 0.5}), brain_with({1: left}, seed=2), drawn(1), BRAIN)[0]
    assert row["survives"] is survives
    assert row["contrast_change_percent"] == pytest.approx(100 * (left - 0.5) / 0.5, abs=2)


def test_the_reference_is_the_base_when_there_is_one() -> None:
    truth, blurred = brain_with({1: 0.5}), brain_with({1: 0.2})
    with_reference = lesion_report(blurred, blurred, drawn(1), BRAIN, reference=truth)[0]
    assert with_reference["survives"] is False
    assert with_reference["reference"]["contrast_percent"] == pytest.approx(50, abs=1)
    assert lesion_report(blurred, blurred, drawn(1), BRAIN)[0]["survives"] is True


def test_what_the_base_does_not_show_is_not_judged() -> None:
    row = lesion_report(brain_with({}), brain_with({1: 0.5}), drawn(1), BRAIN)[0]
    assert row["input"]["visible"] is False
    assert row["survives"] is None
    section = lesion_section([row])
    assert (section["judged"], section["surviving"]) == (0, 0)


def test_a_reference_judges_only_where_it_was_measured() -> None:
    image = brain_with({1: -0.5, 2: -0.5})
    # region 1 ends at 21 and can grow to 24
    for edge, fates in ((25, [True, None]), (24, [None, None]), (48, [True, True])):
        field = np.arange(SHAPE[0])[:, None, None] < np.full(SHAPE, edge)
        cut = image.with_array(np.where(field, image.array, 0.0))
        rows = lesion_report(image, image, drawn(1, 2), BRAIN, cut, field=field)
        assert [row["survives"] for row in rows] == fates
        for row in rows:
            figures = row["reference"] if row["survives"] else row["input"]
            assert figures["contrast_percent"] == pytest.approx(-50, abs=1)
            if not row["survives"]:
                assert row["not_judged"] == UNMEASURED
                assert set(row["reference"].values()) == {None}


def test_a_region_that_grew_or_shrank_has_its_volume_change() -> None:
    grown = np.full(SHAPE, TISSUE)
    grown[distance(CENTRES[1]) <= RADII[1] + 2] *= 1.5
    row = lesion_report(brain_with({1: 0.5}), brain_with({}).with_array(grown), drawn(1), BRAIN)[0]
    expected = ((RADII[1] + 2) / RADII[1]) ** 3 - 1
    assert row["volume_change_percent"] == pytest.approx(100 * expected, rel=0.1)


def test_the_shell_is_taken_from_its_most_frequent_tissue() -> None:
    """Fluid that fills almost half of the shell would shift the median of all of it."""
    image = brain_with({1: 0.5})
    fluid = distance(CENTRES[1]) > RADII[1] + 2.5
    fluid[18:] = False
    fluid[:, :14] = False
    array = np.where(fluid, 3 * TISSUE, image.array)
    anatomy = LabelMap(np.where(fluid, 4, 2), np.eye(4), {})
    image = image.with_array(array)
    with_labels = lesion_report(image, image, drawn(1), BRAIN, labels=anatomy)[0]["input"]
    without = lesion_report(image, image, drawn(1), BRAIN)[0]["input"]
    assert with_labels["contrast_percent"] == pytest.approx(50, abs=1)
    assert with_labels["difference_sd"] > 1.3 * without["difference_sd"]


def test_other_lesions_are_not_in_the_shell() -> None:
    array = np.full(SHAPE, TISSUE) + np.random.default_rng(0).standard_normal(SHAPE)
    marks = np.zeros(SHAPE, dtype=np.uint8)
    inside = distance(CENTRES[1]) <= 4
    ring = (distance(CENTRES[1]) > 6.5) & (distance(CENTRES[1]) <= 11) & (np.indices(SHAPE)[2] >= 15)
    marks[inside], marks[ring] = 1, 2
    array[inside | ring] = 2 * TISSUE
    image = Image(array, np.eye(4))
    rows = lesion_report(image, image, LabelMap(marks, np.eye(4), {}), BRAIN)
    assert {row["label"] for row in rows} == {1, 2}
    assert next(row for row in rows if row["label"] == 1)["input"]["contrast_percent"] == pytest.approx(100, abs=1)


def test_regions_are_found_on_another_grid_and_small_ones_left_out() -> None:
    image = brain_with({1: 0.5, 2: 0.5})
    flipped = drawn(1, 2)
    affine = np.diag([-1.0, 1, 1, 1])
    affine[0, 3] = SHAPE[0] - 1
    rows = lesion_report(image, image, LabelMap(flipped.array[::-1], affine, {}), BRAIN, min_mm3=500)
    assert [row["centre_ras_mm"] for row in rows] == [[15, 15, 20]]
    assert rows[0]["number"] == 1


def test_all_figures_are_in_millimetres_whatever_the_voxels() -> None:
    shape, spacing, origin = (36, 40, 44), np.array([1.6, 1.3, 1.0]), np.array([-20.0, 5.0, 11.0])
    world = np.indices(shape) * spacing[:, None, None, None] + origin[:, None, None, None]
    centre, radius, blur = origin + spacing * 18, 8.0, 1.8
    ball = np.sqrt(((world - centre[:, None, None, None]) ** 2).sum(0)) <= radius
    array = ndimage.gaussian_filter(TISSUE * (1 + 0.8 * ball), blur / spacing)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = origin
    image = Image(array + np.random.default_rng(1).standard_normal(shape), affine, "FLAIR")
    (row,) = lesion_report(image, image, LabelMap(ball, affine, {}), np.ones(shape, bool))
    sphere = 4 / 3 * math.pi * radius**3
    assert row["centre_ras_mm"] == pytest.approx(centre, abs=0.05)
    assert row["volume_mm3"] == pytest.approx(sphere, rel=0.03)
    assert row["diameter_mm"] == pytest.approx(2 * radius, rel=0.01)
    assert row["input"]["volume_mm3"] == pytest.approx(sphere, rel=0.1)
    assert row["input"]["edge_mm"] == pytest.approx(2.563 * blur, rel=0.2)


def test_the_largest_region_is_the_first_whatever_its_label() -> None:
    image, marks = brain_with({1: 0.5, 2: 0.5}), np.zeros(SHAPE, dtype=np.uint8)
    for n, label in ((1, 7), (2, 3)):
        marks[distance(CENTRES[n]) <= RADII[n]] = label
    rows = lesion_report(image, image, LabelMap(marks, np.eye(4), {}), BRAIN)
    assert [(row["number"], row["label"]) for row in rows] == [(1, 7), (2, 3)]


@pytest.mark.parametrize(("cut", "regions"), [(8, 0), (11, 0), (12, 1), (16, 1), (40, 2)])
def test_a_region_counts_as_outside_from_a_tenth_of_it_on(cut: int, regions: int) -> None:
    image, brain, marked = brain_with({}), BRAIN.copy(), drawn(1, 2)
    brain[:cut] = False
    lost = int((marked.array[:cut] > 0).sum())
    first = float((distance(CENTRES[1]) <= RADII[1])[:cut].sum() / (distance(CENTRES[1]) <= RADII[1]).sum())
    assert (first > 0.1) == (regions > 0)
    found = outside_brain(marked, image, brain)
    assert (found["regions"], found["volume_mm3"]) == (regions, lost)


def test_what_touches_at_a_corner_is_one_region() -> None:
    image, marks = brain_with({}), np.zeros(SHAPE, dtype=np.uint8)
    marks[10:14, 10:14, 10:14] = marks[14:18, 14:18, 14:18] = 1
    (row,) = lesion_report(image, image, LabelMap(marks, np.eye(4), {}), BRAIN)
    assert row["volume_mm3"] == 2 * 4**3


def test_a_map_between_the_voxels_keeps_its_labels() -> None:
    affine = np.eye(4)
    affine[:3, 3] = 0.4
    marks = LabelMap(9 * drawn(1).array, affine, {})
    (row,) = lesion_report(brain_with({1: 0.5}), brain_with({1: 0.5}), marks, BRAIN)
    assert row["label"] == 9 and row["volume_mm3"] == drawn(1).array.sum()


def test_what_is_bright_beside_a_region_without_touching_it_is_not_its_volume() -> None:
    beside = (distance(CENTRES[1]) > 7.8) & (distance(CENTRES[1]) <= 9) & (np.indices(SHAPE)[0] > CENTRES[1][0])
    image = brain_with({1: 0.5})
    image = image.with_array(np.where(beside, 1.5 * TISSUE, image.array))
    (row,) = lesion_report(image, image, drawn(1), BRAIN)
    assert beside.sum() > 0.2 * drawn(1).array.sum()
    assert row["input"]["volume_mm3"] == pytest.approx(drawn(1).array.sum(), rel=0.02)


def test_the_section_is_strict_json_with_its_criterion() -> None:
    image = brain_with({1: 0.5, 2: 0.5})
    section = json.loads(json.dumps(lesion_section(lesion_report(image, image, drawn(1, 2), BRAIN)), allow_nan=False))
    assert (section["judged"], section["surviving"]) == (2, 2)
    assert "half of its contrast" in section["criterion"]
    assert "error" not in json.dumps(section)


def test_diameter_is_that_of_the_sphere() -> None:
    assert sphere_diameter(4 / 3 * math.pi * 2.5**3) == pytest.approx(5.0)


def test_refuses_a_map_that_marks_nothing_here() -> None:
    image = brain_with({1: 0.5})
    away = LabelMap(drawn(1).array, np.eye(4) + np.array([[0, 0, 0, 900.0]] + [[0] * 4] * 3), {})
    for region in (away, LabelMap(np.zeros(SHAPE), np.eye(4), {})):
        with pytest.raises(BadInput, match="marks nothing"):
            lesion_report(image, image, region, BRAIN)
    with pytest.raises(BadInput, match="as large as"):
        lesion_report(image, image, drawn(1), BRAIN, min_mm3=1e6)
    with pytest.raises(BadInput, match="one grid"):
        lesion_report(image, Image(image.array[1:], np.eye(4)), drawn(1), BRAIN)


def test_a_region_beyond_the_scans_field_of_view_is_outside_the_brain_and_not_forgotten() -> None:
    image, wide = brain_with({1: 0.5}), np.eye(4)
    wide[:3, 3] = -30
    marks = np.zeros([n + 60 for n in SHAPE], np.uint8)
    marks[30:-30, 30:-30, 30:-30] = drawn(1).array
    marks[2:7, 50:55, 50:54] = 1
    found = outside_brain(LabelMap(marks, wide, {}), image, BRAIN)
    assert (found["regions"], found["volume_mm3"]) == (1, 100)
    assert found["text"].startswith("1 marked region lies wholly or partly outside")
    (row,) = lesion_report(image, image, LabelMap(marks, wide, {}), BRAIN)
    assert row["volume_mm3"] == drawn(1).array.sum()


def test_a_region_between_the_voxels_of_the_working_grid_is_followed_in_the_nearest() -> None:
    image, half = brain_with({1: 0.5}), np.diag([0.5, 0.5, 0.5, 1.0])
    marks = np.kron(drawn(1).array, np.ones((2, 2, 2), np.uint8))
    marks[61, 61, 41] = 5  # centre (30.5, 30.5, 20.5): none of the voxels lies there
    rows = lesion_report(image, image, LabelMap(marks, half, {}), BRAIN)
    assert [row["label"] for row in rows] == [1, 5]
    assert np.abs(np.subtract(rows[1]["centre_ras_mm"], 30.5, where=[True, True, False], out=np.zeros(3))).max() <= 0.5
