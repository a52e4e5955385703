"""Work away from the main thread: reading and writing files, never the scene."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

GIVEN_SECONDS = 0.005  # of the main thread to others; the window must stay at 60 frames a second


def giveWay(*threads: threading.Thread) -> None:
    """Let these threads go on for a moment; returns at once when they have ended.

    Slicer's event loop keeps Python's lock while it waits for events. A thread that has let go of the lock, as any
    reading or writing of a file does, gets it back only when the main thread runs Python code again, such as a timer's:
    without this a copy of two hundred DICOM files, of a few steps each, would take minutes.
    """
    for thread in threads:
        thread.join(GIVEN_SECONDS)


class Background:
    """Calls a function in a thread of its own, at once.

    Attributes:
        value: what the function returned.
        error: what it raised, else None.
    """

    def __init__(self, function: Callable[[], Any]) -> None:
        self.value: Any = None
        self.error: Exception | None = None
        self._function = function
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @classmethod
    def failed(cls, error: Exception) -> Background:
        """A work that came to nothing before it could begin."""

        def fail() -> None:
            raise error

        return cls(fail)

    @property
    def done(self) -> bool:
        """Whether the function has returned or failed; asking lets it go on for a moment, see :func:`giveWay`."""
        giveWay(self._thread)
        return not self._thread.is_alive()

    def wait(self, seconds: float) -> None:
        """Wait until it is done, or for the time."""
        self._thread.join(seconds)

    def _run(self) -> None:
        try:
            self.value = self._function()
        except Exception as error:  # handed to whoever looks at the result
            self.error = error
