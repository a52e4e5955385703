"""Work away from the main thread: reading and writing files, never the scene."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


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

    @property
    def done(self) -> bool:
        """Whether the function has returned or failed."""
        return not self._thread.is_alive()

    def wait(self, seconds: float) -> None:
        """Wait until it is done, or for the time."""
        self._thread.join(seconds)

    def _run(self) -> None:
        try:
            self.value = self._function()
        except Exception as error:  # handed to whoever looks at the result
            self.error = error
