"""A Slicer session without the application: the real MRML scene and logics of slicer-core, mounted as Slicer does.

Inside the block ``slicer.mrmlScene`` and the modules' logics exist, so that ``slicer.util`` works on the scene::

    with slicerSession() as session:
        session.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
        slicer.modules.segmentations.logic()
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import slicer
import vtk

from LowFieldEnhanceSlicer.scene import connectLogics


@dataclass
class Session:
    """The scene, the logics by module name and the folder for temporary files."""

    scene: slicer.vtkMRMLScene
    logics: dict[str, Any]
    temporaryPath: str


@contextlib.contextmanager
def newScene() -> Iterator[Session]:
    """A scene of its own with its logics; ``slicer.mrmlScene`` is not touched."""
    with tempfile.TemporaryDirectory(prefix="slicer-session-") as folder:
        scene = slicer.vtkMRMLScene()
        session = Session(scene, connectLogics(scene, folder), folder)
        yield session
        scene.Clear(True)


@contextlib.contextmanager
def slicerSession() -> Iterator[Session]:
    """A scene that is Slicer's scene while the block runs."""
    with newScene() as session:
        slicer.mrmlScene = session.scene
        slicer.modules = SimpleNamespace(
            **{name.lower(): _module(logic) for name, logic in session.logics.items()},
        )
        try:
            yield session
        finally:
            del slicer.mrmlScene, slicer.modules


def _module(logic: Any) -> SimpleNamespace:
    return SimpleNamespace(logic=lambda: logic)


@contextlib.contextmanager
def failOnVtkErrors() -> Iterator[None]:
    """Turn what VTK and MRML print as errors and warnings inside the block into an AssertionError."""
    messages: list[str] = []
    window = vtk.vtkStringOutputWindow()
    previous = vtk.vtkOutputWindow.GetInstance()
    vtk.vtkOutputWindow.SetInstance(window)
    try:
        yield
        messages = [line for line in window.GetOutput().splitlines() if line.strip()]
    finally:
        vtk.vtkOutputWindow.SetInstance(previous)
    assert not messages, "\n".join(messages)
