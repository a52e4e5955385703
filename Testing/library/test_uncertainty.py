"""Running moments and volume spread against numpy, and the report's block with its columns and its page."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr
from test_report_html import PICTURES, Page, parts
from test_report_html import report as page_report

from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.evaluation.html import render_html
from LowFieldEnhanceLib.evaluation.pictures import uncertainty_figure
from LowFieldEnhanceLib.evaluation.report import build_report
from LowFieldEnhanceLib.evaluation.report_files import write_csv
from LowFieldEnhanceLib.evaluation.uncertainty import (
    RunningMoments,
    Uncertainty,
    calibration,
    structure_spread,
    with_spread,
)

WHITE, THALAMUS, PUTAMEN = 2, 10, 12
VOLUMES = ({WHITE: 200.0, THALAMUS: 6.0}, {WHITE: 220.0, THALAMUS: 7.0}, {WHITE: 210.0, THALAMUS: 8.0, PUTAMEN: 3.0})


def moments_of(arrays: np.ndarray) -> RunningMoments:
    moments = RunningMoments()
    for array in arrays:
        moments.add(array)
    return moments


def spread(kind: str = "samples") -> Uncertainty:
    like = parts()["before"]
    deviation = like.with_array(np.full(like.shape, 20.0))
    if kind == "flips":
        return Uncertainty(kind, deviation, flips=("none", "left-right"), volumes=VOLUMES[:2])
    return Uncertainty(kind, deviation, seeds=(7, 8, 9), volumes=VOLUMES)


def report_with(uncertainty: Uncertainty) -> dict[str, Any]:
    made = parts()
    return build_report(**made, uncertainty=uncertainty.as_report(made["brain"], 40.0))


@pytest.mark.parametrize("count", [2, 3, 17])
def test_running_moments_are_those_of_numpy_even_far_from_zero(count: int) -> None:
    arrays = np.random.default_rng(count).normal(1e6, 2.0, (count, 4, 5, 6)).astype(np.float32)
    moments = moments_of(arrays)
    assert moments.count == count
    np.testing.assert_allclose(moments.mean, arrays.mean(0, dtype=np.float64), rtol=1e-7)
    np.testing.assert_allclose(moments.deviation, arrays.std(0, ddof=1, dtype=np.float64), rtol=1e-5)
    assert moments.mean.dtype == moments.deviation.dtype == np.float32


def test_a_single_array_is_its_own_mean_and_does_not_spread() -> None:
    array = np.arange(24.0).reshape(2, 3, 4)
    moments = moments_of(array[None])
    assert np.array_equal(moments.mean, array)
    assert not moments.deviation.any()


def test_the_arrays_taken_in_are_not_changed_and_need_one_shape() -> None:
    array = np.ones((2, 2, 2), dtype=np.float32)
    moments = moments_of(np.stack([array, array]))
    assert np.array_equal(array, np.ones((2, 2, 2)))
    with pytest.raises(BadInput, match="on one grid"):
        moments.add(np.ones((2, 2, 3)))


def test_the_volume_spread_is_that_of_numpy_and_an_absent_structure_has_no_volume() -> None:
    found = structure_spread(VOLUMES)
    assert list(found) == ["Left Cerebral White Matter", "Left Thalamus", "Left Putamen"]
    for name, values in (("Left Thalamus", [6.0, 7.0, 8.0]), ("Left Putamen", [0.0, 0.0, 3.0])):
        row = found[name]
        assert row["volume_mean_ml"] == pytest.approx(np.mean(values))
        assert row["volume_sd_ml"] == pytest.approx(np.std(values, ddof=1))
        assert row["volume_cv_percent"] == pytest.approx(100 * np.std(values, ddof=1) / np.mean(values))
    assert found["Left Thalamus"]["label_id"] == THALAMUS
    assert structure_spread([]) == {}


def test_rows_gain_the_columns_by_name_and_stay_as_they_are_without_a_spread() -> None:
    rows = [{"name": "Left Thalamus", "volume_input_ml": 5.0}, {"name": "Right Thalamus", "volume_input_ml": 5.0}]
    assert with_spread(rows, None) == rows
    left, right = with_spread(rows, {"structures": structure_spread(VOLUMES)})
    assert (left["volume_mean_ml"], left["volume_sd_ml"]) == (pytest.approx(7.0), pytest.approx(1.0))
    assert left["volume_cv_percent"] == pytest.approx(100 / 7)
    assert right["volume_mean_ml"] is None


def test_the_report_block_names_kind_samples_and_seeds_and_gives_the_deviation_in_units_of_the_noise() -> None:
    block = report_with(spread())["uncertainty"]
    assert (block["kind"], block["samples"], block["seeds"], block["flips"]) == ("samples", 3, [7, 8, 9], [])
    assert block["deviation_mean"] == pytest.approx(20.0)
    assert block["deviation_mean_in_noise"] == pytest.approx(0.5)
    assert block["structures"]["Left Thalamus"]["volume_mean_ml"] == pytest.approx(7.0)
    flips = report_with(spread("flips"))["uncertainty"]
    assert (flips["kind"], flips["samples"], flips["seeds"]) == ("flips", 2, [])
    assert "mirrored (left-right)" in flips["text"]


def test_a_single_result_has_no_uncertainty_in_the_report_and_no_columns() -> None:
    made = page_report()
    assert made["uncertainty"] is None
    assert "volume_mean_ml" not in made["structures"][0]
    assert "uncertainty" not in [a.get("id") for _, a in Page(render_html(made, PICTURES)).tags]


def test_the_table_has_the_columns_of_the_spread(tmp_path: Path) -> None:
    write_csv(report_with(spread()), tmp_path / "report.csv")
    with (tmp_path / "report.csv").open(newline="", encoding="utf-8") as stream:
        rows = {row["name"]: row for row in csv.DictReader(stream)}
    assert float(rows["Left Thalamus"]["volume_mean_ml"]) == pytest.approx(7.0)
    assert float(rows["Left Thalamus"]["volume_cv_percent"]) == pytest.approx(100 / 7, rel=1e-5)


@pytest.mark.parametrize("kind", ["samples", "flips"])
def test_the_page_shows_the_spread_and_does_not_call_it_error(kind: str) -> None:
    made = report_with(spread(kind))
    text = render_html(made, {**PICTURES, "uncertainty": b"\x89PNG u"})
    page = Page(text)
    assert "uncertainty" in [attributes.get("id") for _, attributes in page.tags]
    assert made["uncertainty"]["text"] in page.text
    assert "0.50 times the scan's noise" in page.text
    assert "Variation, %" in page.texts
    assert "error" not in json.dumps(made).lower()
    assert "error" not in page.text.lower() and "accura" not in page.text.lower()


def test_the_picture_shows_the_deviation_from_zero_to_its_99_5th_percentile() -> None:
    made = parts()
    deviation = made["before"].with_array(np.random.default_rng(1).uniform(0, 9, made["before"].shape))
    figure = uncertainty_figure(made["enhanced"], deviation, made["brain"])
    limits = [image.get_clim() for axes in figure.axes for image in axes.get_images()]
    shown = float(np.percentile(deviation.array[made["brain"]], 99.5))
    assert limits.count((0.0, pytest.approx(shown))) == 3
    with pytest.raises(BadInput, match="uncertainty"):
        uncertainty_figure(made["enhanced"], made["acquired"], made["brain"])


def gaussian_case(factor: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Truth, image, the deviation that the image claims (the true one divided by the factor), and a mask."""
    rng = np.random.default_rng(5)
    shape = (40, 40, 40)
    truth, deviation = rng.uniform(100, 900, shape), rng.uniform(1, 30, shape)
    return truth, truth + deviation * rng.standard_normal(shape), deviation / factor, rng.uniform(0, 1, shape) > 0.3


@pytest.mark.parametrize(("factor", "coverage"), [(1.0, 0.95), (2.0, 0.6729), (0.5, 0.99991)])
def test_the_calibration_of_gaussian_deviations_is_the_one_put_in(factor: float, coverage: float) -> None:
    found = calibration(*gaussian_case(factor))
    assert found.coverage == pytest.approx(coverage, abs=0.004)  # erf(1.96 / factor / sqrt 2)
    assert found.factor == pytest.approx(factor, rel=0.02)


def test_the_rank_correlation_is_that_of_scipy_and_does_not_depend_on_the_unit() -> None:
    truth, image, deviation, mask = gaussian_case()
    expected = spearmanr(np.abs(truth - image)[mask], deviation[mask]).statistic
    assert calibration(truth, image, deviation, mask).spearman == pytest.approx(expected)
    assert calibration(3 * truth, 3 * image, 3 * deviation, mask).spearman == pytest.approx(expected)
    assert expected > 0.3


def test_a_method_that_never_doubts_has_no_calibration() -> None:
    truth, image, deviation, mask = gaussian_case()
    found = calibration(truth, image, 0 * deviation, mask)
    assert (found.spearman, found.coverage, found.factor) == (None, 0.0, None)
    with pytest.raises(BadInput, match="deviation"):
        calibration(truth, image, deviation[:-1], mask)
