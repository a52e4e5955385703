"""What a run tells the outside: progress with a time estimate, warnings, results; and how it is cancelled.

A method or pipeline stage receives an :class:`Events` and calls ``progress``; it never prints. The sink decides
whether that becomes JSON lines, a progress bar, or a Slicer panel. See README, "JSON events".
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from .errors import Cancelled, LowFieldEnhanceError

Sink = Callable[[dict[str, Any]], None]


class Events:
    """Sends events to a sink and carries the cancel flag.

    Args:
        sink: called with one JSON-serialisable dictionary an event; None drops them.
        clock: seconds, monotonic (tests replace it).
    """

    def __init__(self, sink: Sink | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._sink = sink
        self._clock = clock
        self._cancelled = threading.Event()
        self._stage: str | None = None
        self._start = 0.0
        self._prefix = ""

    def cancel(self) -> None:
        """Ask the run to stop at its next check; may be called from another thread or a signal handler."""
        self._cancelled.set()

    def check(self) -> None:
        """Raise :class:`Cancelled` if the run was cancelled."""
        if self._cancelled.is_set():
            raise Cancelled("the run was cancelled; nothing was written")

    def progress(self, stage: str, done: int, total: int, **more: Any) -> None:
        """Report that ``done`` of ``total`` units of a stage are finished, then check for cancellation.

        ``more`` are further fields of the event, such as the ``device`` of a run.

        The time left of the stage (``eta_s``, seconds) is extrapolated from its first report or its last report of 0
        units; it is absent before one unit is done.
        """
        self.check()
        stage = self._prefix + stage
        now = self._clock()
        if stage != self._stage or done == 0:
            self._stage, self._start = stage, now
        event: dict[str, Any] = {"event": "progress", "stage": stage, "done": done, "total": total, **more}
        if done > 0 and total > 0:
            event["eta_s"] = round((now - self._start) / done * max(total - done, 0), 2)
        self.send(event)

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Prefix the stage names inside the block, such as ``sample 2 of 8: denoise``."""
        before, self._prefix = self._prefix, f"{self._prefix}{name}: "
        try:
            yield
        finally:
            self._prefix = before

    def warning(self, message: str) -> None:
        """Something the user should know that does not stop the run."""
        self.send({"event": "warning", "message": message})

    def result(self, **fields: Any) -> None:
        """The run's outcome (paths of the outputs, provenance); the last event of a success."""
        self.send({"event": "result", **fields})

    def error(self, error: BaseException) -> None:
        """The run's failure; the last event. Unknown exceptions have the kind ``Internal``."""
        kind = error.kind if isinstance(error, LowFieldEnhanceError) else "Internal"
        self.send({"event": "error", "kind": kind, "message": str(error) or type(error).__name__})

    def send(self, event: dict[str, Any]) -> None:
        """Hand one event to the sink."""
        if self._sink is not None:
            self._sink(event)


class JsonLines:
    """A sink that writes one JSON object a line and flushes, so that a parent process sees it at once."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __call__(self, event: dict[str, Any]) -> None:
        """Write one event; a number that JSON cannot hold (NaN) raises ValueError and writes nothing."""
        self._stream.write(json.dumps(event, allow_nan=False) + "\n")
        self._stream.flush()
