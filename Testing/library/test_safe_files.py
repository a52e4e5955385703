"""Several files of one run: all of the new ones or all of the former, whatever happens while they are renamed."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from LowFieldEnhanceLib.dicom.files import staged_folder
from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.safe_files import all_or_none, replaced

NAMES = ("enhanced.nii.gz", "enhanced.json", "report.csv", "report.html")
FORMER = dict.fromkeys(NAMES, "former")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With the files of an earlier run."""
    for name in NAMES:
        (tmp_path / name).write_text("former")
    return tmp_path


def held(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def write(folder: Path) -> None:
    with all_or_none() as place:
        for name in NAMES:
            place(folder / name).write_text("new")
        series = staged_folder(folder / "dicom", place)
        (series / "0001.dcm").write_text("new")


def when_renaming_to(name: str, monkeypatch: pytest.MonkeyPatch, then: Callable[[], None], after: bool = False) -> None:
    """Do something the first time when a file of that name is about to appear, or ``after`` it has."""
    real, calls = os.replace, []

    def replace(source: str, target: str) -> None:
        now = str(target).endswith(name) and Path(source).name.startswith(".partial-") and not calls
        if now:
            calls.append(name)
        if now and not after:
            then()
        real(source, target)
        if now and after:
            then()

    monkeypatch.setattr(os, "replace", replace)


def test_the_new_files_replace_all_former_ones_and_nothing_hidden_stays(folder: Path) -> None:
    write(folder)
    assert held(folder) == {**dict.fromkeys(NAMES, "new"), "dicom/0001.dcm": "new"}
    assert sorted(path.name for path in folder.iterdir()) == sorted([*NAMES, "dicom"])


@pytest.mark.parametrize("name", [*NAMES, "dicom"])
def test_when_one_cannot_be_renamed_all_former_ones_are_back(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def busy() -> None:
        raise PermissionError(13, "open in another program")

    when_renaming_to(name, monkeypatch, busy)
    with pytest.raises(PermissionError):
        write(folder)
    assert held(folder) == FORMER
    assert sorted(path.name for path in folder.iterdir()) == sorted(NAMES)


def test_a_single_former_file_is_there_until_the_new_one_takes_its_place(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    when_renaming_to(NAMES[0], monkeypatch, lambda: seen.append((folder / NAMES[0]).read_text()))
    with replaced(folder / NAMES[0]) as temporary:
        temporary.write_text("new")
    assert seen == ["former"]
    assert held(folder) == {**FORMER, NAMES[0]: "new"}


def test_where_nothing_was_nothing_stays(tmp_path: Path) -> None:
    (tmp_path / "report.csv").mkdir()
    with pytest.raises(OSError, match="report"):
        write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["report.csv"]


def test_a_dicom_folder_that_was_filled_meanwhile_keeps_the_former_files(folder: Path) -> None:
    with pytest.raises(BadInput, match="is not empty"), all_or_none() as place:
        place(folder / NAMES[0]).write_text("new")
        staged_folder(folder / "dicom", place)
        (folder / "dicom").mkdir()
        (folder / "dicom" / "mine").write_text("mine")
    assert held(folder) == {**FORMER, "dicom/mine": "mine"}


def test_an_empty_folder_and_files_are_filled_together_or_not_at_all(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "dicom").mkdir()
    (folder / "report.csv").unlink()
    (folder / "report.csv").mkdir()
    with pytest.raises(OSError, match="report"):
        write(folder)
    assert list((folder / "dicom").iterdir()) == []
    (folder / "report.csv").rmdir()
    write(folder)
    assert held(folder) == {**dict.fromkeys(NAMES, "new"), "dicom/0001.dcm": "new"}


@pytest.fixture
def terminating() -> Iterator[None]:
    """SIGTERM cancels, as on the command line."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("name", [*NAMES, "dicom"])
def test_a_cancel_while_they_are_renamed_leaves_the_former_ones(
    folder: Path, monkeypatch: pytest.MonkeyPatch, terminating: None, number: int, name: str, after: bool
) -> None:
    when_renaming_to(name, monkeypatch, lambda: os.kill(os.getpid(), number), after)
    with pytest.raises(KeyboardInterrupt):
        write(folder)
    assert held(folder) == FORMER
    assert signal.getsignal(number) is signal.default_int_handler


def test_in_another_thread_they_are_renamed_without_signals(folder: Path) -> None:
    thread = threading.Thread(target=write, args=(folder,))
    thread.start()
    thread.join()
    assert held(folder)["report.csv"] == "new"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_cancel_while_a_single_file_is_renamed_comes_when_it_is_there(
    folder: Path, monkeypatch: pytest.MonkeyPatch, terminating: None, number: int
) -> None:
    """As the summary of a batch: the file is whole, and the batch ends."""
    when_renaming_to(NAMES[0], monkeypatch, lambda: os.kill(os.getpid(), number))
    with pytest.raises(KeyboardInterrupt), replaced(folder / NAMES[0]) as temporary:
        temporary.write_text("new")
    assert held(folder) == {**FORMER, NAMES[0]: "new"}
    assert signal.getsignal(number) is signal.default_int_handler
