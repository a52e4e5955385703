"""What is known of a scan beyond its voxels: contrast, modality and field, from its name, file and DICOM tags."""

from __future__ import annotations

from pathlib import Path

import slicer

from . import hierarchy
from .marks import ATTRIBUTE_PREFIX

SERIES_DESCRIPTION, PROTOCOL_NAME, MODALITY, FIELD = "0008,103e", "0018,1030", "0008,0060", "0018,0087"
INSTANCE_UIDS = "DICOM.instanceUIDs"
MODALITY_ATTRIBUTE = "DICOM.Modality"
CONTRAST_ATTRIBUTE = ATTRIBUTE_PREFIX + "Contrast"


def guessContrast(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> str:
    """T1w, T2w, FLAIR or other: as the user has set it, else by DICOM series description and protocol, else by name."""
    return volumeNode.GetAttribute(CONTRAST_ATTRIBUTE) or _guessedContrast(volumeNode)


def rememberContrast(volumeNode: slicer.vtkMRMLScalarVolumeNode, contrast: str) -> None:
    """Keep what the user has set, with the volume; nothing where it is what would be guessed."""
    if contrast == _guessedContrast(volumeNode):
        volumeNode.RemoveAttribute(CONTRAST_ATTRIBUTE)
    elif contrast != volumeNode.GetAttribute(CONTRAST_ATTRIBUTE):
        volumeNode.SetAttribute(CONTRAST_ATTRIBUTE, contrast)


def _guessedContrast(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> str:
    from LowFieldEnhanceLib.contrast_names import guess_contrast

    texts = (dicomValue(volumeNode, SERIES_DESCRIPTION), dicomValue(volumeNode, PROTOCOL_NAME), volumeNode.GetName())
    guesses = [guess_contrast(text) for text in texts if text]
    return next((guess for guess in guesses if guess != "other"), "other")


def modality(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> str:
    """The DICOM modality such as MR or CT; empty where it is not known."""
    shTree = hierarchy.subjectHierarchy(volumeNode.GetScene())
    item = shTree.GetItemByDataNode(volumeNode)
    known = shTree.GetItemAttribute(item, MODALITY_ATTRIBUTE) if item else ""
    return (known or dicomValue(volumeNode, MODALITY)).strip()


def fieldStrength(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> str:
    """Tesla as the DICOM header has it, or a BIDS sidecar beside the volume's file; empty where neither gives it."""
    from LowFieldEnhanceLib.formats.field_strength import FIELD_STRENGTH, sidecar_field

    storage = volumeNode.GetStorageNode()
    file = (storage.GetFileName() if storage is not None else None) or ""
    beside = sidecar_field(Path(file)).get(FIELD_STRENGTH, "") if file else ""
    return dicomValue(volumeNode, FIELD).strip() or str(beside)


def dicomValue(volumeNode: slicer.vtkMRMLVolumeNode, tag: str) -> str:
    """A DICOM tag of the volume's first file, from Slicer's database; empty if there is none."""
    identifiers = (volumeNode.GetAttribute(INSTANCE_UIDS) or "").split()
    database = getattr(slicer, "dicomDatabase", None)
    if not identifiers or database is None or not database.isOpen:
        return ""
    return database.instanceValue(identifiers[0], tag) or ""


def dicomFiles(volumeNode: slicer.vtkMRMLVolumeNode) -> list[str] | None:
    """The files of the DICOM instances that a volume was loaded from, by Slicer's database.

    Returns:
        Empty if the volume did not come from DICOM; None if it did, but not all of its files are there any more.
    """
    identifiers = (volumeNode.GetAttribute(INSTANCE_UIDS) or "").split()
    if not identifiers:
        return []
    database = getattr(slicer, "dicomDatabase", None)
    if database is None or not database.isOpen:
        return None
    files = [database.fileForInstance(identifier) for identifier in identifiers]
    return files if all(file and Path(file).is_file() for file in files) else None
