"""Fixtures of the tests of the panel: the module in the test host, a child process in place of the networks."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from panel_support import MODULE, SPACING, STUB, Person, Stub, head, writeResults
from slicer_host.properties import strayAttributes

from LowFieldEnhanceLib.image_io import write_image
from LowFieldEnhanceSlicer import process

# A random segmenter finds no brain, so this command line is given one; a later one, the panel's, takes its place.
COMMAND = (
    "import sys; from LowFieldEnhanceLib.cli import main; "
    "sys.exit(main([sys.argv[2], '--brain-mask', {!r}, *sys.argv[3:]]))"
)


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results on a coarse grid, for all tests that do not measure time."""
    return writeResults(tmp_path_factory.mktemp("results"), 4.0)


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, results: Path) -> Stub:
    """Runs start the stub instead of the library."""
    monkeypatch.setattr(process, "libraryCommand", lambda: [sys.executable, "-S", str(STUB)])
    stub = Stub(monkeypatch, tmp_path)
    stub.set(STUB_RESULTS=str(results))
    return stub


@pytest.fixture
def person(application) -> Iterator[Person]:
    """The panel, open, on an empty scene."""
    application.loadModule(MODULE)
    widget = application.showModule("LowFieldEnhance")
    widget.parent.resize(460, 900)
    person = Person(application, widget)
    yield person
    assert strayAttributes(person.ui) == [], "properties that Qt does not have: PythonQt refuses to set them"


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Runs use a segmenter with random weights and the brain of :func:`panel_support.head`."""
    import torch

    from LowFieldEnhanceLib.networks.registry import build_network
    from LowFieldEnhanceLib.training.segmenter import ARCHITECTURE
    from LowFieldEnhanceLib.weight_files import save_weights

    architecture = {**ARCHITECTURE, "widths": [8, 8], "blocks": 1, "fine_blocks": 1, "spacing": SPACING}
    torch.manual_seed(7)
    sha256 = save_weights(build_network(architecture).state_dict(), tmp_path / "segmenter.safetensors")
    entry = {"file": "segmenter.safetensors", "sha256": sha256, "architecture": architecture, "licence": "Apache-2.0",
             "title": "random", "card": "segmenter.md"}  # fmt: skip
    (tmp_path / "models.json").write_text(json.dumps({"models": {"segmenter": entry}}), encoding="utf-8")
    scan = head((SPACING,) * 3)
    write_image(scan.with_array((scan.array > 300).astype(np.float32)), tmp_path / "brain.nrrd")
    command = [sys.executable, "-c", COMMAND.format(str(tmp_path / "brain.nrrd")), "--"]
    monkeypatch.setattr(process, "libraryCommand", lambda: command)
    monkeypatch.setenv("LOWFIELDENHANCE_MODELS", str(tmp_path))
