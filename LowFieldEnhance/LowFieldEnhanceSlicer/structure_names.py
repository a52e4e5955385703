"""Which structure a segment is: by this module's own mark, by its name however it is spelled, or by its terminology."""

from __future__ import annotations

import re
from functools import cache

import slicer
import vtk

from LowFieldEnhanceLib.segmentation.labels import label_table

SIDES = {"right": ("24028007", "SCT", "Right"), "left": ("7771000", "SCT", "Left"), "": ("", "", "")}
LABEL_ID_TAG = "LowFieldEnhance.LabelId"
MOST_NAMED = 8  # in one sentence

# Words of FreeSurfer's names, and what the label table has in their place ("" leaves them out).
WORDS = {"inf": "inferior", "lat": "lateral", "vent": "ventricle", "ventraldc": "ventral dc", "proper": "",
         "area": "", "brainstem": "brain stem", "cerebellar": "cerebellum", "third": "3rd", "fourth": "4th",
         "l": "left", "r": "right"}  # fmt: skip
# Parts of a structure that FreeSurfer lists by themselves; the library puts each to where it belongs.
PARTS = {"left vessel": 30, "right vessel": 62, "left choroid plexus": 31, "right choroid plexus": 63,
         "5th ventricle": 72, "wm hypointensities": 77, "left wm hypointensities": 78,
         "right wm hypointensities": 79, "optic chiasm": 85, "corpus callosum": 192, "cc posterior": 251,
         "cc mid posterior": 252, "cc central": 253, "cc mid anterior": 254, "cc anterior": 255}  # fmt: skip
# The parcels of FreeSurfer's cortex, "ctx-lh-insula" and the like, and of the white matter below it.
PARCELS = {"ctx lh": 3, "ctx rh": 42, "wm lh": 2, "wm rh": 41}
NO_PARCELS = ("unknown", "corpuscallosum", "medial wall")


def structureOf(segment: slicer.vtkSegment) -> int | None:
    """The FreeSurfer id of the structure that a segment is; None if it is none that the report knows."""
    tag = vtk.reference("")
    if segment.GetTag(LABEL_ID_TAG, tag):
        return int(tag.get())
    name = segment.GetName() or ""
    entry = str(tag.get()) if segment.GetTag(segment.GetTerminologyEntryTagName(), tag) else ""
    found = (_idByName().get(_plainName(name)), _parcelOf(name), _idOfTerminology(entry))
    return next((identifier for identifier in found if identifier is not None), None)


def unknownSegments(segmentation: slicer.vtkSegmentation) -> list[str]:
    """The names of the segments that are no structure."""
    segments = (segmentation.GetNthSegment(n) for n in range(segmentation.GetNumberOfSegments()))
    return [segment.GetName() for segment in segments if structureOf(segment) is None]


def listed(names: list[str]) -> str:
    """Names for a sentence; of many only the first."""
    more = len(names) - MOST_NAMED
    quoted = ", ".join(f"'{name}'" for name in names[:MOST_NAMED])
    return f"{quoted} and {more} more" if more > 0 else quoted


def _plainName(name: str) -> str:
    """Small letters, one blank between words, and the label table's words: "Left-Inf-Lat-Vent", "left inf lat vent"."""
    words = re.sub(r"[^a-z0-9]+", " ", name.lower()).split()
    plain = " ".join(filter(None, (WORDS.get(word, word) for word in words)))
    # "Hippocampus left" and "hippocampus, l"
    found = re.fullmatch(r"(.+) (left|right)", plain)
    return f"{found[2]} {found[1]}" if found else plain


@cache
def _idByName() -> dict[str, int]:
    return PARTS | {_plainName(label.name): label.id for label in label_table()}


def _parcelOf(name: str) -> int | None:
    plain = re.sub(r"[^a-z0-9]+", " ", name.lower()).strip()
    kind = next((known for known in PARCELS if plain.startswith(known + " ")), "")
    return PARCELS[kind] if kind and plain[len(kind) + 1 :] not in NO_PARCELS else None


def _idOfTerminology(entry: str) -> int | None:
    """Of Slicer's serialised entry ("context~category~type~modifier~..."), if type and side are the table's."""
    fields = [tuple(field.split("^")[:2]) for field in entry.split("~")]
    if len(fields) < 4:
        return None
    side = next((name for name, (code, scheme, _) in SIDES.items() if fields[3] == (scheme, code)), None)
    return _idByCode().get((*fields[2], side))


@cache
def _idByCode() -> dict[tuple[str | None, ...], int]:
    return {(label.scheme, label.code, label.side): label.id for label in label_table()}
