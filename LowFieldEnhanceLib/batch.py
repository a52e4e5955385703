"""Many scans in one call: each into a folder of its own, finished ones left out, failures noted, a summary of all.

The folder of a scan appears whole or not at all. It holds what ``enhance`` writes and :data:`RECORD`, which says from
what the sidecar does not: the options, the contrast, and the checksums of the files. With both, the next call knows
whether the scan is finished. A second batch in the folder is refused while one is at work there (batch_lock).
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from .batch_lock import only_batch_in
from .batch_scans import RECORD, Scan
from .batch_summary import DONE, FAILED, KEPT, State, write_summary
from .errors import BadInput, Cancelled, LowFieldEnhanceError, known_failure
from .events import Events
from .itk import check_path
from .weight_files import file_sha256

RECORD_SCHEMA = "lowfieldenhance-batch-scan/1"
OUTPUT, SIDECAR, SEGMENTATION = "enhanced.nii.gz", "enhanced.json", "segmentation.nii.gz"
REPORT_HTML, REPORT_JSON, REPORT_CSV = "report.html", "report.json", "report.csv"
FIDELITY, ADDED_DETAIL, UNCERTAINTY = "fidelity.nii.gz", "added_detail.nii.gz", "uncertainty.nii.gz"
DICOM = "dicom"
OWN = {
    RECORD, OUTPUT, SIDECAR, SEGMENTATION, REPORT_HTML, REPORT_JSON, REPORT_CSV, FIDELITY, ADDED_DETAIL, UNCERTAINTY,
    DICOM,
}  # fmt: skip


@dataclass(frozen=True)
class Request:
    """What a scan's results have to have been made of and with.

    Attributes:
        provenance: keys and values that the sidecar must have: input, method, preset, seed, weights, segmenter.
        options: all else that changes the results; JSON-serialisable.
    """

    provenance: dict[str, Any]
    options: dict[str, Any] = field(default_factory=dict)


class Work(Protocol):
    """What a batch does with each of its scans."""

    settings: dict[str, Any]  # method, preset, seed and options, for the summary

    def request(self, scan: Scan) -> Request:
        """Read the scan and whatever came with it, and say what its results will be made of."""
        ...

    def run(self, scan: Scan, folder: Path, events: Events) -> None:
        """Write the results into a folder that exists and is empty."""
        ...


class _OneScan(Events):
    """Events of one scan as a part of the batch: every progress event says which scan it is, and the batch's time left.

    Args:
        whole: gets everything.
        number, total: which scan of how many there are to do.
        left: seconds that the scans to do take, this one included; None while unknown.
        warnings: gets the sentences too.
        clock: seconds.
    """

    def __init__(
        self, whole: Events, number: int, total: int, left: float | None, warnings: list[str],
        clock: Callable[[], float],
    ) -> None:  # fmt: skip
        super().__init__(self._pass, clock)
        self._whole, self._left, self._warnings = whole, left, warnings
        self._about = {"scan": number, "scans": total}
        self._begun = clock()

    def cancel(self) -> None:
        """Cancel the whole."""
        self._whole.cancel()

    def check(self) -> None:
        """Raise Cancelled if the whole was cancelled."""
        self._whole.check()

    def _pass(self, event: dict[str, Any]) -> None:
        if event["event"] == "warning":
            self._warnings.append(event["message"])
        elif event["event"] == "progress":
            event = {**event, **self._about}
            if self._left is not None:
                event["batch_eta_s"] = round(max(self._left - (self._clock() - self._begun), 0.0), 2)
        self._whole.send(event)


def run_batch(
    scans: Sequence[Scan],
    folder: str | os.PathLike[str],
    work: Work,
    events: Events | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> list[State]:
    """Do every scan that is not finished; the summary is written at the start, after every scan, and at the end.

    Args:
        scans: with distinct names, see batch_scans.find_scans.
        folder: of all results; made if its parent exists.
        work: what is done with each.
        events: progress over all scans, warnings (a scan's failure is one), and cancel.
        clock: seconds, monotonic.

    Returns:
        One state a scan, in their order.

    Raises:
        BadInput: the folder cannot be made, or another run is at work in it; nothing was written. Cancelled: through
            ``events`` or by a signal; the finished scans stay.
        OSError: the summary cannot be written.
    """
    target, events = check_batch_folder(folder), events or Events()
    target.mkdir(exist_ok=True)
    states = [State(scan) for scan in scans]
    with only_batch_in(target):
        try:
            _do_all(states, target, work, events, clock)
        except (Cancelled, KeyboardInterrupt):
            write_summary(states, target, work.settings)
            finished = sum(state.state in (DONE, KEPT) for state in states)
            raise Cancelled(
                f"the batch was cancelled; {finished} of {len(states)} scans are finished, and the same call does the "
                "rest"
            ) from None
    return states


def _do_all(states: list[State], target: Path, work: Work, events: Events, clock: Callable[[], float]) -> None:
    todo = _look_for_finished(states, target, work, events)
    write_summary(states, target, work.settings)
    durations: list[float] = []
    for number, (state, request) in enumerate(todo, start=1):
        begun = clock()
        left = sum(durations) / len(durations) * (len(todo) - number + 1) if durations else None
        part = _OneScan(events, number, len(todo), left, state.warnings, clock)
        about = f", {in_words(left)} left" if left is not None else ""
        with _noted(state, events), part.scope(f"{state.scan.name} ({number} of {len(todo)}{about})"):
            _do(state, target, request, work, part)
            durations.append(clock() - begun)
        write_summary(states, target, work.settings)


def check_batch_folder(folder: str | os.PathLike[str]) -> Path:
    """The output folder as a path, if it is there or can be made.

    Raises:
        BadInput: it is a file, its parent does not exist, or its name is not UTF-8.
    """
    check_path(folder)
    target = Path(folder)
    if target.exists() and not target.is_dir():
        raise BadInput(f"{target} is not a folder, so no results can be written into it")
    if not target.resolve().parent.is_dir():
        raise BadInput(f"the output folder {target.parent} does not exist")
    return target


def _look_for_finished(states: list[State], target: Path, work: Work, events: Events) -> list[tuple[State, Request]]:
    """Set the state of what is finished or cannot be read, at once and not after hours; return what is to do."""
    todo = []
    for number, state in enumerate(states):
        events.progress("read the scans", number, len(states))
        with _noted(state, events):
            request = work.request(state.scan)
            place = target / state.scan.name
            _check_place(place)
            warnings = finished(place, request)
            if warnings is None:
                todo.append((state, request))
            else:
                state.finish(KEPT, _read_json(place / REPORT_JSON), warnings)
    events.progress("read the scans", len(states), len(states))
    return todo


@contextmanager
def _noted(state: State, events: Events) -> Iterator[None]:
    """A failure inside the block is the scan's own: it gets its sentence, and the others go on."""
    try:
        yield
    except (Cancelled, KeyboardInterrupt):
        raise
    except OSError as error:
        state.fail(BadInput.kind, f"a file could not be read or written: {error}")
    except Exception as error:
        failure = known_failure(error)
        if failure is None:  # the last resort, as on the command line: the traceback goes to the log
            logging.getLogger(__name__).exception("internal error")
            failure = LowFieldEnhanceError(str(error) or type(error).__name__)
        state.fail(failure.kind, str(failure))
    if state.state == FAILED:
        events.warning(f"{state.scan.name} failed: {state.failure['message']}")


def _do(state: State, target: Path, request: Request, work: Work, events: Events) -> None:
    place = target / state.scan.name
    with replaced_folder(place) as temporary:
        work.run(state.scan, temporary, events)
        record = {
            "schema": RECORD_SCHEMA,
            "options": request.options,
            "warnings": state.warnings,
            "files": {p.relative_to(temporary).as_posix(): file_sha256(p) for p in _files(temporary)},
        }
        text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False)
        (temporary / RECORD).write_text(text + "\n", encoding="utf-8", errors="backslashreplace")
        events.check()
    state.finish(DONE, _read_json(place / REPORT_JSON), state.warnings)


def finished(place: Path, request: Request) -> list[str] | None:
    """The warnings of the run that made the folder, if it is whole and was made as requested; else None.

    Whole: the record is there and every file has its checksum. As requested: the sidecar names the same input, method,
    preset, seed and weights, and the record the same options.
    """
    record, provenance = _read_json(place / RECORD), _read_json(place / SIDECAR)
    if record is None or provenance is None or record.get("schema") != RECORD_SCHEMA:
        return None
    if record.get("options") != json.loads(json.dumps(request.options)):
        return None
    if any(provenance.get(key) != value for key, value in request.provenance.items()):
        return None
    files = record.get("files", {})
    if not {OUTPUT, SIDECAR, REPORT_JSON, REPORT_HTML} <= files.keys():
        return None
    if any(not (place / name).is_file() or file_sha256(place / name) != digest for name, digest in files.items()):
        return None
    return list(record.get("warnings", []))


def _check_place(place: Path) -> None:
    """Refuse to replace what no batch wrote; hidden files are those of file managers."""
    if place.is_symlink() or (place.exists() and not place.is_dir()):
        raise BadInput(f"{place} is not a folder, so the scan's results cannot be written into it")
    foreign = [p.name for p in place.iterdir() if p.name not in OWN and p.name[0] != "."] if place.is_dir() else []
    if foreign:
        raise BadInput(f"the folder {place} holds {sorted(foreign)[0]}, which no batch wrote; move it elsewhere first")


@contextmanager
def replaced_folder(target: Path) -> Iterator[Path]:
    """An empty folder beside ``target``, which takes its place on success and is removed on failure.

    What a killed run left behind is removed first. The former folder goes when the new one is complete.
    """
    temporary, former = (target.with_name(f".{word}-{target.name}") for word in ("partial", "former"))
    for leftover in (temporary, former):
        shutil.rmtree(leftover, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        if target.exists():
            os.replace(target, former)  # a folder that holds something cannot be replaced at once
        os.replace(temporary, target)
    finally:
        if former.exists() and not target.exists():
            os.replace(former, target)
        for leftover in (temporary, former):
            shutil.rmtree(leftover, ignore_errors=True)


def in_words(seconds: float) -> str:
    """``40 s``, ``25 min``, ``3 h 10 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _read_json(path: Path) -> dict[str, Any] | None:
    """None if it is not there or no JSON object."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
