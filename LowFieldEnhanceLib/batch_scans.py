"""Which scans a batch works on: those of folders, patterns, lists and tables, each under a name of its own.

The name becomes the folder of the scan's results, so that it has to be the same the next time the batch is called.
"""

from __future__ import annotations

import csv
import glob
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import BadInput
from .formats.dicom_elements import is_dicom, read_elements
from .image import CONTRASTS
from .image_io import DERIVED, EXTENSIONS
from .ours import is_enhanced

Warn = Callable[[str], object]
COLUMNS = ("input", "contrast", "reference", "lesions", "name")
DELIMITERS = {".csv": ",;\t", ".tsv": "\t"}  # by the ending of a table
RECORD = "batch.json"  # in every folder of results, which is thus known and never taken for input
RESERVED = ("summary.csv", "summary.html", "summary.json")
DERIVATIVES = "derivatives"  # the folder of a BIDS data set that holds what was computed
NO_SCANS = re.compile(r"_(mask|dseg|probseg|bold|dwi)$")  # BIDS suffixes of maps and of series of volumes


@dataclass(frozen=True)
class Scan:
    """One scan of a batch.

    Attributes:
        name: of the folder of its results.
        input: file, or folder with one DICOM series; it may not exist.
        contrast: T1w, T2w, FLAIR or other; None leaves it to the option or the file's name.
        reference, lesions: files of this head, see pipeline.enhance; None without.
        problem: why it cannot be done; None if nothing is known against it.
    """

    name: str
    input: Path
    contrast: str | None = None
    reference: Path | None = None
    lesions: Path | None = None
    problem: str | None = None


@dataclass
class _Found:
    """A path and how many of its last parts make its name; a fixed name comes from a table."""

    path: Path
    depth: int = 1
    row: Scan | None = None
    problem: str | None = None

    @property
    def parts(self) -> tuple[str, ...]:
        *folders, last = Path(os.path.abspath(self.path)).parts[1:] or ("scan",)
        return (*folders, last if self.problem else _stem(last))

    @property
    def name(self) -> str:
        if self.row is not None and self.row.name:
            return self.row.name
        text = re.sub(r"[^\w.+ -]", "_", "_".join(self.parts[-self.depth :]))
        return text.strip(" .") or "scan"

    @property
    def can_be_longer(self) -> bool:
        return not (self.row is not None and self.row.name) and self.depth < len(self.parts)


def find_scans(inputs: Sequence[str], output: str | os.PathLike[str], warn: Warn = lambda _: None) -> list[Scan]:
    """The scans, in the order of the arguments, within a folder in that of their names.

    Args:
        inputs: each a folder (all volumes below it, and every folder with DICOM files), a file, a pattern such as
            ``data/**/*_T1w.nii.gz``, or a table (.csv, .tsv) with the columns :data:`COLUMNS`.
        output: folder of the results; what lies in it is no input, nor are the results of another batch.
        warn: called with a sentence if volumes in the folders are left out: those below a folder ``derivatives``, maps
            and series by their BIDS suffix, enhanced volumes, and DICOM that is not MR, which are taken by their own
            name; and with one for each folder that cannot be read.

    Raises:
        BadInput: no scan, a table that cannot be understood, two scans of one name, or an input inside ``output``.
    """
    target = Path(output).resolve()
    found: list[_Found] = []
    left_out: list[Path] = []
    known: set[Path] = set()
    for item in (item for text in inputs for item in _find(text, target, left_out, warn)):
        place = item.path.resolve()
        if item.row is None:  # a table may use one file twice, under two names
            if place in known or _inside(place, target):
                continue
            known.add(place)
        found.append(item)
    if left_out:
        warn(
            f"{len(left_out)} volumes in the folders are no scans to enhance and are left out (derivatives, maps, "
            f"series of volumes, enhanced volumes, DICOM other than MR), such as {left_out[0]}"
        )
    if not found:
        raise BadInput(f"no scan was found in {', '.join(inputs)} (what lies in the output folder does not count)")
    _make_distinct(found)
    return [_scan(item) for item in found]


def _find(text: str, target: Path, left_out: list[Path], warn: Warn) -> Iterator[_Found]:
    path = Path(text)
    if path.suffix.lower() in DELIMITERS:
        yield from (_Found(row.input, row=row) for row in read_table(path, target))
    elif path.is_dir():
        yield from _in_folder(path, target, left_out, warn)
    elif path.exists() or not glob.has_magic(text):
        yield _Found(path)  # one that does not exist is that scan's failure
    else:
        matches = sorted(glob.glob(text, recursive=True))
        if not matches:
            raise BadInput(f"no file matches the pattern {text}")
        for match in map(Path, matches):
            if match.is_dir() and not _inside(match, target):
                yield from _in_folder(match, target, left_out, warn)
            elif match.is_file() and not any(_is_result(folder, target) for folder in match.parents):
                if match.name.lower().endswith(EXTENSIONS) or _holds_dicom(match):
                    yield _Found(match)


def _in_folder(folder: Path, target: Path, left_out: list[Path], warn: Warn) -> Iterator[_Found]:
    if _inside(folder, target):
        raise BadInput(f"the scans in {folder} lie in the output folder {target}; choose an output folder of its own")
    for here, files in _walk(folder, target, warn):
        seen = sorted(n for n in files if not n.startswith("."))
        depth = len(here.relative_to(folder).parts)
        volumes = [n for n in seen if n.lower().endswith(EXTENSIONS)]
        derived = DERIVATIVES in here.relative_to(folder).parts
        dicom = next((here / n for n in seen if n not in volumes and _holds_dicom(here / n)), None)
        if dicom is not None and (derived or _is_no_scan(dicom)):
            left_out.append(here)
        elif dicom is not None:
            yield _Found(here, max(depth, 1))
        for name in volumes:
            if derived or NO_SCANS.search(_stem(name).lower()) or is_enhanced(here / name):
                left_out.append(here / name)
            else:
                yield _Found(here / name, depth + 1)


def _walk(folder: Path, target: Path, warn: Warn) -> Iterator[tuple[Path, list[str]]]:
    """Every folder below one, and its files; links are followed, each folder once, and never to results."""
    root, walked = folder.resolve(), set()

    def left_out(error: OSError) -> None:
        warn(f"the folder {error.filename} cannot be read ({error.strerror}), so the scans in it are left out")

    for place, below, files in os.walk(folder, onerror=left_out, followlinks=True):
        here = Path(place)
        resolved = here.resolve()
        linked = resolved != here.parent.resolve() / here.name
        if here != folder and (resolved in walked or (linked and (_inside(here, root) or _inside(root, resolved)))):
            # a link to what is found anyway under its own name, or to a folder that holds all of it
            below.clear()
            continue
        walked.add(resolved)
        below[:] = sorted(n for n in below if not n.startswith(".") and not _is_result(here / n, target))
        yield here, files


def _holds_dicom(path: Path) -> bool:
    return path.name != "DICOMDIR" and path.is_file() and os.access(path, os.R_OK) and is_dicom(path)


def _is_no_scan(dicom: Path) -> bool:
    """Whether a DICOM file is of another modality than MR, such as a segmentation or a report, or a result of ours."""
    found = read_elements(dicom)
    return found.modality not in ("", "MR") or found.description.startswith(DERIVED)


def _inside(path: Path, folder: Path) -> bool:
    resolved = path.resolve()
    return resolved == folder or folder in resolved.parents


def _is_result(folder: Path, target: Path) -> bool:
    return _inside(folder, target) or (folder / RECORD).is_file()


def read_table(path: Path, target: Path) -> list[Scan]:
    """The rows of a table; relative paths are relative to its folder, an empty cell is none.

    Args:
        path: UTF-8, with headings; .csv (comma, semicolon or tab) or .tsv.
        target: the output folder, in which no input may lie.

    Raises:
        BadInput: it cannot be read, has no column ``input`` or one that is not in :data:`COLUMNS`, or a row without
            input, with an unknown contrast, a name that cannot be a folder, or a file inside the output folder.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            first = stream.readline()
            stream.seek(0)
            delimiter = next((d for d in DELIMITERS[path.suffix.lower()] if d in first), ",")
            reader = csv.DictReader(stream, delimiter=delimiter, restkey="", strict=True)
            headings = [(name or "").strip() for name in reader.fieldnames or []]
            reader.fieldnames = headings
            _check_headings(path, headings)
            return [
                _row(f"row {number} of {path.name}", row, path.parent, target)
                for number, row in enumerate(reader, start=1)
                if any(row.values())
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"the table {path} cannot be read: {error}") from error


def _check_headings(path: Path, headings: list[str]) -> None:
    unknown = [name for name in headings if name not in COLUMNS]
    if "input" not in headings or unknown or len(set(headings)) != len(headings):
        said = f" and knows no '{unknown[0]}'" if unknown else ""
        raise BadInput(f"the table {path.name} needs the column input, takes {', '.join(COLUMNS[1:])} besides{said}")


def _row(where: str, row: dict[str, str | None], folder: Path, target: Path) -> Scan:
    if any(row.pop("", None) or ()):
        raise BadInput(f"{where} has more cells than the table has columns")
    cells = {key: (value or "").strip() for key, value in row.items()}
    if not cells["input"]:
        raise BadInput(f"{where} names no input")
    contrast = cells.get("contrast") or None
    if contrast is not None and contrast not in CONTRASTS:
        raise BadInput(f"{where} has the unknown contrast '{contrast}'; it must be one of {', '.join(CONTRASTS)}")
    name = cells.get("name", "")
    if name and (not re.fullmatch(r"\w[\w.+ -]*", name) or name[-1] in " ." or name.casefold() in RESERVED):
        raise BadInput(f"{where} has the name '{name}', which cannot be the name of a folder of results")
    paths = {key: folder / cells[key] for key in ("input", "reference", "lesions") if cells.get(key)}
    for given in paths.values():
        if _inside(given, target):
            raise BadInput(f"{where} names {given}, which lies in the output folder, where results are written")
    return Scan(name, paths["input"], contrast, paths.get("reference"), paths.get("lesions"))


def _make_distinct(found: list[_Found]) -> None:
    """Lengthen names that occur twice by the folder before, such as ``sub-01_T1w``, until none does."""
    _tell_endings_apart(found)
    while True:
        counts = Counter(item.name.casefold() for item in found)
        same = [item for item in found if counts[item.name.casefold()] > 1 or item.name.casefold() in RESERVED]
        if not same:
            return
        longer = [item for item in same if item.can_be_longer]
        if not longer:
            raise BadInput(
                f"the results of {same[0].path} and {same[-1].path} would both be named '{same[0].parts[-1]}'; name "
                "them in a table with the columns input and name"
            )
        for item in longer:
            item.depth += 1


def _tell_endings_apart(found: list[_Found]) -> None:
    """Files that differ by their ending alone, as ``x.nii`` and ``x.nii.gz``, are told by it, and cannot be done."""
    same: dict[tuple[str, ...], list[_Found]] = {}
    for item in found:
        if item.row is None or not item.row.name:
            same.setdefault(tuple(part.casefold() for part in item.parts), []).append(item)
    for items in same.values():
        names = [item.path.name for item in items]
        if len({name.casefold() for name in names}) == len(items) > 1:
            problem = (
                f"the results of {' and of '.join(names)} would have the same name; move one elsewhere, or name them "
                "in a table with the columns input and name"
            )
            for item in items:
                item.problem = problem


def _stem(name: str) -> str:
    """The name of a file without the ending of a volume."""
    ending = next((e for e in sorted(EXTENSIONS, key=len, reverse=True) if name.lower().endswith(e)), "")
    return name[: len(name) - len(ending)]


def _scan(item: _Found) -> Scan:
    row = item.row
    if row is None:
        return Scan(item.name, item.path, problem=item.problem)
    return Scan(item.name, item.path, row.contrast, row.reference, row.lesions, item.problem)
