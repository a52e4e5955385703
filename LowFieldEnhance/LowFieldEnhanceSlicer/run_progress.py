"""How far a whole run is, and how long it still takes, from the progress of its stages."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Sequence
from typing import Any

# Share of a run's time by stage: rough. Only their order of magnitude matters: the time left follows the stage's own
# estimate and the speed measured so far. That of "enhance" follows the method and its preset.
SEGMENT = 12.0
EVALUATION = 30.0  # of a network of the usual size
DEFAULT_METHOD = "bridged"
WEIGHTS = {
    "read": 1.0,
    "segment the input": SEGMENT,
    "register the reference": 10.0,
    "segment the reference": SEGMENT,
    "enhance": EVALUATION,
    "segment the orientations": 3 * SEGMENT,
    "expect the deviation": 8.0,
    "data consistency": 8.0,
    "check fidelity": 5.0,
    "segment the result": SEGMENT,
    "report": 4.0,
}
ORIENTATIONS, EXPECTED = "segment the orientations", "expect the deviation"
ONCE = ("read", "segment the input", "register the reference", "segment the reference")  # in a comparison
LEAST_FRACTION = 0.02  # below it, or in the first second, a time left would be a guess
LEAST_SECONDS = 1.0

Stages = Sequence[tuple[str, float]]


def stagesOf(arguments: Sequence[str]) -> Stages:
    """The stages that a command line goes through, with their weights."""
    command = arguments[0] if arguments else ""
    given = {argument.partition("=")[0] for argument in arguments[1:]}
    if command not in ("enhance", "report", "demo", "compare"):
        return (("segment", 1.0),)
    left_out = set()
    if command == "report":
        left_out |= {"read", "enhance"}
    if command != "demo" and ("--reference" not in given or "--reference-labels" in given):
        left_out.add("segment the reference")
    if "--register" not in given:
        left_out.add("register the reference")
    if "--data-consistency" not in given:
        left_out.add("data consistency")
    if command == "compare":
        return _comparison(_value(arguments, "--methods", ""), left_out)
    samples = _number(arguments, "--samples")
    method, preset = _value(arguments, "--method", DEFAULT_METHOD), _value(arguments, "--preset", "")
    left_out |= _notOf(method, preset, samples)
    labelled = samples * SEGMENT if samples > 1 else 0.0
    weights = {**WEIGHTS, "enhance": samples * _work(method, preset) + labelled}
    return tuple((stage, weight) for stage, weight in weights.items() if stage not in left_out)


def _comparison(methods: str, left_out: set[str]) -> Stages:
    """What is done once, then the other stages of one method after the other, as ``2: enhance``."""
    stages = [(stage, weight) for stage, weight in WEIGHTS.items() if stage in ONCE and stage not in left_out]
    for number, choice in enumerate(methods.split(","), start=1):
        name, _, preset = choice.partition(":")
        own = {**WEIGHTS, "enhance": _work(name, preset)}
        absent = {*ONCE, *left_out, *_notOf(name, preset)}
        stages += [(f"{number}: {stage}", own[stage]) for stage in own if stage not in absent]
    return tuple(stages)


def _work(method: str, preset: str) -> float:
    """The weight of one result of a method."""
    from .catalogue import METHODS

    work = METHODS[method].workOf(preset) if method in METHODS else 1.0
    return max(EVALUATION * work, 1.0)


def _notOf(method: str, preset: str, samples: int = 1) -> set[str]:
    """Of the stages that only some methods' single results have, those that these have not."""
    from .catalogue import METHODS

    if samples > 1 or method not in METHODS:
        return {ORIENTATIONS, EXPECTED}
    entry = METHODS[method]
    preset = preset or entry.presets[0]
    having = {ORIENTATIONS: entry.spreads, EXPECTED: entry.expects}
    return {stage for stage, presets in having.items() if preset not in presets}


def _value(arguments: Sequence[str], option: str, default: str) -> str:
    return dict(zip(arguments, arguments[1:], strict=False)).get(option, default)


def _number(arguments: Sequence[str], option: str) -> int:
    """The number after an option; 1 without it."""
    following = _value(arguments, option, "1")
    return max(int(following), 1) if following.isdigit() else 1


class OverallProgress:
    """Turns progress events of single stages into one fraction that never falls.

    Args:
        stages: see :func:`stagesOf`.
        clock: seconds, monotonic.
    """

    def __init__(self, stages: Stages, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._total = sum(weight for _, weight in stages)
        self._before: dict[str, tuple[float, float]] = {}
        done = 0.0
        for stage, weight in stages:
            self._before[stage] = (done, weight)
            done += weight
        self._fraction = 0.0
        self._started = self._seenAt = clock()
        self._left: float | None = None

    def start(self) -> None:
        """The run begins now (it may have waited since it was made)."""
        self._started = self._seenAt = self._clock()

    def update(self, event: dict[str, Any]) -> None:
        """Take in one progress event; a stage that is not known changes nothing."""
        scope, _, stage = event["stage"].rpartition(": ")
        method = re.search(r"\((\d+) of \d+\)$", scope)
        if method:  # "cubic:fast (2 of 4): enhance"
            stage = f"{method[1]}: {stage}"
        if stage not in self._before:
            return
        before, weight = self._before[stage]
        part = _share(event["done"], event["total"])
        repeated = re.search(r"(\d+) of (\d+)$", scope)
        if repeated:  # "sample 2 of 8: enhance"
            part = min((int(repeated[1]) - 1 + part) / max(int(repeated[2]), 1), 1.0)
        now = self._clock()
        self._fraction = max(self._fraction, min((before + part * weight) / self._total, 1.0))
        self._seenAt = now
        self._left = self._secondsLeft(now - self._started, before + weight, None if repeated else event.get("eta_s"))

    def overallProgress(self) -> tuple[float, float | None]:
        """Fraction done (0 to 1), and the seconds left, or None while they cannot be told.

        When they have passed without a word from the run, the estimate was wrong, and there is no other.
        """
        if self._left is None:
            return self._fraction, None
        left = self._left - (self._clock() - self._seenAt)
        return self._fraction, left if left > 0 else None

    def _secondsLeft(self, elapsed: float, afterStage: float, stageSeconds: Any) -> float | None:
        if self._fraction < LEAST_FRACTION or elapsed < LEAST_SECONDS:
            return None
        wholeRun = elapsed / self._fraction
        if isinstance(stageSeconds, (int, float)) and math.isfinite(stageSeconds) and stageSeconds >= 0:
            return stageSeconds + wholeRun * (1.0 - afterStage / self._total)
        return wholeRun * (1.0 - self._fraction)


def _share(done: float, total: float) -> float:
    """``done / total`` within 0 and 1; 0 where it has no value."""
    try:
        share = done / total
    except (ZeroDivisionError, OverflowError):
        return 0.0
    return min(max(share, 0.0), 1.0) if math.isfinite(share) else 0.0
