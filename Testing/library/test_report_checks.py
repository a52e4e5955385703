"""The input checks: each one fails for its own reason, with the figure in its sentence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from LowFieldEnhanceLib.evaluation.input_checks import cut_edges, input_checks
from LowFieldEnhanceLib.evaluation.input_intensity import intensity_figures
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.segmentation.labels import LabelMap

SHAPE = (40, 44, 36)
GRID = Image(np.ones(SHAPE), np.diag([4.0, 4.0, 4.0, 1.0]), "T1w")
SEEN = {"clipped_percent": [0.0, 1.0], "white_level": [0.7, 0.85], "grey_to_white": [0.6, 0.9]}
USUAL = {"clipped_percent": 0.2, "white_level": 0.78, "grey_to_white": 0.75}
SOURCE = {"spacing": [1.6, 1.6, 5.0], "snr_brightest": 20.0, "brain_ml": 1400.0, "contrast": "T1w"}


def brain_mask() -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[5:35, 5:35, 5:30] = True
    return mask


def failed(checks: list[dict[str, Any]]) -> dict[str, str]:
    return {check["name"]: check["text"] for check in checks if not check["ok"]}


def test_a_plain_scan_passes_every_check() -> None:
    checks = input_checks(SOURCE, GRID, brain_mask())
    assert [check["name"] for check in checks] == ["spacing", "noise", "brain volume", "field of view", "contrast",
                                               "field strength"]  # fmt: skip
    assert failed(checks) == {}


@pytest.mark.parametrize(
    ("name", "changes", "text"),
    [
        ("spacing", {"spacing": [0.5, 1.0, 5.0]}, "voxels of 0.5 x 1 x 5 mm are outside the 1 to 6 mm"),
        ("spacing", {"spacing": [1.0, 1.0, 7.0]}, "voxels of 1 x 1 x 7 mm are outside"),
        ("noise", {"snr_brightest": 4.9}, "is 4.9, below 5"),
        ("noise", {"snr_brightest": None}, "unknown"),
        ("brain volume", {"brain_ml": 799.0}, "measures 799 mL, outside"),
        ("brain volume", {"brain_ml": 2001.0}, "measures 2001 mL, outside"),
        ("contrast", {"contrast": "other"}, "unknown"),
        ("field strength", {"field_t": 3.0}, "is 3 T, outside the 0.05 to 0.5 T"),
        ("field strength", {"field_t": 0.55}, "is 0.55 T, outside"),
        ("field strength", {"field_t": 0.02}, "is 0.02 T, outside"),
    ],
)
def test_each_check_fails_for_its_own_reason_only(name: str, changes: dict[str, Any], text: str) -> None:
    found = failed(input_checks({**SOURCE, **changes}, GRID, brain_mask()))
    assert list(found) == [name]
    assert text in found[name]


@pytest.mark.parametrize(
    "changes",
    [
        {"spacing": [0.99, 1.0, 6.01]},
        {"snr_brightest": 5.0},
        {"brain_ml": 800.0},
        {"brain_ml": 2000.0},
        {"field_t": 0.05},
        {"field_t": 0.5},
    ],  # fmt: skip
)
def test_the_limits_themselves_pass(changes: dict[str, Any]) -> None:
    assert failed(input_checks({**SOURCE, **changes}, GRID, brain_mask())) == {}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("spacing", "outside the 2 to 4 mm"),
        ("noise", "is 20.0, below 25"),
        ("contrast", "the contrast is T1w, the models know T2w, FLAIR"),
        ("field strength", "is 0.064 T, outside the 0.1 to 0.5 T"),
    ],
)
def test_what_the_models_were_trained_for_decides(name: str, text: str) -> None:
    valid = {"spacing_mm": [2.0, 4.0], "snr": [25.0, 40.0], "contrasts": ["T2w", "FLAIR"], "field_t": [0.1, 0.5]}
    assert text in failed(input_checks({**SOURCE, "field_t": 0.064}, GRID, brain_mask(), valid_range=valid))[name]


def test_a_scan_with_less_noise_than_any_seen_in_training_is_outside_too() -> None:
    valid = {"snr": [8.0, 40.0]}
    assert failed(input_checks(SOURCE, GRID, brain_mask(), valid_range=valid)) == {}
    text = failed(input_checks({**SOURCE, "snr_brightest": 130.0}, GRID, brain_mask(), valid_range=valid))["noise"]
    assert "is 130.0, above 40" in text and "interpolated" in text


def test_a_field_strength_that_no_header_gives_is_unknown_and_no_reason_to_warn() -> None:
    checks = input_checks({**SOURCE, "field_t": None}, GRID, brain_mask())
    assert failed(checks) == {} and "is unknown" in checks[-1]["text"]


def test_only_spacing_noise_contrast_field_and_intensity_are_the_range_of_the_weights() -> None:
    checks = input_checks({**SOURCE, "intensity": USUAL}, GRID, brain_mask(), GRID, {"intensity": {"T1w": SEEN}})
    assert {c["name"] for c in checks if c["trained_range"]} == {
        "spacing", "noise", "contrast", "field strength", "intensity",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"clipped_percent": 7.5}, "7.5 % of the brain is brighter than the networks' range, outside the 0 to 1"),
        ({"white_level": 0.4}, "white matter lies at 0.40 of the intensity scale, outside the 0.7 to 0.85"),
        ({"grey_to_white": 1.3}, "the cortex has 1.30 times the signal of white matter, outside the 0.6 to 0.9"),
        ({"grey_to_white": None}, "white matter or cortex was not found"),
    ],
)
def test_intensities_that_no_network_saw_are_named(changes: dict[str, Any], text: str) -> None:
    valid = {"intensity": {"T1w": SEEN}}
    inside = input_checks({**SOURCE, "intensity": USUAL}, GRID, brain_mask(), valid_range=valid)
    assert failed(inside) == {}
    found = failed(input_checks({**SOURCE, "intensity": {**USUAL, **changes}}, GRID, brain_mask(), valid_range=valid))
    assert list(found) == ["intensity"] and text in found["intensity"]


def test_an_unknown_contrast_is_held_against_t1w_and_another_contrast_against_its_own_range() -> None:
    valid = {"intensity": {"T1w": SEEN, "T2w": {"grey_to_white": [1.1, 1.6]}}}
    source = {**SOURCE, "intensity": {**USUAL, "grey_to_white": 1.3}}
    names = [
        "intensity" in failed(input_checks({**source, "contrast": contrast}, GRID, brain_mask(), valid_range=valid))
        for contrast in ("other", "T2w")
    ]
    assert names == [True, False]


def test_what_is_clipped_is_brighter_than_the_networks_range() -> None:
    """A 90th percentile of 100 is scaled to 0.8, so that the range ends at 100 x 1.25 x 1.25 = 156.25."""
    array = np.full((10, 10, 10), 100.0)
    array.ravel()[:30], array.ravel()[30:40] = 160.0, 155.0
    figures = intensity_figures(array, np.ones_like(array, bool), np.zeros(array.shape, np.uint8))
    assert figures["clipped_percent"] == pytest.approx(3.0)


def test_intensity_figures_are_those_of_a_head_of_known_tissues_in_any_unit() -> None:
    """White matter 80, cortex 60, 5 % of the brain at 400: the scale is 1.25 x 80, and its range ends at 125."""
    labels = np.zeros((20, 20, 20), np.uint8)
    labels[:10], labels[10:19], labels[19] = 2, 42, 4
    tissue = np.zeros(256)
    tissue[[2, 42, 4]] = 80.0, 60.0, 400.0
    for unit in (1.0, 37.0):
        figures = intensity_figures(unit * tissue[labels], labels > 0, labels)
        assert figures == pytest.approx({"clipped_percent": 5.0, "white_level": 0.8, "grey_to_white": 0.75})
    nothing = intensity_figures(np.zeros((20, 20, 20)), labels > 0, labels)
    assert set(nothing.values()) == {None}
    without = intensity_figures(tissue[labels], labels > 0, np.zeros_like(labels))
    assert without["clipped_percent"] == pytest.approx(5.0) and without["grey_to_white"] is None


@pytest.mark.parametrize(("registered", "said"), [(True, "it was registered"), (False, "it was not registered")])
def test_the_reference_check_says_whether_it_was_moved(registered: bool, said: str) -> None:
    checks = input_checks(SOURCE, GRID, brain_mask(), GRID, registered=registered)
    assert said in checks[-1]["text"]


@pytest.mark.parametrize(
    ("face", "edge"),
    [
        (np.s_[0, 10:20, 10:20], "left"),  # index 0 of a RAS grid is the patient's left
        (np.s_[-1, 10:20, 10:20], "right"),
        (np.s_[10:20, 0, 10:20], "posterior"),
        (np.s_[10:20, -1, 10:20], "anterior"),
        (np.s_[10:20, 10:20, 0], "inferior"),
        (np.s_[10:20, 10:20, -1], "superior"),
    ],
)
def test_the_edge_that_cuts_the_brain_is_named(face: tuple[Any, ...], edge: str) -> None:
    mask = brain_mask()
    mask[face] = True
    assert cut_edges(GRID, mask) == [edge]
    assert failed(input_checks(SOURCE, GRID, mask)) == {
        "field of view": f"the field of view cuts the brain at its {edge} edge"
    }


def test_a_stray_voxel_at_the_edge_is_no_cut() -> None:
    mask = brain_mask()
    mask[0, 10, 10:13] = True  # 48 mm^2
    assert cut_edges(GRID, mask) == []
    mask[0, 10, 13] = True
    assert cut_edges(GRID, mask) == ["left"]


def test_a_reference_must_cover_nine_tenths_of_the_brain() -> None:
    array = np.zeros(SHAPE)
    array[:31] = 500.0  # 26 of the brain's 30 planes
    found = failed(input_checks(SOURCE, GRID, brain_mask(), GRID.with_array(array)))
    assert "covers 87 % of the brain" in found["reference"]
    array[31] = 500.0
    assert failed(input_checks(SOURCE, GRID, brain_mask(), GRID.with_array(array))) == {}


def anatomy(behind: int, below: int) -> LabelMap:
    """A cerebrum of both hemispheres, and a cerebellum so many voxels of 4 mm behind and below its centre."""
    array = np.zeros((20, 40, 40), np.uint8)
    array[:10, 16:24, 16:24], array[10:, 16:24, 16:24] = 41, 2
    array[6:14, 18 - behind : 22 - behind, 18 - below : 22 - below] = 8
    return LabelMap(array, np.diag([4.0, 4.0, 4.0, 1.0]), {})


def orientation(labels: LabelMap) -> list[dict[str, Any]]:
    return [c for c in input_checks(SOURCE, GRID, brain_mask(), labels=labels) if c["name"] == "orientation"]


def test_the_cerebellum_tells_whether_head_and_face_lie_where_the_header_says() -> None:
    found = orientation(anatomy(10, 10))
    assert [(check["ok"], check["trained_range"]) for check in found] == [(True, False)]
    assert "left and right" in found[0]["text"]
    for behind, below in ((-10, 10), (10, -10), (-10, -10)):  # face and head the wrong way round
        assert [check["ok"] for check in orientation(anatomy(behind, below))] == [False]


def test_orientation_is_judged_in_the_world_not_along_the_voxels() -> None:
    flipped = anatomy(10, 10)
    affine = flipped.affine @ np.diag([1.0, -1.0, 1.0, 1.0])
    assert not orientation(LabelMap(flipped.array, affine, {}))[0]["ok"]
    assert orientation(LabelMap(flipped.array[:, ::-1], affine, {}))[0]["ok"]


def test_a_doubt_of_the_header_is_no_pass_even_if_the_cerebellum_lies_right() -> None:
    for labels in (None, anatomy(10, 10)):
        checks = input_checks(SOURCE, GRID, brain_mask(), labels=labels, orientation_doubts=("the codes are 0",))
        (check,) = [c for c in checks if c["name"] == "orientation"]
        assert not check["ok"] and "the codes are 0, so left and right cannot be trusted" in check["text"]


def test_without_a_cerebellum_nothing_is_said_of_orientation() -> None:
    labels = anatomy(10, 10)
    assert orientation(LabelMap(np.where(labels.array == 8, 0, labels.array), labels.affine, {})) == []
