"""Events: time estimates against a clock that we turn, JSON lines that parse, and cancelling from elsewhere."""

from __future__ import annotations

import io
import json
import threading

import pytest

from LowFieldEnhanceLib import errors
from LowFieldEnhanceLib.errors import BadInput, Cancelled, CorruptModel, LowFieldEnhanceError, MissingModel, OutOfMemory
from LowFieldEnhanceLib.events import Events, JsonLines


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def recorded(clock: Clock | None = None) -> tuple[Events, list[dict]]:
    sent: list[dict] = []
    return Events(sent.append, clock or Clock()), sent


def test_time_left_is_time_per_unit_times_units_left() -> None:
    clock = Clock()
    events, sent = recorded(clock)
    for done in range(4):
        events.progress("denoise", done, 10)
        clock.now += 2.0
    assert sent[0] == {"event": "progress", "stage": "denoise", "done": 0, "total": 10}
    assert sent[3] == {"event": "progress", "stage": "denoise", "done": 3, "total": 10, "eta_s": 14.0}


def test_time_left_starts_afresh_with_a_stage_and_with_a_repetition_of_it() -> None:
    clock = Clock()
    events, sent = recorded(clock)
    events.progress("a", 0, 2)
    clock.now += 50
    events.progress("b", 0, 2)
    clock.now += 3
    events.progress("b", 1, 2)
    clock.now += 50
    events.progress("b", 0, 2)
    clock.now += 4
    events.progress("b", 1, 2)
    assert [event.get("eta_s") for event in sent] == [None, None, 3.0, None, 4.0]


def test_a_scope_names_the_part_of_a_run_and_ends_with_its_block() -> None:
    events, sent = recorded()
    with events.scope("sample 2 of 8"), events.scope("patch"):
        events.progress("denoise", 0, 1)
    events.progress("denoise", 0, 1)
    assert [event["stage"] for event in sent] == ["sample 2 of 8: patch: denoise", "denoise"]


def test_a_failed_scope_leaves_no_prefix_behind() -> None:
    events, sent = recorded()
    with pytest.raises(ValueError), events.scope("sample"):
        raise ValueError
    events.progress("denoise", 0, 1)
    assert sent[0]["stage"] == "denoise"


def test_cancelling_from_another_thread_stops_the_next_progress_and_check() -> None:
    events, sent = recorded()
    events.check()
    thread = threading.Thread(target=events.cancel)
    thread.start()
    thread.join()
    with pytest.raises(Cancelled):
        events.check()
    with pytest.raises(Cancelled):
        events.progress("denoise", 1, 2)
    assert sent == []


def test_every_event_is_one_line_of_json_that_is_flushed() -> None:
    class Stream(io.StringIO):
        flushed = 0

        def flush(self) -> None:
            self.flushed += 1

    stream = Stream()
    events = Events(JsonLines(stream))
    events.progress("read", 0, 1)
    events.warning("two\nlines")
    events.error(BadInput("not a scan"))
    events.result(output="x.nii.gz", seconds=1.5)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["progress", "warning", "error", "result"]
    assert lines[1]["message"] == "two\nlines"
    assert lines[3] == {"event": "result", "output": "x.nii.gz", "seconds": 1.5}
    assert stream.flushed == 4


def test_a_number_that_json_cannot_hold_is_not_written() -> None:
    stream = io.StringIO()
    with pytest.raises(ValueError):
        Events(JsonLines(stream)).result(rms=float("nan"))
    assert stream.getvalue() == ""


def test_the_kinds_of_error_are_the_closed_list_of_the_design() -> None:
    closed = {"BadInput", "MissingModel", "CorruptModel", "OutOfMemory", "Cancelled", "Internal"}
    classes = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, LowFieldEnhanceError)]
    assert {c.kind for c in classes} == closed
    assert all(c.kind in (c.__name__, "Internal") for c in classes)


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (BadInput("b"), "BadInput", "b"),
        (MissingModel("m"), "MissingModel", "m"),
        (CorruptModel("c"), "CorruptModel", "c"),
        (OutOfMemory("o"), "OutOfMemory", "o"),
        (Cancelled("x"), "Cancelled", "x"),
        (ZeroDivisionError("z"), "Internal", "z"),
        (RuntimeError(), "Internal", "RuntimeError"),
    ],
)
def test_an_error_event_carries_its_kind_and_a_message(error: Exception, kind: str, message: str) -> None:
    events, sent = recorded()
    events.error(error)
    assert sent == [{"event": "error", "kind": kind, "message": message}]


def test_a_progress_event_may_say_more() -> None:
    events, sent = recorded()
    events.progress("read", 0, 1, device="cuda")
    assert sent == [{"event": "progress", "stage": "read", "done": 0, "total": 1, "device": "cuda"}]


def test_events_without_a_sink_are_dropped() -> None:
    Events().progress("read", 0, 1)
