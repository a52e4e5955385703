"""The child process: what it writes arrives, nothing blocks, and a cancelled one leaves no process behind."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
for folder in (ROOT, ROOT / "LowFieldEnhance"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

from LowFieldEnhanceSlicer.process import ChildProcess, childEnvironment, parseEvent  # noqa: E402
from LowFieldEnhanceSlicer.process_tree import runningProcesses  # noqa: E402

# Starts a worker, which ignores SIGTERM where IGNORE is set, and tells its number; SESSION gives it its own session.
PARENT = """
import os, signal, subprocess, sys, time
worker = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
session = "SESSION" in os.environ
child = subprocess.Popen([sys.executable, "-c", worker], stdout=subprocess.PIPE, start_new_session=session)
child.stdout.readline()
if "IGNORE" in os.environ:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(child.pid, flush=True)
if "CRASH" in os.environ:
    os.kill(os.getpid(), signal.SIGSEGV)
time.sleep(60)
"""


class Recorder:
    """A child that runs a script, and all that it was heard to say."""

    def __init__(self, script: str, *arguments: str, **environment: str) -> None:
        self.events: list[dict] = []
        self.lines: list[str] = []
        self.codes: list[int] = []
        self.child = ChildProcess(
            self.events.append, self.lines.append, self.codes.append, [sys.executable, "-c", script]
        )
        self.child.start(arguments, {**os.environ, "PYTHONIOENCODING": "utf-8", **environment})

    def wait(self, until=lambda: False, seconds: float = 20.0) -> Recorder:
        """Poll until the condition holds or the child has ended."""
        end = time.monotonic() + seconds
        while self.child.poll() and not until():
            assert time.monotonic() < end, (self.events, self.lines[-5:])
            time.sleep(0.01)
        return self


def secondsUntilGone(recorder: Recorder) -> float:
    start = time.monotonic()
    recorder.child.cancel()
    assert time.monotonic() - start < 0.2, "cancel() must not wait"
    recorder.wait()
    return time.monotonic() - start


def test_events_and_other_lines_arrive_in_order_then_the_exit_code() -> None:
    script = """
import json, sys
print(json.dumps({"event": "progress", "stage": "read", "done": 0, "total": 1}))
print("hello")
print(json.dumps({"event": "warning", "message": "the contrast is unknown"}))
print(json.dumps({"event": "result", "output": "enhanced.nii.gz"}))
print("from stderr", file=sys.stderr)
sys.exit(3)
"""
    recorder = Recorder(script).wait()
    assert [event["event"] for event in recorder.events] == ["progress", "warning", "result"]
    assert sorted(recorder.lines) == ["from stderr", "hello"]
    assert recorder.codes == [3]
    assert recorder.child.exitCode == 3
    assert not recorder.child.running
    assert not recorder.child.poll()
    assert recorder.codes == [3]


def test_json_is_asked_for_once() -> None:
    script = "import sys; print(sys.argv[1:])"
    assert Recorder(script, "enhance", "a b.nii").wait().lines == ["['enhance', 'a b.nii', '--json']"]
    assert Recorder(script, "methods", "--json").wait().lines == ["['methods', '--json']"]


def test_it_runs_once() -> None:
    recorder = Recorder("").wait()
    with pytest.raises(RuntimeError):
        recorder.child.start([])


def test_a_program_that_is_not_there_is_an_oserror(tmp_path: Path) -> None:
    child = ChildProcess(command=[str(tmp_path / "PythonSlicer")])
    with pytest.raises(OSError):
        child.start([])
    assert not child.running


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "{}",
        "[1]",
        '{"event": "nonsense"}',
        '{"event": ["progress"]}',
        '{"event": "progress", "stage": "read"}',
        '{"event": "progress", "stage": 1, "done": 0, "total": 1}',
        '{"event": "error", "message": "no kind"}',
        '{"event": "warning", "message": null}',
        '{"a":' * 100_000,
        "{" + "9" * 10_000,
    ],
)
def test_a_malformed_line_is_no_event(line: str) -> None:
    assert parseEvent(line) is None


def test_garbage_goes_to_the_log_and_the_rest_still_arrives() -> None:
    script = """
import sys
out = sys.stdout.buffer
out.write(b'\\xff\\xfe\\x00 not text\\n{"event": "progress"}\\n{"event":\\n')
out.write("{\\"event\\": \\"warning\\", \\"message\\": \\"Größe, 頭部\\"}\\n".encode())
out.write(b"10%\\r50%\\r100%\\r\\n")
out.write(b"no line end")
"""
    recorder = Recorder(script).wait()
    assert recorder.events == [{"event": "warning", "message": "Größe, 頭部"}]
    assert recorder.lines[0].endswith("not text")
    assert recorder.lines[1:3] == ['{"event": "progress"}', '{"event":']
    assert recorder.lines[-1] == "no line end"


def test_a_progress_bar_that_redraws_itself_is_one_line() -> None:
    assert Recorder(r"print('10%\r50%\r100%')").wait().lines == ["100%"]


def test_huge_output_neither_blocks_a_poll_nor_is_lost() -> None:
    recorder = Recorder("print('x' * 3_000_000)\nfor i in range(60_000): print(i)")
    seconds = []
    running = True
    while running:
        start, heard = time.thread_time(), len(recorder.lines)
        running = recorder.child.poll()
        if len(recorder.lines) > heard:
            seconds.append(time.thread_time() - start)
    assert [line for line in recorder.lines if not line.startswith("x")] == [str(i) for i in range(60_000)]
    assert sum(map(len, recorder.lines[:4])) >= 3_000_000
    # The 95th percentile: on a busy virtual machine a thread's clock runs on while the host does something else.
    assert sorted(seconds)[int(0.95 * (len(seconds) - 1))] < 0.05


def test_a_callback_that_fails_does_not_end_the_watching(caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder("print('one'); print('two')")
    heard = []

    def fail(line: str) -> None:
        heard.append(line)
        raise ValueError("broken view")

    recorder.child.onLog = fail
    recorder.wait()
    assert heard == ["one", "two"]
    assert recorder.codes == [0]
    assert "broken view" in caplog.text


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("environment", [{}, {"IGNORE": "1"}, {"SESSION": "1"}, {"SESSION": "1", "IGNORE": "1"}])
def test_cancel_ends_grandchildren_that_ignore_it_within_two_seconds(environment: dict[str, str]) -> None:
    recorder = Recorder(PARENT, **environment)
    recorder.wait(lambda: recorder.lines)
    grandchild = int(recorder.lines[0])
    assert grandchild in runningProcesses()
    assert secondsUntilGone(recorder) < 2.0
    assert grandchild not in runningProcesses()
    assert recorder.child.cancelled
    assert recorder.codes == [-signal.SIGKILL if "IGNORE" in environment else -signal.SIGTERM]


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_child_that_heeds_sigterm_may_clean_up_and_is_not_killed(tmp_path: Path) -> None:
    partial = tmp_path / "partial.nii"
    script = f"""
import pathlib, signal, sys, time
path = pathlib.Path({str(partial)!r})
path.touch()
signal.signal(signal.SIGTERM, lambda *_: (path.unlink(), sys.exit(130)))
print("ready", flush=True)
time.sleep(60)
"""
    recorder = Recorder(script)
    recorder.wait(lambda: recorder.lines)
    assert partial.exists()
    assert secondsUntilGone(recorder) < 1.0
    assert recorder.codes == [130]
    assert not partial.exists()


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_the_interpreter_behind_a_launcher_may_clean_up_although_the_launcher_is_gone(tmp_path: Path) -> None:
    partial = tmp_path / "partial.nii"
    real = f"""
import pathlib, signal, sys, time
path = pathlib.Path({str(partial)!r})
path.touch()
signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.3), path.unlink(), sys.exit(130)))
print("ready", flush=True)
time.sleep(60)
"""
    recorder = Recorder(f"import subprocess, sys; subprocess.run([sys.executable, '-c', {real!r}])")
    recorder.wait(lambda: recorder.lines)
    assert secondsUntilGone(recorder) < 1.0
    assert not partial.exists()


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_child_that_floods_its_output_can_be_cancelled() -> None:
    recorder = Recorder("while True: print('x' * 200)")
    recorder.wait(lambda: recorder.lines)
    time.sleep(0.3)  # the queue and the pipe are full now
    assert secondsUntilGone(recorder) < 2.0


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_what_a_crashed_child_leaves_behind_is_ended() -> None:
    recorder = Recorder(PARENT, CRASH="1").wait()
    assert recorder.codes == [-signal.SIGSEGV]
    assert int(recorder.lines[0]) not in runningProcesses()


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_daemon_that_keeps_the_output_open_does_not_keep_the_run_from_ending() -> None:
    script = """
import subprocess, sys
worker = "import os, time; os.setsid(); print('daemon', flush=True); time.sleep(5)"
subprocess.Popen([sys.executable, "-c", "import subprocess, sys; subprocess.Popen([sys.executable, '-c', sys.argv[1]])",
                  worker]).wait()
import time; time.sleep(0.5)
"""
    start = time.monotonic()
    recorder = Recorder(script).wait()
    assert recorder.codes == [0]
    assert recorder.lines == ["daemon"]
    assert time.monotonic() - start < 4.0


def test_end_waits_until_all_are_gone_even_from_a_callback() -> None:
    recorder = Recorder("import time; print('ready', flush=True); time.sleep(60)")
    recorder.child.onLog = lambda line: recorder.child.end()
    recorder.wait()
    assert not recorder.child.running
    assert len(recorder.codes) == 1


def test_the_real_command_line_is_understood(tmp_path: Path) -> None:
    events: list[dict] = []
    child = ChildProcess(events.append, command=[sys.executable, "-m", "LowFieldEnhanceLib"])
    child.start(["enhance", str(tmp_path / "missing.nii.gz")], childEnvironment(tmp_path))
    while child.poll():
        time.sleep(0.01)
    assert child.exitCode == 2
    assert [(event["event"], event["kind"]) for event in events] == [("error", "BadInput")]
    assert parseEvent(json.dumps(events[0])) == events[0]
