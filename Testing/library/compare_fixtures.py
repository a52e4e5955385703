"""Fixtures of the tests of the comparison: a phantom, its scan, and three methods compared on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from compare_support import COARSE, KnownAnatomy
from phantoms import phantom_head

from LowFieldEnhanceLib import pipeline
from LowFieldEnhanceLib.compare import Comparison, compare
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.physics.simulate import Protocol, simulate


@pytest.fixture(scope="module")
def known_anatomy() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "Segmenter", KnownAnatomy)
        yield


@pytest.fixture(scope="module")
def truth() -> Image:
    return phantom_head()[0]


@pytest.fixture(scope="module")
def scan(truth: Image) -> Image:
    return simulate(truth, Protocol(spacing=(4.0, 4.0, 6.0), snr=30), seed=3)


@pytest.fixture(scope="module")
def brain() -> Image:
    head, labels = phantom_head()
    return head.with_array(((labels.array > 0) & (labels.array != 24)).astype(np.float32))


@pytest.fixture(scope="module")
def comparison(scan: Image, brain: Image, truth: Image, tiny_models_folder: Path, known_anatomy: None) -> Comparison:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOWFIELDENHANCE_MODELS", str(tiny_models_folder))
        choices = [("cubic", "fast"), ("regression", "fast"), ("bridged", "standard")]
        return compare(scan, choices, COARSE, reference=truth, brain=brain)
