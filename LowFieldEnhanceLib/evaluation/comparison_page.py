"""The comparison as one self-contained page: the sheet first, then the tables; nothing is fetched."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from ..image_io import DERIVED
from .disagreement import most_different
from .html import MISSING
from .page_templates import page_environment
from .uncertainty import COLUMNS

MOST_STRUCTURES = 10


def render_comparison(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    file: str | None,
    picture: bytes,
    narrow: bytes | None = None,
    between: Mapping[str, Any] | None = None,
    outside: Sequence[str] = (),
    about_images: str = "",
) -> str:
    """The page's text; everything that was given is escaped.

    Args:
        headings, rows: the table's cells; the first two name the method, the last is a sentence.
        file: name of the scan, if known.
        picture: PNG bytes of the sheet.
        narrow: the same for a phone; None takes the sheet.
        between: summary of the disagreement among the methods (evaluation.disagreement); None leaves it out.
        outside: what is not as expected in the scan or its reference, sentences without their full stop; the page opens
            with them.
        about_images: what the image scores refer to, a sentence; empty without them.
    """
    environment = page_environment()
    sheet, small = (Markup(base64.b64encode(data).decode("ascii")) for data in (picture, narrow or picture))
    return environment.get_template("compare.html.j2").render(
        headings=headings, rows=rows, file=file or "", picture=sheet, narrow=small, between=between,
        structures=_most_different(between), notice=DERIVED, missing=MISSING, outside=outside,
        about_images=about_images,
    )  # fmt: skip


def _most_different(between: Mapping[str, Any] | None) -> list[tuple[str, float, float, float]]:
    """Name, mean (mL), SD (mL) and variation (%) of the structures that differ most."""
    ranked = most_different({} if between is None else between["structures"])[:MOST_STRUCTURES]
    return [(name, *(row[column] for column in COLUMNS)) for name, row in ranked]
