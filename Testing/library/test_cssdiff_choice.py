"""The rule by which a state of CSS-Diff's generator is taken (Testing/benchmarks/cssdiff_choice.py)."""

from __future__ import annotations

from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


def scores(psnr: float, white: float, cortex: float) -> dict[str, float]:
    return {"psnr": psnr, "white_matter_error": white, "cortex_error": cortex}


def test_among_the_states_near_the_best_psnr_the_least_volume_error_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    chosen = __import__("cssdiff_choice").chosen
    rows = {
        "sharpest": {"a": scores(26.0, 5.0, 3.0), "b": scores(24.0, 5.0, 3.0)},
        "near": {"a": scores(26.0, 2.0, 4.0), "b": scores(23.5, 4.0, 2.0)},
        "best volumes, too blurred": {"a": scores(25.0, 0.1, 0.1), "b": scores(24.0, 0.1, 0.1)},
    }
    assert chosen(rows) == "near"
    assert chosen({name: heads for name, heads in rows.items() if name != "near"}) == "sharpest"
