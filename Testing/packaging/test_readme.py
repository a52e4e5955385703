"""The README's tables are the recorded ones, and its pictures and files exist."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "Testing" / "benchmarks"))

from readme_tables import BLOCK, filled  # noqa: E402

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_tables_are_those_that_the_benchmarks_recorded() -> None:
    assert len(BLOCK.findall(TEXT)) >= 2
    assert filled(TEXT) == TEXT


def test_every_picture_and_every_linked_file_exists() -> None:
    targets = [t for t in re.findall(r"\]\(([^)#]+)\)", TEXT) if "://" not in t]
    assert targets
    missing = [target for target in targets if not (ROOT / target).exists()]
    assert missing == []
