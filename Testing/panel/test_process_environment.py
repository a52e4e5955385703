"""How the child is started: with Slicer's Python, and with the library that this process has found."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
for folder in (ROOT, ROOT / "LowFieldEnhance"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

from LowFieldEnhanceLib.interpreter import python_executable  # noqa: E402
from LowFieldEnhanceSlicer import process  # noqa: E402
from LowFieldEnhanceSlicer.process import ChildProcess, childEnvironment  # noqa: E402


def test_the_child_finds_the_library_that_was_found_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "json.py").write_text("raise SystemExit('the wrong json')")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    script = "import json, sys, tempfile, LowFieldEnhanceLib as l; print(l.__file__); print(tempfile.gettempdir())"
    lines: list[str] = []
    child = ChildProcess(onLog=lines.append, command=[sys.executable, "-S", "-c", script])
    child.start([], childEnvironment(tmp_path))
    while child.poll():
        time.sleep(0.01)
    assert lines == [str(ROOT / "LowFieldEnhanceLib" / "__init__.py"), str(tmp_path)]


def test_the_environment_keeps_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["/slicer/bin/Python", str(ROOT)]))
    environment = childEnvironment()
    assert environment["PYTHONPATH"].split(os.pathsep) == [str(ROOT), "/slicer/bin/Python"]
    assert environment["PATH"] == os.environ["PATH"]
    assert environment["PYTHONUNBUFFERED"] == "1"
    assert environment["PYTHONIOENCODING"] == "utf-8"
    assert environment.get("TMPDIR") == os.environ.get("TMPDIR")


def test_the_child_works_in_the_folder_of_its_run_and_finds_what_was_named_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", "mine")
    monkeypatch.setenv("LOWFIELDENHANCE_MODELS", "models")
    script = "import os; print(os.getcwd(), os.environ['PYTHONPATH'], os.environ['LOWFIELDENHANCE_MODELS'], sep='\\n')"
    lines: list[str] = []
    child = ChildProcess(onLog=lines.append, command=[sys.executable, "-S", "-c", script])
    child.start([], childEnvironment(), tmp_path / "run")
    while child.poll():
        time.sleep(0.01)
    paths = os.pathsep.join([str(ROOT), str(tmp_path / "mine")])
    assert lines == [str(tmp_path / "run"), paths, str(tmp_path / "models")]


THREADS = ("OMP_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")


def setCores(monkeypatch: pytest.MonkeyPatch, cores: int, told: bool = True) -> None:
    """A computer of 64 cores, of which this process may use so many; or, if it is not told, a computer of so many."""
    for name in THREADS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64 if told else cores)
    if told:
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    else:
        monkeypatch.delattr(os, "sched_getaffinity", raising=False)


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 2), (3, 3), (4, 3), (16, 15)])
def test_one_core_of_four_or_more_is_left_free(
    cores: int, threads: int, told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    setCores(monkeypatch, cores, told)
    assert [childEnvironment()[name] for name in THREADS] == [str(threads)] * 2
    for name in THREADS:
        monkeypatch.setenv(name, "40")
    assert [childEnvironment()[name] for name in THREADS] == ["40"] * 2


def test_torch_and_simpleitk_of_the_child_take_that_many_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    setCores(monkeypatch, 1)
    script = (
        "import torch, SimpleITK; print(torch.get_num_threads(),"
        " SimpleITK.N4BiasFieldCorrectionImageFilter().GetNumberOfThreads())"
    )
    lines: list[str] = []
    child = ChildProcess(onLog=lines.append, command=[sys.executable, "-c", script])
    child.start([], childEnvironment())
    while child.poll():
        time.sleep(0.01)
    assert lines == ["1 1"]


def test_a_library_that_is_missing_here_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "LIBRARY", "LowFieldEnhanceNowhere")
    with pytest.raises(ModuleNotFoundError, match="LowFieldEnhanceNowhere"):
        childEnvironment()


def test_slicers_python_is_looked_for_on_the_path_then_beside_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "PythonSlicer.exe" if os.name == "nt" else "PythonSlicer"
    onPath, beside = tmp_path / "path" / name, tmp_path / "bin" / name
    monkeypatch.setenv("PATH", str(onPath.parent))
    monkeypatch.setattr(sys, "executable", str(beside.with_name("python")))
    assert python_executable() == str(beside.with_name("python"))
    for program in (beside, onPath):
        program.parent.mkdir()
        program.touch(mode=0o755)
        assert python_executable() == str(program)


def test_long_paths_of_windows_get_their_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    long = "/" + "folder/" * 40 + "scan.nii.gz"
    assert process.longPath(long) == long
    monkeypatch.setattr(process, "WINDOWS", True)
    assert process.longPath("/short/scan.nii.gz") == "/short/scan.nii.gz"
    assert process.longPath(long) == "\\\\?\\" + long
