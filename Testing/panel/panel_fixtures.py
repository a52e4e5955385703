"""Fixtures of the tests of the panel: the module in the test host, a child process in place of the networks."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from panel_support import MODULE, STUB, Person, Stub, writeResults

from LowFieldEnhanceSlicer import process


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
    yield Person(application, widget)
