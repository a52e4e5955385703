"""The report as one self-contained page: pictures and styles inside, nothing fetched; for screen, phone and A4."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ..image import Image
from ..image_io import replaced
from .pictures import label_overlay_picture, residual_picture, three_plane_picture, volume_bars
from .report import percent

TEMPLATES = Path(__file__).resolve().parent / "templates"
MISSING = "–"


def result_pictures(result: Any, reference: Image | None = None) -> dict[str, bytes]:  # noqa: ANN401
    """The pictures of one run, by the names that the page knows: planes, labels, residual and volumes.

    Args:
        result: what the pipeline returns, or anything with the attributes ``before``, ``enhanced``, ``brain``,
            ``labels_after`` (or None), ``fidelity`` and, for the bars, ``report``.
        reference: on the result's grid; adds its column.
    """
    pictures = {"planes": three_plane_picture(result.before, result.enhanced, None, result.brain, reference)}
    if result.labels_after is not None:
        pictures["labels"] = label_overlay_picture(result.enhanced, result.labels_after)
    pictures["residual"] = residual_picture(result.fidelity)
    report = getattr(result, "report", None)
    if report and report["structures"]:
        pictures["volumes"] = volume_bars(report)
    return pictures


def render_html(report: Mapping[str, Any], pictures: Mapping[str, bytes]) -> str:
    """The page's text; everything from the report is escaped.

    Args:
        report: see report.build_report.
        pictures: PNG bytes by name; unknown names are shown too, under their name.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=_number, signed=_signed, share=percent, settings=_settings)
    encoded = {name: Markup(base64.b64encode(data).decode("ascii")) for name, data in pictures.items()}
    return environment.get_template("report.html.j2").render(report=report, pictures=encoded, missing=MISSING)


def write_html(report: Mapping[str, Any], pictures: Mapping[str, bytes], path: str | os.PathLike[str]) -> None:
    """Write :func:`render_html` as UTF-8; a half-written page never carries the name.

    Raises:
        BadInput: the folder does not exist.
    """
    text = render_html(report, pictures)
    with replaced(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _number(value: float | None, digits: int = 1) -> str:
    return MISSING if value is None else f"{value:.{digits}f}"


def _signed(value: float | None, digits: int = 1) -> str:
    return MISSING if value is None else f"{value:+.{digits}f}".replace("-", "−")


def _settings(value: Any) -> str:  # noqa: ANN401
    """Nested settings on one line, as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
