"""Runs of the library on volumes of the scene: one after the other, ended with the scene and the module."""

from __future__ import annotations

import logging
import time
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import slicer
from slicer.util import VTKObservationMixin

from . import dependencies
from .dicom_delivery import reasonAgainstWriting
from .job import Job
from .job_state import JobState
from .method_comparison import ComparisonJob, choicesOf, comparisonRequest
from .outputs import reasonAgainstFilledTwice
from .request import Request
from .request_checks import reasonAgainst
from .run import RunFailed
from .run_queue import RunQueue, StartTimer, qtTimer

REQUIREMENTS = Path(__file__).resolve().parents[1] / "Resources" / "requirements.txt"
DICOM_REQUIREMENTS = REQUIREMENTS.with_name("requirements-dicom.txt")


class RunLogic(VTKObservationMixin):
    """Starts runs one after the other, ends them with the scene, and puts their results into it.

    Args:
        queue: of child processes (default: one of its own).
        requirementsPath: what the child processes need.
        confirm: shows what would be installed and returns the answer.
        startTimer: see :class:`RunQueue`.
    """

    def __init__(
        self,
        queue: RunQueue | None = None,
        requirementsPath: Path = REQUIREMENTS,
        confirm: Callable[[str], bool] = dependencies.confirmInSlicer,
        startTimer: StartTimer = qtTimer,
    ) -> None:
        VTKObservationMixin.__init__(self)
        self.queue = queue or RunQueue(startTimer)
        self.jobs: list[Job] = []  # those that have not ended, in order
        self._made: weakref.WeakSet[Job] = weakref.WeakSet()  # those that a script may still hold, too
        self._requirementsPath = requirementsPath
        self._confirm = confirm
        self._complete: set[Path] = set()
        self._startTimer = startTimer
        self._stopTimer: Callable[[], None] | None = None
        self._polling = False
        self.addObserver(slicer.mrmlScene, slicer.vtkMRMLScene.StartCloseEvent, self._onSceneStartClose)

    def ensureDependencies(self, request: Request | None = None) -> bool:
        """Install what a run needs, after asking once; True if all is there, False if the user declined.

        Args:
            request: with DICOM output it needs more packages than another.

        Raises:
            DependencyError: it cannot be installed; the message is one sentence.
        """
        wanted = {self._requirementsPath: dependencies.ENHANCING}
        if request is not None and request.dicomFolder:
            wanted[DICOM_REQUIREMENTS] = dependencies.WRITING_DICOM
        for path, purpose in wanted.items():
            # Looking takes a hundredth of a second, and what is there stays for the session.
            withTorch = path != DICOM_REQUIREMENTS
            if path not in self._complete and not dependencies.ensure(path, self._confirm, withTorch, purpose=purpose):
                return False
            self._complete.add(path)
        return True

    def _requireDependencies(self, request: Request | None = None) -> None:
        if not self.ensureDependencies(request):
            raise dependencies.DependencyError("The packages that a run needs were not installed.")

    def reasonAgainst(self, request: Request) -> str:
        """Why the run cannot start, in one sentence; empty if it can."""
        return reasonAgainst(request) or reasonAgainstFilledTwice(request, [job.request for job in self.jobs])

    def check(self, request: Request) -> None:
        """Raise ValueError with one sentence if the run cannot start."""
        reason = self.reasonAgainst(request) or reasonAgainstWriting(request.dicomFolder)
        if reason:
            raise ValueError(reason)

    def start(
        self,
        request: Request,
        onProgress: Callable[[Job], Any] | None = None,
        onFinished: Callable[[Job], Any] | None = None,
    ) -> Job:
        """Start a run, or let it wait for those before it; what it needs must be installed.

        Raises:
            ValueError: the settings do not fit.
        """
        self.check(request)
        return self._launch(lambda *rest: Job(request, *rest), onProgress, onFinished)

    def startComparison(
        self,
        request: Request,
        methods: str | Sequence[str],
        onProgress: Callable[[Job], Any] | None = None,
        onFinished: Callable[[Job], Any] | None = None,
    ) -> ComparisonJob:
        """The same for a comparison of methods.

        Raises:
            ValueError: the settings or the methods do not fit.
        """
        common, choices = comparisonRequest(request), choicesOf(methods)
        self.check(common)
        return self._launch(lambda *rest: ComparisonJob(common, choices, *rest), onProgress, onFinished)

    def _launch(
        self,
        makeJob: Callable[..., Job],
        onProgress: Callable[[Job], Any] | None,
        onFinished: Callable[[Job], Any] | None,
    ) -> Job:
        def onChanged(job: Job) -> None:
            if onProgress is not None and not job.done:
                _call(onProgress, job)
            if job.done and job in self.jobs:
                self.jobs.remove(job)
                if onFinished is not None:
                    _call(onFinished, job)

        job = makeJob(slicer.app.temporaryPath, onChanged)
        self.jobs.append(job)
        self._made.add(job)
        if self._stopTimer is None:
            self._stopTimer = self._startTimer(self.poll)
        return job

    def poll(self) -> None:
        """Take the jobs on by one short step each; a timer calls it. Never blocks."""
        if self._polling:  # a callback runs Qt's event loop, and with it the timer
            return
        self._polling = True
        try:
            preparing = False
            for job in list(self.jobs):
                job.endWithoutInput(self.queue)
                if job.done:
                    continue
                job.copyOn()  # as early as may be: the scene shall be as it was when the run was asked for
                if job.state is JobState.PREPARING and preparing:
                    continue  # runs start in the order in which they were asked for
                job.advance(self.queue)
                preparing = preparing or job.state is JobState.PREPARING
        finally:
            self._polling = False
        if not self.jobs:
            self._stop()

    def checkWaiting(self, wanted: bool) -> None:
        """Raise RuntimeError where a run could not be waited for, if that is wanted."""
        if wanted and self._polling:
            raise RuntimeError("a callback of a run cannot wait for a run; give waitForCompletion=False")

    def wait(self, job: Job) -> Job:
        """Return when the job has ended; the window stays alive meanwhile.

        Raises:
            RuntimeError: called from a callback of a job, which would wait for ever.
            RunFailed: it failed or was cancelled.
        """
        self.checkWaiting(True)
        try:
            while not job.done:
                self.queue.poll()
                self.poll()
                slicer.app.processEvents()
                time.sleep(0.01)
        except BaseException:  # Ctrl-C in the console ends the run too
            self.cancel(job)
            raise
        if job.error is not None:
            raise RunFailed(job.error, job)
        return job

    def cancel(self, job: Job) -> None:
        """End a job, and every process that it has started."""
        job.cancel(self.queue)

    def cancelAll(self) -> None:
        """End all jobs. Does not block."""
        for job in list(reversed(self.jobs)):
            self.cancel(job)

    def close(self) -> None:
        """End everything, with no callback, before returning: for the module's clean-up and the application's exit."""
        self.removeObservers()
        for job in self.jobs:
            job.abandon()
        self.jobs = []
        self.queue.close()
        self._stop()

    def _onSceneStartClose(self, caller: Any, event: str) -> None:
        for job in list(self._made):
            job.forgetNodes()
        self.cancelAll()

    def _stop(self) -> None:
        if self._stopTimer is not None:
            self._stopTimer()
            self._stopTimer = None


def _call(callback: Callable[[Job], Any], job: Job) -> None:
    """A callback that fails must not stop the job; what went wrong goes to the log."""
    try:
        callback(job)
    except Exception:
        logging.getLogger(__name__).exception("a callback of a run failed")
