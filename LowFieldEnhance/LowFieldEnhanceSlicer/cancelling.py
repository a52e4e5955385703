"""Starting and ending runs in the panel: not by the second click of a double click, nor after long work unasked."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import slicer
from slicer.i18n import tr as _

from .estimate import duration
from .job import Job

LEAST_SECONDS = 1.0  # between two clicks that mean opposite things
DOUBLE_CLICK_MILLISECONDS = 400  # where the application does not say
LONG_SECONDS = 60.0  # of a run that is worth a question
START, CANCEL = "start", "cancel"
COMPARE, RUN_AGAIN, QUEUE = "compare", "run again", "queue"


class ClickGuard:
    """The second click of a double click would undo the first where a button is Apply and Cancel in turn, or repeat it.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = ""
        self._at = 0.0
        self._worked: dict[str, float] = {}  # when the work of the last click on each button was done

    def did(self, action: str) -> None:
        """START or CANCEL has just happened."""
        self._last, self._at = action, self._clock()

    def once(self, action: str, work: Callable[[], Any]) -> None:
        """Do the work of a click on a button that does the same each time, but not of the second of a double click.

        That one waits until the work of the first is done, which may take longer than any double click.
        """
        meant = action not in self._worked or self._clock() - self._worked[action] >= _doubleClickSeconds()
        try:
            if meant:
                work()
        finally:
            self._worked[action] = self._clock()

    def isMeant(self, action: str) -> bool:
        """Whether a click now means this action, and is not the rest of one that meant the opposite."""
        return self._last in ("", action) or self._clock() - self._at >= max(LEAST_SECONDS, _doubleClickSeconds())


def _doubleClickSeconds() -> float:
    return (slicer.app.property("doubleClickInterval") or DOUBLE_CLICK_MILLISECONDS) / 1000


def confirmCancel(job: Job) -> bool:
    """Ask whether a run that has worked for long shall end; True at once for any other."""
    if job.run.elapsed < LONG_SECONDS:
        return True
    text = _("{name} has been worked on for {time}. End the run and keep nothing of it?")
    question = text.format(name=job.title, time=duration(job.run.elapsed))
    # The run goes on while the question is open, and may end by itself.
    return slicer.util.confirmYesNoDisplay(question, _("Low-Field Enhance - Cancel")) and not job.done
