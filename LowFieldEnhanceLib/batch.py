"""Many scans in one call: each into a folder of its own, finished ones left out, failures noted, a summary of all.

The folder of a scan appears whole or not at all. It holds what ``enhance`` writes and a record, with which the
next call knows whether the scan is finished (batch_results). A second batch in the folder is refused while one is at
work there (batch_lock).
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from .batch_lock import only_batch_in
from .batch_results import (
    REPORT_JSON,
    Request,
    check_place,
    check_same_scan,
    check_unchanged,
    finished,
    replaced_folder,
    restore_former,
    write_record,
)  # fmt: skip
from .batch_scans import RESERVED, Scan
from .batch_summary import DONE, FAILED, KEPT, State, Summary
from .errors import BadInput, Cancelled, LowFieldEnhanceError, known_failure
from .events import Events
from .formats.itk import check_path
from .ours import check_ours, read_json


class Work(Protocol):
    """What a batch does with each of its scans."""

    settings: dict[str, Any]  # method, preset, seed and options, for the summary

    def request(self, scan: Scan) -> Request:
        """Read the scan and whatever came with it, and say what its results will be made of."""
        ...

    def run(self, scan: Scan, folder: Path, events: Events) -> None:
        """Write the results into a folder that exists and is empty."""
        ...


class _OneScan(Events):
    """Events of one scan as a part of the batch: every progress event says which scan it is, and the batch's time left.

    Args:
        whole: gets everything.
        number, total: which scan of how many there are to do.
        left: seconds that the scans to do take, this one included; None while unknown.
        warnings: gets the sentences too.
        clock: seconds.
    """

    def __init__(
        self, whole: Events, number: int, total: int, left: float | None, warnings: list[str],
        clock: Callable[[], float],
    ) -> None:  # fmt: skip
        super().__init__(self._pass, clock)
        self._whole, self._left, self._warnings = whole, left, warnings
        self._about = {"scan": number, "scans": total}
        self._begun = clock()

    def cancel(self) -> None:
        """Cancel the whole."""
        self._whole.cancel()

    def check(self) -> None:
        """Raise Cancelled if the whole was cancelled."""
        self._whole.check()

    def _pass(self, event: dict[str, Any]) -> None:
        if event["event"] == "warning":
            self._warnings.append(event["message"])
        elif event["event"] == "progress":
            event = {**event, **self._about}
            if self._left is not None:
                event["batch_eta_s"] = round(max(self._left - (self._clock() - self._begun), 0.0), 2)
        self._whole.send(event)


def run_batch(
    scans: Sequence[Scan],
    folder: str | os.PathLike[str],
    work: Work,
    events: Events | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> list[State]:
    """Do every scan that is not finished; the summary is written at the start, after every scan, and at the end.

    Args:
        scans: with distinct names, see batch_scans.find_scans.
        folder: of all results; made if its parent exists.
        work: what is done with each.
        events: progress over all scans, warnings (a scan's failure is one), and cancel.
        clock: seconds, monotonic.

    Returns:
        One state a scan, in their order.

    Raises:
        BadInput: the folder cannot be made, or another run is at work in it; nothing was written. Cancelled: through
            ``events`` or by a signal; the finished scans stay.
        OSError: the summary cannot be written at the end; until then that is a warning.
    """
    target, events = check_batch_folder(folder), events or Events()
    target.mkdir(exist_ok=True)
    states = [State(scan) for scan in scans]
    with only_batch_in(target):
        try:
            todo = _look_for_finished(states, target, work, events)
        except (Cancelled, KeyboardInterrupt):  # the summary of an earlier call stays: it knows more
            raise Cancelled("the batch was cancelled while it read the scans; nothing was written") from None
        summary = Summary(states, target, work.settings, events.warning)
        try:
            _do_all(todo, target, work, events, clock, summary)
        except (Cancelled, KeyboardInterrupt):
            summary.update()
            finished = sum(state.state in (DONE, KEPT) for state in states)
            raise Cancelled(
                f"the batch was cancelled; {finished} of {len(states)} scans are finished, and the same call does the "
                "rest"
            ) from None
        summary.finish()
    return states


def _do_all(
    todo: list[tuple[State, Request]], target: Path, work: Work, events: Events, clock: Callable[[], float],
    summary: Summary,
) -> None:  # fmt: skip
    durations: list[float] = []
    for number, (state, request) in enumerate(todo, start=1):
        summary.update()
        begun = clock()
        left = sum(durations) / len(durations) * (len(todo) - number + 1) if durations else None
        part = _OneScan(events, number, len(todo), left, state.warnings, clock)
        about = f", {in_words(left)} left" if left is not None else ""
        with _noted(state, events), part.scope(f"{state.scan.name} ({number} of {len(todo)}{about})"):
            _do(state, target, request, work, part)
            durations.append(clock() - begun)


def check_batch_folder(folder: str | os.PathLike[str]) -> Path:
    """The output folder as a path, if it is there or can be made.

    Raises:
        BadInput: it is a file, its parent does not exist, its name is not UTF-8, or a file in it that is not ours
            is named as the summary is.
    """
    check_path(folder)
    target = Path(folder)
    if target.exists() and not target.is_dir():
        raise BadInput(f"{target} is not a folder, so no results can be written into it")
    if not target.resolve().parent.is_dir():
        raise BadInput(f"the output folder {target.parent} does not exist")
    for name in RESERVED:
        check_ours(target / name)
    return target


def _look_for_finished(states: list[State], target: Path, work: Work, events: Events) -> list[tuple[State, Request]]:
    """Set the state of what is finished or cannot be read, at once and not after hours; return what is to do."""
    todo = []
    for number, state in enumerate(states):
        events.progress("read the scans", number, len(states))
        with _noted(state, events):
            if state.scan.problem:
                raise BadInput(state.scan.problem)
            request = work.request(state.scan)
            place = target / state.scan.name
            restore_former(place)
            warnings = finished(place, request)
            if warnings is None:
                check_place(place)
                check_same_scan(place, state.scan.input, request)
                check_unchanged(place)
                todo.append((state, request))
            else:
                state.finish(KEPT, read_json(place / REPORT_JSON), warnings)
    events.progress("read the scans", len(states), len(states))
    return todo


@contextmanager
def _noted(state: State, events: Events) -> Iterator[None]:
    """A failure inside the block is the scan's own: it gets its sentence, and the others go on."""
    try:
        yield
    except (Cancelled, KeyboardInterrupt):
        raise
    except OSError as error:
        state.fail(BadInput.kind, f"a file could not be read or written: {error}")
    except Exception as error:
        failure = known_failure(error)
        if failure is None:  # the last resort, as on the command line: the traceback goes to the log
            logging.getLogger(__name__).exception("internal error")
            failure = LowFieldEnhanceError(str(error) or type(error).__name__)
        state.fail(failure.kind, str(failure))
    if state.state == FAILED:
        events.warning(f"{state.scan.name} failed: {state.failure['message']}")


def _do(state: State, target: Path, request: Request, work: Work, events: Events) -> None:
    place = target / state.scan.name
    check_unchanged(place)  # since the scans were read, hours may have gone by
    with replaced_folder(place) as temporary:
        work.run(state.scan, temporary, events)
        write_record(temporary, state.scan.input, request, state.warnings)
        events.check()
    state.finish(DONE, read_json(place / REPORT_JSON), state.warnings)


def in_words(seconds: float) -> str:
    """``40 s``, ``25 min``, ``3 h 10 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
