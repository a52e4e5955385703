"""DICOM output of a whole run: one folder with series, segmentation and structured report, whole or not at all."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import BadInput
from .attributes import check_patient
from .files import check_new_folder, check_packages, new_folder, staged_folder
from .placement import lies_as
from .segmentation import FILE_NAME, save_segmentation
from .series import save_series
from .source import find_source_files, read_source
from .structured_report import FILE_NAME as REPORT_NAME
from .structured_report import save_report

if TYPE_CHECKING:
    from ..events import Events
    from ..image import Image
    from ..pipeline import Result
    from ..safe_files import Staged

# one series a folder, as most readers of folders expect
SERIES, SEGMENTATION, REPORT = "enhanced", "segmentation", "report"
MOVED = (
    "the scan does not lie where its DICOM files say (was a transform hardened on it, was it cropped or resampled?), "
    "so the DICOM output keeps patient and study but has a frame of reference of its own"
)


@dataclass(frozen=True)
class DicomOutput:
    """What to write and from what it comes.

    Attributes:
        folder: new; gets ``enhanced/*.dcm``, ``segmentation/segmentation.dcm`` and ``report/report.dcm``.
        source_files: the instances that the input was read from; empty if it was not DICOM.
        patient: DICOM keyword to value, for an input that was not DICOM.
        converted_from: the DICOM series of an input that was read from other files; None if it was read from these.
        own_frame: the input no longer lies where its DICOM files say, so the output has a new frame of reference.
    """

    folder: Path
    source_files: tuple[Path, ...] = ()
    patient: Mapping[str, str] = field(default_factory=dict)
    converted_from: Path | None = None
    own_frame: bool = False

    @classmethod
    def of(cls, options: argparse.Namespace) -> DicomOutput | None:
        """From the options of ``enhance``; None without ``--dicom``.

        Raises:
            BadInput: the source is no DICOM series, a patient option is not KEYWORD=VALUE, pydicom is missing, or an
                option that only ``--dicom`` uses is given without it.
        """
        if not options.dicom:
            if options.dicom_source or options.dicom_patient:
                raise BadInput("--dicom-source and --dicom-patient need --dicom FOLDER")
            return None
        files = find_source_files(options.dicom_source or options.input)
        if options.dicom_source and not files:
            raise BadInput(f"{options.dicom_source} is not DICOM, so it cannot be the source of a DICOM series")
        converted_from = Path(options.dicom_source) if options.dicom_source else None
        return cls(Path(options.dicom), tuple(files), patient_of(options.dicom_patient), converted_from)

    def check(self) -> None:
        """Refuse, before any work, what :meth:`write` would refuse after it.

        Raises:
            BadInput: a package is missing, the folder cannot be made or holds something, the source is not one MR
                series, or the patient data are malformed or given besides a DICOM source.
        """
        check_packages("pydicom", "highdicom")
        check_new_folder(self.folder)
        check_patient(self.patient)
        if self.source_files:
            read_source(self.source_files)
            if self.patient:
                raise BadInput("--dicom-patient cannot be used with a DICOM input: its patient data are kept")

    def in_frame_of(self, scan: Image, events: Events) -> DicomOutput:
        """The same for this scan: with a frame of reference of its own, and a warning, if it was moved meanwhile."""
        if self.converted_from is None or lies_as(scan, self.converted_from):
            return self
        events.warning(MOVED)
        return replace(self, own_frame=True)

    def write(self, result: Result, place: Staged) -> None:
        """Write everything into a folder that appears together with the other outputs of the run."""
        check_packages("pydicom", "highdicom")
        _save(result, staged_folder(self.folder, place), self.source_files, self.patient, self.own_frame)


def write_dicom(
    result: Result,
    folder: str | os.PathLike[str],
    source_files: Sequence[str | os.PathLike[str]] = (),
    patient: Mapping[str, str] | None = None,
    own_frame: bool = False,
) -> Path:
    """The enhanced volume as ``enhanced/*.dcm`` and, if there are labels, the segmentation and the report beside it.

    Args:
        own_frame: see :class:`DicomOutput`.

    Raises:
        BadInput: see :func:`write_series`, :func:`write_segmentation` and :func:`save_report`; then nothing is left.
    """
    check_packages("pydicom", "highdicom")
    with new_folder(folder) as temporary:
        _save(result, temporary, source_files, patient, own_frame)
    return Path(folder)


def _save(
    result: Result,
    folder: Path,
    source_files: Sequence[str | os.PathLike[str]],
    patient: Mapping[str, str] | None,
    own_frame: bool,
) -> None:
    provenance = result.report["provenance"]
    (folder / SERIES).mkdir()
    files = save_series(result.enhanced, folder / SERIES, provenance, source_files, patient, own_frame)
    if result.labels_after is not None and result.labels_after.array.any():
        (folder / SEGMENTATION).mkdir()
        (folder / REPORT).mkdir()
        segmentation = folder / SEGMENTATION / FILE_NAME
        save_segmentation(result.labels_after, segmentation, files, provenance)
        save_report(result.labels_after, result.report, folder / REPORT / REPORT_NAME, segmentation, files)


def patient_of(pairs: Sequence[str]) -> dict[str, str]:
    """``["PatientID=17", ...]`` -> ``{"PatientID": "17"}``.

    Raises:
        BadInput: not of that form.
    """
    patient = {}
    for pair in pairs:
        keyword, equals, value = pair.partition("=")
        if not equals:
            raise BadInput(f"--dicom-patient takes KEYWORD=VALUE, not '{pair}'")
        patient[keyword] = value
    return patient
