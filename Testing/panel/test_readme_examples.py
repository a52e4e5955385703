"""The README's examples for Slicer's Python console do what they say; the child process is a stand-in."""

from __future__ import annotations

import re

import numpy as np
import pytest
import slicer
from panel_support import ROOT, head, writeEverything
from slicer_host.properties import useSlicerProperties

from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceSlicer import layout, volumes

pytest_plugins = ["panel_fixtures"]
useSlicerProperties(__name__, False)

SPACING = (8.0, 8.0, 8.0)


def examples() -> list[str]:
    """The blocks of Python in the section on the console, each cut where a comment begins a new example."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.split("### From Slicer's Python console")[1].split("\n## ")[0]
    blocks = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    return [example for block in blocks for example in re.split(r"\n(?=# )", block)]


@pytest.fixture
def prepared(person, stub, tmp_path):
    """The scene that the examples name nodes of, and whatever a run may be asked for."""
    results, comparison = writeEverything(tmp_path, SPACING[0])
    stub.set(STUB_RESULTS=str(results), STUB_COMPARISON=str(comparison))
    for name in ("Scan", "T2", "3T"):
        person.loadScan(name, SPACING)
    lesions = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "Lesions")
    scan = head(SPACING)
    volumes.updateVolumeNode(lesions, Image((scan.array > 600).astype(np.float32), scan.affine))
    yield stub
    layout.close()


def test_every_example_runs_as_it_stands(person, prepared, monkeypatch):
    monkeypatch.setattr("qt.QDesktopServices.openUrl", lambda url: True)
    found = examples()
    assert len([example for example in found if "logic." in example]) >= 3
    names = {"slicer": slicer, "getNode": slicer.util.getNode}
    for example in found:
        exec(compile(example, "README.md", "exec"), names)
    person.waitForEnd()
    called = " ".join(found)
    for form in ("waitForCompletion=False", "onProgress=", "onFinished=", "samples=", "lesions=", "registerReference=",
                 "logic.compare("):  # fmt: skip
        assert form in called, f"no example shows {form}"
    assert {call[0] for call in prepared.calls} == {"enhance", "compare"}
