"""The documented schema describes every compare.json: each key is named in it, each value is of the type it says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from compare_support import COARSE, fake_run, unprepared
from test_report_schema import DOCUMENT as REPORT
from test_report_schema import undescribed, violations

from LowFieldEnhanceLib.compare import Comparison, compare
from LowFieldEnhanceLib.comparison_files import SCHEMA, to_json
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.segmentation.labels import LabelMap

pytest_plugins = ["compare_fixtures"]
pytestmark = pytest.mark.usefixtures("known_anatomy")

RESOURCES = Path(__file__).resolve().parents[2] / "Resources"
AS_WRITTEN = json.loads((RESOURCES / "compare-schema.json").read_text(encoding="utf-8"))
DOCUMENT = json.loads(json.dumps(AS_WRITTEN))
DOCUMENT["properties"]["reports"]["additionalProperties"] = REPORT  # what its $ref names
TWO = [("cubic", "fast"), ("linear", "fast")]


def written(found: Comparison) -> dict[str, Any]:
    return json.loads(to_json(found))


def against(document: dict[str, Any]) -> list[str]:
    return list(violations(document, DOCUMENT, "compare"))


def marked(brain: Image) -> LabelMap:
    """One region of 4 x 4 x 4 voxels in the middle of the brain."""
    array = (0 * brain.array).astype("uint8")
    middle = tuple(slice(size // 2 - 2, size // 2 + 2) for size in array.shape)
    array[middle] = 1
    return LabelMap(array, brain.affine, {})


def test_a_comparison_with_a_reference_has_exactly_the_documented_keys_and_types(comparison: Comparison) -> None:
    assert against(written(comparison)) == []


def test_so_has_one_without_with_marked_regions_and_a_method_that_cannot_run(
    scan: Image, brain: Image, tiny_models: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *_: None)  # bm4d is not installed
    found = written(compare(scan, [*TWO, ("bm4d", "fast")], COARSE, brain=brain, lesions=marked(brain)))
    assert against(found) == []
    assert found["rows"][3]["failure"] and found["rows"][1]["lesions_surviving"] and len(found["reports"]) == 2
    assert "error" not in json.dumps(found).lower()


@pytest.mark.parametrize("choices", [TWO, TWO[:1]], ids=["two", "one"])
def test_so_has_one_of_images_only(scan: Image, brain: Image, tiny_models: object, choices: list) -> None:
    found = written(compare(scan, choices, replace(COARSE, segment=False), brain=brain))
    assert against(found) == []
    assert (found["disagreement"] is None) == (len(choices) == 1)
    assert found["disagreement"] is None or found["disagreement"]["structures"] == {}


def test_so_has_the_table_of_one_whose_methods_were_measured_on_simulated_scans(scan: Image) -> None:
    """The shipped networks were, the tiny ones of these tests were not."""

    def run(*arguments: Any) -> Any:
        result = fake_run({})(*arguments)
        result.report["simulated"] = {"mean_input_percent": 3.8, "mean_enhanced_percent": 2.04}
        return result

    found = written(compare(scan, TWO[:1], start=unprepared, run=run))
    assert "simulated_percent" in found["columns"]
    for part in ("columns", "rows"):
        assert list(violations(found[part], DOCUMENT["properties"][part], part)) == []


def test_every_key_is_described_the_version_is_that_of_the_file_and_reports_follow_their_own_schema() -> None:
    assert AS_WRITTEN["properties"]["schema"]["const"] == SCHEMA
    reports = AS_WRITTEN["properties"]["reports"]
    assert reports.pop("additionalProperties") == {"$ref": "report-schema.json"}
    assert (RESOURCES / "report-schema.json").is_file()
    assert list(undescribed(AS_WRITTEN, "compare")) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": "lowfieldenhance-comparison/0"}, "compare.schema is not"),
        ({"extra": 1}, "compare.extra is not documented"),
        ({"columns": {"method": "Method"}}, "compare.columns lacks preset"),
        ({"rows": [{"method": "input", "preset": "", "failure": None}]}, "compare.rows has 1 items"),
        ({"disagreement": {"methods": ["a", "b"]}}, "compare.disagreement lacks text"),
        ({"reports": {"cubic:fast": {}}}, "compare.reports.cubic:fast lacks verdict"),
    ],
)
def test_the_check_itself_finds_what_is_wrong(comparison: Comparison, change: dict[str, Any], said: str) -> None:
    assert said in " ".join(against({**written(comparison), **change}))
