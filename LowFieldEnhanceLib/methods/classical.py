"""Interpolation and BM4D: what a scan looks like without any learning."""

from __future__ import annotations

import importlib.util

import numpy as np
import torch

from ..errors import BadInput
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
        return Cost(0, 0, int(np.prod(case.shape)) * 16, 0.5)

    def enhance(self, case: Case, preset: str, generator: torch.Generator, events: Events) -> Enhancement:
        """See base.Method."""
        check_preset(self, preset)
        events.progress("enhance", 0, 1)
        array = resample(case.measured, Grid.of(case.inputs[case.target]), self.name).array * 2 - 1
        events.progress("enhance", 1, 1)
        return Enhancement(array, {"evaluations": 0})


class Bm4d:
    """Cubic interpolation, then BM4D at the noise level of the acquired voxels."""

    name = "bm4d"
    title = "Cubic interpolation + BM4D"
    summary = "Cubic interpolation, then BM4D denoising at the scan's measured noise level."
    citation = "Maggioni et al., IEEE TIP 2013 (BM4D); package bm4d."
    kind = "baseline"
    contrasts = CONTRASTS
    presets = ("fast",)
    models = ()

    def stochastic(self, preset: str) -> bool:
        """Nothing is drawn."""
        return False

    def cost(self, case: Case, preset: str) -> Cost:
        """About 25 s on two cores, most of it in the block matching."""
        check_preset(self, preset)
        return Cost(0, 0, int(np.prod(case.shape)) * 64, 25.0)

    def enhance(self, case: Case, preset: str, generator: torch.Generator, events: Events) -> Enhancement:
        """See base.Method.

        Raises:
            BadInput: the optional package bm4d is not installed.
        """
        check_preset(self, preset)
        if importlib.util.find_spec("bm4d") is None:
            raise BadInput("BM4D needs the optional package bm4d: pip install 'lowfield-enhance[baselines]'")
        from bm4d import bm4d

        events.progress("enhance", 0, 1)
        grid = Grid.of(case.inputs[case.target])
        cubic = resample(case.measured, grid, "cubic")
        clean = np.asarray(bm4d(cubic.array, max(case.sigma, 1e-4)), dtype=np.float32)
        events.progress("enhance", 1, 1)
        return Enhancement(clean * 2 - 1, {"evaluations": 0, "sigma": case.sigma})
