"""The report as one self-contained page: pictures and styles inside, nothing fetched; for screen, phone and A4."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from ..image import Image
from ..safe_files import replaced
from .overlays import added_detail_picture
from .page_templates import page_environment
from .pictures import (
    label_overlay_picture,
    residual_picture,
    three_plane_picture,
    uncertainty_picture,
    volume_bars,
)
from .report_text import percent

MISSING = "–"
NARROW = "_narrow"  # ends the name of a picture's other layout, for a phone


def result_pictures(result: Any, reference: Image | None = None) -> dict[str, bytes]:  # noqa: ANN401
    """The pictures of one run, by the names that the page knows: planes, labels, added_detail, uncertainty, residual,
    volumes; of the first four also a narrow layout under the name with ``_narrow``.

    Args:
        result: what the pipeline returns, or anything with the attributes ``before``, ``enhanced``, ``brain``,
            ``labels_after`` (or None), ``fidelity`` and, where there are any, ``report`` (for the bars and the place of
            the largest spot), ``uncertainty`` and ``added_detail``.
        reference: on the result's grid; adds its column.
    """
    report = getattr(result, "report", None)
    pictures = {}
    for ending, narrow in (("", False), (NARROW, True)):
        pictures["planes" + ending] = three_plane_picture(
            result.before, result.enhanced, None, result.brain, reference, narrow
        )
        if result.labels_after is not None:
            pictures["labels" + ending] = label_overlay_picture(result.enhanced, result.labels_after, narrow)
        if getattr(result, "added_detail", None) is not None:
            spots = (report or {}).get("added_detail", {}).get("spots", [])
            place = spots[0]["centre_ras_mm"] if spots else None
            pictures["added_detail" + ending] = added_detail_picture(
                result.enhanced, result.added_detail, result.brain, place, narrow
            )
        if getattr(result, "uncertainty", None) is not None:
            kind = ((report or {}).get("uncertainty") or {}).get("kind")
            pictures["uncertainty" + ending] = uncertainty_picture(
                result.enhanced, result.uncertainty, result.brain, kind, narrow
            )
    pictures["residual"] = residual_picture(result.fidelity)
    if report and report["structures"]:
        pictures["volumes"] = volume_bars(report)
    return pictures


def render_html(report: Mapping[str, Any], pictures: Mapping[str, bytes]) -> str:
    """The page's text; everything from the report is escaped.

    Args:
        report: see report.build_report.
        pictures: PNG bytes by name; unknown names are shown too, under their name. One that ends in ``_narrow`` takes
            the place of the other on a phone.
    """
    environment = page_environment()
    environment.filters.update(number=_number, signed=_signed, share=percent, settings=_settings, place=_place)
    encoded = {name: Markup(base64.b64encode(data).decode("ascii")) for name, data in pictures.items()}
    return environment.get_template("report.html.j2").render(
        report=report, pictures=encoded, missing=MISSING, narrow=NARROW
    )


def write_html(report: Mapping[str, Any], pictures: Mapping[str, bytes], path: str | os.PathLike[str]) -> None:
    """Write :func:`render_html` as UTF-8; a half-written page never carries the name.

    Raises:
        BadInput: the folder does not exist.
    """
    text = render_html(report, pictures)
    with replaced(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def _number(value: float | None, digits: int = 1) -> str:
    return MISSING if value is None else f"{value:.{digits}f}"


def _signed(value: float | None, digits: int = 1) -> str:
    if value is None:
        return MISSING
    rounded = round(value, digits)  # what rounds to 0 has no sign
    return f"{rounded:+.{digits}f}".replace("-", "−") if rounded else f"{0:.{digits}f}"


def _place(centre_ras_mm: Sequence[float]) -> str:
    """``[12.3, -5.0, 30.1]`` -> ``R 12, P 5, S 30``: mm towards the patient's right, back and head."""
    letters = (("R", "L"), ("A", "P"), ("S", "I"))
    return ", ".join(f"{pair[value < 0]} {abs(value):.0f}" for pair, value in zip(letters, centre_ras_mm, strict=True))


def _settings(value: Any) -> str:  # noqa: ANN401
    """Nested settings on one line, as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
