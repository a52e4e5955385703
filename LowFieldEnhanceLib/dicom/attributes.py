"""The attributes of a derived MR instance besides its pixels and its place, module by module (DICOM PS3.3, A.4)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..errors import BadInput
from ..image_io import DERIVED
from .source import Source

if TYPE_CHECKING:
    from pydicom import DataElement, Dataset

MANUFACTURER = "LowFieldEnhance"
CHARACTER_SET = "ISO_IR 192"  # UTF-8 holds every name, whatever the character set of the source
MOST_NUMBER, ROOM = 2**31 - 1, 5000  # of DICOM's integers, and what the derived series' numbers lie above the source's
SHORT_SHA256 = 12  # hexadecimal digits that tell two versions of the weights apart

PATIENT = (
    "PatientName PatientID IssuerOfPatientID TypeOfPatientID PatientBirthDate PatientBirthTime PatientSex "
    "OtherPatientIDsSequence OtherPatientNames EthnicGroup PatientComments QualityControlSubject "
    "PatientSpeciesDescription PatientSpeciesCodeSequence PatientBreedDescription PatientBreedCodeSequence "
    "BreedRegistrationSequence ResponsiblePerson ResponsiblePersonRole ResponsibleOrganization PatientIdentityRemoved "
    "DeidentificationMethod DeidentificationMethodCodeSequence LongitudinalTemporalInformationModified "
    "ClinicalTrialSponsorName ClinicalTrialProtocolID ClinicalTrialProtocolName ClinicalTrialSiteID "
    "ClinicalTrialSiteName ClinicalTrialSubjectID ClinicalTrialSubjectReadingID"
).split()
STUDY = (
    "StudyDate StudyTime ReferringPhysicianName StudyID AccessionNumber IssuerOfAccessionNumberSequence "
    "StudyDescription PhysiciansOfRecord NameOfPhysiciansReadingStudy ReferencedStudySequence ProcedureCodeSequence "
    "ClinicalTrialTimePointID ClinicalTrialTimePointDescription ClinicalTrialCoordinatingCenterName "
    "AdmittingDiagnosesDescription PatientAge PatientSize PatientWeight Occupation AdditionalPatientHistory "
    "PatientSexNeutered PregnancyStatus AdmissionID"
).split()
# What describes the measurement and not the grid it was stored on: the directions of encoding, the matrix and the
# percentages of sampling belong to rows and columns that are not those of the derived image.
MEASUREMENT = (
    "ProtocolName PatientPosition AcquisitionNumber AcquisitionDate AcquisitionTime ScanningSequence SequenceVariant "
    "ScanOptions MRAcquisitionType SequenceName AngioFlag RepetitionTime EchoTime InversionTime NumberOfAverages "
    "ImagingFrequency ImagedNucleus EchoNumbers MagneticFieldStrength EchoTrainLength ReceiveCoilName "
    "TransmitCoilName FlipAngle PixelBandwidth TriggerTime ContrastBolusAgent ContrastBolusRoute "
    "PositionReferenceIndicator RecognizableVisualFeatures"
).split()
REQUIRED_EMPTY = (
    "PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime ReferringPhysicianName StudyID "
    "AccessionNumber PatientPosition ScanOptions MRAcquisitionType RepetitionTime EchoTime EchoTrainLength "
    "PositionReferenceIndicator"
).split()
# Attributes that stand there if, and only if, another has a certain value (PS3.3, C.8.3.1, type 2C)
CONDITIONAL = (("InversionTime", "ScanningSequence", "IR"), ("TriggerTime", "ScanOptions", "CG"))
SCANNER = "Manufacturer InstitutionName StationName ManufacturerModelName DeviceSerialNumber SoftwareVersions".split()


def code_item(value: str, meaning: str, scheme: str = "DCM") -> Dataset:
    """One item of a code sequence."""
    from pydicom import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def plain(text: str, limit: int) -> str:
    """A text that every value representation takes: ASCII, one line, no backslash (it separates values), cut."""
    text = re.sub(r"\s+", " ", text.replace("\\", "/")).strip()
    return text.encode("ascii", "replace").decode()[:limit].strip()


def software_versions(provenance: Mapping[str, Any]) -> list[str]:
    """``["lowfield-enhance 0.1.0", "torch 2.13.0", ...]``."""
    versions = {"lowfield-enhance": __version__, **provenance.get("versions", {})}
    return [plain(f"{name} {version}", 64) for name, version in versions.items()]


def describe(provenance: Mapping[str, Any]) -> str:
    """DerivationDescription: the mark, then how the image can be made again (1024 characters)."""
    weights = {k: str(v)[:SHORT_SHA256] for k, v in provenance.get("weights", {}).items()}
    facts = {
        "method": provenance.get("method"),
        "preset": provenance.get("preset"),
        "seed": provenance.get("seed"),
        "weights sha256": ", ".join(f"{name} {short}" for name, short in weights.items()) or None,
        "device": provenance.get("device"),
        "input sha256": str(provenance.get("input_sha256", ""))[:SHORT_SHA256] or None,
        "software": ", ".join(software_versions(provenance)),
    }
    text = "; ".join(f"{name}: {value}" for name, value in facts.items() if value is not None)
    return plain(f"{DERIVED}. Made from a low-field scan; details may be predicted, not measured. {text}", 1024)


def series_description(provenance: Mapping[str, Any], contrast: str) -> str:
    """The mark first, so that no viewer cuts it off (64 characters)."""
    parts = (contrast if contrast != "other" else "", provenance.get("method"), provenance.get("preset"))
    return plain(f"{DERIVED}: {' '.join(str(p) for p in parts if p)}".removesuffix(": "), 64)


def patient_and_study(
    target: Dataset, source: Source | None, patient: Mapping[str, Any], own_frame: bool = False
) -> None:
    """Kept from the source; without one, a new study with the patient data given, empty where nothing is known.

    Args:
        own_frame: the image does not lie in the source's frame of reference, so it gets a new one.

    Raises:
        BadInput: patient data that are unknown or malformed, or that would change those of the source.
    """
    from pydicom.uid import generate_uid

    target.SpecificCharacterSet = CHARACTER_SET
    if source is None:
        target.StudyInstanceUID = generate_uid(prefix=None)
        target.FrameOfReferenceUID = generate_uid(prefix=None)
        _set_given(target, patient)
        return
    if patient:
        raise BadInput("patient data cannot be given for a scan from DICOM: they are kept as they are in its files")
    _copy(target, source.header, (*PATIENT, *STUDY))
    target.StudyInstanceUID = source.header.StudyInstanceUID
    kept = None if own_frame else source.header.get("FrameOfReferenceUID")
    target.FrameOfReferenceUID = kept or generate_uid(prefix=None)


def series_and_equipment(
    target: Dataset, source: Source | None, provenance: Mapping[str, Any], contrast: str, now: datetime
) -> None:
    """A new series of ours; the scanner moves to the contributing equipment, where ours stands too."""
    from pydicom.uid import generate_uid

    target.Modality = "MR"
    target.SeriesInstanceUID = generate_uid(prefix=None)
    target.SeriesNumber = 1000 + _series_number(source)
    target.SeriesDescription = series_description(provenance, contrast)
    target.BodyPartExamined = "HEAD"
    target.SeriesDate = target.ContentDate = target.InstanceCreationDate = now.strftime("%Y%m%d")
    target.SeriesTime = target.ContentTime = target.InstanceCreationTime = now.strftime("%H%M%S")
    target.Manufacturer = target.ManufacturerModelName = MANUFACTURER
    target.SoftwareVersions = software_versions(provenance)
    target.ContributingEquipmentSequence = contributing_equipment(source, provenance, now)


def _series_number(source: Source | None) -> int:
    """That of the source; 1 where there is none, or what stands there is no whole number that leaves room for ours."""
    if source is None or "SeriesNumber" not in source.header:
        return 1
    try:  # the element's value is converted, and may fail, only here
        given = source.header.SeriesNumber or 1
        number = int(given)
    except (TypeError, ValueError, OverflowError):
        return 1
    return number if number == given and abs(number) <= MOST_NUMBER - ROOM else 1


def contributing_equipment(source: Source | None, provenance: Mapping[str, Any], now: datetime) -> list[Dataset]:
    """What the source lists, the scanner, and this software with its versions."""
    items = list(source.header.get("ContributingEquipmentSequence", [])) if source else []
    if source is not None:
        scanner = _equipment("109101", "Acquisition Equipment")
        scanner.Manufacturer = "unknown"
        _copy(scanner, source.header, SCANNER)
        items.append(scanner)
    ours = _equipment("109102", "Processing Equipment")
    ours.Manufacturer = ours.ManufacturerModelName = MANUFACTURER
    ours.SoftwareVersions = software_versions(provenance)
    ours.ContributionDateTime = now.strftime("%Y%m%d%H%M%S")
    ours.ContributionDescription = plain(f"Enhancement of a low-field MR scan: {provenance.get('method', '')}", 1024)
    return [*items, ours]


def measurement(target: Dataset, source: Source | None) -> None:
    """How the scan was measured, from the source; else ``RM`` (research mode), ``NONE`` and empty, as C.8.3.1 allows.

    EchoTime and the like stay those of the low-field scan, and so does its MagneticFieldStrength: nothing was measured
    at a higher field.
    """
    if source is not None:
        _copy(target, source.header, MEASUREMENT)
    for keyword, unknown in (("ScanningSequence", "RM"), ("SequenceVariant", "NONE")):
        if keyword not in target:
            setattr(target, keyword, unknown)
    for keyword in REQUIRED_EMPTY:
        if keyword not in target:
            setattr(target, keyword, None)
    for keyword, where, value in CONDITIONAL:
        if value not in _values(target[where].value):
            target.pop(keyword, None)  # some scanners write a 0; without the condition it may not be there
        elif keyword not in target:
            setattr(target, keyword, None)


def derivation(target: Dataset, source: Source | None, provenance: Mapping[str, Any]) -> None:
    """That the image is derived, how, and from which instances.

    The code is "Spatial resampling", the one of CID 7203 (Image Derivation) that holds; none of them stands for a
    learned enhancement, which the text describes. Every slice names all source instances: the methods work in 3-D.
    """
    from pydicom import Dataset

    target.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    target.DerivationDescription = describe(provenance)
    target.DerivationCodeSequence = [code_item("113085", "Spatial resampling")]
    target.ImageComments = DERIVED
    target.BurnedInAnnotation = "NO"
    target.LossyImageCompression = "00"
    if source is None:
        return
    references = []
    for sop_class, instance in source.references:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, instance
        item.PurposeOfReferenceCodeSequence = [code_item("121322", "Source image for image processing operation")]
        references.append(item)
    target.SourceImageSequence = references
    if source.header.get("LossyImageCompression") == "01":  # once lossy, always lossy (C.7.6.1.1.5)
        _copy(target, source.header, ("LossyImageCompressionRatio", "LossyImageCompressionMethod"))
        target.LossyImageCompression = "01"


def check_patient(patient: Mapping[str, Any]) -> None:
    """Refuse patient data that DICOM cannot hold.

    Raises:
        BadInput: an attribute that is not of the patient or study, or a value that its type does not allow.
    """
    from pydicom.config import RAISE
    from pydicom.datadict import dictionary_VR
    from pydicom.valuerep import validate_value

    for keyword, value in patient.items():
        if keyword not in (*PATIENT, *STUDY) or keyword.endswith("Sequence"):
            raise BadInput(f"'{keyword}' is not an attribute of the patient or study; use PatientName, PatientID ...")
        try:
            validate_value(dictionary_VR(keyword), value, RAISE)
        except ValueError as error:
            raise BadInput(f"'{value}' is not a valid {keyword}: {error}") from error
    if patient.get("PatientSex") not in (None, "", "M", "F", "O"):
        raise BadInput(f"'{patient['PatientSex']}' is not a valid PatientSex; use M, F or O")


def _set_given(target: Dataset, patient: Mapping[str, Any]) -> None:
    check_patient(patient)
    for keyword, value in patient.items():
        setattr(target, keyword, value)


def _copy(target: Dataset, header: Dataset, keywords: Iterable[str]) -> None:
    """Elements that have a value; what is empty or malformed in the source counts as unknown."""
    for keyword in keywords:
        if keyword in header and header[keyword].value not in (None, "", []) and _well_formed(header[keyword]):
            target[keyword] = header[keyword]


def _well_formed(element: DataElement) -> bool:
    """Whether a date, a time or the sex is one; de-identified headers hold the like of 19700000, which nobody reads."""
    from pydicom.valuerep import DA, TM

    if element.keyword == "PatientSex":
        return element.value in ("M", "F", "O")
    try:
        if element.VR == "DA":
            DA(str(element.value))
        elif element.VR == "TM":
            TM(str(element.value))
    except ValueError:
        return False
    return True


def _values(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or [])


def _equipment(code: str, meaning: str) -> Dataset:
    from pydicom import Dataset

    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [code_item(code, meaning)]
    return item
