"""Which files this program wrote: only those are replaced, and an enhanced volume is not taken for a scan unseen."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import SimpleITK

from .errors import BadInput
from .formats.itk import check_path
from .image import Image
from .image_io import DERIVED, EXTENSIONS, NOTES, VOXELS, is_whole, read_image, voxels_noted

SCHEMAS = "lowfieldenhance-"  # begins the schema of every JSON file but the sidecar
REPORTS = "lowfieldenhance-report/"
# of the report's tables, and of the batch's
CSV_HEADINGS = ("label_id,name,side,", "section,key,value,unit", "name,state,seconds,")
PAGE_TITLE = "<title>LowFieldEnhance "
HEAD = 4096  # bytes of a page or table in which its mark is


def check_ours(path: str | os.PathLike[str], kind: str | None = None) -> None:
    """Refuse to replace a file that holds something and was not written by this program, or a volume of another kind or
    with voxels that somebody changed since, such as a corrected segmentation.

    Args:
        path: to be written.
        kind: of the volume, one of image_io.NOTES; None for any, and for other files.

    Raises:
        BadInput: see above.
    """
    target = Path(path)
    if not target.is_file() or target.stat().st_size == 0:
        return
    is_volume = target.name.lower().endswith(EXTENSIONS)
    note, _, checksum = _whole_note(target).partition(VOXELS) if is_volume else ("", "", "")
    held = _kind(note)
    ours = held is not None if is_volume else _is_our_text(target)
    if not ours:
        raise BadInput(
            f"{target} was not written by LowFieldEnhance and would be replaced; choose another name, or move it first"
        )
    if held is not None and kind is not None and held != kind:
        raise BadInput(f"{target} holds another volume of ours ({held}), which would be replaced; choose another name")
    if checksum and _is_changed(target, checksum):
        raise BadInput(
            f"{target} was changed after LowFieldEnhance had written it and would be replaced; choose another name, or "
            "move it first"
        )


def _is_changed(volume: Path, checksum: str) -> bool:
    """Whether the voxels are others than its note says; what is damaged is nobody's work, but NaN around a brain that
    was cut out is. Earlier versions noted no checksum.
    """
    try:
        return voxels_noted(read_image(volume, "other", is_scan=False)) != VOXELS + checksum
    except BadInput:
        return is_whole(volume)


def is_enhanced(path: str | os.PathLike[str]) -> bool:
    """Whether a volume says of itself, or its sidecar of it, that it is a result."""
    volume = Path(path)
    if not volume.name.lower().endswith(EXTENSIONS) or not volume.is_file():
        return False
    kind = kind_of(volume)
    if kind is not None:  # labels, maps and simulated scans say what they are, whatever lies beside them
        return kind == DERIVED
    provenance = provenance_of(sidecar_of(volume)) or {}  # it may be that of scan.nrrd, made of this scan.nii
    return provenance.get("input_file", volume.name) != volume.name


def is_result(path: str | os.PathLike[str], image: Image) -> bool:
    """:func:`is_enhanced`, or of what was read from a folder of DICOM: whether its description says so."""
    return is_enhanced(path) or str(image.meta.get("SeriesDescription", "")).startswith(DERIVED)


def sidecar_of(volume: Path) -> Path:
    """``enhanced.nii.gz`` -> ``enhanced.json``."""
    ending = next(
        (e for e in sorted(EXTENSIONS, key=len, reverse=True) if volume.name.lower().endswith(e)), volume.suffix
    )
    return volume.with_name(volume.name[: len(volume.name) - len(ending)] + ".json")


def check_sidecar(volume: str | os.PathLike[str]) -> None:
    """Refuse an enhanced volume whose sidecar would take the place of that of another one, as ``e.nrrd`` beside
    ``e.nii.gz``: that would then be said to be made as this one.

    Raises:
        BadInput: see above.
    """
    target = Path(volume)
    sidecar = sidecar_of(target)
    if not target.parent.is_dir() or provenance_of(sidecar) is None:
        return
    for other in sorted(target.parent.iterdir()):
        if other.name != target.name and sidecar_of(other) == sidecar and is_enhanced(other):
            raise BadInput(
                f"{sidecar} says how {other.name} was made, and that of {target.name} would take its place; choose "
                "another name"
            )


def provenance_of(sidecar: Path) -> dict[str, Any] | None:
    """What a sidecar of ours holds, or a report of ours that was given its name; None of any other file."""
    content = read_json(sidecar)
    if content is not None and str(content.get("schema", "")).startswith(REPORTS):
        made = content.get("provenance")
        content = (made.get("enhanced_by") or made) if isinstance(made, dict) else None
    return content if content is not None and content.get("derived") == DERIVED else None


def provenance_beside(volume: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Of a volume that is a result of ours, what the sidecar beside it holds; None if there is none, or of any other.

    The name alone would not do: ``scan.nii`` and its result ``scan.nrrd`` share the sidecar ``scan.json``.
    """
    path = Path(volume)
    return provenance_of(sidecar_of(path)) if is_enhanced(path) else None


def sidecar_text(provenance: dict[str, Any]) -> str:
    """What a sidecar holds."""
    return json.dumps(provenance, indent=2) + "\n"


def note_of(volume: Path) -> str:
    """What the header of a volume says of its origin (NIfTI's descrip), without the checksum of its voxels; empty if
    nothing, or if it cannot be read.
    """
    return _whole_note(volume).partition(VOXELS)[0]


def _whole_note(volume: Path) -> str:
    reader = SimpleITK.ImageFileReader()
    try:
        check_path(volume)
        reader.SetFileName(str(volume))
        reader.ReadImageInformation()
        return reader.GetMetaData("ITK_FileNotes").strip() if reader.HasMetaDataKey("ITK_FileNotes") else ""
    except (BadInput, RuntimeError):
        return ""


def kind_of(volume: Path) -> str | None:
    """Which of image_io.NOTES the header of a volume begins its note with; None of a volume that is not ours."""
    return _kind(note_of(volume))


def _kind(note: str) -> str | None:
    return next((kind for kind in NOTES if note.startswith(kind)), None)


def _is_our_text(path: Path) -> bool:
    """Whether a report, table, page or sidecar is one of ours."""
    name = path.name.lower()
    if name.endswith(".json"):
        schema = (read_json(path) or {}).get("schema")
        return provenance_of(path) is not None or (isinstance(schema, str) and schema.startswith(SCHEMAS))
    try:
        with path.open("rb") as stream:
            head = stream.read(HEAD).decode("utf-8", errors="replace")
    except OSError:
        return False
    return head.startswith(CSV_HEADINGS) if name.endswith(".csv") else PAGE_TITLE in head


def read_json(path: Path) -> dict[str, Any] | None:
    """None if it is not there or no JSON object."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None
