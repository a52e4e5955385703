"""One batch at a time in a folder: the second is refused, a killed one hinders nobody, and nothing is left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from batch_support import FakeWork, contents, scans_in

from LowFieldEnhanceLib.batch import run_batch
from LowFieldEnhanceLib.batch_lock import LOCK, only_batch_in
from LowFieldEnhanceLib.batch_scans import find_scans
from LowFieldEnhanceLib.cli import main
from LowFieldEnhanceLib.errors import BadInput, Cancelled
from LowFieldEnhanceLib.events import Events

ROOT = Path(__file__).resolve().parents[2]
HOLD = """
import sys
from pathlib import Path
from LowFieldEnhanceLib.batch_lock import only_batch_in

with only_batch_in(Path(sys.argv[1])):
    print("at work", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_process_at_work_in(folder: Path) -> Iterator[subprocess.Popen]:
    """It holds the folder until its standard input ends."""
    folder.mkdir(exist_ok=True)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "at work\n"
        yield child


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def test_a_second_batch_is_refused_by_whichever_name_of_the_folder_and_changes_nothing(
    out: Path, tmp_path: Path
) -> None:
    scans, link = scans_in(tmp_path / "in", "a", "b"), tmp_path / "link"
    second, seen = FakeWork(), []

    def meanwhile(*_: object) -> None:
        before = contents(out)
        for folder in (out, Path(os.path.relpath(out)), link):
            with pytest.raises(BadInput, match="another run is at work in the output folder"):
                run_batch(scans, folder, second)
        assert contents(out) == before
        seen.append(LOCK in before)

    link.symlink_to(out, target_is_directory=True)
    states = run_batch(scans, out, FakeWork(meanwhile))
    assert [state.state for state in states] == ["done", "done"]
    assert seen == [True, True] and second.did == []
    assert LOCK not in contents(out)


def test_the_command_refuses_with_one_sentence_and_exit_code_2_while_another_process_is_at_work(
    out: Path, tiny_models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan = scans_in(out.parent / "in", "a.nii")[0].input
    command = ["batch", str(scan), "-o", str(out), "-m", "cubic", "--device", "cpu", "--json"]
    with another_process_at_work_in(out) as child:
        assert main(command) == 2
        (event,) = (json.loads(line) for line in capsys.readouterr().out.splitlines())
        assert (event["event"], event["kind"]) == ("error", "BadInput")
        assert event["message"].startswith(f"another run is at work in the output folder {out}")
        assert "\n" not in event["message"]
        assert {p.name for p in out.iterdir()} == {LOCK}
        child.communicate("")
    assert child.returncode == 0
    assert list(out.iterdir()) == []


def test_a_killed_batch_leaves_a_file_that_hinders_nobody_and_goes_with_the_next(out: Path) -> None:
    scans = scans_in(out.parent / "in", "a")
    with another_process_at_work_in(out) as child:
        child.kill()
    assert (out / LOCK).is_file()
    assert run_batch(scans, out, FakeWork())[0].state == "done"
    assert not (out / LOCK).exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError, BadInput])
def test_however_the_block_ends_the_folder_is_free_and_empty(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), only_batch_in(tmp_path):
        raise error
    assert list(tmp_path.iterdir()) == []
    with only_batch_in(tmp_path):
        pass


def test_a_cancelled_batch_leaves_no_lock(out: Path) -> None:
    events = Events()
    with pytest.raises(Cancelled):
        run_batch(scans_in(out.parent / "in", "a"), out, FakeWork(lambda *_: events.cancel()), events)
    assert LOCK not in contents(out)


def test_batches_in_different_folders_do_not_hinder_each_other(tmp_path: Path) -> None:
    scans = scans_in(tmp_path / "in", "a")
    inner = FakeWork()
    run_batch(scans, tmp_path / "one", FakeWork(lambda *_: run_batch(scans, tmp_path / "two", inner)))
    assert inner.did == ["a"]


def test_the_lock_is_no_scan(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.nii").touch()
    (tmp_path / "in" / LOCK).touch()
    assert [scan.name for scan in find_scans([str(tmp_path / "in")], tmp_path / "out")] == ["a"]
