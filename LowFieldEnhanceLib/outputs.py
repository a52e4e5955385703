"""The files a run leaves: which are wanted, checked before the work, written after it or not at all."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .dicom.command import DicomOutput
from .errors import BadInput
from .formats.nifti_names import are_namesakes
from .image_io import ADDED_DETAIL, DERIVED, DEVIATION, LABELS, RESIDUAL, check_output, write_image, write_labels
from .ours import check_ours, check_sidecar, sidecar_of, sidecar_text
from .safe_files import Staged, all_or_none, check_folder

if TYPE_CHECKING:
    from .events import Events
    from .image import Image
    from .pipeline import Result

REPORT_ENDINGS = (".html", ".json", ".csv")


@dataclass(frozen=True)
class Wanted:
    """Paths to write; None leaves one out.

    Attributes:
        output: the enhanced volume; a ``.json`` sidecar with its provenance is written beside it.
        segmentation: labels of the enhanced volume.
        fidelity: residual in units of sigma on the scan's grid.
        reports: HTML, JSON and CSV by their endings; beside a CSV one with the values that are of no structure.
        uncertainty: standard deviation among the samples, in the scan's intensity unit.
        added_detail: what the scan does not support, in percent of the local contrast.
        dicom: a new folder for a derived MR series, a DICOM SEG and a DICOM SR.
    """

    output: Path
    segmentation: Path | None = None
    fidelity: Path | None = None
    reports: tuple[Path, ...] = ()
    dicom: DicomOutput | None = None
    uncertainty: Path | None = None
    added_detail: Path | None = None

    @classmethod
    def of(cls, options: argparse.Namespace) -> Wanted:
        """From the options of ``enhance``.

        Raises:
            BadInput: ``--report-json`` or ``--report-csv`` names a file of another kind; and see DicomOutput.of.
        """
        for path, ending in ((options.report_json, ".json"), (options.report_csv, ".csv")):
            if path and Path(path).suffix.lower() != ending:
                raise BadInput(f"--report-{ending[1:]} must end in {ending}, and {Path(path).name} does not")
        reports = [options.report, options.report_json, options.report_csv]
        return cls(
            Path(options.output),
            Path(options.segmentation) if options.segmentation else None,
            Path(options.fidelity) if options.fidelity else None,
            tuple(Path(r) for r in reports if r),
            DicomOutput.of(options),
            Path(options.uncertainty) if options.uncertainty else None,
            Path(options.added_detail) if options.added_detail else None,
        )

    @property
    def sidecar(self) -> Path:
        """``enhanced.nii.gz`` -> ``enhanced.json``."""
        return sidecar_of(self.output)

    def check(self, inputs: Sequence[str]) -> None:
        """Refuse what cannot be written, or would overwrite an input, another output or a file that is not ours.

        Raises:
            BadInput: see above.
        """
        wanted = (
            (self.output, DERIVED), (self.segmentation, LABELS), (self.fidelity, RESIDUAL),
            (self.uncertainty, DEVIATION), (self.added_detail, ADDED_DETAIL),
        )  # fmt: skip
        kinds = [(path, kind) for path, kind in wanted if path is not None]
        volumes = [path for path, _ in kinds]
        for path in volumes:
            check_output(path, list(inputs))
        for path in self.reports:
            check_report(path)
        reports = report_paths(*self.reports)
        if self.dicom is not None:
            self.dicom.check()
        everything = [str(p.resolve()).lower() for p in (*volumes, *reports)]
        if len(set(everything)) != len(everything):
            raise BadInput("two outputs have the same name, in letters of any case")
        if any(are_namesakes(*pair) for pair in combinations([p.resolve() for p in volumes], 2)):
            raise BadInput("two outputs differ in .nii and .nii.gz alone, and programs would read one for the other")
        for path, kind in kinds:
            check_ours(path, kind)
        for path in (*reports, self.sidecar):
            check_ours(path)
        check_sidecar(self.output)

    def in_frame_of(self, scan: Image, events: Events) -> Wanted:
        """The same for this scan: see :meth:`DicomOutput.in_frame_of`."""
        return self if self.dicom is None else replace(self, dicom=self.dicom.in_frame_of(scan, events))

    def write(self, result: Result, place: Staged | None = None) -> dict[str, Any]:
        """Write all files or none; files of an earlier run stay until all are there. The result event's fields.

        Args:
            result: of the run.
            place: of an ``all_or_none`` block with which more files appear; None: these appear by themselves.
        """
        with all_or_none() if place is None else nullcontext(place) as staged:
            self._write(result, staged)
        fields: dict[str, Any] = {"output": str(self.output)}
        for name in ("segmentation", "fidelity", "uncertainty", "added_detail"):
            if getattr(self, name) is not None:
                fields[name] = str(getattr(self, name))
        if self.reports:
            fields["report"] = ", ".join(str(p) for p in report_paths(*self.reports))
        if self.dicom is not None:
            fields["dicom"] = str(self.dicom.folder)
        fields["verdict"] = result.report["verdict"]
        fields["provenance"] = result.report["provenance"]
        return fields

    def _write(self, result: Result, place: Staged) -> None:
        write_image(result.enhanced, place(self.output))
        if self.sidecar not in self.reports:
            place(self.sidecar).write_text(sidecar_text(result.report["provenance"]), encoding="utf-8")
        if self.segmentation is not None and result.labels_after is not None:
            write_labels(result.labels_after, place(self.segmentation))
        if self.fidelity is not None:
            write_image(result.fidelity, place(self.fidelity), RESIDUAL)
        if self.uncertainty is not None and result.uncertainty is not None:
            write_image(result.uncertainty, place(self.uncertainty), DEVIATION)
        if self.added_detail is not None and result.added_detail is not None:
            write_image(result.added_detail, place(self.added_detail), ADDED_DETAIL)
        write_reports(result, self.reports, place)
        if self.dicom is not None:
            self.dicom.write(result, place)


def check_report(path: str | Path) -> None:
    """Raise :class:`BadInput` unless the ending is known and the folder exists."""
    target = Path(path)
    if target.suffix.lower() not in REPORT_ENDINGS:
        raise BadInput(f"the report {target.name} must end in one of {', '.join(REPORT_ENDINGS)}")
    check_folder(target.parent)
    if target.is_dir():
        raise BadInput(f"the report {target} is a folder; name a file")


def report_paths(*reports: str | Path) -> list[Path]:
    """The files of these reports: of a CSV also ``report_values.csv`` beside ``report.csv``."""
    paths = [Path(report) for report in reports]
    return [*paths, *(_values_beside(path) for path in paths if path.suffix.lower() == ".csv")]


def _values_beside(table: Path) -> Path:
    return table.with_name(f"{table.stem}_values{table.suffix}")


def write_reports(result: Result, reports: Sequence[Path], place: Staged) -> None:
    """Write all files of :func:`report_paths` under their temporary names."""
    from .evaluation.report_files import write_values_csv

    for path in reports:
        write_report(result, place(path))
        if path.suffix.lower() == ".csv":
            write_values_csv(result.report, place(_values_beside(path)))


def write_report(result: Result, path: str | Path) -> None:
    """Write the report in the format of its ending; as CSV the table of the structures."""
    from .evaluation import html, report_files

    check_report(path)
    target = Path(path)
    if target.suffix.lower() == ".json":
        report_files.write_json(result.report, target)
    elif target.suffix.lower() == ".csv":
        report_files.write_csv(result.report, target)
    else:
        html.write_html(result.report, html.result_pictures(result, result.reference), target)
