"""Events for a person at a terminal: a progress bar with the time left, and plain sentences."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TextIO

from tqdm import tqdm

LINE_EVERY_S = 60.0  # in a log file, of a stage that takes long


class ProgressBar:
    """A sink (see events.Events) that draws one bar a stage and prints warnings, the result and errors as sentences.

    Where nobody watches (a log file, cron), a stage is one line, and one more a minute, in the place of a bar.

    Args:
        stream: for progress, warnings and errors, usually standard error.
        results: for the result, usually standard output, so that it can be kept or searched; None for ``stream``.
        clock: seconds, monotonic (tests replace it).
    """

    def __init__(
        self, stream: TextIO, results: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream
        self._results = stream if results is None else results
        self._clock = clock
        self._bar: tqdm[Any] | None = None
        self._stage = ""
        self._told = 0.0

    def __call__(self, event: dict[str, Any]) -> None:
        """Show one event."""
        kind = event["event"]
        if kind == "progress":
            show = self._progress if self._stream.isatty() else self._line
            show(event["stage"], event["done"], event["total"])
            return
        self._close()
        if kind == "warning":
            self._write(f"Warning: {event['message']}")
        elif kind == "error":
            self._write(f"Error ({event['kind']}): {event['message']}")
        elif kind == "result":
            for name, value in event.items():
                if name not in ("event", "provenance"):
                    self._result(name.replace("_", " "), value)

    def _progress(self, stage: str, done: int, total: int) -> None:
        if self._bar is None or stage != self._stage:
            self._close()
            self._stage = stage
            layout = "{desc:28} {percentage:3.0f}%|{bar}| {n}/{total} [{elapsed}, {remaining} left]"
            self._bar = tqdm(total=total, desc=stage, file=self._stream, bar_format=layout, leave=True)
        self._bar.n = done
        self._bar.refresh()

    def _line(self, stage: str, done: int, total: int) -> None:
        now = self._clock()
        if stage == self._stage and now - self._told < LINE_EVERY_S:
            return
        self._write(stage if stage != self._stage else f"{stage}: {done} of {total}")
        self._stage, self._told = stage, now

    def _result(self, name: str, value: Any) -> None:
        if isinstance(value, dict):
            self._write(f"{name}:", self._results)
            for key, part in value.items():
                self._write(f"  {key}: {part}", self._results)
        else:
            self._write(f"{name}: {value}", self._results)

    def _close(self) -> None:
        if self._bar is not None:
            if self._bar.n == 0 and self._bar.total == 1:
                self._bar.n = 1  # a stage of one unit is over when the next begins
                self._bar.refresh()
            self._bar.close()
            self._bar = None

    def _write(self, text: str, stream: TextIO | None = None) -> None:
        stream = self._stream if stream is None else stream
        encoding = stream.encoding or "utf-8"  # a name that the terminal cannot show must not end the run
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        stream.flush()
