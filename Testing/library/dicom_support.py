"""What the DICOM tests share: awkward grids, a source series, the standard's geometry, an independent validator."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid
from scipy.spatial.transform import Rotation

from LowFieldEnhanceLib.image import Image

SHAPE = (7, 9, 6)
PROVENANCE = {
    "method": "bridged",
    "preset": "fast",
    "seed": 7,
    "weights": {"bridged_bridge": "ab12" * 16},
    "segmenter": {"name": "segmenter", "sha256": "cd34" * 16},
    "device": "cpu",
    "input_sha256": "ef56" * 16,
    "versions": {"lowfield-enhance": "0.1.0", "torch": "2.13.0"},
}


def voxels(low: float = 0.0, high: float = 1200.0, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    return np.random.default_rng(5).uniform(low, high, shape).astype(np.float32)


def grid(
    angles: tuple[float, float, float] = (0, 0, 0),
    signs: tuple[int, int, int] = (1, 1, 1),
    axes: tuple[int, int, int] = (0, 1, 2),
    spacing: tuple[float, float, float] = (0.9, 1.3, 2.7),
) -> np.ndarray:
    """RAS affine: which world axis each index runs along, in which direction, how far, and then turned."""
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()[:, axes] * signs * spacing
    affine[:3, 3] = [-31.25, 12.5, -7.75]
    return affine


GRIDS = {
    "ras": grid(),
    "lps": grid(signs=(-1, -1, 1)),
    "left-handed": grid(signs=(-1, 1, 1)),
    "oblique": grid((17, -23, 41)),
    "oblique and left-handed": grid((17, -23, 41), (1, -1, 1)),
    "coronal": grid(axes=(0, 2, 1)),
    "sagittal and left-handed": grid(axes=(2, 1, 0)),
    "between two planes": grid((45, 0, 0)),
}


@st.composite
def any_grid(draw: st.DrawFn) -> np.ndarray:
    return grid(
        draw(st.tuples(*[st.floats(-180, 180)] * 3)),
        draw(st.tuples(*[st.sampled_from((-1, 1))] * 3)),
        tuple(draw(st.permutations(range(3)))),
        draw(st.tuples(*[st.floats(0.3, 8.0)] * 3)),
    )


def world_lps(data: Dataset) -> np.ndarray:
    """LPS mm of every pixel [row, column] by equation C.7.6.2.1-1 of PS3.3."""
    axes = np.array(data.ImageOrientationPatient, dtype=float).reshape(2, 3)
    rows, columns = np.mgrid[: data.Rows, : data.Columns]
    between_rows, between_columns = (float(v) for v in data.PixelSpacing)
    origin = np.array(data.ImagePositionPatient, dtype=float)
    return (
        origin + (columns * between_columns)[..., None] * axes[0] + (rows * between_rows)[..., None] * axes[1]
    )  # fmt: skip


def at(image: Image, ras: np.ndarray) -> np.ndarray:
    """Voxel values at positions that must be voxel centres, within 1e-4 mm."""
    inverse = np.linalg.inv(image.affine)
    index = ras.reshape(-1, 3) @ inverse[:3, :3].T + inverse[:3, 3]
    nearest = np.round(index).astype(int)
    assert np.abs((index - nearest) @ image.affine[:3, :3].T).max() < 1e-4
    return image.array[tuple(nearest.T)].reshape(ras.shape[:-1])


def real_values(data: Dataset) -> np.ndarray:
    return data.pixel_array * float(data.get("RescaleSlope", 1)) + float(data.get("RescaleIntercept", 0))


def validator_errors(path: Path) -> list[str]:
    """Error lines of dicom3tools' dciodvfy, which shares no code with pydicom, GDCM or DCMTK."""
    program = shutil.which("dciodvfy")
    assert program, "dciodvfy is not installed: apt-get install dicom3tools"
    done = subprocess.run([program, str(path)], capture_output=True, text=True, timeout=60, check=False)
    lines = (done.stdout + done.stderr).splitlines()
    assert any(line in ("MRImage", "Segmentation", "EnhancedSR") for line in lines), lines
    return [line for line in lines if line.startswith("Error")]


def write_source(folder: Path, count: int = 4, **changes: Any) -> list[Path]:
    """A 64 mT series with patient data in Latin-1, as a scanner writes it; a value of None leaves an attribute out."""
    folder.mkdir()
    shared: dict[str, Any] = {
        "SpecificCharacterSet": "ISO_IR 100",
        "Modality": "MR",
        "ImageType": ["ORIGINAL", "PRIMARY", "OTHER"],
        "PatientName": "Müller^Zoë",
        "PatientID": "A-17",
        "PatientBirthDate": "19700131",
        "PatientSex": "F",
        "PatientAge": "054Y",
        "StudyInstanceUID": generate_uid(),
        "SeriesInstanceUID": generate_uid(),
        "FrameOfReferenceUID": generate_uid(),
        "StudyDate": "20240102",
        "StudyTime": "101112",
        "StudyID": "S3",
        "StudyDescription": "Schädel",
        "AccessionNumber": "ACC9",
        "ReferringPhysicianName": "Grün^Äneas",
        "SeriesNumber": 5,
        "SeriesDescription": "AX T1 (Gray/White)",
        "ProtocolName": "head",
        "AcquisitionDate": "20240102",
        "PatientPosition": "HFS",
        "Manufacturer": "Hyperfine",
        "ManufacturerModelName": "Swoop",
        "DeviceSerialNumber": "0815",
        "SoftwareVersions": "rc8.7",
        "InstitutionName": "Universität",
        "ScanningSequence": ["SE", "IR"],
        "SequenceVariant": "SK",
        "ScanOptions": None,
        "MRAcquisitionType": "3D",
        "RepetitionTime": "1500",
        "EchoTime": "5.4",
        "InversionTime": "300",
        "EchoTrainLength": 24,
        "MagneticFieldStrength": "0.064",
        "InPlanePhaseEncodingDirection": "ROW",
        "AcquisitionMatrix": [0, 8, 8, 0],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 0,
        "Rows": 8,
        "Columns": 6,
        "PixelSpacing": [1.6, 1.6],
        "SliceThickness": 5,
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        **changes,
    }
    other = Dataset()
    other.PatientID, other.TypeOfPatientID, other.IssuerOfPatientID = "X", "TEXT", "Köln"
    counts = np.random.default_rng(2).integers(0, 900, (count, 8, 6)).astype("<u2")
    for n in range(count):
        data = Dataset()
        for keyword, value in shared.items():
            if value is not None:
                setattr(data, keyword, value)
        data.OtherPatientIDsSequence = [other]
        data.add_new((0x0019, 0x0010), "LO", "PRIVATE MAKER")
        data.add_new((0x0019, 0x1001), "LO", "private value")
        data.SOPClassUID, data.SOPInstanceUID, data.InstanceNumber = MRImageStorage, generate_uid(), n + 1
        data.ImagePositionPatient = [-4, -6, 5 * n]
        data.PixelData = counts[n].tobytes()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        pydicom.dcmwrite(folder / f"slice{n}.dcm", data, enforce_file_format=True)
    return sorted(folder.iterdir())


def headers(paths: list[Path]) -> list[Dataset]:
    return [pydicom.dcmread(path) for path in paths]
