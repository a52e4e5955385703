"""BM4D in its child process: the package's own result, and nothing left of a run that was cancelled or failed."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from method_support import run, thick_slices

from LowFieldEnhanceLib.errors import BadInput, Cancelled, OutOfMemory
from LowFieldEnhanceLib.events import Events
from LowFieldEnhanceLib.methods import bm4d as module
from LowFieldEnhanceLib.methods.base import Case
from LowFieldEnhanceLib.methods.bm4d_stage import NO_MEMORY
from LowFieldEnhanceLib.preprocess.grid import Grid, resample


@pytest.fixture(scope="module")
def case(phantom) -> Case:
    return thick_slices(phantom)


@pytest.fixture
def child(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The program of the child, to be written."""
    script = tmp_path_factory.mktemp("child") / "stage.py"
    monkeypatch.setattr(module, "SCRIPT", script)
    return script


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """Every child that was started."""
    started: list[subprocess.Popen[bytes]] = []
    real = subprocess.Popen

    def popen(*args: object, **options: object) -> subprocess.Popen[bytes]:
        started.append(real(*args, **options))  # type: ignore[call-overload]
        return started[-1]

    monkeypatch.setattr(module.subprocess, "Popen", popen)
    return started


def test_it_is_the_packages_result_on_the_interpolated_scan(case: Case, folder: Path) -> None:
    bm4d = pytest.importorskip("bm4d").bm4d
    sent: list[dict] = []
    found = run("bm4d", "fast", case, events=Events(sent.append))
    cubic = resample(case.measured, Grid.of(case.inputs["T1w"]), "cubic").array
    # it adds up in threads, whose order the last bit of a sum depends on
    np.testing.assert_allclose(found.array, np.asarray(bm4d(cubic, case.sigma)) * 2 - 1, atol=1e-5)
    assert np.abs(found.array - (cubic * 2 - 1)).max() > 0.01
    assert found.array.dtype == np.float32 and found.details == {"evaluations": 0, "sigma": case.sigma}
    assert [(event["done"], event["total"], "eta_s" in event) for event in sent] == [
        (0, 2, False), (1, 2, True), (2, 2, True),
    ]  # fmt: skip
    assert not list(folder.iterdir())


def test_a_cancel_ends_the_child_within_two_seconds(case: Case, folder: Path, children: list, child: Path) -> None:
    pytest.importorskip("bm4d")
    child.write_text("import time; time.sleep(60)")
    events = Events()
    asked: list[float] = []

    def cancel() -> None:
        while not children:
            time.sleep(0.01)
        asked.append(time.monotonic())
        events.cancel()

    thread = threading.Thread(target=cancel)
    thread.start()
    with pytest.raises(Cancelled):
        run("bm4d", "fast", case, events=events)
    thread.join()
    assert time.monotonic() - asked[0] < 2.0
    assert [one.returncode is not None for one in children] == [True]
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    ("script", "error", "said"),
    [
        (f"import os; os._exit({NO_MEMORY})", OutOfMemory, "lacked memory"),
        ("import os; os.kill(os.getpid(), 9)", OutOfMemory, "lacked memory"),
        ("print('first'); raise SystemExit('the last line')", RuntimeError, "status 1: the last line"),
        ("import os; os._exit(7)", RuntimeError, "status 7: it said nothing"),
    ],
)
def test_a_child_that_fails_is_told_of(
    script: str, error: type[Exception], said: str, case: Case, folder: Path, child: Path
) -> None:
    pytest.importorskip("bm4d")
    child.write_text(script)
    with pytest.raises(error, match=said):
        run("bm4d", "fast", case)
    assert not list(folder.iterdir())


def test_the_child_tells_a_lack_of_memory_and_ends_with_its_parent(tmp_path: Path) -> None:
    np.save(tmp_path / "image.npy", np.zeros((8, 8, 8)))
    (tmp_path / "bm4d.py").write_text(
        "import time\nclass BM4DStages: HARD_THRESHOLDING = 1\n"
        "def bm4d(image, sigma, stage_arg):\n    if sigma > 1: raise MemoryError\n    time.sleep(60)\n"
    )
    command = [sys.executable, str(module.SCRIPT), json.dumps([str(tmp_path), *sys.path]), str(tmp_path)]
    with subprocess.Popen([*command, "2.0"], stdin=subprocess.PIPE) as child:
        assert child.wait(30) == NO_MEMORY
    with subprocess.Popen([*command, "0.1"], stdin=subprocess.PIPE) as child:
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(1)
        assert child.stdin is not None
        child.stdin.close()
        assert child.wait(5) == 1


def test_the_missing_package_is_named(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda *_: None)
    with pytest.raises(BadInput, match="pip install"):
        run("bm4d", "fast", case)
