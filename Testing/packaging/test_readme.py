"""The tables of the README and of the page of full results are the recorded ones; what the pages link to exists."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "Testing" / "benchmarks"))

from readme_tables import BLOCK, PAGES, filled  # noqa: E402

from LowFieldEnhanceLib.training.recipes import RECIPES, USED  # noqa: E402

README, RESULTS = (page.read_text(encoding="utf-8") for page in PAGES)
TRAINING = ROOT / "docs" / "training.md"
ALL_PAGES = (*PAGES, ROOT / "CONTRIBUTING.md", TRAINING)


@pytest.mark.parametrize("text", [README, RESULTS], ids=["README", "results"])
def test_the_tables_are_those_that_the_benchmarks_recorded(text: str) -> None:
    assert len(BLOCK.findall(text)) >= 2
    assert filled(text) == text


@pytest.mark.parametrize("page", ALL_PAGES, ids=["README", "results", "contributing", "training"])
def test_every_picture_and_every_linked_file_exists(page: Path) -> None:
    targets = [t for t in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")) if "://" not in t]
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert missing == []
    assert targets or page.name == "CONTRIBUTING.md"


def sections(page: str) -> set[str]:
    """The names under which its headings are linked to."""
    headings = (line.lstrip("#").strip().lower() for line in page.splitlines() if line.startswith("#"))
    return {re.sub(r"[^a-z0-9 -]", "", heading).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(
    ("pattern", "page"), [(r"\(Testing/benchmarks/README\.md#([^)]+)\)", RESULTS), (r"\(#([^)]+)\)", README)],
    ids=["results", "README"],
)  # fmt: skip
def test_a_link_to_a_section_names_one_that_is_there(pattern: str, page: str) -> None:
    named = re.findall(pattern, README)
    assert named
    assert set(named) <= sections(page)


def test_the_table_of_the_recipes_names_each_of_them_and_what_it_is_built_on() -> None:
    rows = re.findall(r"^\| (`[a-z_`, ]+`) \| (.*?) \| (.*?) ?\|$", TRAINING.read_text(encoding="utf-8"), re.MULTILINE)
    taken = {recipe: taken for names, _, taken in rows for recipe in re.findall(r"`(\w+)`", names)}
    assert set(taken) == set(RECIPES)
    for recipe, networks in USED.items():
        assert all(f"`{network}`" in taken[recipe] for network in networks)


def test_the_example_of_the_library_imports_what_there_is() -> None:
    code = re.search(r"### From Python\n\n```python\n(.*?)```", README, re.DOTALL)[1]
    compile(code, "README", "exec")
    exec("\n".join(line for line in code.splitlines() if line.startswith("from ")), {})
