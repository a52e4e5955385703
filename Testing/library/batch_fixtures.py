"""Three scans and a folder for the results of a batch."""

from __future__ import annotations

from pathlib import Path

import pytest
from batch_support import scans_in

from LowFieldEnhanceLib.batch_scans import Scan


@pytest.fixture
def scans(tmp_path: Path) -> list[Scan]:
    return scans_in(tmp_path / "in", "a", "b", "c")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"
