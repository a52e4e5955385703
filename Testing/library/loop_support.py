"""A training plan in seconds, by a clock that goes on one second a step."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from LowFieldEnhanceLib.training import loop
from LowFieldEnhanceLib.training.loop import Plan


@pytest.fixture
def one_second_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop reads the clock once at its start and once a step."""
    now = iter(range(10**6))
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: float(next(now))))


def plan(out: Path, seconds: float, **options) -> Plan:
    return Plan(out, minutes=seconds / 60, **options)
