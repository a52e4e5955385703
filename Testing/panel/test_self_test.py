"""The tests for a real Slicer (Testing/slicer), run here as far as they can be; a stand-in replaces the networks."""

from __future__ import annotations

import importlib.util

import pytest
import slicer
from panel_support import ROOT, head, writeEverything
from slicer_host.properties import useSlicerProperties

from LowFieldEnhanceLib import weights
from LowFieldEnhanceSlicer import layout, volumes

pytestmark = pytest.mark.usefixtures("stub")
pytest_plugins = ["panel_fixtures"]
useSlicerProperties(__name__, False)

SPACING = 5.0
PATH = ROOT / "Testing" / "slicer" / "LowFieldEnhanceSelfTest.py"


@pytest.fixture
def said(person, monkeypatch):
    """What the self test tells the user; it loads a small head."""
    messages = []
    monkeypatch.setattr(slicer.util, "delayDisplay", lambda message, *arguments, **options: messages.append(message))
    monkeypatch.setattr(
        slicer.util, "loadVolume", lambda path: volumes.addVolume(slicer.mrmlScene, head((SPACING,) * 3), "Head T1w")
    )
    yield messages
    layout.close()


def test_without_networks_the_panel_is_tested(said, monkeypatch):
    monkeypatch.setattr(weights, "is_installed", lambda name: False)
    slicer.selfTests["LowFieldEnhance"]()
    assert said[-1] == "Test passed" and said.count("Load the bundled head") == 1
    assert any("so nothing is enhanced" in message for message in said)


def test_every_step_of_the_self_test_holds(said, stub, monkeypatch, tmp_path):
    results, comparison = writeEverything(tmp_path, SPACING)
    stub.set(STUB_RESULTS=str(results), STUB_COMPARISON=str(comparison), STUB_DICOM="1")
    monkeypatch.setattr(weights, "is_installed", lambda name: True)
    specification = importlib.util.spec_from_file_location(PATH.stem, PATH)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    test = module.LowFieldEnhanceSelfTest()
    test.spacing, test.fewestStructures, test.seconds = SPACING, 3, 30.0
    test.runTest()
    assert said[-1] == "Test passed"
    lines = [" ".join(call) for call in stub.calls]
    parts = [name for name in dir(test) if name.startswith("test_")]
    assert len(parts) == 6 and all(f"self.{name}" in PATH.read_text(encoding="utf-8") for name in parts)
    for option in ("--lesions", "--register", "--samples 2", "--dicom", "--added-detail", "compare "):
        assert any(option in line for line in lines), f"no step needs {option}"
