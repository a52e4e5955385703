"""One run from the click on Apply to the nodes in the scene: export, child process, loading."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from LowFieldEnhanceLib.errors import BadInput

from .background import Background
from .dicom_delivery import DICOM, DicomDelivery
from .export import InputCopies
from .job_nodes import Nodes, nodesOf
from .job_state import ENDED, JobState
from .loading import addInSteps, readResults
from .process import longPath
from .request import Request, arguments
from .run import CANCELLED, INPUT_GONE, INPUT_MOVED, SCENE_CLOSED, Run, RunError, RunState, failureOf, newRunFolder
from .run_queue import RunQueue
from .scene import RunResult
from .volumes import geometryOf

COPY_SECONDS = 0.01  # of the inputs, at a time


class Job:
    """One run of ``enhance``; :meth:`advance`, called again and again on the main thread, takes it to its end.

    Args:
        request: what is asked for.
        temporaryPath: where its folder is made.
        onChanged: called with the job when its state, progress, warnings or log have changed.

    Attributes:
        state: see :class:`JobState`.
        error: why it failed or was cancelled: one sentence and its kind.
        result: ids of the nodes, when finished.
    """

    def __init__(self, request: Request, temporaryPath: str, onChanged: Callable[[Job], Any]) -> None:
        self.request = request
        self.title = request.inputVolume.GetName()
        self.state = JobState.PREPARING
        self.error: RunError | None = None
        self.result: RunResult | None = None
        self._onChanged = onChanged
        self._scene = request.inputVolume.GetScene()
        self._geometry = geometryOf(request.inputVolume)
        self._folders = [newRunFolder(temporaryPath)]
        self._dicom = DicomDelivery(request.dicomFolder, self.title, self._folders[0]) if request.dicomFolder else None
        self._copies: InputCopies | None = None
        self._ownWarnings: list[str] = []
        self._work: Background | None = None
        self._steps: Iterator[RunResult | None] | None = None
        self._cancelRequested = self._sceneClosed = False
        self._whyCancelled = CANCELLED
        try:
            self.run = self._makeRun(temporaryPath)
        except BaseException:
            self._deleteFolders()
            raise

    @property
    def done(self) -> bool:
        """Whether it has ended, in whatever way."""
        return self.state in ENDED

    @property
    def warnings(self) -> list[str]:
        """What the run warned of."""
        undelivered = [self._dicom.warning] if self._dicom is not None and self._dicom.warning else []
        kept = self.result.warnings if self.result is not None else []
        return [*self._ownWarnings, *self.run.warnings, *kept, *undelivered]

    @property
    def dicomFolder(self) -> Path | None:
        """Where the run's DICOM files are in the end; None if there are none."""
        return self._dicom.folder if self._dicom is not None and not self._dicom.brokenOff else None

    @property
    def log(self) -> str:
        """The log of the child process."""
        return self.run.logText

    @property
    def stage(self) -> str:
        """What is being done, for people."""
        if self._delivering and not self.done:
            return "write the DICOM files"
        if self.state is JobState.RUNNING:
            return self.run.progress["stage"] if self.run.progress else "start"
        names = {JobState.PREPARING: "export", JobState.LOADING: "load the results"}
        return names.get(self.state, self.state.value)

    @property
    def cancelRequested(self) -> bool:
        """From the click on Cancel; ``state`` follows when all is gone."""
        breaking = self._delivering and self._dicom.stopping
        return self._cancelRequested or self.run.cancelRequested or breaking

    def progress(self) -> tuple[float, float | None]:
        """Fraction done (0 to 1, never falling) and the seconds left, or None while they are unknown."""
        if self.state is JobState.FINISHED:
            return 1.0, 0.0
        fraction, left = self.run.overallProgress()
        return min(fraction, 0.99), left

    @property
    def summary(self) -> str:
        """What has been done, for people, once it is finished."""
        return " ".join(
            filter(None, [_("{name} is enhanced.").format(name=self.title), self.run.result.get("verdict")])
        )

    @property
    def nodes(self) -> Nodes:
        """The nodes of the results that are in the scene now; all None before the end."""
        return nodesOf(self._scene, self.result)

    def cancel(self, queue: RunQueue) -> None:
        """End it as soon as may be; what was added to the scene is removed again.

        Once all results are in the scene, they stay: only the writing of DICOM files is broken off.
        """
        if self.state in (JobState.WAITING, JobState.RUNNING):
            queue.cancel(self.run)
        elif self._delivering and not self.done:
            self._dicom.breakOff()
            self._onChanged(self)
        elif not self.done:
            self._cancelRequested = True
            self.advance(queue)

    def forgetNodes(self) -> None:
        """The scene is being closed: its nodes go, and their ids will be those of other nodes."""
        self.result, self._sceneClosed, self._whyCancelled = None, True, SCENE_CLOSED

    def endWithoutInput(self, queue: RunQueue) -> None:
        """Cancel it if its input volume is no longer in the scene: there is nothing to put its results beside."""
        if self.done or self.cancelRequested or self._delivering or self._scene.IsNodePresent(self.request.inputVolume):
            return
        self._whyCancelled = INPUT_GONE
        self.cancel(queue)

    def copyOn(self) -> None:
        """Copy a little more of the inputs, and have them written once all is copied."""
        until = time.monotonic() + COPY_SECONDS
        while self._copies is not None and time.monotonic() < until:
            try:
                if not self._copies.copyOn():
                    self._work, self._copies = Background(self._copies.write), None
            except Exception as error:  # most likely memory ran out
                self._work, self._copies = Background.failed(error), None

    def advance(self, queue: RunQueue) -> None:
        """One short step."""
        if self._cancelRequested and not self.done:
            self._copies = None
            if self._work is None or self._work.done:  # before that its files are in use
                self._closeSteps()
                self._end(*self._cancelled)
        elif self.state is JobState.PREPARING and self._work is not None and self._work.done:
            if self._work.error is not None:
                self._fail(self._work.error)
                return
            self._set(JobState.WAITING)
            self._folders.remove(self.run.folder)  # the queue deletes it
            queue.add(self.run)
        elif self.state is JobState.LOADING:
            try:
                self._load()
            except Exception as error:  # whatever the scene refuses, the user gets a sentence
                self._fail(error)

    def abandon(self) -> None:
        """Forget it at the end of the application: no callback, nothing left on disk."""
        self._onChanged = lambda job: None
        if not self.done:
            self._copies = None
            if self._work is not None:
                self._work.wait(5.0)
            if self._dicom is not None:
                self._dicom.stop()
            self._closeSteps()
            self._end(*self._cancelled)

    def _makeRun(self, temporaryPath: str) -> Run:
        folder = self._folders[0]
        outputs = folder / "results"
        outputs.mkdir()
        self._copies = InputCopies(self.request, folder)
        self._ownWarnings = self._copies.warnings
        self._lesionNames, self._digests = self._copies.lesionNames, self._copies.digests
        # Names inside the folder, where the child works: SimpleITK on Windows cannot open a path with letters that the
        # system's code page lacks, and the user's account may have such a name.
        files = {name: path.relative_to(folder) for name, path in self._copies.files.items()}
        line = self._commandLine(files, outputs.relative_to(folder))
        self.copyOn()
        return Run(line, folder, self.title, self._onRunChanged, self._onRunFinished)

    def _commandLine(self, files: dict[str, Path], outputs: Path) -> list[str]:
        return arguments(self.request, files, outputs, outputs / DICOM if self._dicom is not None else None)

    def _readFiles(self, outputs: Path) -> Any:
        """On a thread: what the run has left, read; touches no node."""
        return readResults(outputs)

    def _addToScene(self, files: Any) -> Iterator[RunResult | None]:
        """In steps: what was read into the scene."""
        return addInSteps(self._scene, self.request, files, self._lesionNames, self._digests)

    def _onRunChanged(self, run: Run) -> None:
        if self.state is JobState.WAITING and run.state is RunState.RUNNING:
            self.state = JobState.RUNNING
        self._onChanged(self)

    def _onRunFinished(self, run: Run) -> None:
        if run.state is not RunState.FINISHED:
            self._end(*(self._cancelled if run.state is RunState.CANCELLED else (JobState.FAILED, run.error)))
            return
        # The folder is the job's from here on; the queue would delete it after this call.
        folder, run.folder = run.folder, None
        self._folders.append(folder)
        outputs = folder / "results"
        self._work = Background(lambda: self._readFiles(outputs))
        self._set(JobState.LOADING)

    @property
    def _cancelled(self) -> tuple[JobState, RunError]:
        """State and error of a job that does not go on."""
        return JobState.CANCELLED, RunError("Cancelled", self._whyCancelled)

    @property
    def _delivering(self) -> bool:
        """All is in the scene, and only DICOM files are on their way."""
        return self._dicom is not None and self._dicom.begun

    def _load(self) -> None:
        if self._delivering:
            if self._dicom.finish():
                self._end(*(self._cancelled if self._sceneClosed else (JobState.FINISHED, None)))
            return
        if not self._work.done:
            return
        if self._steps is None:
            if isinstance(self._work.error, MemoryError):
                raise self._work.error
            if self._work.error is not None:
                raise BadInput(f"the results of the run cannot be loaded: {self._work.error}") from self._work.error
            if geometryOf(self.request.inputVolume) != self._geometry:
                raise BadInput(INPUT_MOVED)
            self._steps = self._addToScene(self._work.value)
        self.result = next(self._steps)
        if self.result is not None and self._dicom is not None:
            self._dicom.start()
        elif self.result is not None:
            self._end(JobState.FINISHED, None)

    def _closeSteps(self) -> None:
        if self._steps is not None:
            self._steps.close()

    def _fail(self, error: Exception) -> None:
        failure = failureOf(error, self.state is JobState.LOADING)
        self.run.addLog(f"Error: {failure.message}")
        self._end(JobState.FAILED, failure)

    def _end(self, state: JobState, error: RunError | None) -> None:
        self.error = error
        self._steps = self._work = None  # with what was read of the results
        self._deleteFolders()
        self._set(state)

    def _set(self, state: JobState) -> None:
        self.state = state
        self._onChanged(self)

    def _deleteFolders(self) -> None:
        for folder in self._folders:
            with contextlib.suppress(OSError):
                if self._dicom is None or not self._dicom.deleteOthers(folder):
                    shutil.rmtree(longPath(folder))
        self._folders = []
