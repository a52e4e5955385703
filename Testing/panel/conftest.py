"""Fixtures of the panel tests: a Slicer application without a display, on the real MRML scene."""

from __future__ import annotations

import os
import sys
from pathlib import Path

# Before PySide6 is loaded: the tests run where there is no display.
os.environ["QT_QPA_PLATFORM"] = "offscreen"

import pytest  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
for folder in (ROOT, ROOT / "LowFieldEnhance", ROOT / "Testing" / "host"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

pytest.importorskip("slicer", reason="the panel tests need slicer-core (pip install slicer-core)")
pytest.importorskip("PySide6", reason="the panel tests need Qt (pip install PySide6-Essentials)")

from slicer_application import mountNames, slicerApplication  # noqa: E402
from slicer_session import failOnVtkErrors  # noqa: E402

mountNames()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tolerate one warning: VTK 9.6 sets an array's shape in vtk_to_numpy, which NumPy 2.5 deprecates."""
    mark = pytest.mark.filterwarnings("ignore:Setting the shape on a NumPy array:DeprecationWarning")
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(mark)


@pytest.fixture
def application(monkeypatch, tmp_path):
    """A Slicer application on an empty scene; whatever VTK calls an error fails the test."""
    # No pages into the own folders of whoever tests.
    monkeypatch.setattr("LowFieldEnhanceSlicer.pages.SNAPS", tmp_path / "none")
    with failOnVtkErrors(), slicerApplication() as application:
        yield application


@pytest.fixture
def scene(application):
    """The scene of the application."""
    return application.scene
