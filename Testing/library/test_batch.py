"""The batch: what it leaves out, does anew, notes and leaves behind, with work that only writes small files."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from batch_support import FakeWork, contents, corrected, scans_in

from LowFieldEnhanceLib import batch_results
from LowFieldEnhanceLib.batch import in_words, run_batch
from LowFieldEnhanceLib.batch_scans import RECORD, Scan
from LowFieldEnhanceLib.errors import BadInput, Cancelled, OutOfMemory
from LowFieldEnhanceLib.events import Events

pytest_plugins = ["batch_fixtures"]
SUMMARY = {"summary.csv", "summary.html", "summary.json"}


def states_of(folder: Path) -> dict[str, str]:
    document = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    return {row["name"]: row["state"] for row in document["scans"]}


def test_every_scan_gets_its_folder_and_a_second_call_does_nothing(scans: list[Scan], out: Path) -> None:
    run_batch(scans, out, FakeWork())
    assert {p.name for p in out.iterdir()} == {"a", "b", "c", *SUMMARY}
    before = {name: data for name, data in contents(out).items() if name not in SUMMARY}
    again = FakeWork()
    assert [s.state for s in run_batch(scans, out, again)] == ["kept"] * 3
    assert again.did == []
    assert {name: data for name, data in contents(out).items() if name not in SUMMARY} == before


@pytest.mark.parametrize(
    "change",
    [{"method": "linear"}, {"preset": "paper"}, {"seed": 1}, {"weights": {"net": "bb"}}, {"options": {"spacing": 2.0}}],
    ids=str,
)
def test_other_settings_do_every_scan_anew(scans: list[Scan], out: Path, change: dict[str, Any]) -> None:
    run_batch(scans, out, FakeWork())
    again = FakeWork(**change)
    run_batch(scans, out, again)
    assert again.did == ["a", "b", "c"]
    assert {p.name for p in out.iterdir()} == {"a", "b", "c", *SUMMARY}
    assert run_batch(scans, out, FakeWork(**change))[0].state == "kept"


def cut_in_half(place: Path) -> None:
    """A real volume, as it was written, of which half got lost."""
    corrected(place / batch_results.OUTPUT)
    whole = (place / batch_results.OUTPUT).read_bytes()
    (place / batch_results.OUTPUT).write_bytes(whole[: len(whole) // 2])


def truncate(place: Path) -> None:
    (place / batch_results.OUTPUT).write_bytes((place / batch_results.OUTPUT).read_bytes()[:-1])


def of_another_version(place: Path) -> None:
    (place / RECORD).write_text((place / RECORD).read_text().replace("lowfieldenhance-batch-scan/", "somebody-elses/"))


def without_page(place: Path) -> None:
    """As a version that wrote no page would have left it."""
    told = json.loads((place / RECORD).read_text())
    del told["files"][batch_results.REPORT_HTML]
    (place / RECORD).write_text(json.dumps(told))
    (place / batch_results.REPORT_HTML).unlink()


DAMAGES: dict[str, Callable[[Path], Any]] = {
    "a volume cut short": truncate,
    "a real volume cut short": cut_in_half,
    "an empty volume": lambda place: (place / batch_results.OUTPUT).write_bytes(b""),
    "a page cut short": lambda place: (place / batch_results.REPORT_HTML).write_text("<p>rep"),
    "a volume gone": lambda place: (place / batch_results.OUTPUT).unlink(),
    "the sidecar gone": lambda place: (place / batch_results.SIDECAR).unlink(),
    "the record gone": lambda place: (place / RECORD).unlink(),
    "the record cut short": lambda place: (place / RECORD).write_text('{"schema": '),
    "the record of another version": of_another_version,
    "no page and none in the record": without_page,
    "another input": lambda place: (place.parents[1] / "in" / "b").write_text("other voxels"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_only_what_is_half_there_or_different_is_done_anew(scans: list[Scan], out: Path, damage: str) -> None:
    run_batch(scans, out, FakeWork())
    DAMAGES[damage](out / "b")
    again = FakeWork()
    assert [s.state for s in run_batch(scans, out, again)] == ["kept", "done", "kept"]
    assert again.did == ["b"]
    assert run_batch(scans, out, FakeWork())[1].state == "kept"


def test_a_sidecar_that_names_other_weights_is_not_believed_even_if_its_checksum_fits(
    scans: list[Scan], out: Path
) -> None:
    run_batch(scans, out, FakeWork())
    sidecar, record = out / "a" / batch_results.SIDECAR, out / "a" / RECORD
    sidecar.write_text(sidecar.read_text().replace('"aa"', '"zz"'))
    told = json.loads(record.read_text())
    told["files"][batch_results.SIDECAR] = batch_results.file_sha256(sidecar)
    record.write_text(json.dumps(told))
    assert [s.state for s in run_batch(scans, out, FakeWork())] == ["done", "kept", "kept"]


def test_a_failure_is_noted_the_others_go_on_and_nothing_of_it_stays(scans: list[Scan], out: Path) -> None:
    def fail(scan: Scan, _: Events) -> None:
        if scan.name == "b":
            raise OutOfMemory("memory ran out")

    seen: list[dict] = []
    scans.append(Scan("gone", out.parent / "gone.nii"))
    states = run_batch(scans, out, FakeWork(fail), Events(seen.append))
    assert [s.state for s in states] == ["done", "failed", "done", "failed"]
    assert states[1].failure == {"kind": "OutOfMemory", "message": "memory ran out"}
    assert (states[3].failure or {})["kind"] == "BadInput"
    assert {p.name for p in out.iterdir()} == {"a", "c", *SUMMARY}
    warnings = [e["message"] for e in seen if e["event"] == "warning"]
    assert "b failed: memory ran out" in warnings
    assert run_batch(scans[:3], out, FakeWork())[1].state == "done"


def test_what_cannot_be_read_is_told_before_any_work(scans: list[Scan], out: Path) -> None:
    seen: list[dict] = []
    run_batch([*scans, Scan("gone", out.parent / "gone.nii")], out, FakeWork(), Events(seen.append))
    told = next(n for n, e in enumerate(seen) if e["event"] == "warning")
    began = next(n for n, e in enumerate(seen) if e.get("stage", "").endswith("enhance"))
    assert told < began


def test_a_fault_of_the_program_is_one_sentence_too_and_its_traceback_is_logged(
    scans: list[Scan], out: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(scan: Scan, _: Events) -> None:
        if scan.name == "a":
            raise ZeroDivisionError("division\nby zero")

    with caplog.at_level(logging.ERROR):
        states = run_batch(scans, out, FakeWork(fail))
    assert states[0].failure == {"kind": "Internal", "message": "division by zero"}
    assert [s.state for s in states[1:]] == ["done", "done"]
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("how", ["events", "signal"])
def test_a_cancel_keeps_the_finished_scans_and_nothing_half_written(scans: list[Scan], out: Path, how: str) -> None:
    events = Events()

    def stop(scan: Scan, _: Events) -> None:
        if scan.name == "b":
            if how == "signal":
                raise KeyboardInterrupt
            events.cancel()

    with pytest.raises(Cancelled, match="1 of 3 scans are finished"):
        run_batch(scans, out, FakeWork(stop), events)
    assert {p.name for p in out.iterdir()} == {"a", *SUMMARY}
    assert states_of(out) == {"a": "done", "b": "waiting", "c": "waiting"}
    again = FakeWork()
    run_batch(scans, out, again)
    assert again.did == ["b", "c"]


def test_the_summary_is_there_after_every_scan(scans: list[Scan], out: Path) -> None:
    seen = []
    run_batch(scans, out, FakeWork(lambda scan, _: seen.append(states_of(out))))
    assert seen == [
        {"a": "waiting", "b": "waiting", "c": "waiting"},
        {"a": "done", "b": "waiting", "c": "waiting"},
        {"a": "done", "b": "done", "c": "waiting"},
    ]


def test_a_summary_that_is_busy_stops_no_scan_and_is_told_once(scans: list[Scan], out: Path) -> None:
    (out / "summary.csv").mkdir(parents=True)  # as one that is open in a spreadsheet, it cannot be replaced
    told = []
    work = FakeWork(lambda scan, _: (out / "summary.csv").rmdir() if scan.name == "c" else None)
    run_batch(scans, out, work, Events(told.append))
    assert work.did == ["a", "b", "c"]
    warnings = [event["message"] for event in told if event["event"] == "warning"]
    assert len(warnings) == 1 and "summary cannot be written now" in warnings[0]
    assert (out / "summary.csv").read_text(encoding="utf-8").count("done") == 3


def test_a_summary_that_cannot_be_written_at_the_end_is_an_error(scans: list[Scan], out: Path) -> None:
    (out / "summary.csv").mkdir(parents=True)
    work = FakeWork()
    with pytest.raises(OSError, match=r"summary\.csv"):
        run_batch(scans, out, work)
    assert work.did == ["a", "b", "c"]
    assert states_of(out) == dict.fromkeys("abc", "done")  # the page and the JSON file were written


def test_a_cancel_while_the_scans_are_read_leaves_the_summary_as_it_was(scans: list[Scan], out: Path) -> None:
    run_batch(scans, out, FakeWork())
    before = contents(out)
    events = Events()
    events.cancel()
    with pytest.raises(Cancelled, match="while it read the scans"):
        run_batch(scans, out, FakeWork(), events)
    assert contents(out) == before


def test_the_time_left_covers_all_scans_to_do_and_no_finished_one(scans: list[Scan], out: Path) -> None:
    run_batch(scans[:1], out, FakeWork())
    scans += scans_in(out.parent / "in", "d")
    seen: list[dict] = []
    now = [0.0]

    def take_100_seconds(*_: Any) -> None:
        now[0] += 100

    run_batch(scans, out, FakeWork(take_100_seconds), Events(seen.append), clock=lambda: now[0])
    progress = [e for e in seen if e.get("stage", "").endswith("enhance")]
    assert [(e["scan"], e["scans"]) for e in progress] == [(1, 3), (1, 3), (2, 3), (2, 3), (3, 3), (3, 3)]
    assert [e.get("batch_eta_s") for e in progress] == [None, None, 200, 100, 100, 0]
    assert progress[2]["stage"] == "c (2 of 3, 3 min left): enhance"


def test_warnings_of_a_scan_are_kept_for_later_summaries(scans: list[Scan], out: Path) -> None:
    run_batch(scans, out, FakeWork(lambda _, events: events.warning("the contrast was guessed")))
    assert run_batch(scans, out, FakeWork())[0].warnings == ["the contrast was guessed"]


def test_the_output_must_be_a_folder_that_can_be_made(scans: list[Scan], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "no" / "such"):
        with pytest.raises(BadInput):
            run_batch(scans, folder, FakeWork())


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (89, "89 s"), (90, "2 min"), (3599, "1 h 0 min"), (11400, "3 h 10 min")]
)
def test_time_in_words(seconds: float, text: str) -> None:
    assert in_words(seconds) == text
