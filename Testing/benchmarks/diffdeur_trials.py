"""What only diffdeur.py runs: BM3D of slices, an interpolation that is off, and DiffDeuR with parts replaced."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from LowFieldEnhanceLib.diffusion.samplers import gaussian_noise, hqs
from LowFieldEnhanceLib.events import Events
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.methods.base import Case, Enhancement
from LowFieldEnhanceLib.methods.bm4d import Bm4d
from LowFieldEnhanceLib.methods.classical import Interpolation
from LowFieldEnhanceLib.methods.diffdeur import (
    MODEL,
    SCHEDULE,
    DiffDeur,
    DiffDeurSettings,
    make_data_step,
    slice_prior,
)
from LowFieldEnhanceLib.methods.measurement import Measurement
from LowFieldEnhanceLib.networks.registry import build_network
from LowFieldEnhanceLib.preprocess.grid import Grid, resample
from LowFieldEnhanceLib.weight_files import read_weights
from LowFieldEnhanceLib.weights import load_network


class Bm3d(Bm4d):
    """Cubic interpolation, then BM3D of every axial slice alone (package bm4d with the settings of BM3D)."""

    name = "bm3d"
    title = "Cubic interpolation + BM3D"

    def enhance(self, case: Case, preset: str, generator: torch.Generator, events: Events) -> Enhancement:
        """See base.Method."""
        from bm4d import BM4DProfileBM3D, bm4d

        cubic = resample(case.measured, Grid.of(case.inputs[case.target]), "cubic")
        clean = np.empty_like(cubic.array)
        for k in range(clean.shape[2]):
            events.check()
            part = cubic.array[:, :, k : k + 1]
            clean[:, :, k] = np.reshape(bm4d(part, max(case.sigma, 1e-4), BM4DProfileBM3D()), part.shape[:2])
        return Enhancement(clean * 2 - 1, {"evaluations": 0, "sigma": case.sigma})


class HalfVoxelOff(Interpolation):
    """Cubic interpolation, half a voxel of the scan off along both axes of its slices.

    An array that is enlarged corner to corner, or with the edges of its voxels taken for their centres, ends there.
    """

    def __init__(self) -> None:
        super().__init__("cubic")

    def enhance(self, case: Case, preset: str, generator: torch.Generator, events: Events) -> Enhancement:
        """See base.Method."""
        scan = case.measured
        moved = np.eye(4)
        moved[:2, 3] = 0.5
        return super().enhance(
            replace(case, measured=Image(scan.array, scan.affine @ moved, scan.contrast, scan.meta)),
            preset, generator, events,
        )  # fmt: skip


class Trial(DiffDeur):
    """DiffDeuR with parts of it replaced.

    Args:
        settings: in the place of the presets'.
        network: the prior; None takes the registered one.
        start: image that is noised first, on the working grid and in the model range, instead of the scan.
        data: False leaves out the data steps.
    """

    def __init__(
        self,
        settings: DiffDeurSettings,
        network: nn.Module | None = None,
        start: Image | None = None,
        data: bool = True,
    ) -> None:
        super().__init__(settings)
        self.network, self.start, self.data = network, start, data

    def enhance(self, case: Case, preset: str, generator: torch.Generator, events: Events) -> Enhancement:
        """See base.Method; with nothing replaced, the voxels of DiffDeur."""
        settings = self._settings(preset)
        measurement = Measurement(case, settings.forward)
        network = self.network or load_network(MODEL, case.device)[0]
        image = case.inputs[case.target]
        if self.start is not None:  # the case is a part of the working grid
            image = resample(self.start, Grid.of(image), "nearest")
        start = torch.from_numpy(image.array).to(case.device)
        prior = slice_prior(network, case.target, settings.orientations, measurement.mask, events)
        data_step, _ = make_data_step(measurement, settings, generator, events)
        with torch.no_grad():
            estimate = hqs(
                prior, start, [float(SCHEDULE.sigma(t)) for t in settings.timesteps],
                data_step if self.data else lambda z, _: z,
                gaussian_noise(start.shape, generator, start.device), settings.fresh,
            )  # fmt: skip
        details = {**asdict(settings), "timesteps": settings.timesteps, "evaluations": settings.evaluations}
        return Enhancement(estimate.cpu().numpy(), details)


def prior_of(run: Path) -> nn.Module:
    """The slice prior of a run of the recipe slice_prior (its weights and training.json)."""
    architecture = json.loads((run / "training.json").read_text(encoding="utf-8"))["architecture"]
    network = build_network(architecture)
    network.load_state_dict(read_weights(run / f"{MODEL}.safetensors"))
    return network.to(memory_format=torch.channels_last_3d).eval().requires_grad_(False)
