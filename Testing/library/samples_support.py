"""What the tests of several results of one scan need: methods whose spread is known, a counting segmenter, a run."""

from __future__ import annotations

import numpy as np
import torch

from LowFieldEnhanceLib.events import Events
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.methods.base import Case, Enhancement
from LowFieldEnhanceLib.preprocess.prepare import Prepared
from LowFieldEnhanceLib.samples import Samples, run_samples
from LowFieldEnhanceLib.segmentation.labels import LabelMap

SD = 0.1  # in the model range


class Gaussian:
    """Mid-grey with noise of a known standard deviation, in steps that it reports."""

    title, steps = "Gaussian", 4

    def stochastic(self, preset: str) -> bool:
        return True

    def enhance(self, case: Case, preset: str, generator: torch.Generator, events: Events) -> Enhancement:
        for step in range(self.steps + 1):
            events.progress("enhance", step, self.steps)
        noise = torch.randn(case.shape, generator=generator).numpy()
        return Enhancement(SD * noise, {"evaluations": self.steps})


class Together(Gaussian):
    """The same, several samples at once; it notes how many."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def enhance_batch(
        self, case: Case, preset: str, generators: list[torch.Generator], events: Events
    ) -> list[Enhancement]:
        self.batches.append(len(generators))
        silent = Events()
        for step in range(self.steps + 1):
            events.progress("enhance", step, self.steps)
        return [self.enhance(case, preset, generator, silent) for generator in generators]


class Slanted:
    """A ramp along the array's first axis: as unlike to its mirror image as can be told by hand."""

    title = "Slanted"

    def stochastic(self, preset: str) -> bool:
        return False

    def enhance(self, case: Case, preset: str, generator: torch.Generator, events: Events) -> Enhancement:
        events.progress("enhance", 1, 1)
        ramp = np.linspace(-0.5, 0.5, case.shape[0], dtype=np.float32)[:, None, None]
        return Enhancement(np.broadcast_to(ramp, case.shape).copy())


class Threefold:
    """The mean of three volumes that are 0.1 apart."""

    title = "Threefold"

    def stochastic(self, preset: str) -> bool:
        return True

    def enhance(self, case: Case, preset: str, generator: torch.Generator, events: Events) -> Enhancement:
        events.progress("enhance", 1, 1)
        along = tuple(np.where(case.mask, np.float32(value), np.float32(-1)) for value in (0.1, 0.2, 0.3))
        return Enhancement(along[1], along=along)


class Counting:
    """A segmenter whose one structure holds 10, 20, 30 ... voxels."""

    def __init__(self) -> None:
        self.seen: list[Image] = []

    def segment(self, image: Image, events: Events) -> LabelMap:
        self.seen.append(image)
        array = np.zeros(image.shape, np.uint8)
        array.ravel()[: 10 * len(self.seen)] = 10
        return LabelMap(array, image.affine, {})


def run(method: object, case: Case, prepared: Prepared, samples: int, **settings: object) -> Samples:
    return run_samples(method, case, prepared, "fast", settings.pop("seed", 5), samples, **settings)
