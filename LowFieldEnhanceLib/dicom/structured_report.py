"""The structures' volumes as a DICOM structured report (SR): TID 1500, one group of measurements a segment of the SEG.

Volumes carry the standard's code. What the report compares them with (the input or, with a reference, the reference)
has no code there and is written with the private scheme 99LFE, whose meanings say what was divided by what.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BadInput
from ..evaluation.volumes import label_volumes_ml
from ..image_io import DERIVED
from ..segmentation.labels import Label, LabelMap, label_by_id
from .attributes import MANUFACTURER, plain, software_versions
from .segmentation import CATEGORY, SIDES

if TYPE_CHECKING:
    from highdicom.sr import EnhancedSR, Measurement, VolumetricROIMeasurementsAndQualitativeEvaluations
    from pydicom import Dataset

FILE_NAME = "report.dcm"
ALGORITHM = "LowFieldEnhance anatomical report"
PROCEDURE = ("24590-2", "LN", "MR Brain")
VOLUME = ("118565006", "SCT", "Volume")
MILLILITRE, PERCENT = ("mL", "UCUM", "mL"), ("%", "UCUM", "%")
SCHEME = "99LFE"
COMPARISONS = {  # columns of the report's structures
    "change_percent": ("CHANGE", "Volume change, (enhanced - input) / input"),
    "error_enhanced_percent": ("ERROR", "Volume error, (enhanced - reference) / reference"),
}


def save_report(
    labels: LabelMap,
    report: Mapping[str, Any],
    path: Path,
    segmentation_file: Path,
    series_files: Sequence[Path],
) -> None:
    """Write the volumes of the segments, each with a reference to its segment.

    Args:
        labels: of the enhanced scan; those of the segmentation.
        report: of the run (evaluation.report); its structures give the comparisons, its provenance the versions.
        path: of the ``.dcm`` file.
        segmentation_file: the DICOM SEG of the labels.
        series_files: the enhanced series.

    Raises:
        BadInput: the data cannot be held by DICOM.
    """
    from pydicom import dcmread

    segmentation = dcmread(segmentation_file)
    headers = [dcmread(file, stop_before_pixels=True) for file in series_files]
    try:
        document = _document(labels, report, segmentation, headers)
    except (TypeError, ValueError) as error:
        raise BadInput(f"the report cannot be written as DICOM: {error}") from error
    document.save_as(path)


def _document(labels: LabelMap, report: Mapping[str, Any], segmentation: Dataset, headers: list[Dataset]) -> EnhancedSR:
    from highdicom.sr import EnhancedSR, LanguageOfContentItemAndDescendants, MeasurementReport
    from pydicom.sr.coding import Code
    from pydicom.uid import generate_uid

    versions = software_versions(report["provenance"])
    rows = {row["label_id"]: row for row in report.get("structures", [])}
    volumes = label_volumes_ml(labels)
    groups = []
    for segment in segmentation.SegmentSequence:
        label = label_by_id()[_label_id(segment)]
        measured = _measurements(volumes[label.id], rows.get(label.id, {}))
        groups.append(_group(label, int(segment.SegmentNumber), segmentation, measured, versions[0]))
    content = MeasurementReport(
        observation_context=_observer(versions[0]),
        procedure_reported=Code(*PROCEDURE),
        imaging_measurements=groups,
        language_of_content_item_and_descendants=LanguageOfContentItemAndDescendants(Code("en", "RFC5646", "English")),
    )
    return EnhancedSR(
        evidence=[segmentation, *headers],
        content=content[0],
        series_instance_uid=generate_uid(prefix=None),
        series_number=int(headers[0].SeriesNumber) + 2000,
        sop_instance_uid=generate_uid(prefix=None),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MANUFACTURER,
        software_versions=versions,
        device_serial_number=versions[0],
        series_description=plain(f"{DERIVED}: volumes", 64),
        is_complete=True,
    )


def _label_id(segment: Dataset) -> int:
    """The FreeSurfer id, which segmentation.py writes into the description."""
    return int(str(segment.SegmentDescription).rsplit(" ", 1)[-1])


def _measurements(volume_ml: float, row: Mapping[str, Any]) -> list[Measurement]:
    from highdicom.sr import Measurement
    from pydicom.sr.coding import Code

    found = [Measurement(Code(*VOLUME), round(volume_ml, 4), Code(*MILLILITRE))]
    for column, (value, meaning) in COMPARISONS.items():
        if row.get(column) is not None:
            found.append(Measurement(Code(value, SCHEME, meaning), round(row[column], 3), Code(*PERCENT)))
    return found


def _group(
    label: Label, number: int, segmentation: Dataset, measurements: list[Measurement], version: str
) -> VolumetricROIMeasurementsAndQualitativeEvaluations:
    from highdicom import sr
    from pydicom.sr.coding import Code
    from pydicom.uid import generate_uid

    kind = Code(label.code, label.scheme, label.meaning)
    side = Code(SIDES[label.side][0], "SCT", SIDES[label.side][1]) if label.side else None
    series = segmentation.ReferencedSeriesSequence[0].SeriesInstanceUID
    return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid=generate_uid(prefix=None), identifier=label.name),
        referenced_segment=sr.ReferencedSegment(
            segmentation.SOPClassUID,
            segmentation.SOPInstanceUID,
            number,
            source_series=sr.SourceSeriesForSegmentation(series),
        ),
        finding_category=Code(*CATEGORY),
        finding_type=kind,
        finding_sites=[sr.FindingSite(kind, side)],
        algorithm_id=sr.AlgorithmIdentification(ALGORITHM, version, parameters=[DERIVED], manufacturer=MANUFACTURER),
        measurements=measurements,
    )


def _observer(version: str) -> Any:  # noqa: ANN401 - highdicom.sr.ObservationContext
    from highdicom import sr
    from pydicom.sr.codedict import codes

    device = f"2.25.{uuid.uuid5(uuid.NAMESPACE_URL, f'{MANUFACTURER} {version}').int}"
    attributes = sr.DeviceObserverIdentifyingAttributes(
        device, name=MANUFACTURER, manufacturer_name=MANUFACTURER, model_name=version
    )
    return sr.ObservationContext(observer_device_context=sr.ObserverContext(codes.DCM.Device, attributes))
