"""Interpolation: what a scan looks like without any learning."""

from __future__ import annotations

import numpy as np
import torch

from ..events import Events
from ..image import CONTRASTS
from ..preprocess.grid import Grid, resample
from .base import Case, Cost, Enhancement, check_preset


class Interpolation:
    """Linear or cubic interpolation of the acquired voxels."""

    citation = "Keys, IEEE TASSP 1981 (cubic convolution)."
    kind = "baseline"
    contrasts = CONTRASTS
    presets = ("fast",)
    models = ()

    def __init__(self, order: str) -> None:
        self.name = order
        self.title = f"{order.capitalize()} interpolation"
        self.summary = f"{order.capitalize()} interpolation of the scan to the output grid; nothing is added."

    def stochastic(self, preset: str) -> bool:
        """Nothing is drawn."""
        return False

    def cost(self, case: Case, preset: str) -> Cost:
        """No network; a fraction of a second."""
        check_preset(self, preset)
        return Cost(0, int(np.prod(case.shape)) * 16, 0.5)

    def enhance(self, case: Case, preset: str, generator: torch.Generator, events: Events) -> Enhancement:
        """See base.Method."""
        check_preset(self, preset)
        events.progress("enhance", 0, 1)
        array = resample(case.measured, Grid.of(case.inputs[case.target]), self.name).array * 2 - 1
        events.progress("enhance", 1, 1)
        return Enhancement(array, {"evaluations": 0})
