"""Several methods on one scan: the run of ``compare``, and its table and page in the scene."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from LowFieldEnhanceLib.errors import BadInput

from . import hierarchy
from .catalogue import ALL_METHODS, METHODS
from .job import Job
from .loading import PAGE, REPORT_ROLE, addDerived, addPage, presentInput, readText
from .marks import ATTRIBUTE_PREFIX, madeOf
from .method_texts import methodTitle
from .report import addTable
from .request import FORWARD, Request, record, scanArguments
from .scene import DERIVED, RunResult

COMPARISON_TABLE = "comparison table"
METHODS_ATTRIBUTE = ATTRIBUTE_PREFIX + "methods"
DISAGREEMENT_ATTRIBUTE = ATTRIBUTE_PREFIX + "disagreement"
# What a comparison heeds of a request, beside the scan and its contrast.
SETTINGS = (
    "otherVolumes",
    "referenceVolume",
    "referenceSegmentation",
    "registerReference",
    "lesions",
    "brainMask",
    "device",
    "seed",
    "spacing",
    "segmentMirrored",
    *FORWARD,
)
SAME = ("inputVolume", "contrast", "earlierInputs", "earlierWeights")
NOTE = "note"
# What the provenance of a run says of its method alone; what else all runs of a comparison say alike holds of it too.
OF_A_METHOD = ("method", "title", "citation", "preset", "settings", "method_spacing", "weights", "licences", "seconds")


def comparisonRequest(request: Request) -> Request:
    """The part of a request that is the same for all methods."""
    kept = {name: getattr(request, name) for name in (*SAME, *SETTINGS)}
    return Request(**kept, makeSegmentation=False, makeFidelity=False, makeUncertainty=False, makeAddedDetail=False)


def choicesOf(methods: str | Sequence[str]) -> list[tuple[str, str]]:
    """Method and preset of each that is named.

    Args:
        methods: "all", or names such as "cubic" and "bridged:standard", as a list or with commas between them; without
            a preset the method's first.

    Raises:
        ValueError: an unknown method or preset, one named twice, or none.
    """
    names = methods.split(",") if isinstance(methods, str) else list(methods)
    names = [name.strip() for name in names if name.strip()]
    names = list(METHODS) if names == [ALL_METHODS] else names
    choices = []
    for name in names:
        method, _colon, preset = name.partition(":")
        if method not in METHODS or (preset and preset not in METHODS[method].presets):
            raise ValueError(f"There is no method '{name}'; choose {', '.join(METHODS)}, with ':' before a preset.")
        choices.append((method, preset or METHODS[method].presets[0]))
    if not choices:
        raise ValueError("Choose the methods to compare.")
    if len(set(choices)) != len(choices):
        raise ValueError("A method was chosen twice.")
    return choices


@dataclass(frozen=True)
class ComparisonNodes:
    """The outputs of a comparison in the scene; None for what is no longer there."""

    table: slicer.vtkMRMLTableNode | None
    page: slicer.vtkMRMLTextNode | None


class ComparisonJob(Job):
    """One run of ``compare``.

    Args:
        request: see :func:`comparisonRequest`.
        choices: see :func:`choicesOf`.
        temporaryPath, onChanged: see :class:`Job`.
    """

    def __init__(
        self,
        request: Request,
        choices: Sequence[tuple[str, str]],
        temporaryPath: str,
        onChanged: Callable[[Job], Any],
    ) -> None:
        self.choices = list(choices)
        super().__init__(request, temporaryPath, onChanged)

    @property
    def names(self) -> list[str]:
        """Of the methods, each with its preset."""
        return [f"{method}:{preset}" for method, preset in self.choices]

    @property
    def summary(self) -> str:
        """How many methods were compared, and which could not run."""
        said = self.run.result
        count = said.get("compared", 0)
        several = _("{count} methods were compared on {name}.").format(count=count, name=self.title)
        text = several if count != 1 else _("1 method was run on {name}.").format(name=self.title)
        return text + (" " + _("Not run: {names}.").format(names=said["not_run"]) if said.get("not_run") else "")

    @property
    def nodes(self) -> ComparisonNodes:
        """Table and page that are in the scene now; both None before the end."""
        table = self._scene.GetNodeByID(self.result.table) if self.result is not None else None
        return ComparisonNodes(table, pageOf(table) if table is not None else None)

    def _commandLine(self, files: dict[str, Path], outputs: Path) -> list[str]:
        methods = ",".join(self.names)
        line = ["compare", str(files["input"]), "-o", str(outputs / "comparison"), "--methods", methods]
        return [*line, *scanArguments(self.request, files)]

    def _readFiles(self, outputs: Path) -> tuple[dict[str, Any], str]:
        document = json.loads(readText(outputs / "comparison" / "compare.json") or "{}")
        if not isinstance(document, dict) or not document.get("rows"):
            raise BadInput("the comparison is damaged")
        return document, readText(outputs / "comparison" / "compare.html")

    def _addToScene(self, files: tuple[dict[str, Any], str]) -> Iterator[RunResult | None]:
        source = presentInput(self._scene, self.request)
        document, html = files
        name = f"{source.GetName()} methods compared"
        result = RunResult(hierarchy.addRunFolder(self._scene, source, name), source.GetID())
        try:
            headings, rows = tableOf(document)
            provenance = {**provenanceOf(document), **madeOf(source)}
            table = addTable(self._scene, rows, headings, f"{name} ({DERIVED})")
            addDerived(result.folderItem, table, source, provenance, COMPARISON_TABLE)
            table.SetAttribute(DISAGREEMENT_ATTRIBUTE, _disagreementOf(document) or None)
            result.table = table.GetID()
            yield None
            page = addPage(self._scene, f"{name}: page ({DERIVED})", html)
            addDerived(result.folderItem, page, source, provenance, PAGE)
            table.SetNodeReferenceID(REPORT_ROLE, page.GetID())
            for node in (table, page):
                node.SetAttribute(METHODS_ATTRIBUTE, json.dumps(self.choices))
                record(self.request, node, self._digests)
            yield None
        except BaseException:
            hierarchy.removeRun(result.folderItem, self._scene)
            raise
        yield result


def comparedMethods(node: slicer.vtkMRMLNode) -> list[str]:
    """The methods and presets of a comparison, as :func:`choicesOf` takes them; none of an output of any other run."""
    choices = json.loads(node.GetAttribute(METHODS_ATTRIBUTE) or "[]")
    return [f"{method}:{preset}" for method, preset in choices]


def disagreementText(table: slicer.vtkMRMLTableNode) -> str:
    """How far the methods of this comparison disagree, in words; empty if fewer than two could run."""
    return table.GetAttribute(DISAGREEMENT_ATTRIBUTE) or ""


def pageOf(table: slicer.vtkMRMLTableNode) -> slicer.vtkMRMLTextNode | None:
    """The page that belongs to a comparison's table: the picture sheet and the same figures."""
    return table.GetNodeReference(REPORT_ROLE)


def tableOf(document: dict[str, Any]) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """Headings by key, and the rows, of the comparison's JSON: methods by their titles, shares in percent."""
    columns = document["columns"]
    rows = []
    for row in document["rows"]:
        cells = {key: _cell(key, row.get(key)) for key in columns}
        failure = row.get("failure")
        rows.append({**cells, NOTE: f"not run: {failure['message']}" if failure else row.get("verdict", "")})
    return {**columns, NOTE: "Note"}, rows


def provenanceOf(document: dict[str, Any]) -> dict[str, Any]:
    """What the comparison's JSON says of how it was made: what all runs say alike, the weights and licences of all by
    their names, and the seconds that all runs took. The methods themselves stand in an attribute of their own.
    """
    runs = [report.get("provenance") or {} for report in (document.get("reports") or {}).values()]
    if not runs:
        return {}
    alike = {key: value for key, value in runs[0].items() if all(key in run and run[key] == value for run in runs)}
    shared = {key: value for key, value in alike.items() if key not in OF_A_METHOD}
    named = {
        key: {name: said for run in runs for name, said in (run.get(key) or {}).items()}
        for key in ("weights", "licences")
    }
    return {**shared, **named, "seconds": sum(run.get("seconds") or 0.0 for run in runs)}


def _disagreementOf(document: dict[str, Any]) -> str:
    between = document.get("disagreement")
    return str(between.get("text") or "") if isinstance(between, dict) else ""


def _cell(key: str, value: Any) -> Any:
    if key == "method":
        return methodTitle(value) if value in METHODS else str(value).capitalize()
    return 100.0 * value if key.startswith("share_") and value is not None else value
