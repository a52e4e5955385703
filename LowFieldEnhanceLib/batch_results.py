"""The folder of one scan's results in a batch: whether it is whole, and when it may be replaced.

Its :data:`RECORD` says what the sidecar does not: the options, the contrast, and the checksums of the files.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .batch_scans import RECORD
from .earlier_run import is_same_scan
from .errors import BadInput
from .formats import nifti
from .ours import read_json
from .weight_files import file_sha256

RECORD_SCHEMA = "lowfieldenhance-batch-scan/1"
OUTPUT, SIDECAR, SEGMENTATION = "enhanced.nii.gz", "enhanced.json", "segmentation.nii.gz"
REPORT_HTML, REPORT_JSON, REPORT_CSV = "report.html", "report.json", "report.csv"
REPORT_VALUES = "report_values.csv"
FIDELITY, ADDED_DETAIL, UNCERTAINTY = "fidelity.nii.gz", "added_detail.nii.gz", "uncertainty.nii.gz"
DICOM = "dicom"
OWN = {
    RECORD, OUTPUT, SIDECAR, SEGMENTATION, REPORT_HTML, REPORT_JSON, REPORT_CSV, REPORT_VALUES, FIDELITY,
    ADDED_DETAIL, UNCERTAINTY, DICOM,
}  # fmt: skip
OF_FILE_MANAGERS = ("Thumbs.db", "desktop.ini")  # as hidden files are


@dataclass(frozen=True)
class Request:
    """What a scan's results have to have been made of and with.

    Attributes:
        scan: which one it is (see earlier_run.identity_of), in whatever format.
        provenance: keys and values that the sidecar must have: method, preset, seed, weights, segmenter.
        options: all else that changes the results; JSON-serialisable.
    """

    scan: dict[str, Any]
    provenance: dict[str, Any]
    options: dict[str, Any] = field(default_factory=dict)


def finished(place: Path, request: Request) -> list[str] | None:
    """The warnings of the run that made the folder, if it is whole and was made as requested; else None.

    Whole: the record is there and every file has its checksum. As requested: the sidecar names the same scan, method,
    preset, seed and weights, and the record the same options.
    """
    record, provenance = read_json(place / RECORD), read_json(place / SIDECAR)
    if record is None or provenance is None or record.get("schema") != RECORD_SCHEMA:
        return None
    if record.get("options") != json.loads(json.dumps(request.options)):
        return None
    if not is_same_scan(provenance, request.scan):
        return None
    if any(provenance.get(key) != value for key, value in request.provenance.items()):
        return None
    files = record.get("files", {})
    if not {OUTPUT, SIDECAR, REPORT_JSON, REPORT_HTML} <= files.keys():
        return None
    if any(not (place / name).is_file() or file_sha256(place / name) != digest for name, digest in files.items()):
        return None
    return list(record.get("warnings", []))


def check_unchanged(place: Path) -> None:
    """Refuse to replace a file that somebody changed after the batch had written it, such as a corrected segmentation.

    One that is empty, cut off or gone is nobody's work and is made anew.

    Raises:
        BadInput: see above.
    """
    record = read_json(place / RECORD)
    if record is None or record.get("schema") != RECORD_SCHEMA:
        return
    for name, digest in record.get("files", {}).items():
        path = place / name
        if path.is_file() and file_sha256(path) != digest and _is_whole(path):
            raise BadInput(
                f"{name} was changed after the batch wrote it; move it, or delete {RECORD} in {place} to have it done "
                "again"
            )


def _is_whole(path: Path) -> bool:
    """Whether a file can be read to its end; of a kind that does not tell, whether it holds anything."""
    name = path.name.lower()
    if name.endswith((".nii", ".nii.gz")):
        return nifti.is_whole(path)
    if name.endswith(".json"):
        return read_json(path) is not None
    content = path.read_bytes()
    return content.rstrip().endswith(b">") if name.endswith(".html") else bool(content)


def check_same_scan(place: Path, scan: Path, request: Request) -> None:
    """Refuse to replace the results of another scan, whose file had the same name in another folder.

    The same file with other voxels is the scan as it is now; one that was moved, or stored in another format, has the
    voxels that it had, at the same place.

    Raises:
        BadInput: see above.
    """
    record, provenance = read_json(place / RECORD) or {}, read_json(place / SIDECAR) or {}
    other = record.get("input")  # absent in folders of an earlier version
    if not isinstance(other, str) or other == os.path.abspath(scan):
        return
    if not is_same_scan(provenance, request.scan):
        raise BadInput(
            f"the folder {place} holds the results of another scan, {other}; choose another output folder, or name the "
            "scans in a table with the columns input and name"
        )


def check_place(place: Path) -> None:
    """Refuse to replace what no batch wrote; file managers leave files anywhere."""
    if place.is_symlink() or (place.exists() and not place.is_dir()):
        raise BadInput(f"{place} is not a folder, so the scan's results cannot be written into it")
    names = [path.name for path in place.iterdir()] if place.is_dir() else []
    foreign = [name for name in names if name not in OWN and name[0] != "." and name not in OF_FILE_MANAGERS]
    if foreign:
        raise BadInput(f"the folder {place} holds {sorted(foreign)[0]}, which no batch wrote; move it elsewhere first")


def restore_former(place: Path) -> None:
    """Bring back the former results of a scan if a run was killed between putting them aside and being done."""
    former = _beside(place, "former")
    if former.is_dir() and not os.path.lexists(place):
        os.replace(former, place)


def _beside(place: Path, word: str) -> Path:
    return place.with_name(f".{word}-{place.name}")


@contextmanager
def replaced_folder(target: Path) -> Iterator[Path]:
    """An empty folder beside ``target``, which takes its place on success and is removed on failure.

    What a killed run left behind is removed first. The former folder goes when the new one is complete.
    """
    temporary, former = _beside(target, "partial"), _beside(target, "former")
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


def write_record(folder: Path, scan: Path, request: Request, warnings: list[str]) -> None:
    """Write :data:`RECORD` into a folder that holds everything else that was made of a scan."""
    record = {
        "schema": RECORD_SCHEMA,
        "input": os.path.abspath(scan),
        "options": request.options,
        "warnings": warnings,
        "files": {p.relative_to(folder).as_posix(): file_sha256(p) for p in _files(folder)},
    }
    text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False)
    (folder / RECORD).write_text(text + "\n", encoding="utf-8", errors="backslashreplace")


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())
