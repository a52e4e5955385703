"""When a batch replaces what lies in its folder: what it wrote itself and nobody has changed since, nothing else."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from batch_support import FakeWork, contents, corrected, scans_in
from phantoms import voxels

from LowFieldEnhanceLib import batch_results
from LowFieldEnhanceLib.batch import run_batch
from LowFieldEnhanceLib.batch_results import replaced_folder
from LowFieldEnhanceLib.batch_scans import RECORD, Scan
from LowFieldEnhanceLib.batch_summary import KEPT
from LowFieldEnhanceLib.events import Events
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.image_io import write_image

pytest_plugins = ["batch_fixtures"]
SUMMARY = {"summary.csv", "summary.html", "summary.json"}


EDITS: dict[str, Callable[[Path], Any]] = {
    batch_results.OUTPUT: corrected,
    batch_results.REPORT_HTML: lambda path: path.write_text("<p>report, with my remark</p>\n"),
    batch_results.SIDECAR: lambda path: path.write_text(path.read_text() + "\n"),
}


@pytest.mark.parametrize("options", [{}, {"spacing": 2.0}], ids=["same settings", "other settings"])
@pytest.mark.parametrize("name", EDITS)
def test_what_somebody_changed_by_hand_is_not_replaced(
    scans: list[Scan], out: Path, name: str, options: dict[str, Any]
) -> None:
    run_batch(scans, out, FakeWork())
    EDITS[name](out / "b" / name)
    mine = contents(out / "b")
    again = FakeWork(options=options)
    states = run_batch(scans, out, again)
    assert states[1].state == "failed" and "b" not in again.did
    assert f"{name} was changed after the batch wrote it" in (states[1].failure or {})["message"]
    assert contents(out / "b") == mine
    (out / "b" / RECORD).unlink()
    assert run_batch(scans, out, FakeWork(options=options))[1].state == "done"


def test_nor_is_a_volume_of_which_somebody_cut_out_a_part_with_nan(scans: list[Scan], out: Path) -> None:
    run_batch(scans, out, FakeWork())
    array = voxels()
    array[:2] = np.nan
    write_image(Image(array, np.eye(4)), out / "b" / batch_results.OUTPUT, "mine")
    mine = contents(out / "b")
    states = run_batch(scans, out, FakeWork())
    assert "enhanced.nii.gz was changed after the batch wrote it" in (states[1].failure or {})["message"]
    assert contents(out / "b") == mine


def test_results_of_a_scan_of_the_same_name_in_another_folder_are_not_replaced(tmp_path: Path, out: Path) -> None:
    (first,), (second,) = (scans_in(tmp_path / name, "T1w") for name in ("A", "B"))
    second.input.write_text("voxels of another head")
    run_batch([first], out, FakeWork())
    mine = contents(out / "T1w")
    (state,) = run_batch([second], out, FakeWork())
    assert f"holds the results of another scan, {first.input}" in (state.failure or {})["message"]
    assert contents(out / "T1w") == mine
    second.input.write_text(first.input.read_text())  # the scan has moved
    assert run_batch([second], out, FakeWork(options={"spacing": 2.0}))[0].state == "done"
    second.input.write_text("the scan as it was exported anew")
    assert run_batch([second], out, FakeWork())[0].state == "done"


def test_nor_is_what_was_changed_while_the_batch_ran(scans: list[Scan], out: Path) -> None:
    run_batch(scans, out, FakeWork())

    def edit(scan: Scan, _: Events) -> None:
        if scan.name == "a":
            corrected(out / "b" / batch_results.OUTPUT)

    states = run_batch(scans, out, FakeWork(edit, options={"spacing": 2.0}))
    assert [state.state for state in states] == ["done", "failed", "done"]


def test_what_no_batch_wrote_is_never_replaced(scans: list[Scan], out: Path) -> None:
    (out / "a").mkdir(parents=True)
    (out / "a" / "thesis.txt").write_text("mine")
    (out / "b").write_text("mine")
    (out / "c").mkdir()
    (out / "c" / ".DS_Store").touch()
    states = run_batch(scans, out, FakeWork())
    assert [s.state for s in states] == ["failed", "failed", "done"]
    assert "thesis.txt" in (states[0].failure or {})["message"]
    assert (out / "a" / "thesis.txt").read_text() == (out / "b").read_text() == "mine"


def test_a_note_beside_the_results_does_not_undo_a_finished_scan(scans: list[Scan], out: Path) -> None:
    run_batch(scans, out, FakeWork())
    (out / "b" / "notes.txt").write_text("mine")
    assert [state.state for state in run_batch(scans, out, FakeWork())] == ["kept", "kept", "kept"]
    states = run_batch(scans, out, FakeWork(options={"spacing": 2.0}))
    assert [state.state for state in states] == ["done", "failed", "done"]
    assert (out / "b" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["Thumbs.db", "desktop.ini", ".DS_Store"])
def test_what_a_file_manager_leaves_is_nobodys_work(scans: list[Scan], out: Path, name: str) -> None:
    run_batch(scans, out, FakeWork())
    (out / "b" / name).touch()
    assert [state.state for state in run_batch(scans, out, FakeWork(options={"spacing": 2.0}))] == ["done"] * 3


def test_what_a_killed_run_left_is_removed(scans: list[Scan], out: Path) -> None:
    (out / ".partial-a").mkdir(parents=True)
    (out / ".partial-a" / "x").touch()
    run_batch(scans, out, FakeWork())
    assert {p.name for p in out.iterdir()} == {"a", "b", "c", *SUMMARY}


def test_results_that_a_killed_run_had_put_aside_come_back(scans: list[Scan], out: Path) -> None:
    run_batch(scans, out, FakeWork())
    before = contents(out / "b")
    (out / "b").rename(out / ".former-b")
    work = FakeWork()
    assert [state.state for state in run_batch(scans, out, work)] == [KEPT, KEPT, KEPT]
    assert contents(out / "b") == before and not (out / ".former-b").exists()


def test_results_that_are_there_count_more_than_former_ones_put_aside(scans: list[Scan], out: Path) -> None:
    """A run was killed after the new folder had its name and before the former was removed."""
    run_batch(scans, out, FakeWork())
    before = contents(out / "b")
    (out / ".former-b").mkdir()
    (out / ".former-b" / batch_results.OUTPUT).write_text("former")
    assert [state.state for state in run_batch(scans, out, FakeWork())] == [KEPT, KEPT, KEPT]
    assert contents(out / "b") == before


def test_a_link_is_not_replaced_by_a_folder_of_results(scans: list[Scan], out: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / batch_results.OUTPUT).write_text("mine")
    out.mkdir(exist_ok=True)
    (out / "a").symlink_to(tmp_path / "elsewhere")
    assert [state.state for state in run_batch(scans, out, FakeWork())] == ["failed", "done", "done"]
    assert (out / "a").is_symlink() and contents(tmp_path / "elsewhere") == {batch_results.OUTPUT: b"mine"}


def test_the_former_result_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "scan"
    target.mkdir()
    (target / "old").touch()
    with pytest.raises(ZeroDivisionError), replaced_folder(target) as temporary:
        (temporary / "new").touch()
        raise ZeroDivisionError
    assert [p.name for p in target.iterdir()] == ["old"]
    with replaced_folder(target) as temporary:
        (temporary / "new").touch()
        assert (target / "old").exists()
    assert [p.name for p in target.iterdir()] == ["new"]
    assert [p.name for p in tmp_path.iterdir()] == ["scan"]


@pytest.mark.parametrize("failure", [PermissionError(13, "open in another program"), KeyboardInterrupt()])
def test_when_the_new_one_cannot_take_its_place_the_former_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    target = tmp_path / "scan"
    target.mkdir()
    (target / "old").touch()
    real = os.replace

    def replace(source: Path, place: Path) -> None:
        if Path(source).name.startswith(".partial-"):
            raise failure
        real(source, place)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(type(failure)), replaced_folder(target) as temporary:
        (temporary / "new").touch()
    assert contents(tmp_path) == {"scan/old": b""}
    assert [entry.name for entry in tmp_path.iterdir()] == ["scan"]
