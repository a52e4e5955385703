"""A child process with everything that it has started, and how all of it is ended on Linux, macOS and Windows.

``PythonSlicer`` is a launcher that starts the real interpreter, which may start workers of its own: ending the child
alone would leave those running, with the graphics card's memory.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from .windows_job import WindowsJob, jobOf

WINDOWS = os.name == "nt"


@dataclass(frozen=True)
class ProcessRecord:
    """One running process. ``started`` tells it from a later one that got the same number."""

    parent: int
    group: int
    session: int
    started: str


def popenOptions() -> dict[str, Any]:
    """Arguments of ``subprocess.Popen`` that give the child a process group of its own, and no console window."""
    if WINDOWS:
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    return {"start_new_session": True}


def runningProcesses() -> dict[int, ProcessRecord]:
    """All processes of the machine by number, zombies left out (they are dead and only wait for their parent)."""
    return _fromProc() if sys.platform.startswith("linux") else _fromPs()


def _fromProc() -> dict[int, ProcessRecord]:
    records = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        with contextlib.suppress(OSError, IndexError, ValueError):  # it ended while it was being read
            # "pid (name) state parent group session ... start time ...": only the name may contain blanks.
            with open(f"/proc/{name}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
            if fields[0] not in (b"Z", b"X"):
                parent, group, session = (int(field) for field in fields[1:4])
                records[int(name)] = ProcessRecord(parent, group, session, fields[19].decode())
    return records


def _fromPs() -> dict[int, ProcessRecord]:
    command = ["ps", "-A", "-o", "pid=,ppid=,pgid=,stat=,lstart="]
    environment = {**os.environ, "LC_ALL": "C"}
    lines = subprocess.run(command, capture_output=True, text=True, check=False, env=environment).stdout.splitlines()
    records = {}
    for line in lines:
        fields = line.split(None, 4)
        if len(fields) == 5 and not fields[3].startswith("Z"):
            # ps of macOS does not tell the session's number; the group stands for it.
            records[int(fields[0])] = ProcessRecord(int(fields[1]), int(fields[2]), int(fields[2]), fields[4])
    return records


class ProcessTree:
    """The child ``leader``, started with :func:`popenOptions`, and all that descend from it.

    A member that was seen once stays known when its parent ends first. Not found is a process that left the session
    (a daemon) and whose parent had ended before the first look. On Windows a job object holds them all; if the system
    refuses one, only ``taskkill`` is left, which finds nothing below a leader that has ended by itself.

    Args:
        leader: the child's process number; it has just been started.
    """

    def __init__(self, leader: int) -> None:
        self._leader = leader
        self._known: dict[int, ProcessRecord] = {}
        self._taskkill: subprocess.Popen[bytes] | None = None
        self._job: WindowsJob | None = jobOf(leader) if WINDOWS else None

    def terminate(self) -> None:
        """Ask all members to stop: SIGTERM, upon which the command line removes its partial files.

        On Windows this is :meth:`kill`: a console process there cannot be asked reliably. A stop in the middle is
        harmless, because a run writes nothing outside its temporary folder.
        """
        if WINDOWS:
            self.kill()
        else:
            self._members()
            self._send(signal.SIGTERM)

    def kill(self) -> None:
        """End all members found by the last look: SIGKILL; on Windows the job, else ``taskkill /T /F``."""
        if not WINDOWS:
            self._send(signal.SIGKILL)
        elif self._job is not None:
            self._job.terminate()
        elif self._taskkill is None or self._taskkill.poll() is not None:
            self._taskkill = subprocess.Popen(
                ["taskkill", "/T", "/F", "/PID", str(self._leader)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                creationflags=subprocess.CREATE_NO_WINDOW,
            )

    def alive(self) -> bool:
        """Look for members: whether any still runs, the leader among them (Windows without a job: if taskkill does)."""
        if self._job is not None:
            return self._job.active() > 0
        if WINDOWS:
            return self._taskkill is not None and self._taskkill.poll() is None
        return bool(self._members())

    def release(self) -> None:
        """Nothing more is asked of it."""
        if self._job is not None:
            self._job.close()

    def _send(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._leader, number)
        for process, record in self._known.items():
            if record.group != self._leader:  # the others have just had it
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(process, number)

    def _members(self) -> dict[int, ProcessRecord]:
        everything = runningProcesses()
        members = {
            process: record
            for process, record in everything.items()
            if self._leader in (process, record.group, record.session) or self._isKnown(process, record)
        }
        found = members
        while found:
            found = {p: r for p, r in everything.items() if r.parent in found and p not in members}
            members = {**members, **found}
        self._known = members
        return members

    def _isKnown(self, process: int, record: ProcessRecord) -> bool:
        return process in self._known and self._known[process].started == record.started
