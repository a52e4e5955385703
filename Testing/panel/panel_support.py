"""What the tests of the panel need: scans, results that were prepared, the child process, and who sits before it."""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
import slicer
from panel_tools import grab, press, waitUntil
from PySide6.QtWidgets import QApplication

from LowFieldEnhanceLib.cli import build_parser
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.image_io import write_image, write_labels
from LowFieldEnhanceLib.segmentation.labels import LabelMap
from LowFieldEnhanceSlicer import cancelling, volumes

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "LowFieldEnhance" / "LowFieldEnhance.py"
STUB = Path(__file__).parent / "stub_child.py"
ARTEFACTS = Path(os.environ.get("LOWFIELDENHANCE_ARTEFACTS", ROOT / "build" / "panel"))
SPACING = 4.0  # of the scans that the real library works on
STRUCTURES = {2: "Left-Cerebral-White-Matter", 10: "Left-Thalamus", 49: "Right-Thalamus"}


def obliqueAffine(spacing: tuple[float, float, float], shape: tuple[int, int, int]) -> np.ndarray:
    """Voxels to RAS mm, turned by 10 degrees about S, with the centre of the grid at world 0."""
    angle = np.deg2rad(10.0)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn * np.asarray(spacing)
    affine[:3, 3] = -affine[:3, :3] @ ((np.asarray(shape) - 1) / 2)
    return affine


def head(spacing: tuple[float, float, float]) -> Image:
    """A noisy ellipsoid in a field of view of 176 x 208 x 176 mm."""
    shape = tuple(round(extent / step) for extent, step in zip((176, 208, 176), spacing, strict=True))
    grid = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij", sparse=True)
    inside = sum(axis**2 for axis in grid) < 0.7
    noise = np.random.default_rng(3).normal(0, 20, shape)
    return Image((600 * inside + np.abs(noise)).astype(np.float32), obliqueAffine(spacing, shape), "T1w")


def writeResults(folder: Path, spacing: float, spread: bool = False) -> Path:
    """What a run of the command line leaves, on an output grid of this spacing; ``spread``: of several samples."""
    folder.mkdir(parents=True, exist_ok=True)
    enhanced = head((spacing,) * 3)
    write_image(enhanced, folder / "enhanced.nrrd")
    labels = np.zeros(enhanced.shape, np.uint8)
    for n, value in enumerate(STRUCTURES):
        labels[enhanced.shape[0] // 4 * (n + 1) :][:4, 10:-10, 10:-10] = value
    write_labels(LabelMap(labels, enhanced.affine, {}), folder / "segmentation.nrrd")
    write_image(head((4.0, 4.0, 4.0)), folder / "fidelity.nrrd")
    write_image(enhanced.with_array(enhanced.array / 100), folder / "uncertainty.nrrd")
    write_image(enhanced.with_array(enhanced.array / 6 - 50), folder / "added_detail.nrrd")
    rows = [
        {"name": name, "label_id": value, "volume_input_ml": 10.0 + value, "volume_enhanced_ml": 10.5 + value}
        for value, name in STRUCTURES.items()
    ]
    uncertainty = {"kind": "expected", "samples": 1, "seeds": []}
    if spread:
        for n, row in enumerate(rows):
            row |= {"volume_mean_ml": 10.2, "volume_sd_ml": 0.2, "volume_cv_percent": 1.5 + n}
        uncertainty = {"kind": "samples", "samples": 2, "seeds": [0, 1]}
    provenance = {"method": "bridged", "preset": "fast", "seed": 0, "versions": {"lowfield-enhance": "0.1.0"}}
    report = {"structures": rows, "has_reference": False, "provenance": provenance, "verdict": "Usable.",
              "uncertainty": uncertainty}  # fmt: skip
    (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")
    (folder / "report.html").write_text("<html><body>Report of the run</body></html>", encoding="utf-8")
    return folder


def writeEverything(folder: Path, spacing: float, shift: float = 12.0) -> tuple[Path, Path]:
    """Results of a run that was asked for everything, and a comparison: their folders.

    Args:
        shift: how far (mm) the reference lay to the right of the scan.
    """
    results, comparison = writeResults(folder / "results", spacing, spread=True), folder / "comparison"
    report = json.loads((results / "report.json").read_text(encoding="utf-8"))
    figures = {"contrast_percent": 20.0, "volume_mm3": 300.0, "edge_mm": 3.0}
    region = {"number": 1, "label": 1, "survives": True, "diameter_mm": 8.3, "centre_ras_mm": [1.0, 2.0, 3.0]}
    moved = np.eye(4)
    moved[0, 3] = shift
    report |= {
        "has_reference": True,
        "structures": [{**row, "volume_reference_ml": row["volume_input_ml"]} for row in report["structures"]],
        "lesions": {"regions": [region | dict.fromkeys(("input", "enhanced", "reference"), figures)]},
        "registration": {"rigid": {"matrix_fixed_to_moving_ras": moved.tolist()}},
    }
    (results / "report.json").write_text(json.dumps(report), encoding="utf-8")
    document = {"columns": {"method": "Method"}, "rows": [{"method": "cubic"}, {"method": "linear"}]}
    comparison.mkdir()
    (comparison / "compare.json").write_text(json.dumps(document), encoding="utf-8")
    (comparison / "compare.html").write_text("<html><body>Methods on one scan</body></html>", encoding="utf-8")
    return results, comparison


class Stub:
    """How the child process behaves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self._monkeypatch = monkeypatch
        self._record = folder / "arguments.jsonl"
        self.set(STUB_RECORD=str(self._record), STUB_MODE="finish")

    def set(self, **environment: str) -> None:
        """Change its environment from the next run on."""
        for name, value in environment.items():
            self._monkeypatch.setenv(name, value)

    @property
    def calls(self) -> list[list[str]]:
        """The arguments of each run so far."""
        return [arguments for arguments, _ in self._recorded()]

    @property
    def folders(self) -> list[Path]:
        """The folder that each of them worked in."""
        return [Path(folder) for _, folder in self._recorded()]

    def _recorded(self) -> list[list]:
        return [json.loads(line) for line in self._record.read_text().splitlines()] if self._record.exists() else []


class Person:
    """Who sits before the panel."""

    def __init__(self, application, widget) -> None:
        self.application, self.widget = application, widget
        self.ui, self.panel, self.logic = widget.ui, widget.panel, widget.logic

    @property
    def parameters(self):
        return self.panel.parameters

    def loadScan(self, name: str = "Head T1w", spacing: tuple[float, float, float] = (1.6, 1.6, 5.0)):
        """A scan in the scene, not chosen yet."""
        return volumes.addVolume(self.application.scene, head(spacing), name)

    def waitForEnd(self, seconds: float = 20.0) -> None:
        """Until no run is on its way."""
        waitUntil(lambda: not self.logic.jobs and not self.logic.queue.busy, seconds)

    def cancel(self) -> None:
        """Press Cancel, later than a double click would."""
        time.sleep(cancelling.LEAST_SECONDS)
        press(self.ui.applyButton)

    def outputs(self) -> list[str]:
        """Names of all derived nodes in the scene."""
        nodes = [self.application.scene.GetNthNode(n) for n in range(self.application.scene.GetNumberOfNodes())]
        return [node.GetName() for node in nodes if node.GetAttribute("LowFieldEnhance.Derived")]

    def leftFolders(self) -> list[str]:
        """Temporary folders of runs that are still there."""
        return [path.name for path in Path(slicer.app.property("temporaryPath")).glob("LowFieldEnhance-*")]

    def picture(self, name: str) -> Path:
        """Write a picture of the panel as it is now, as high as it needs to be (Slicer scrolls it)."""
        parent = self.widget.parent
        QApplication.processEvents()
        parent.resize(460, max(900, parent.layout().heightForWidth(460), parent.minimumSizeHint().height()))
        return grab(parent, ARTEFACTS / f"{name}.png")


def optionsOf(stub: Stub) -> argparse.Namespace:
    """The options of the child that was started last."""
    return build_parser().parse_args(stub.calls[-1])


def run(person: Person) -> None:
    """Apply, and wait for the end."""
    press(person.ui.applyButton)
    person.waitForEnd()


def layers() -> list[tuple[str | None, float, int]]:
    """What each slice view shows as its foreground, and how."""
    manager = slicer.app.layoutManager()
    composites = [manager.sliceWidget(name).mrmlSliceCompositeNode() for name in manager.sliceViewNames()]
    return [(node.GetForegroundVolumeID(), node.GetForegroundOpacity(), node.GetCompositing()) for node in composites]
