"""Runs one after the other: two never share the graphics card, and none outlives the module or Slicer."""

from __future__ import annotations

import atexit
import logging
import shutil
import time
import weakref
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .process import ChildProcess, childEnvironment, longPath
from .run import Run, RunState
from .timers import RepeatedCall

POLL_MILLISECONDS = 50
DELETE_SECONDS = 5.0  # Windows keeps a file for a moment after its process has ended

StartTimer = Callable[[Callable[[], Any]], Callable[[], None]]

# A script may make a logic of its own beside the panel's: its queue waits for the others' runs all the same.
_queues: weakref.WeakSet[RunQueue] = weakref.WeakSet()


def qtTimer(callback: Callable[[], Any]) -> Callable[[], None]:
    """Call ``callback`` on this thread every 50 ms from Qt's event loop; returns what stops it."""
    timer = RepeatedCall(callback, POLL_MILLISECONDS)
    timer.start()
    return timer.stop


class RunQueue:
    """Starts runs in the order in which they were added, one at a time among all queues of the process.

    All callbacks of the runs come from :meth:`poll`, which the timer calls on the main thread.

    Args:
        startTimer: starts calling a function again and again, and returns what stops it (default: :func:`qtTimer`).
        makeChild: makes the child process of a run (default: :class:`~LowFieldEnhanceSlicer.process.ChildProcess`).
    """

    def __init__(
        self, startTimer: StartTimer | None = None, makeChild: Callable[..., ChildProcess] = ChildProcess
    ) -> None:
        self._startTimer = startTimer or qtTimer
        self._makeChild = makeChild
        self._stopTimer: Callable[[], None] | None = None
        self._waiting: deque[Run] = deque()
        self._current: Run | None = None
        self._child: ChildProcess | None = None
        self._ended: deque[Run] = deque()  # not reported yet
        self._leftFolders: dict[Path, float] = {}
        self._polling = False
        self._changed = False
        self._closed = False
        _queues.add(self)
        reference = weakref.WeakMethod(self.close)
        self._atExit = lambda: (close := reference()) and close()
        atexit.register(self._atExit)

    @property
    def current(self) -> Run | None:
        """The run whose child is alive."""
        return self._current

    @property
    def waiting(self) -> tuple[Run, ...]:
        """The runs to come, first in line first."""
        return tuple(self._waiting)

    @property
    def busy(self) -> bool:
        """Whether any run is running, waits, or has not been reported yet."""
        return self._current is not None or bool(self._waiting) or bool(self._ended)

    def add(self, run: Run) -> Run:
        """Start the run, or let it wait for those before it. One that cannot be started fails at the next poll.

        Raises:
            RuntimeError: the queue was closed, or the run was added before.
        """
        if self._closed:
            raise RuntimeError("the queue of runs is closed")
        if run.state is not RunState.WAITING or run in self._waiting:
            raise RuntimeError("a run can be added once")
        self._waiting.append(run)
        self._startNext()
        if self._stopTimer is None:
            self._stopTimer = self._startTimer(self.poll)
        return run

    def cancel(self, run: Run) -> None:
        """Take a waiting run out of the line, or end a running one; one that has ended stays as it is."""
        if run in self._waiting:
            self._waiting.remove(run)
            run.cancelRequested = True
            run.end(None)
            self._ended.append(run)
        elif run is self._current and not run.cancelRequested:
            run.cancelRequested = self._changed = True
            self._child.cancel()

    def cancelAll(self) -> None:
        """Cancel the running run and all that wait: for module close and scene close. Does not block."""
        for run in (*self._waiting, *filter(None, [self._current])):
            self.cancel(run)

    def poll(self) -> None:
        """Hand on what has happened since the last call; never blocks."""
        if self._polling:  # a callback runs Qt's event loop, and with it the timer
            return
        self._polling = True
        try:
            self._poll()
        finally:
            self._polling = False

    def wait(self, run: Run, idle: Callable[[], Any] | None = None) -> Run:
        """Poll until the run has ended and ``onFinished`` has returned; for scripts.

        Args:
            idle: called between polls, such as ``slicer.app.processEvents``, which keeps the window alive.

        Raises:
            RuntimeError: called from a callback of a run, which would wait for ever.
        """
        if self._polling:
            raise RuntimeError("a callback of a run cannot wait for a run")
        try:
            while run is self._current or run in self._waiting or run in self._ended:
                self.poll()
                if idle is not None:
                    idle()
                time.sleep(0.01)
        except BaseException:  # Ctrl-C in the console ends the run too
            self.cancel(run)
            raise
        return run

    def close(self) -> None:
        """End everything and delete all folders before returning, usually at once; no callback is called.

        For the application's exit and the module's clean-up, when what the callbacks would touch is going away.
        """
        atexit.unregister(self._atExit)
        self._closed = True
        for run in (*self._waiting, *self._ended, *filter(None, [self._current])):
            run.onChanged = run.onFinished = None
        self.cancelAll()
        if self._child is not None:
            self._child.end()
        while self._ended:
            self._report(self._ended.popleft())
        until = time.monotonic() + 0.5
        while self._leftFolders and time.monotonic() < until:
            time.sleep(0.05)
            self._deleteFolders()
        self._stop()

    def _poll(self) -> None:
        child = self._child
        if child is not None:
            child.poll()
        if self._changed and self._current is not None:
            self._changed = False
            _call(self._current.onChanged, self._current)
        while self._ended:
            self._report(self._ended.popleft())
        self._startNext()
        self._deleteFolders()
        if not self.busy and not self._leftFolders:
            self._stop()

    def _startNext(self) -> None:
        while self._waiting and not self._closed and all(queue.current is None for queue in _queues):
            run = self._waiting.popleft()
            child = self._makeChild(
                onEvent=lambda event, run=run: self._take(run.addEvent, event),
                onLog=lambda line, run=run: self._take(run.addLog, line),
                onFinished=lambda code, run=run: self._onFinished(run, code),
            )
            run.begin()
            self._current, self._child, self._changed = run, child, True
            try:
                environment = childEnvironment(run.folder) if run.environment is None else run.environment
                child.start(run.arguments, environment, run.folder)
            except (OSError, ImportError, ValueError) as error:
                message = f"The run could not be started: {error}"
                run.addEvent({"event": "error", "kind": "Internal", "message": message})
                self._onFinished(run, None)

    def _take(self, into: Callable[[Any], None], what: Any) -> None:
        into(what)
        self._changed = True

    def _onFinished(self, run: Run, exitCode: int | None) -> None:
        run.end(exitCode)
        self._current = self._child = None
        self._changed = False
        self._ended.append(run)

    def _report(self, run: Run) -> None:
        _call(run.onChanged, run)
        _call(run.onFinished, run)
        if run.folder is not None:
            self._leftFolders[run.folder] = time.monotonic() + DELETE_SECONDS
            self._deleteFolders()

    def _deleteFolders(self) -> None:
        for folder, until in list(self._leftFolders.items()):
            shutil.rmtree(longPath(folder), ignore_errors=True)
            if not folder.exists():
                del self._leftFolders[folder]
            elif time.monotonic() > until:
                logging.getLogger(__name__).warning("the temporary folder %s could not be deleted", folder)
                del self._leftFolders[folder]

    def _stop(self) -> None:
        if self._stopTimer is not None:
            self._stopTimer()
            self._stopTimer = None


def _call(callback: Callable[[Run], None] | None, run: Run) -> None:
    """A callback that fails must not stop the queue; what went wrong goes to the log."""
    if callback is not None:
        try:
            callback(run)
        except Exception:
            logging.getLogger(__name__).exception("a callback of a run failed")
