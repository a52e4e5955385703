"""The benchmark of left and right: its errors and shares against figures worked out by hand."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

from sides import MIRRORED, TRUTH, errors, markdown, mirrored_volumes, summary  # noqa: E402

TRUE = {2: 200.0, 41: 100.0, 3: 50.0, 42: 40.0, 16: 20.0, 5: 0.5}


def test_errors_are_signed_in_percent_and_the_mean_leaves_out_the_inferior_horns() -> None:
    found = errors({2: 198.0, 41: 103.0, 3: 50.0, 42: 38.0, 16: 22.0, 5: 5.0}, TRUE)
    assert found["left white matter"] == pytest.approx(-1.0)
    assert found["right white matter"] == pytest.approx(3.0)
    assert (found["left cortex"], found["right cortex"]) == (pytest.approx(0.0), pytest.approx(-5.0))
    assert found["all"] == pytest.approx((1 + 3 + 0 + 5 + 10) / 5)
    # a structure that is lost is 100 % wrong
    assert errors({2: 200.0, 41: 100.0, 3: 50.0, 42: 40.0}, TRUE)["all"] == pytest.approx(20.0)


def test_the_volumes_of_a_mirrored_head_change_sides_and_those_of_the_midline_stay() -> None:
    assert mirrored_volumes({2: 1.0, 41: 2.0, 16: 3.0}) == {41: 1.0, 2: 2.0, 16: 3.0}


def test_the_tables_hold_means_of_sizes_and_what_is_left_of_the_linear_input() -> None:
    def judged(linear: float, bridge: float) -> dict[str, dict[int, float]]:
        other = {**TRUE, 2: TRUE[2] * 1.01}
        return {
            TRUTH: TRUE, "linear": {**TRUE, 2: linear}, "bridged:fast": {**TRUE, 2: bridge}, MIRRORED: other,
        }  # fmt: skip

    heads = {"1": {"once": judged(196.0, 202.0)}, "2": {"once": judged(208.0, 199.0)}}
    means = summary(heads)["once"]
    assert means["linear"]["left white matter"] == pytest.approx(3.0)  # 2 % too small, 4 % too large
    assert means["bridged:fast"]["left white matter"] == pytest.approx(0.75)
    with pytest.raises(ZeroDivisionError):  # shares of an error of 0 are no figures
        markdown(heads)
    for rows in heads.values():
        rows["once"]["linear"] = {i: v * 0.98 if i != 2 else rows["once"]["linear"][2] for i, v in TRUE.items()}
    first, left, mirror = (part.splitlines() for part in markdown(heads).split("\n\n"))
    assert first[2] == "| once, linear | 3.00 | 2.00 | 2.00 | 2.00 | 2.20 |"
    assert first[3] == "| once, bridged:fast | 0.75 | 0.00 | 0.00 | 0.00 | 0.15 |"
    assert left[2] == "| once, bridged:fast | 25 | 0 | 0 | 0 | 7 |"
    assert mirror[2] == "| once | 1.00 | 0.00 | 0.00 | 0.00 | 0.20 |"
