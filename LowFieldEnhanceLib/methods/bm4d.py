"""Cubic interpolation + BM4D, in a child process: the package's calls take minutes and cannot be interrupted.

The package ``bm4d`` is free for non-commercial use alone, and no part of this project.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from ..errors import BadInput, OutOfMemory
from ..events import Events
from ..image import CONTRASTS
from ..interpreter import python_executable
from ..preprocess.grid import Grid, resample
from .base import Case, Cost, Enhancement, check_preset
from .bm4d_stage import NO_MEMORY

POLL_SECONDS = 0.1
LEAST_SIGMA = 1e-4  # of an image in [0, 1]
SCRIPT = Path(__file__).with_name("bm4d_stage.py")


class Bm4d:
    """Cubic interpolation, then BM4D at the noise level of the acquired voxels."""

    name = "bm4d"
    title = "Cubic interpolation + BM4D"
    summary = (
        "Cubic interpolation, then BM4D denoising at the scan's measured noise level; its package is free for "
        "non-commercial use alone."
    )
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
        return Cost(0, int(np.prod(case.shape)) * 64, 25.0)

    def enhance(self, case: Case, preset: str, generator: torch.Generator, events: Events) -> Enhancement:
        """See base.Method.

        Raises:
            BadInput: the optional package bm4d is not installed.
            OutOfMemory: it lacked memory.
        """
        check_preset(self, preset)
        if importlib.util.find_spec("bm4d") is None:
            raise BadInput("BM4D needs the optional package bm4d: pip install 'lowfield-enhance[baselines]'")
        events.progress("enhance", 0, 2)
        cubic = resample(case.measured, Grid.of(case.inputs[case.target]), "cubic").array
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            np.save(folder / "image.npy", cubic)
            for stage in (1, 2):
                _run_stage(folder, max(case.sigma, LEAST_SIGMA), events)
                events.progress("enhance", stage, 2)
            clean = np.load(folder / "final.npy")
        return Enhancement(clean.astype(np.float32) * 2 - 1, {"evaluations": 0, "sigma": case.sigma})


def _run_stage(folder: Path, sigma: float, events: Events) -> None:
    """The next stage of the image in ``folder``; a cancel ends it.

    Raises:
        Cancelled, OutOfMemory: as they say.
        RuntimeError: it failed, with the last line of what it said.
    """
    hidden = getattr(subprocess, "CREATE_NO_WINDOW", 0)  # Windows would open a terminal
    with (
        open(folder / "said", "wb") as said,
        subprocess.Popen(
            [python_executable(), str(SCRIPT), json.dumps(sys.path), str(folder), str(sigma)],
            stdin=subprocess.PIPE,
            stdout=said,
            stderr=said,
            creationflags=hidden,
        ) as child,
    ):
        try:
            while _runs(child):
                events.check()
        finally:
            child.kill()
    if child.returncode in (NO_MEMORY, -9):  # the system ends a process for memory by SIGKILL
        raise OutOfMemory("BM4D lacked memory; choose a larger output spacing")
    if child.returncode:
        last = (folder / "said").read_text(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
        raise RuntimeError(f"BM4D ended with status {child.returncode}: {last[0]}")


def _runs(child: subprocess.Popen[bytes]) -> bool:
    try:
        child.wait(POLL_SECONDS)
    except subprocess.TimeoutExpired:
        return True
    return False
