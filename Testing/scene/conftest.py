"""Fixtures of the scene tests: the real MRML scene of slicer-core, and small images on awkward grids."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
for folder in (ROOT, ROOT / "LowFieldEnhance", ROOT / "Testing" / "host"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

pytest.importorskip("slicer", reason="the scene tests need slicer-core (pip install slicer-core)")

from grids import GRIDS  # noqa: E402
from slicer_session import failOnVtkErrors, slicerSession  # noqa: E402

from LowFieldEnhanceLib.image import Image  # noqa: E402
from LowFieldEnhanceLib.segmentation.labels import LabelMap  # noqa: E402


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tolerate one warning: VTK 9.6 sets an array's shape in vtk_to_numpy, which NumPy 2.5 deprecates."""
    mark = pytest.mark.filterwarnings("ignore:Setting the shape on a NumPy array:DeprecationWarning")
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(mark)


@pytest.fixture
def session():
    """A Slicer session on an empty scene; whatever VTK calls an error fails the test."""
    with failOnVtkErrors(), slicerSession() as session:
        yield session


@pytest.fixture
def scene(session):
    """The scene of the session."""
    return session.scene


@pytest.fixture
def image() -> Image:
    """Distinct voxel values, three different lengths, oblique and flipped."""
    array = np.random.default_rng(1).normal(300.0, 120.0, (7, 9, 5)).astype(np.float32)
    return Image(array, GRIDS["oblique, flipped"], "T1w")


@pytest.fixture
def labelMap(image: Image) -> LabelMap:
    """Six structures of both sides and the midline on the grid of ``image``, with no symmetry."""
    array = np.zeros(image.shape, np.uint8)
    for place, label in enumerate((2, 17, 53, 16, 60, 14)):
        array[place, place : place + 3, : place % 4 + 1] = label
    return LabelMap(array, image.affine, {})


@pytest.fixture
def rows() -> list[dict]:
    """Two structures as the report has them; the second has no reference volume."""
    return [
        {
            "label_id": 17,
            "name": "Left Hippocampus",
            "volume_input_ml": 3.25,
            "volume_enhanced_ml": 3.5,
            "volume_reference_ml": 4.0,
            "error_enhanced_percent": -12.5,
            "hd95_mm": 1.25,
        },
        {
            "label_id": 53,
            "name": 'Right "Hippocampus"',
            "volume_input_ml": 3.0,
            "volume_enhanced_ml": 2.75,
            "volume_reference_ml": None,
            "error_enhanced_percent": float("nan"),
            "hd95_mm": None,
        },
    ]
