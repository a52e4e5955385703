"""The command line of LowFieldEnhanceLib as a child process of Slicer, watched without ever blocking.

``PythonSlicer -m LowFieldEnhanceLib enhance ... --json`` writes one JSON event a line (README, "JSON events"). A
process of its own gives progress, a Cancel that works, and the graphics card's memory back. Two threads read its
output into a queue; :meth:`ChildProcess.poll`, called by a timer of the main thread, hands it on.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from LowFieldEnhanceLib.interpreter import python_executable

from .background import giveWay
from .process_tree import WINDOWS, ProcessTree, popenOptions

LIBRARY = "LowFieldEnhanceLib"
MODELS = "LOWFIELDENHANCE_MODELS"  # a folder that is looked into first
GRACE_SECONDS = 1.0  # between asking a cancelled run to stop and ending it
GIVE_UP_SECONDS = 5.0  # a process that cannot be killed (it waits for a dead disk) is not waited for
SILENT_SECONDS = 1.0  # the process has ended, but a daemon of it keeps the output open and says nothing
DRAIN_SECONDS = 10.0  # the same, and it never stops talking
POLL_SECONDS = 0.01  # the longest time that one poll hands out output: the window must stay at 60 frames a second
QUEUED_LINES = 10_000  # a child that writes faster than it is read has to wait
LONGEST_LINE = 1 << 20  # bytes; a longer one is cut
CORES_TO_SPARE = 4  # as many as a computer must have for one of them to be left to Slicer
BUFFER_BYTES = 1 << 16  # as much as a pipe holds: a reader waits for Python's lock after each piece (background.py)
EVENT_FIELDS: dict[str, dict[str, type | tuple[type, ...]]] = {
    "progress": {"stage": str, "done": (int, float), "total": (int, float)},
    "warning": {"message": str},
    "result": {},
    "error": {"kind": str, "message": str},
}


def libraryCommand() -> list[str]:
    """Starts the library's command line; its arguments follow."""
    return [python_executable(), "-m", LIBRARY]


def coreCount() -> int:
    """Processor cores that this process may use (its affinity, where the system tells it)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def childEnvironment(folder: str | Path | None = None) -> dict[str, str]:
    """The environment of this process, in which the child finds the same library and writes UTF-8 at once.

    From four cores on it leaves one free, for Slicer and the desktop; of two or three that would cost a half or a third
    of the speed. PyTorch and NumPy heed OMP_NUM_THREADS, SimpleITK a variable of its own; what the user has set stays.

    Args:
        folder: where the child puts its temporary files, so that they go with the run; None leaves it the system's.

    Raises:
        ModuleNotFoundError: the library cannot be found here either.
    """
    found = importlib.util.find_spec(LIBRARY)
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError(f"{LIBRARY} is not installed beside the module", name=LIBRARY)
    library = str(Path(next(iter(found.submodule_search_locations))).parent)
    environment = dict(os.environ)
    paths = [library, *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    # The child works in a folder of its own, where a relative path would lead nowhere.
    environment["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(map(os.path.abspath, paths)))
    if environment.get(MODELS):
        environment[MODELS] = os.path.abspath(environment[MODELS])
    environment["PYTHONUNBUFFERED"] = "1"
    environment["PYTHONIOENCODING"] = "utf-8"
    environment["PYTHONSAFEPATH"] = "1"  # a json.py in the folder where Slicer was started is not ours
    threads = coreCount() - 1 if coreCount() >= CORES_TO_SPARE else coreCount()
    for name in ("OMP_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"):
        environment.setdefault(name, str(threads))
    if folder is not None:
        environment.update(dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder)))
    return environment


def longPath(path: str | Path) -> str:
    r"""The path as Windows takes it beyond 260 characters (``\\?\`` in front); unchanged elsewhere."""
    text = os.path.abspath(path)
    if not WINDOWS or len(text) < 240 or text.startswith("\\\\?\\"):
        return str(path)
    return "\\\\?\\UNC" + text[1:] if text.startswith("\\\\") else "\\\\?\\" + text


def parseEvent(line: str) -> dict[str, Any] | None:
    """The JSON event that a line holds, or None for any other line."""
    if not line.startswith("{"):
        return None
    try:
        event = json.loads(line)
        fields = EVENT_FIELDS[event["event"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return event if all(isinstance(event.get(name), kind) for name, kind in fields.items()) else None


class ChildProcess:
    """One child process. All callbacks come from :meth:`poll`, so on the caller's thread.

    Args:
        onEvent: called with each JSON event of the child's standard output.
        onLog: called with each other line, of standard output and standard error.
        onFinished: called once, with the exit code (negative: ended by that signal), when the child and all that it
            started are gone.
        command: what starts the child, without its arguments (default: :func:`libraryCommand`).
    """

    def __init__(
        self,
        onEvent: Callable[[dict[str, Any]], None] | None = None,
        onLog: Callable[[str], None] | None = None,
        onFinished: Callable[[int], None] | None = None,
        command: Sequence[str] | None = None,
    ) -> None:
        self.onEvent = onEvent
        self.onLog = onLog
        self.onFinished = onFinished
        self.exitCode: int | None = None
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._tree: ProcessTree | None = None
        self._readers: list[threading.Thread] = []
        self._lines: queue.Queue[tuple[bool, str]] = queue.Queue(QUEUED_LINES)
        self._discard = threading.Event()
        self._cancelledAt: float | None = None
        self._endedAt: float | None = None
        self._heardAt = 0.0

    @property
    def running(self) -> bool:
        """From :meth:`start` until ``onFinished`` is called."""
        return self._process is not None and self.exitCode is None

    @property
    def cancelled(self) -> bool:
        """Whether :meth:`cancel` was called while it ran."""
        return self._cancelledAt is not None

    def start(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str] | None = None,
        folder: str | Path | None = None,
    ) -> None:
        """Start ``command arguments --json``.

        Args:
            arguments: of the command line, such as ``["enhance", "scan.nii.gz", "-o", "enhanced.nii.gz"]``.
            environment: of the child (default: :func:`childEnvironment`).
            folder: where the child works, to which relative names in the arguments belong (default: this process's).

        Raises:
            RuntimeError: it was started before.
            OSError: the program is not there or may not be run.
        """
        if self._process is not None:
            raise RuntimeError("a ChildProcess runs once")
        command = [*(self._command or libraryCommand()), *map(str, arguments)]
        if "--json" not in command:
            command.append("--json")
        self._process = subprocess.Popen(
            command,
            env=dict(childEnvironment() if environment is None else environment),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=BUFFER_BYTES,
            **popenOptions(),
        )
        self._tree = ProcessTree(self._process.pid)
        for stream, isOutput in ((self._process.stdout, True), (self._process.stderr, False)):
            reader = threading.Thread(target=self._read, args=(stream, isOutput), daemon=True)
            reader.start()
            self._readers.append(reader)

    def cancel(self) -> None:
        """Ask the child and all that it started to stop; :meth:`poll` ends what is left after a second."""
        if self.running and not self.cancelled:
            self._cancelledAt = time.monotonic()
            self._discard.set()  # a reader that waits for room in the queue would keep the pipe full
            self._tree.terminate()

    def poll(self) -> bool:
        """Hand on what the child has written, and see to its end; takes milliseconds. Returns ``running``."""
        if not self.running:
            return False
        ended = self._process.poll() is not None
        if ended:
            giveWay(*self._readers)  # nothing more comes: what was said last is worth waiting for
        self._deliver()
        if not self.running:  # a callback has ended it
            return False
        if ended and self._endedAt is None:
            self._endedAt = time.monotonic()
            if not self.cancelled and self._tree.alive():  # what a crashed child leaves behind
                self._tree.kill()
        if self.cancelled:
            since = time.monotonic() - self._cancelledAt
            alive = not ended or self._tree.alive()
            if alive and since >= GRACE_SECONDS:
                self._tree.kill()
            if not alive or since >= GIVE_UP_SECONDS:
                self._finish()
        elif ended and self._drained():
            self._finish()
        return self.running

    def end(self) -> None:
        """Cancel and wait until all are gone (at most five seconds): for the application's exit only."""
        self.cancel()
        while self.poll():
            time.sleep(0.01)

    def _finish(self) -> None:
        code = self._process.poll()
        self.exitCode = -9 if code is None else code
        self._discard.set()
        self._tree.release()
        self._call(self.onFinished, self.exitCode)

    def _drained(self) -> bool:
        now = time.monotonic()
        # In this order: a reader that is dead puts nothing more into the queue.
        complete = not any(reader.is_alive() for reader in self._readers) and self._lines.empty()
        silent = now - max(self._endedAt, self._heardAt) >= SILENT_SECONDS
        return complete or silent or now - self._endedAt >= DRAIN_SECONDS

    def _deliver(self) -> None:
        until = time.monotonic() + POLL_SECONDS
        while time.monotonic() < until:
            try:
                isOutput, line = self._lines.get_nowait()
            except queue.Empty:
                return
            self._heardAt = time.monotonic()
            event = parseEvent(line) if isOutput else None
            if event is not None:
                self._call(self.onEvent, event)
            elif line:
                self._call(self.onLog, line)

    def _read(self, stream: IO[bytes], isOutput: bool) -> None:
        """In its own thread: the lines of one stream, until all its writers have closed it."""
        with stream:
            while data := stream.readline(LONGEST_LINE):
                # A progress bar draws itself anew after each carriage return: the last state is the line.
                line = data.decode("utf-8", errors="replace").rstrip("\r\n").rpartition("\r")[2]
                while not self._discard.is_set():
                    try:
                        self._lines.put((isOutput, line), timeout=0.05)
                        break
                    except queue.Full:
                        continue

    @staticmethod
    def _call(callback: Callable[[Any], None] | None, argument: Any) -> None:
        """A callback that fails must not end the watching; what went wrong goes to the log."""
        if callback is not None:
            try:
                callback(argument)
            except Exception:
                logging.getLogger(__name__).exception("a callback of a run failed")
