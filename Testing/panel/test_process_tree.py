"""What macOS and Windows do differently, with their own answers as input."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[2]
for folder in (ROOT, ROOT / "LowFieldEnhance"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

from LowFieldEnhanceSlicer import process_tree  # noqa: E402
from LowFieldEnhanceSlicer.process_tree import ProcessRecord, ProcessTree, runningProcesses  # noqa: E402

PS_OF_MACOS = """\
    1     0     1 Ss   Mon Jul  6 08:00:01 2026
  501     1   501 S+   Mon Jul  6 09:10:11 2026
  502   501   501 R+   Mon Jul  6 09:10:12 2026
  503   501   501 Z+   Mon Jul  6 09:10:13 2026
"""


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


def test_windows_ends_the_tree_by_one_taskkill_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
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
