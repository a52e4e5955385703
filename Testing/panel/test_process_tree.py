"""What macOS and Windows do differently, with their own answers as input."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[2]
for folder in (ROOT, ROOT / "LowFieldEnhance"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

from LowFieldEnhanceSlicer import process_tree, windows_job  # noqa: E402
from LowFieldEnhanceSlicer.process import ChildProcess  # noqa: E402
from LowFieldEnhanceSlicer.process_tree import ProcessRecord, ProcessTree, runningProcesses  # noqa: E402

PS_OF_MACOS = """\
    1     0     1 Ss   Mon Jul  6 08:00:01 2026
  501     1   501 S+   Mon Jul  6 09:10:11 2026
  502   501   501 R+   Mon Jul  6 09:10:12 2026
  503   501   501 Z+   Mon Jul  6 09:10:13 2026
"""


class FakeKernel:
    """The functions of kernel32 on a machine where processes are numbers; a job's processes are in ``members``.

    Args:
        refused: the function that fails.
    """

    JOB, PROCESS = 70, 80  # handles

    def __init__(self, refused: str = "") -> None:
        self.refused = refused
        self.opened: list[int] = []
        self.members: set[int] = set()
        self.killsOnClose = False

    def __call__(self) -> FakeKernel:
        return self

    def CreateJobObjectW(self, attributes: None, name: None) -> int:
        return self._open(self.JOB, "CreateJobObjectW")

    def OpenProcess(self, access: int, inherit: bool, process: int) -> int:
        assert access == 0x101 and not inherit
        self.process = process
        return self._open(self.PROCESS + process, "OpenProcess")

    def SetInformationJobObject(self, job: int, kind: int, information: object, size: int) -> int:
        assert job in self.opened and kind == 9 and size == 144
        flags = ctypes.string_at(information, size)[16:20]
        self.killsOnClose = int.from_bytes(flags, sys.byteorder) == 0x2000
        return self.refused != "SetInformationJobObject"

    def AssignProcessToJobObject(self, job: int, process: int) -> int:
        assert {job, process} <= set(self.opened) and self.killsOnClose
        if self.refused == "AssignProcessToJobObject":
            return 0
        self.members.add(process - self.PROCESS)
        return 1

    def QueryInformationJobObject(self, job: int, kind: int, information: object, size: int, length: None) -> int:
        assert job in self.opened and kind == 1 and size == 48
        information._obj.activeProcesses = len(self.members)
        return 1

    def TerminateJobObject(self, job: int, code: int) -> int:
        assert job in self.opened
        self.members.clear()
        return 1

    def CloseHandle(self, handle: int) -> int:
        self.opened.remove(handle)
        if handle == self.JOB and self.killsOnClose:
            self.members.clear()
        return 1

    def _open(self, handle: int, function: str) -> int | None:
        if self.refused == function:
            return None
        self.opened.append(handle)
        return handle


@pytest.fixture
def onWindows(monkeypatch: pytest.MonkeyPatch) -> FakeKernel:
    kernel = FakeKernel()
    monkeypatch.setattr(process_tree, "WINDOWS", True)
    monkeypatch.setattr(windows_job, "kernel32", kernel)
    return kernel


def test_the_structures_are_laid_out_as_windows_has_them_with_64_bits() -> None:
    assert ctypes.sizeof(windows_job.Accounting) == 48 and windows_job.Accounting.activeProcesses.offset == 40
    assert ctypes.sizeof(windows_job.BasicLimits) == 64 and windows_job.BasicLimits.flags.offset == 16
    assert ctypes.sizeof(windows_job.ExtendedLimits) == 144


def test_on_windows_the_workers_of_a_child_that_has_ended_are_found_and_ended(onWindows: FakeKernel) -> None:
    tree = ProcessTree(4711)
    assert onWindows.members == {4711} and onWindows.opened == [FakeKernel.JOB]
    onWindows.members = {4712}  # the leader has crashed, and its worker has not
    assert tree.alive()
    tree.kill()
    assert not tree.alive() and onWindows.members == set()
    tree.release()
    tree.release()
    assert onWindows.opened == [] and not tree.alive()
    tree.kill()


def test_releasing_the_job_ends_what_is_left(onWindows: FakeKernel) -> None:
    tree = ProcessTree(4711)
    tree.release()
    assert onWindows.members == set()


@pytest.mark.parametrize("function", ["CreateJobObjectW", "OpenProcess", "SetInformationJobObject",
                                      "AssignProcessToJobObject"])  # fmt: skip
def test_a_job_that_windows_refuses_leaves_no_handle_behind(onWindows: FakeKernel, function: str) -> None:
    onWindows.refused = function
    assert windows_job.jobOf(4711) is None
    assert onWindows.opened == [] and onWindows.members == set()


def test_a_child_that_ends_by_itself_on_windows_takes_its_workers_along(
    onWindows: FakeKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("LowFieldEnhanceSlicer.process.popenOptions", dict)
    codes: list[int] = []
    child = ChildProcess(onFinished=codes.append, command=[sys.executable, "-c", "raise SystemExit(3)"])
    child.start([], environment={})
    onWindows.members.add(1)  # a worker that no longer has a parent
    until = time.monotonic() + 20
    while child.poll() and time.monotonic() < until:
        time.sleep(0.01)
    assert codes == [3] and onWindows.members == set() and onWindows.opened == []


def test_the_processes_of_macos_are_read_without_its_zombies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(stdout=PS_OF_MACOS))
    assert runningProcesses() == {
        1: ProcessRecord(0, 1, 1, "Mon Jul  6 08:00:01 2026"),
        501: ProcessRecord(1, 501, 501, "Mon Jul  6 09:10:11 2026"),
        502: ProcessRecord(501, 501, 501, "Mon Jul  6 09:10:12 2026"),
    }


def test_a_number_that_was_given_to_another_process_is_not_a_member(monkeypatch: pytest.MonkeyPatch) -> None:
    table = {10: ProcessRecord(1, 10, 10, "a"), 11: ProcessRecord(10, 11, 11, "b"), 12: ProcessRecord(1, 12, 12, "c")}
    monkeypatch.setattr(process_tree, "runningProcesses", lambda: table)
    tree = ProcessTree(10)
    assert tree.alive()
    del table[10]
    assert tree.alive(), "11 was seen as a descendant and still runs in a session of its own"
    table[11] = ProcessRecord(1, 11, 11, "later")
    assert not tree.alive()


def test_windows_without_a_job_ends_the_tree_by_one_taskkill_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows_job, "kernel32", FakeKernel(refused="CreateJobObjectW"))
    started: list[list[str]] = []

    class FakePopen:
        ended = None

        def __init__(self, command: list[str], **_: object) -> None:
            started.append(command)

        def poll(self) -> int | None:
            return self.ended

    monkeypatch.setattr(process_tree, "WINDOWS", True)
    monkeypatch.setattr(subprocess, "CREATE_NO_WINDOW", 0x08000000, raising=False)
    monkeypatch.setattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0x200, raising=False)
    monkeypatch.setattr(subprocess, "Popen", FakePopen)
    assert process_tree.popenOptions() == {"creationflags": 0x08000200}
    tree = ProcessTree(4711)
    assert not tree.alive()
    tree.terminate()
    tree.kill()
    assert started == [["taskkill", "/T", "/F", "/PID", "4711"]]
    assert tree.alive()
    FakePopen.ended = 0
    assert not tree.alive()
