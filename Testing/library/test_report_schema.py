"""The documented schema describes every report: each key is named in it, each value is of the type it says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_report_html import parts, report

from LowFieldEnhanceLib.evaluation.added_detail import added_detail
from LowFieldEnhanceLib.evaluation.data_consistency import Projection
from LowFieldEnhanceLib.evaluation.fidelity import FidelitySummary
from LowFieldEnhanceLib.evaluation.lesions import lesion_report, lesion_section
from LowFieldEnhanceLib.evaluation.report import SCHEMA, build_report
from LowFieldEnhanceLib.evaluation.uncertainty import EXPECTED, FLIPS, ORIENTATIONS, SAMPLES, Uncertainty
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.segmentation.labels import LabelMap

DOCUMENT = json.loads(
    (Path(__file__).resolve().parents[2] / "Resources" / "report-schema.json").read_text(encoding="utf-8")
)
TYPES = {
    "object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": (int, float),
    "null": type(None),
}  # fmt: skip


def violations(value: Any, schema: dict[str, Any], path: str = "report") -> Iterator[str]:
    """What JSON Schema 2020-12 says against a value, for the keywords that the document uses."""
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    known = [k for k in kinds if isinstance(value, TYPES[k]) and (k == "boolean" or not isinstance(value, bool))]
    if not known:
        yield f"{path} is {value!r}, not {kinds}"
        return
    if "const" in schema and value != schema["const"]:
        yield f"{path} is not {schema['const']}"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{path} is {value!r}, none of {schema['enum']}"
    if isinstance(value, int | float) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        yield f"{path} is {value}, out of range"
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            yield f"{path} has {len(value)} items"
        for n, item in enumerate(value):
            yield from violations(item, schema["items"], f"{path}[{n}]")
    if isinstance(value, dict):
        properties, more = schema.get("properties", {}), schema.get("additionalProperties", True)
        yield from (f"{path} lacks {key}" for key in schema.get("required", []) if key not in value)
        for key, item in value.items():
            if key in properties:
                yield from violations(item, properties[key], f"{path}.{key}")
            elif isinstance(more, dict):
                yield from violations(item, more, f"{path}.{key}")
            elif not more:
                yield f"{path}.{key} is not documented"


def undescribed(schema: dict[str, Any], path: str) -> Iterator[str]:
    """The keys of the schema that it does not explain."""
    if not schema.get("description") and not schema.get("items"):
        yield path
    for key, value in schema.get("properties", {}).items():
        yield from undescribed(value, f"{path}.{key}")
    if "items" in schema:
        yield from undescribed(schema["items"], f"{path}[]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from undescribed(schema["additionalProperties"], f"{path}.*")


def uncertainty(made: dict[str, Any], kind: str) -> dict[str, Any]:
    deviation = Image(np.full(made["before"].shape, 3.0), made["before"].affine)
    drawn = {SAMPLES: {"seeds": (1, 2)}, FLIPS: {"flips": ("none", "left-right")}, ORIENTATIONS: {"orientations": 2}}
    volumes = () if kind == EXPECTED else ({2: 10.0}, {2: 12.0, 10: 3.0})
    found = Uncertainty(kind, deviation, **drawn.get(kind, {}), volumes=volumes)
    return found.as_report(made["brain"], 40.0)


def sections(made: dict[str, Any], registered: bool = False, kind: str = SAMPLES) -> dict[str, Any]:
    """Every optional section, made by the code that makes it in a run."""
    mark = np.zeros(made["before"].shape, np.uint8)
    mark[15:19, 15:19, 15:18] = 1
    scan = made["before"]
    enhanced = scan.with_array(scan.array + 3000.0 * mark)
    regions = lesion_report(scan, enhanced, LabelMap(mark, scan.affine, {}), made["brain"], made["reference"])
    rigid = {
        "matrix_fixed_to_moving_ras": np.eye(4).tolist(), "overlap": 1.0, "information": 0.5, "translation_mm": 3.0,
        "rotation_degrees": 2.0,
    }  # fmt: skip
    registration = {
        "registered": registered,
        "brain_overlap_dice": 0.97,
        "white_matter_dice": 0.88,
        "images_left_out": None,
        "rigid": rigid if registered else None,
    }
    before, after = FidelitySummary(40.0, 2.0, 0.2, 1.0, 0.0), FidelitySummary(40.0, 1.0, 0.003, 1.0, 0.0)
    return {
        "added_detail": added_detail(scan, enhanced, scan, 40.0, made["brain"]).summary,
        "lesions": lesion_section(regions),
        "uncertainty": uncertainty(made, kind),
        "data_consistency": Projection(scan.array, 0.1, 12, before, after, "The residual went down.").as_report(),
        "registration": None if made["reference"] is None else registration,
    }


@pytest.mark.parametrize("segmented", [True, False], ids=["segmented", "images only"])
@pytest.mark.parametrize("reference", [True, False], ids=["reference", "alone"])
def test_a_report_has_exactly_the_documented_keys_and_types(reference: bool, segmented: bool) -> None:
    assert list(violations(report(reference=reference, segmented=segmented), DOCUMENT)) == []


@pytest.mark.parametrize("kind", [SAMPLES, FLIPS, ORIENTATIONS, EXPECTED])
@pytest.mark.parametrize("reference", [True, False], ids=["reference", "alone"])
def test_so_has_a_report_with_every_section(reference: bool, kind: str) -> None:
    made = parts(reference=reference)
    whole = build_report(**made, **sections(made, registered=reference, kind=kind))
    assert whole["lesions"]["regions"] and whole["added_detail"]["spots"]
    assert list(violations(json.loads(json.dumps(whole)), DOCUMENT)) == []
    assert reference or "error" not in json.dumps(whole).lower()


def test_every_key_is_described_and_the_version_is_the_reports() -> None:
    assert DOCUMENT["properties"]["schema"]["const"] == SCHEMA
    assert list(undescribed(DOCUMENT, "report")) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": "lowfieldenhance-report/1"}, "report.schema is not"),
        ({"verdict": 3}, "report.verdict is 3"),
        ({"extra": 1}, "report.extra is not documented"),
        ({"input_checks": [{"name": "x", "ok": 1, "text": "", "trained_range": True}]}, "input_checks[0].ok is 1"),
    ],
)
def test_the_check_itself_finds_what_is_wrong(change: dict[str, Any], said: str) -> None:
    assert said in " ".join(violations({**report(), **change}, DOCUMENT))


def test_a_key_that_is_missing_is_found() -> None:
    made = report()
    del made["fidelity"]
    assert list(violations(made, DOCUMENT)) == ["report lacks fidelity"]
