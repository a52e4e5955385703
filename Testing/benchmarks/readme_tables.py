"""Put the recorded tables into README.md and into the page of full results, between the markers that name them.

    python Testing/benchmarks/readme_tables.py

``<!-- table: quality -->`` ... ``<!-- end of table -->`` receives quality.md, and so on. A test compares both.
"""

from __future__ import annotations

import re
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
PAGES = (FOLDER.parents[1] / "README.md", FOLDER / "README.md")
BLOCK = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def filled(text: str) -> str:
    """A page with every table as it was recorded last.

    Raises:
        FileNotFoundError: a table that the page names was never recorded.
    """

    def table(match: re.Match[str]) -> str:
        recorded = (FOLDER / f"{match[2]}.md").read_text(encoding="utf-8").strip()
        return f"{match[1]}{recorded}\n{match[3]}"

    return BLOCK.sub(table, text)


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")
