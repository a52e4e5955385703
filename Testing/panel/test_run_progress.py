"""The overall progress of a run: it never falls, and its time left is right where the right answer is known."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
for folder in (ROOT, ROOT / "LowFieldEnhance"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

from LowFieldEnhanceSlicer.run_progress import OverallProgress, stagesOf  # noqa: E402


def progress(stage: str, done: float, total: float, **more: float) -> dict:
    return {"event": "progress", "stage": stage, "done": done, "total": total, **more}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_stages_follow_the_command_line() -> None:
    def names(*arguments: str) -> list[str]:
        return [name for name, _ in stagesOf(arguments)]

    assert "segment the reference" not in names("enhance", "a.nii", "-o", "b.nii")
    assert "segment the reference" in names("enhance", "a.nii", "--reference", "c.nii")
    assert "segment the reference" in names("enhance", "a.nii", "--reference=c.nii")
    assert "segment the reference" not in names("enhance", "--reference", "c.nii", "--reference-labels", "d.nii")
    assert "enhance" not in names("report", "a.nii", "b.nii", "-o", "r.html")
    assert "segment the reference" in names("demo")
    assert names("segment", "a.nii") == ["segment"]
    orientations = "segment the orientations"
    assert orientations not in names("enhance", "a.nii", "--method", "bridged")
    assert orientations in names("enhance", "a.nii", "--method", "latent")
    assert orientations in names("enhance", "a.nii", "--method", "cssdiff", "--preset", "standard")
    assert orientations not in names("enhance", "a.nii", "--method", "cssdiff", "--preset", "paper")
    assert orientations not in names("enhance", "a.nii", "--method", "latent", "--samples", "2")
    expected = "expect the deviation"
    assert expected in names("enhance", "a.nii", "--method", "bridged")
    assert expected not in names("enhance", "a.nii", "--method", "bridged", "--preset", "paper")
    assert expected not in names("enhance", "a.nii", "--method", "bridged", "--samples", "2")
    assert expected not in names("enhance", "a.nii", "--method", "latent")
    compared = names("compare", "a.nii", "--methods", "cubic:fast,latent:fast,cssdiff:paper,bridged:fast")
    assert [name for name in compared if orientations in name] == [f"2: {orientations}"]
    assert [name for name in compared if expected in name] == [f"4: {expected}"]


def weightOf(method: str, preset: str, *more: str) -> float:
    return dict(stagesOf(["enhance", "a.nii", "--method", method, "--preset", preset, *more]))["enhance"]


def test_the_share_of_enhancing_follows_method_and_preset() -> None:
    """As the estimate has it: 1201 evaluations take 1201 times as long as one, and no network takes next to nothing."""
    assert weightOf("bridged", "paper") / weightOf("bridged", "fast") == 1201
    assert weightOf("cubic", "fast") < min(weightOf("bridged", "fast"), weightOf("latent", "fast")) / 10
    both = dict(stagesOf(["compare", "a.nii", "--methods", "bridged:paper,cubic:fast"]))
    assert [both[f"{n}: enhance"] for n in (1, 2)] == [weightOf("bridged", "paper"), weightOf("cubic", "fast")]


def test_each_sample_is_made_and_labelled() -> None:
    weights = [weightOf("bridged", "standard", "--samples", str(count)) for count in (1, 2, 3)]
    made = weights[0]
    assert weights[1] - 2 * made == pytest.approx(2 * dict(stagesOf(["enhance"]))["segment the result"])
    assert weights[2] / weights[1] == pytest.approx(1.5)


def test_overall_progress_never_falls_and_ends_at_one() -> None:
    overall = OverallProgress(stagesOf(["enhance"]), Clock())
    fractions = [overall.overallProgress()[0]]
    for event in (
        progress("read", 0, 1),
        progress("segment the input", 0, 1),
        progress("enhance", 0, 5),
        progress("enhance", 3, 5),
        progress("enhance", 1, 5),
        progress("no such stage", 1, 1),
        progress("enhance", float("nan"), 5),
        progress("enhance", 10**400, 3),
        progress("enhance", 1, 0),
        progress("read", 1, 1),
        progress("segment the result", 0, 1),
        progress("report", 1, 1),
    ):
        overall.update(event)
        fractions.append(overall.overallProgress()[0])
    assert fractions[0] == 0.0
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0


def test_repeated_stages_share_their_weight() -> None:
    overall = OverallProgress((("enhance", 1.0),), Clock())
    overall.update(progress("sample 3 of 4: enhance", 1, 2))
    assert overall.overallProgress()[0] == pytest.approx((2 + 0.5) / 4)


def test_seconds_left_are_exact_for_a_run_of_even_speed() -> None:
    """100 units of weight at one a second: the time left is what is left of the weight."""
    clock = Clock()
    overall = OverallProgress((("read", 10.0), ("enhance", 80.0), ("report", 10.0)), clock)
    overall.update(progress("read", 0, 1))
    assert overall.overallProgress() == (0.0, None)
    clock.now = 10.0
    overall.update(progress("enhance", 0, 8))
    assert overall.overallProgress() == (pytest.approx(0.1), pytest.approx(90.0))
    clock.now = 50.0
    overall.update(progress("enhance", 4, 8, eta_s=40.0))
    assert overall.overallProgress() == (pytest.approx(0.5), pytest.approx(50.0))
    clock.now = 53.0
    assert overall.overallProgress()[1] == pytest.approx(47.0), "it counts down between events"
    clock.now = 101.0
    assert overall.overallProgress()[1] is None, "it takes longer than was thought: how long, nobody knows"


def test_the_stages_own_estimate_counts_for_more_than_the_weights() -> None:
    clock = Clock()
    overall = OverallProgress((("read", 10.0), ("enhance", 80.0), ("report", 10.0)), clock)
    clock.now = 50.0
    overall.update(progress("enhance", 4, 8, eta_s=400.0))
    assert overall.overallProgress()[1] == pytest.approx(400.0 + 10.0)
    overall.update(progress("enhance", 4, 8, eta_s=float("nan")))
    assert overall.overallProgress()[1] == pytest.approx(50.0)
