"""Runs: one at a time, in order; their progress, messages and end; nothing stays in the temporary folder."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
for folder in (ROOT, ROOT / "LowFieldEnhance"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

from LowFieldEnhanceSlicer.process import ChildProcess  # noqa: E402
from LowFieldEnhanceSlicer.process_tree import runningProcesses  # noqa: E402
from LowFieldEnhanceSlicer.run import OUT_OF_MEMORY, Run, RunState, newRunFolder, unexpectedEnd  # noqa: E402
from LowFieldEnhanceSlicer.run_queue import RunQueue  # noqa: E402

# The child runs its first argument as a script; "folder" is where its temporary files go.
CHILD = "import json, os, sys, tempfile, time; folder = tempfile.gettempdir(); exec(sys.argv[1])"
SLEEP = "open(folder + '/partial.nii', 'w').close(); print('asleep', flush=True); time.sleep(60)"
RESULT = "open(folder + '/enhanced.nii', 'w').close(); print(json.dumps({'event': 'result', 'output': 'enhanced.nii'}))"


class Timer:
    """Counts how often a timer was started and stopped; the tests call poll themselves."""

    def __init__(self) -> None:
        self.started = self.stopped = 0

    def __call__(self, callback: Callable[[], None]) -> Callable[[], None]:
        self.started += 1
        return self._stop

    def _stop(self) -> None:
        self.stopped += 1


@pytest.fixture
def timer() -> Timer:
    return Timer()


@pytest.fixture
def queue(timer: Timer):
    queue = RunQueue(timer, functools.partial(ChildProcess, command=[sys.executable, "-c", CHILD]))
    yield queue
    queue.close()


@pytest.fixture
def newRun(tmp_path: Path):
    """Makes a run of a script; everything of all runs lies in ``tmp_path``."""
    return lambda script, **options: Run([script], newRunFolder(tmp_path), **options)


def pollUntil(queue: RunQueue, condition: Callable[[], object], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        queue.poll()
        time.sleep(0.01)


def test_a_run_from_start_to_end(queue: RunQueue, newRun, tmp_path: Path, timer: Timer) -> None:
    script = (
        "print(json.dumps({'event': 'progress', 'stage': 'read', 'done': 0, 'total': 1}));"
        "print(json.dumps({'event': 'warning', 'message': 'the contrast is unknown'}));"
        "print('a line of the log'); print('{\"event\": \"progress\"'); " + RESULT
    )
    seen = []
    run = newRun(script, onFinished=lambda run: seen.append([path.name for path in run.folder.iterdir()]))
    assert run.state is RunState.WAITING
    queue.add(run)
    assert run.state is RunState.RUNNING
    assert queue.wait(run) is run
    assert run.state is RunState.FINISHED
    assert run.progress == {"event": "progress", "stage": "read", "done": 0, "total": 1}
    assert run.warnings == ["the contrast is unknown"]
    assert run.result == {"output": "enhanced.nii"}
    assert run.error is None
    assert run.exitCode == 0
    assert run.overallProgress() == (1.0, 0.0)
    for line in ("a line of the log", '{"event": "progress"', "Warning: the contrast is unknown", "Stage: read"):
        assert line in run.logText.splitlines()
    assert seen == [["enhanced.nii"]], "the results are still there when onFinished is called"
    assert list(tmp_path.iterdir()) == [], "and gone afterwards"
    assert not queue.busy
    assert (timer.started, timer.stopped) == (1, 1)


def test_runs_wait_for_each_other_and_keep_their_order(queue: RunQueue, newRun, tmp_path: Path) -> None:
    mark = f"marks = {str(tmp_path / 'marks.txt')!r};"
    script = mark + "open(marks, 'a').write(sys.argv[2] + ' in\\n'); time.sleep(0.1); open(marks, 'a').write('out\\n')"
    runs = []
    for name in "abc":
        run = newRun(script)
        run.arguments.append(name)
        runs.append(queue.add(run))
    assert [run.state.value for run in runs] == ["running", "waiting", "waiting"]
    assert queue.current is runs[0]
    assert queue.waiting == (runs[1], runs[2])
    queue.wait(runs[2])
    assert [run.state.value for run in runs] == ["finished"] * 3
    assert (tmp_path / "marks.txt").read_text().split("\n")[:-1] == ["a in", "out", "b in", "out", "c in", "out"]


def test_a_cancelled_run_is_gone_within_two_seconds_and_the_next_one_starts(queue, newRun, tmp_path: Path) -> None:
    first, second = queue.add(newRun(SLEEP)), queue.add(newRun(RESULT))
    folder = first.folder
    pollUntil(queue, lambda: "asleep" in first.log)
    assert (folder / "partial.nii").exists()
    start = time.monotonic()
    queue.cancel(first)
    assert first.cancelRequested
    assert first.state is RunState.RUNNING
    pollUntil(queue, lambda: first.done)
    assert time.monotonic() - start < 2.0
    assert first.state is RunState.CANCELLED
    assert first.error.kind == "Cancelled"
    assert not folder.exists()
    queue.wait(second)
    assert second.state is RunState.FINISHED
    assert list(tmp_path.iterdir()) == []


def test_a_waiting_run_can_be_cancelled_without_touching_the_running_one(queue: RunQueue, newRun) -> None:
    finished = []
    first = queue.add(newRun("time.sleep(0.3); " + RESULT, onFinished=finished.append))
    second = queue.add(newRun(RESULT, onFinished=finished.append))
    third = queue.add(newRun(RESULT, onFinished=finished.append))
    queue.cancel(second)
    queue.wait(third)
    assert finished == [second, first, third]
    assert [run.state.value for run in (first, second, third)] == ["finished", "cancelled", "finished"]
    assert second.exitCode is None
    assert not second.folder.exists()


def test_scene_close_cancels_all_without_blocking(queue: RunQueue, newRun, tmp_path: Path) -> None:
    runs = [queue.add(newRun(SLEEP)) for _ in range(3)]
    pollUntil(queue, lambda: "asleep" in runs[0].log)
    start = time.monotonic()
    queue.cancelAll()
    assert time.monotonic() - start < 0.2
    pollUntil(queue, lambda: not queue.busy, 2.0)
    assert [run.state for run in runs] == [RunState.CANCELLED] * 3
    assert list(tmp_path.iterdir()) == []


def test_close_ends_everything_before_it_returns_and_calls_nobody(queue, newRun, tmp_path: Path, timer: Timer) -> None:
    called = []
    runs = [queue.add(newRun(SLEEP, onFinished=called.append, onChanged=called.append)) for _ in range(2)]
    pollUntil(queue, lambda: "asleep" in runs[0].log)
    called.clear()
    start = time.monotonic()
    queue.close()
    assert time.monotonic() - start < 2.0
    assert [run.state for run in runs] == [RunState.CANCELLED] * 2
    assert called == []
    assert list(tmp_path.iterdir()) == []
    assert timer.stopped == timer.started
    with pytest.raises(RuntimeError):
        queue.add(newRun(RESULT))


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_an_application_that_just_exits_leaves_nothing(tmp_path: Path) -> None:
    script = f"""
import sys, time
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "LowFieldEnhance")!r}]
from LowFieldEnhanceSlicer.process import ChildProcess
from LowFieldEnhanceSlicer.run import Run, newRunFolder
from LowFieldEnhanceSlicer.run_queue import RunQueue
command = [sys.executable, "-c", {CHILD!r}]
queue = RunQueue(lambda callback: (lambda: None), lambda **options: ChildProcess(command=command, **options))
run = queue.add(Run(["import os; print(os.getpid(), flush=True); " + {SLEEP!r}], newRunFolder({str(tmp_path)!r})))
while "asleep" not in run.log:
    queue.poll()
    time.sleep(0.01)
print(run.log[1])
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30)
    assert int(result.stdout) not in runningProcesses()
    assert list(tmp_path.iterdir()) == []
    assert result.stderr == ""


def test_a_program_that_is_not_there_fails_the_run_and_not_the_queue(timer: Timer, newRun, tmp_path: Path) -> None:
    missing = tmp_path / "PythonSlicer"
    queue = RunQueue(timer, functools.partial(ChildProcess, command=[str(missing)]))
    finished = []
    runs = [queue.add(newRun("", onFinished=finished.append)) for _ in range(2)]
    queue.poll()
    assert finished == runs
    assert runs[0].state is RunState.FAILED
    assert runs[0].error.kind == "Internal"
    assert str(missing) in runs[0].error.message
    assert list(tmp_path.iterdir()) == []
    queue.close()


def test_the_sentence_of_the_error_event_is_the_runs_error(queue: RunQueue, newRun) -> None:
    script = "print(json.dumps({'event': 'error', 'kind': 'BadInput', 'message': 'the scan has NaN'})); sys.exit(2)"
    run = queue.wait(queue.add(newRun(script)))
    assert run.state is RunState.FAILED
    assert (run.error.kind, run.error.message) == ("BadInput", "the scan has NaN")


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize(
    ("script", "kind", "words"),
    [
        ("os.kill(os.getpid(), 9)", "OutOfMemory", OUT_OF_MEMORY),
        ("sys.exit(137)", "OutOfMemory", OUT_OF_MEMORY),
        ("os.kill(os.getpid(), 11)", "Internal", signal.strsignal(11)),
        ("sys.exit(139)", "Internal", signal.strsignal(11)),
        ("import nowhere", "Internal", "ModuleNotFoundError: No module named 'nowhere'"),
        ("sys.exit(7)", "Internal", "exit code 7"),
        ("sys.exit(4)", "OutOfMemory", "out of memory"),
    ],
)
def test_a_child_that_dies_without_a_word_gets_a_sentence(queue: RunQueue, newRun, script, kind, words) -> None:
    run = queue.wait(queue.add(newRun(script)))
    assert run.state is RunState.FAILED
    assert run.error.kind == kind
    assert words in run.error.message
    assert "\n" not in run.error.message


def test_codes_of_windows_are_understood() -> None:
    assert unexpectedEnd(0xC0000017).kind == "OutOfMemory"
    assert unexpectedEnd(0xC0000005).message == "The run ended unexpectedly with exit code 0xC0000005."


def test_the_log_is_bounded_and_keeps_the_end(queue: RunQueue, newRun) -> None:
    run = queue.wait(queue.add(newRun("for i in range(5000): print(i)\nprint('y' * 100_000)")))
    lines = run.logText.splitlines()
    assert len(lines) == 2000
    assert run.lineCount == 5002
    assert lines[-2] == "4999"
    assert len(lines[-1]) < 2100


def test_changes_are_told_once_a_poll(queue: RunQueue, newRun) -> None:
    event = "print(json.dumps({'event': 'progress', 'stage': 'enhance', 'done': i, 'total': 999}))"
    polls, changes = [], []
    run = newRun(f"for i in range(1000): {event}", onChanged=lambda run: changes.append(run.progress))
    queue.add(run)
    queue.wait(run, idle=lambda: polls.append(1))
    assert 1 <= len(changes) <= len(polls) + 2
    assert changes[-1]["done"] == 999


def test_a_callback_may_add_and_cancel_runs_and_may_fail(queue: RunQueue, newRun, caplog) -> None:
    later = newRun(RESULT)

    def addMore(run: Run) -> None:
        queue.add(later)
        queue.poll()  # as Qt's event loop in a message box does
        with pytest.raises(RuntimeError, match="callback"):
            queue.wait(later)
        raise ValueError("broken view")

    first, second = queue.add(newRun(RESULT, onFinished=addMore)), queue.add(newRun(RESULT))
    pollUntil(queue, lambda: later.done)
    assert [run.state for run in (first, second, later)] == [RunState.FINISHED] * 3
    assert "broken view" in caplog.text


def test_a_run_is_added_once(queue: RunQueue, newRun) -> None:
    running, waiting = queue.add(newRun(RESULT)), queue.add(newRun(RESULT))
    for run in (running, waiting):
        with pytest.raises(RuntimeError):
            queue.add(run)
