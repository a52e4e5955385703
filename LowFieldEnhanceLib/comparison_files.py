"""A comparison of methods as a table: Markdown, CSV, JSON, and the folder that holds them with page and picture."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .compare import Comparison
from .dicom.files import new_folder
from .evaluation.comparison_page import render_comparison
from .evaluation.input_checks import failed_checks
from .evaluation.report_files import spreadsheet_text
from .evaluation.report_text import LEAST_SHARE
from .image_io import DERIVED, write_image
from .ours import sidecar_of, sidecar_text

SCHEMA = "lowfieldenhance-comparison/1"
WHAT = "the comparison"


def _in_percent(share: float) -> str:
    """Two decimals; what is little is not nothing, as in a report."""
    value = 100.0 * share
    return f"< {LEAST_SHARE:g}" if 0 < value < LEAST_SHARE else f"{value:.2f}"


FORMATS: dict[str, Callable[[Any], str]] = {
    "mean_absolute_error_enhanced_percent": "{:.1f}".format,
    "mean_absolute_change_percent": "{:.1f}".format,
    "simulated_percent": "{:.1f}".format,
    "psnr": "{:.2f}".format,
    "ssim": "{:.3f}".format,
    "lpips": "{:.4f}".format,
    "residual_rms": "{:.2f}".format,
    "share_above_3": _in_percent,
    "share_contradicting": _in_percent,
    "seconds": "{:.1f}".format,
}


def table_rows(comparison: Comparison) -> list[list[str]]:
    """The cells as text, in the order of the columns, with the note (verdict or failure) last; unknown is empty."""
    table = []
    for row in comparison.rows:
        cells = [_cell(key, row.get(key)) for key in comparison.columns]
        failure = row["failure"]
        table.append([*cells, f"not run: {failure['message']}" if failure else row.get("verdict", "")])
    return table


def _cell(key: str, value: Any) -> str:  # noqa: ANN401
    return "" if value is None else FORMATS.get(key, str)(value)


def headings(comparison: Comparison) -> list[str]:
    """Of :func:`table_rows`."""
    return [*comparison.columns.values(), "Verdict"]


def outside_range(comparison: Comparison) -> list[str]:
    """Sentences of the input checks that failed; those of a single method's weights once, whoever's they are."""
    return list(dict.fromkeys(check["text"] for check in failed_checks(comparison.reports.values())))


def about_images(comparison: Comparison) -> str:
    """Mask and range of the image scores, a sentence; empty without them."""
    blocks = [report["images"] for report in comparison.reports.values() if report["images"]]
    if not blocks:
        return ""
    names = "PSNR, SSIM and LPIPS" if "lpips" in comparison.columns else "PSNR and SSIM"
    return (
        f"{names} count the {blocks[0]['mask']}, after a linear fit of the intensities there; they refer to the range "
        f"of the reference in it: its 99.9th percentile minus its minimum, {blocks[0]['enhanced']['data_range']:.4g} "
        "in its unit."
    )


def to_markdown(comparison: Comparison) -> str:
    """The notice as a line of its own, then the table, and what its scores refer to; a bar in a sentence is escaped."""
    lines = [headings(comparison), ["---"] * len(headings(comparison)), *table_rows(comparison)]
    table = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
    about = about_images(comparison)
    return "\n".join([f"**{DERIVED}**", "", *table, *(["", about] if about else [])]) + "\n"


def to_csv(comparison: Comparison) -> str:
    """Machine names as headings and full precision; ``failure`` holds its sentence, ``notice`` the mark, and
    ``about_images`` what the image scores refer to, if there are any."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    about = {"about_images": text} if (text := about_images(comparison)) else {}
    keys = [*comparison.columns, "verdict", "failure", "notice", *about]
    writer.writerow(keys)
    for row in comparison.rows:
        flat = {**row, "failure": (row["failure"] or {}).get("message"), "notice": DERIVED, **about}
        writer.writerow(["" if flat.get(key) is None else spreadsheet_text(flat[key]) for key in keys])
    return stream.getvalue()


def to_json(comparison: Comparison) -> str:
    """Schema, notice, columns, rows, the disagreement among the methods (None for one), and each method's report."""
    document = {
        "schema": SCHEMA,
        "notice": DERIVED,
        "columns": comparison.columns,
        "rows": comparison.rows,
        "disagreement": None if comparison.disagreement is None else comparison.disagreement.summary,
        "reports": comparison.reports,
    }
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_comparison(comparison: Comparison, folder: str | os.PathLike[str], volumes: bool = False) -> dict[str, Path]:
    """Write ``compare.md``, ``.csv``, ``.json``, ``.html`` and ``.png`` into a new folder, all of them or nothing.

    Args:
        folder: absent or empty; nothing is ever overwritten.
        volumes: also the enhanced volumes, ``<method>-<preset>.nii.gz``, each with the sidecar of a run of its own.

    Raises:
        BadInput: see dicom.files.check_new_folder.
    """
    from .evaluation.comparison_sheet import comparison_picture

    target = Path(folder)
    between = comparison.disagreement
    picture, narrow = (
        comparison_picture(
            comparison.before, comparison.results, comparison.brain, comparison.reference,
            None if between is None else between.deviation, small,
        )
        for small in (False, True)
    )  # fmt: skip
    page = render_comparison(
        headings(comparison), table_rows(comparison), comparison.before.meta.get("file"), picture, narrow,
        None if between is None else between.summary, outside_range(comparison), about_images(comparison),
    )  # fmt: skip
    texts = {"md": to_markdown(comparison), "csv": to_csv(comparison), "json": to_json(comparison), "html": page}
    with new_folder(target, WHAT) as temporary:
        for ending, text in texts.items():
            (temporary / f"compare.{ending}").write_text(text, encoding="utf-8", newline="\n")
        (temporary / "compare.png").write_bytes(picture)
        if volumes:
            for title, image in comparison.results:
                path = temporary / f"{title.replace(':', '-')}.nii.gz"
                write_image(image, path)
                sidecar = sidecar_text(comparison.reports[title]["provenance"])
                sidecar_of(path).write_text(sidecar, encoding="utf-8", newline="\n")
    return {ending: target / f"compare.{ending}" for ending in (*texts, "png")}
