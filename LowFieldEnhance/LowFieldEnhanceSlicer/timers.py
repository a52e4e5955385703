"""Calls from Qt's event loop, on the main thread: again and again, or once when the events in hand are done."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable
from typing import Any


class RepeatedCall:
    """Calls a function every so many milliseconds, from :meth:`start` to :meth:`stop`."""

    def __init__(self, callback: Callable[[], Any], milliseconds: int) -> None:
        import qt

        self._callback = callback
        self._milliseconds = milliseconds
        self._timer = qt.QTimer()
        # PythonQt keeps what is connected where no garbage collector finds it: with a method of this object in it, the
        # callback, and the volumes that it knows of, would stay in memory for ever.
        this = weakref.ref(self)

        def onTimeout() -> None:
            alive = this()
            if alive is not None:
                alive._onTimeout()

        self._timer.timeout.connect(onTimeout)

    def start(self) -> None:
        """Go on, or start the interval anew."""
        self._timer.start(self._milliseconds)

    def stop(self) -> None:
        """No call comes after this."""
        with contextlib.suppress(RuntimeError, ValueError):  # at exit Qt may have destroyed the timer already
            self._timer.stop()

    def _onTimeout(self) -> None:
        self._callback()


class DeferredCall(RepeatedCall):
    """Calls a function once after each :meth:`start`, when Slicer has dealt with the events before it.

    However often it is asked for meanwhile, one call comes.
    """

    def __init__(self, callback: Callable[[], Any]) -> None:
        super().__init__(callback, 0)

    def _onTimeout(self) -> None:
        self.stop()
        self._callback()
