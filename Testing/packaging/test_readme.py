"""The tables of the README and of the page of full results are the recorded ones; their pictures and files exist."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "Testing" / "benchmarks"))

from readme_tables import BLOCK, PAGES, filled  # noqa: E402

README, RESULTS = (page.read_text(encoding="utf-8") for page in PAGES)


@pytest.mark.parametrize("text", [README, RESULTS], ids=["README", "results"])
def test_the_tables_are_those_that_the_benchmarks_recorded(text: str) -> None:
    assert len(BLOCK.findall(text)) >= 2
    assert filled(text) == text


@pytest.mark.parametrize("page", PAGES, ids=["README", "results"])
def test_every_picture_and_every_linked_file_exists(page: Path) -> None:
    targets = [t for t in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")) if "://" not in t]
    assert targets
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert missing == []


def test_a_link_to_a_section_of_the_results_names_one_that_is_there() -> None:
    sections = {
        re.sub(r"[^a-z0-9 -]", "", line[3:].lower()).replace(" ", "-")
        for line in RESULTS.splitlines()
        if line.startswith("## ")
    }
    named = re.findall(r"\(Testing/benchmarks/README\.md#([^)]+)\)", README)
    assert named
    assert set(named) <= sections


def test_the_example_of_the_library_imports_what_there_is() -> None:
    code = re.search(r"### From Python\n\n```python\n(.*?)```", README, re.DOTALL)[1]
    compile(code, "README", "exec")
    exec("\n".join(line for line in code.splitlines() if line.startswith("from ")), {})
