"""Events for a person at a terminal: a progress bar with the time left, and plain sentences."""

from __future__ import annotations

from typing import Any, TextIO

from tqdm import tqdm


class ProgressBar:
    """A sink (see events.Events) that draws one bar a stage and prints warnings, the result and errors as sentences.

    Args:
        stream: where to write, usually standard error.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._bar: tqdm[Any] | None = None
        self._stage = ""

    def __call__(self, event: dict[str, Any]) -> None:
        """Show one event."""
        kind = event["event"]
        if kind == "progress":
            self._progress(event["stage"], event["done"], event["total"])
            return
        self._close()
        if kind == "warning":
            self._write(f"Warning: {event['message']}")
        elif kind == "error":
            self._write(f"Error ({event['kind']}): {event['message']}")
        elif kind == "result":
            for name, value in event.items():
                if name not in ("event", "provenance"):
                    self._write(f"{name.replace('_', ' ')}: {value}")

    def _progress(self, stage: str, done: int, total: int) -> None:
        if self._bar is None or stage != self._stage:
            self._close()
            self._stage = stage
            layout = "{desc:28} {percentage:3.0f}%|{bar}| {n}/{total} [{elapsed}, {remaining} left]"
            self._bar = tqdm(total=total, desc=stage, file=self._stream, bar_format=layout, leave=True)
        self._bar.n = done
        self._bar.refresh()

    def _close(self) -> None:
        if self._bar is not None:
            if self._bar.n == 0 and self._bar.total == 1:
                self._bar.n = 1  # a stage of one unit is over when the next begins
                self._bar.refresh()
            self._bar.close()
            self._bar = None

    def _write(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()
