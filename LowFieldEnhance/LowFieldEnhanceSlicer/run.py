"""One run of the command line, as the panel and the console see it: state, progress, messages, and how it ended."""

from __future__ import annotations

import enum
import shlex
import signal
import tempfile
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from LowFieldEnhanceLib.errors import LowFieldEnhanceError

from .run_progress import OverallProgress, stagesOf

LOG_LINES = 2000
LOG_LINE_LENGTH = 2000
MOST_WARNINGS = 100
KIND_OF_EXIT_CODE = {2: "BadInput", 3: "MissingModel", 4: "OutOfMemory", 130: "Cancelled"}
OUT_OF_MEMORY = "The run was ended by the operating system, most likely because memory ran out."
CANCELLED = "The run was cancelled; nothing was kept."
INPUT_GONE = "The input volume was removed from the scene, so its run was cancelled; nothing was kept."
SCENE_CLOSED = "The scene was closed, so the run was cancelled; nothing was kept."
INPUT_MOVED = (
    "the input volume was moved or resampled during the run (was a transform hardened on it?), so the results, which "
    "lie where it was, were dropped; run again"
)
NO_MEMORY = "there was not enough memory to {what}; close other volumes or programs and try again"
KILLED = 9  # SIGKILL; the module signal lacks it on Windows
WINDOWS_NO_MEMORY = 0xC0000017


class RunState(enum.Enum):
    """What has become of a run."""

    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class RunError:
    """Why a run failed.

    Attributes:
        kind: BadInput, MissingModel, CorruptModel, OutOfMemory, Cancelled or Internal.
        message: one sentence for the user.
    """

    kind: str
    message: str


class RunFailed(Exception):
    """A run ended without results; the message is one sentence.

    Attributes:
        kind: as in :class:`RunError`.
        job: the :class:`~LowFieldEnhanceSlicer.job.Job`, with the log.
    """

    def __init__(self, error: RunError, job: Any) -> None:
        super().__init__(error.message)
        self.kind = error.kind
        self.job = job


FOLDER_PREFIX = "LowFieldEnhance-"  # of every folder that this module makes in the temporary one


def newRunFolder(parent: str | Path | None = None) -> Path:
    """A new empty folder for the files of one run, inside ``parent`` (default: the system's temporary folder).

    The parent is made if it has gone: systems clear temporary folders while Slicer runs.
    """
    if parent is not None:
        Path(parent).mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX, dir=parent))


class Run:
    """One run; a :class:`~LowFieldEnhanceSlicer.run_queue.RunQueue` starts it and fills in the rest.

    Args:
        arguments: of the command line, such as ``["enhance", "scan.nii.gz", "-o", "enhanced.nii.gz"]``.
        folder: see :func:`newRunFolder`; the child works in it, so names in ``arguments`` may be relative to it. It
            belongs to the run alone and is deleted, with all that is in it, after ``onFinished``, however it ended.
        title: for people, such as the scan's name.
        onChanged: called with the run after its state, progress, warnings or log have changed (at most once a poll).
        onFinished: called once with the run when it has ended; its results are still in ``folder`` then.
        environment: of the child, instead of the usual one.

    Attributes:
        state: see :class:`RunState`.
        cancelRequested: true from the click on Cancel; ``state`` follows when the last process is gone.
        progress: the last progress event (``stage``, ``done``, ``total``, and ``eta_s`` if known), or None.
        device: that the run works on, such as ``cpu`` or ``cuda``; None until the child has said it.
        warnings: their messages, each once.
        result: the fields of the result event.
        error: why it failed or was cancelled, else None.
        exitCode: of the child; None before its end and when it could not be started.
        log: the last 2000 lines.
        lineCount: how many lines the log ever had, so that a view can append what is new.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        folder: Path | None = None,
        title: str = "",
        onChanged: Callable[[Run], None] | None = None,
        onFinished: Callable[[Run], None] | None = None,
        environment: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.arguments = [str(argument) for argument in arguments]
        self.folder = folder
        self.title = title
        self.onChanged = onChanged
        self.onFinished = onFinished
        self.environment = environment
        self.state = RunState.WAITING
        self.cancelRequested = False
        self.progress: dict[str, Any] | None = None
        self.device: str | None = None
        self.warnings: list[str] = []
        self.result: dict[str, Any] = {}
        self.error: RunError | None = None
        self.exitCode: int | None = None
        self.log: deque[str] = deque(maxlen=LOG_LINES)
        self.lineCount = 0
        self._overall = OverallProgress(stagesOf(self.arguments), clock)
        self._clock = clock
        self._begun: float | None = None

    @property
    def done(self) -> bool:
        """Whether it has ended, in whatever way."""
        return self.state not in (RunState.WAITING, RunState.RUNNING)

    @property
    def elapsed(self) -> float:
        """Seconds since it began; 0 while it waits."""
        return 0.0 if self._begun is None else self._clock() - self._begun

    @property
    def logText(self) -> str:
        """The log, one line after the other."""
        return "\n".join(self.log)

    def overallProgress(self) -> tuple[float, float | None]:
        """Fraction of the whole run (0 to 1, never falling), and the seconds left, or None while they are unknown."""
        return (1.0, 0.0) if self.state is RunState.FINISHED else self._overall.overallProgress()

    def begin(self) -> None:
        """The queue starts it."""
        self.state = RunState.RUNNING
        self._begun = self._clock()
        self._overall.start()
        self.addLog("lowfield-enhance " + shlex.join(self.arguments))

    def addLog(self, line: str) -> None:
        """Append one line to the log; a very long one is cut."""
        self.log.append(line if len(line) <= LOG_LINE_LENGTH else line[:LOG_LINE_LENGTH] + " ...")
        self.lineCount += 1

    def addEvent(self, event: dict[str, Any]) -> None:
        """Take in one event of the child, as :func:`~LowFieldEnhanceSlicer.process.parseEvent` lets it through."""
        kind = event["event"]
        if kind == "progress":
            if self.progress is None or event["stage"] != self.progress["stage"]:
                self.addLog(f"Stage: {event['stage']}")
            self.progress = event
            self.device = event.get("device", self.device)
            self._overall.update(event)
        elif kind == "warning" and event["message"] not in self.warnings[-MOST_WARNINGS:]:
            self.warnings = [*self.warnings[1 - MOST_WARNINGS :], event["message"]]
            self.addLog(f"Warning: {event['message']}")
        elif kind == "result":
            self.result = {name: value for name, value in event.items() if name != "event"}
        elif kind == "error":
            self.error = RunError(event["kind"], event["message"])
            self.addLog(f"Error ({event['kind']}): {event['message']}")

    def end(self, exitCode: int | None) -> None:
        """The child is gone; None means that it never started (``error`` says why, if it was not cancelled)."""
        self.exitCode = exitCode
        if self.cancelRequested:
            self.error = RunError("Cancelled", CANCELLED)
        elif self.error is None and exitCode != 0:
            last = next((line for line in reversed(self.log) if line.strip()), "") if self.lineCount > 1 else ""
            self.error = unexpectedEnd(exitCode, last)
            self.addLog(f"Error ({self.error.kind}): {self.error.message}")
        if self.error is None:
            self.state = RunState.FINISHED
        elif self.error.kind == "Cancelled":
            self.state = RunState.CANCELLED
        else:
            self.state = RunState.FAILED
        if self.state is not RunState.FINISHED:
            self.result = {}


def failureOf(error: Exception, loading: bool = False) -> RunError:
    """What to say of an exception in Slicer itself, beside the child process.

    Args:
        loading: it came up while the results were loaded, not while the scan was handed over.
    """
    if isinstance(error, MemoryError):
        what = "load the results" if loading else "hand the scan over"
        return RunError("OutOfMemory", NO_MEMORY.format(what=what))
    kind = error.kind if isinstance(error, LowFieldEnhanceError) else "Internal"
    return RunError(kind, str(error) or type(error).__name__)


def unexpectedEnd(exitCode: int | None, lastLine: str = "") -> RunError:
    """What to say of a child that ended without an error event.

    Args:
        exitCode: negative, or 128 more than it: the number of a signal.
        lastLine: of its log, which usually names the exception.
    """
    code = 1 if exitCode is None else exitCode
    number = -code if code < 0 else code - 128 if 128 < code < 160 else 0
    if number == KILLED or code & 0xFFFFFFFF == WINDOWS_NO_MEMORY:
        return RunError("OutOfMemory", OUT_OF_MEMORY)
    if code in KIND_OF_EXIT_CODE:
        kind = KIND_OF_EXIT_CODE[code]
        said = {"Cancelled": "The run was cancelled from outside", "OutOfMemory": "The run ran out of memory"}
        return RunError(kind, _sentence(said.get(kind, f"The run failed ({kind}) and did not say why"), lastLine))
    if number:
        return RunError("Internal", _sentence(f"The run crashed ({_signalName(number)})", lastLine))
    shown = f"0x{code:X}" if code > 255 else str(code)
    return RunError("Internal", _sentence(f"The run ended unexpectedly with exit code {shown}", lastLine))


def _signalName(number: int) -> str:
    try:
        return signal.strsignal(number) or f"signal {number}"
    except ValueError:
        return f"signal {number}"


def _sentence(start: str, lastLine: str) -> str:
    return f"{start}; its last message was: {lastLine[:300]}" if lastLine.strip() else f"{start}."
