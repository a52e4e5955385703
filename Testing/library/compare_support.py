"""What the tests of the comparison need: a segmenter that knows the answer, and runs that do not run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from phantoms import phantom_head

from LowFieldEnhanceLib import pipeline
from LowFieldEnhanceLib.errors import MissingModel
from LowFieldEnhanceLib.events import Events
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.preprocess.grid import Grid, resample
from LowFieldEnhanceLib.segmentation.labels import LabelMap

COARSE = pipeline.Options(spacing=4.0)


class KnownAnatomy:
    """In place of the segmenter, whose work at 1 mm would take most of the time: the phantom's own labels."""

    provenance: dict[str, Any] = {}

    def __init__(self, device: str = "cpu", mirrored: bool = False) -> None:
        self.labels = phantom_head()[1]

    def segment(self, image: Image, events: Events | None = None) -> LabelMap:
        moved = resample(self.labels.as_image(), Grid.of(image), "nearest")
        return LabelMap(moved.array.astype(np.uint8), moved.affine, {})


@contextmanager
def labelled_by(segmenter: type, models: Path) -> Iterator[None]:
    """Inside, the pipeline labels with ``segmenter`` and finds the networks of the folder ``models`` first."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOWFIELDENHANCE_MODELS", str(models))
        patch.setattr(pipeline, "Segmenter", segmenter)
        yield


def report_of(seconds: float, change: float) -> dict[str, Any]:
    """The part of a report without reference that the table reads."""
    return {
        "has_reference": False, "images": None, "summary": {"mean_absolute_change_percent": change},
        "fidelity": {"rms": 1.25, "share_above_3": 0.0123}, "verdict": "Nobody can say | whether <it> is right.",
        "provenance": {"seconds": seconds, "settings": {"evaluations": 2}}, "input_checks": [],
    }  # fmt: skip


def fake_run(failing: dict[str, Exception]) -> Any:
    """Stands for the runner; fails for the methods named."""

    def run(subject: Any, options: pipeline.Options, events: Events) -> Any:
        image = subject.image
        events.progress("enhance", 0, 1)
        if options.method in failing:
            raise failing[options.method]
        everywhere = np.ones(image.shape, dtype=bool)
        report = report_of(3.21, 4.56)
        return SimpleNamespace(before=image, enhanced=image, brain=everywhere, reference=None, report=report)

    return run


def unprepared(image: Image, *_: Any) -> Any:
    """Stands for the preparation: the fake runner takes the scan itself."""
    return SimpleNamespace(image=image, reference=None, orientation_doubts=())


MISSING = MissingModel("the weights of bridged_bridge are not installed")
