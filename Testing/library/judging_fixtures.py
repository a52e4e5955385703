"""A phantom head with a lesion, its scan, and a pipeline that knows the phantom's anatomy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from compare_support import KnownAnatomy, labelled_by
from judging_support import with_lesion
from phantoms import phantom_head

from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.physics.simulate import Protocol, simulate


@pytest.fixture(scope="module")
def quick_pipeline(tiny_models_folder: Path) -> Iterator[None]:
    with labelled_by(KnownAnatomy, tiny_models_folder):
        yield


@pytest.fixture(scope="module")
def high() -> Image:
    return with_lesion(phantom_head()[0])


@pytest.fixture(scope="module")
def low(high: Image) -> Image:
    return simulate(high, Protocol(spacing=(4.0, 4.0, 6.0), snr=30), seed=3)
