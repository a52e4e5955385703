"""What the panel shows of its runs: bar, stage, time left, the last message with its buttons, and the log."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import qt
from slicer.i18n import tr as _

from .estimate import duration
from .job import Job
from .job_state import JobState
from .run import RunError

REFRESH_MILLISECONDS = 500
ERROR_COLOUR, DONE_COLOUR = "#b3261e", "#2e7d32"


class RunView:
    """The lower part of the panel.

    Args:
        ui: the widgets of the panel by name.
        onChanged: called when a run has begun or ended.
        onTryOnCpu: called with a job that ran out of memory, when the user wants it on the CPU.
        cancel: ends a job.
    """

    def __init__(
        self,
        ui: Any,
        onChanged: Callable[[], None],
        onTryOnCpu: Callable[[Job], None],
        cancel: Callable[[Job], None],
    ) -> None:
        self._ui = ui
        self._onChanged = onChanged
        self._onTryOnCpu = onTryOnCpu
        self._cancel = cancel
        self._jobs: list[Job] = []
        self._logged: tuple[weakref.ref[Job], int] | None = None  # a job has volumes
        self._failed: Job | None = None
        self._ended: list[tuple[str, str, bool]] = []  # title, sentences, failed: of the runs of one line
        self._copied = ""
        self._paused = False
        self._timer = qt.QTimer()
        self._timer.timeout.connect(self.refresh)
        ui.detailsButton.clicked.connect(self._onDetails)
        ui.copyButton.clicked.connect(self._onCopy)
        ui.cpuButton.clicked.connect(self._onCpu)
        ui.cancelWaitingButton.clicked.connect(self._onCancelWaiting)
        self.refresh()

    @property
    def job(self) -> Job | None:
        """The panel's run that is on its way, or None."""
        return next((job for job in self._jobs if not job.done), None)

    @property
    def waiting(self) -> list[Job]:
        """The panel's runs that come after it."""
        return [job for job in self._jobs if job is not self.job and not job.done and not job.cancelRequested]

    def follow(self, job: Job) -> None:
        """Show a run until its end."""
        if self.job is None:
            self.clearMessage()
        self._jobs.append(job)
        if not self._paused:
            self._timer.start(REFRESH_MILLISECONDS)
        self.refresh()
        self._onChanged()

    def onFinished(self, job: Job) -> None:
        """A run has ended: say how."""
        self._showLog(job)
        if job.state is JobState.FINISHED:
            warnings = [_("Warning: {text}").format(text=_sentence(warning)) for warning in job.warnings]
            written = [_("DICOM files are in {folder}.").format(folder=job.dicomFolder)] if job.dicomFolder else []
            self._showEnd(job, "\n".join([job.summary, *written, *warnings]), DONE_COLOUR)
        elif job.state is JobState.CANCELLED:
            self._showEnd(job, job.error.message)
        else:
            self._showEnd(job, _sentence(job.error.message), ERROR_COLOUR)
        self._jobs.remove(job)
        if not self._jobs:
            self._timer.stop()
        self.refresh()
        self._onChanged()

    def showMessage(self, text: str, colour: str = "") -> None:
        """A sentence without buttons."""
        self.clearMessage()
        self._showText(text, colour)

    def showError(self, error: RunError) -> None:
        """One readable sentence of what could not begin."""
        self._copied = _sentence(error.message)
        self.showMessage(self._copied, ERROR_COLOUR)
        self._ui.copyButton.visible = True

    def clearMessage(self) -> None:
        """No message and no buttons."""
        self._failed = None
        self._ended = []
        for name in ("messageLabel", "detailsButton", "copyButton", "cpuButton"):
            getattr(self._ui, name).visible = False

    def refresh(self, changed: Job | None = None) -> None:
        """Draw bar, stage and time left of the current run anew."""
        if self._paused:
            return
        job = self.job
        self._ui.progressBar.visible = self._ui.statusLabel.visible = job is not None
        self._ui.cancelWaitingButton.visible = bool(self.waiting)
        if job is None:
            return
        fraction, left = job.progress()
        self._ui.progressBar.value = round(100 * fraction)
        self._ui.statusLabel.text = self._status(job, left)
        self._showLog(job)

    def pause(self) -> None:
        """Draw nothing while nobody can see it; runs go on, and how they end is said."""
        self._paused = True
        self._timer.stop()

    def resume(self) -> None:
        """Draw again."""
        self._paused = False
        if self._jobs:
            self._timer.start(REFRESH_MILLISECONDS)
        self.refresh()

    def close(self) -> None:
        """Stop drawing."""
        self._timer.stop()

    def _showText(self, text: str, colour: str) -> None:
        self._ui.messageLabel.text = text
        self._ui.messageLabel.styleSheet = f"color: {colour};" if colour else ""
        self._ui.messageLabel.visible = True

    def _showEnd(self, job: Job, text: str, colour: str = "") -> None:
        """How a run ended, below those before it in the line; the buttons stay those of the last one that failed."""
        failed = job.state is JobState.FAILED
        self._ended.append((job.title, text, failed))
        one = len(self._ended) == 1
        lines = [text if one or not told else f"{title}: {text}" for title, text, told in self._ended]
        self._showText("\n".join(lines), ERROR_COLOUR if any(told for *_rest, told in self._ended) else colour)
        if not failed:
            return
        self._failed, self._copied = job, f"{text}\n\n{job.log}"
        self._ui.copyButton.visible = self._ui.detailsButton.visible = True
        # The child said so, not Slicer. Not the device that was asked for counts, but where it worked: "auto" may have
        # ended on the CPU, where it has just failed.
        ran = job.run.error is not None and job.run.error.kind == "OutOfMemory"
        self._ui.cpuButton.visible = ran and job.run.device not in (None, "cpu")

    def _status(self, job: Job, left: float | None) -> str:
        waiting = len(self.waiting)
        parts = [f"{job.title}: {_('cancelling') if job.cancelRequested else _stageText(job.stage)}"]
        if left is not None and job.state is JobState.RUNNING and not job.cancelRequested:
            parts.append(_("about {time} left").format(time=duration(left)))
        if waiting:
            parts.append(_("{count} waiting").format(count=waiting))
        return " - ".join(parts)

    def _showLog(self, job: Job) -> None:
        shown, count = self._logged or (None, 0)
        if shown is None or shown() is not job:
            self._ui.logText.clear()
            count = 0
        new = job.run.lineCount - count
        if new > 0:
            self._ui.logText.appendPlainText("\n".join(list(job.run.log)[-new:]))
        self._logged = weakref.ref(job), job.run.lineCount

    def _onDetails(self) -> None:
        self._showLog(self._failed)
        self._ui.logButton.collapsed = False

    def _onCopy(self) -> None:
        qt.QApplication.clipboard().setText(self._copied)

    def _onCancelWaiting(self) -> None:
        for job in reversed(self.waiting):
            self._cancel(job)
        self.refresh()

    def _onCpu(self) -> None:
        self._onTryOnCpu(self._failed)


def _stageText(stage: str) -> str:
    """A stage of the library for people; one that is not known stays as it is."""
    scope, colon, name = stage.rpartition(": ")
    texts = {
        "export": _("handing the scan over"),
        "waiting": _("waiting for the run before"),
        "start": _("starting"),
        "read": _("reading the scan"),
        "segment the input": _("segmenting the scan"),
        "enhance": _("enhancing"),
        "segment the orientations": _("segmenting each orientation's result"),
        "expect the deviation": _("telling how far the result may be off"),
        "data consistency": _("agreeing with the scan"),
        "check fidelity": _("checking the fidelity"),
        "segment the result": _("segmenting the result"),
        "register the reference": _("registering the reference"),
        "segment the reference": _("segmenting the reference"),
        "report": _("writing the report"),
        "load the results": _("loading the results"),
        "write the DICOM files": _("writing the DICOM files"),
    }
    return scope + colon + texts.get(name, name)


def _sentence(text: str) -> str:
    """The library's messages begin small and may lack their full stop."""
    first = text.partition(" ")[0]
    text = text if "." in first else text[:1].upper() + text[1:]  # the name of a file stays as it is
    return text if text.endswith((".", "!", "?")) else text + "."
