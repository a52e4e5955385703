"""The comparison as one self-contained page: the sheet first, then the table; nothing is fetched."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ..image_io import DERIVED
from .html import MISSING, TEMPLATES


def render_comparison(headings: Sequence[str], rows: Sequence[Sequence[str]], file: str | None, picture: bytes) -> str:
    """The page's text; everything that was given is escaped.

    Args:
        headings, rows: the table's cells; the first two name the method, the last is a sentence.
        file: name of the scan, if known.
        picture: PNG bytes of the sheet.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    encoded = Markup(base64.b64encode(picture).decode("ascii"))
    return environment.get_template("compare.html.j2").render(
        headings=headings, rows=rows, file=file or "", picture=encoded, notice=DERIVED, missing=MISSING
    )
