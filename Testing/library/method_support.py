"""What the tests of several methods say in the same words."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from LowFieldEnhanceLib.events import Events
from LowFieldEnhanceLib.methods.base import Case, Enhancement
from LowFieldEnhanceLib.methods.registry import get_method
from LowFieldEnhanceLib.preprocess.grid import canonical_grid, resample
from LowFieldEnhanceLib.preprocess.prepare import prepare


def the_seed_alone_decides(voxels: Callable[[int], np.ndarray], apart: float) -> None:
    """The same seed gives the same voxels whatever torch's own generator holds, another seed others.

    Args:
        voxels: seed to result.
        apart: by how much two seeds differ somewhere, at least.
    """
    torch.manual_seed(1)
    first = voxels(4)
    torch.manual_seed(2)
    np.testing.assert_array_equal(voxels(4), first)
    assert np.abs(voxels(5) - first).max() > apart


def cancelled_after(done: int) -> Events:
    """Events that cancel the run as soon as so many units of its work are done."""
    events = Events()

    def stop(event: dict) -> None:
        if event["done"] == done:
            events.cancel()

    events._sink = stop
    return events


def thick_slices(phantom) -> Case:  # noqa: ANN001
    """A thick-slice phantom scan on an 8 mm working grid: 22 x 26 x 22 voxels, an odd size for any network."""
    image, labels = phantom((22, 26, 22), (8.0, 8.0, 8.0), stripped=True)
    scan = resample(image, canonical_grid(image, (8.0, 8.0, 16.0)), "linear")
    prepared = prepare(scan, image, labels, sigma=20)
    return Case({"T1w": prepared.model_input}, "T1w", prepared.mask, prepared.measured, prepared.sigma / prepared.scale)


def run(name: str, preset: str, case: Case, seed: int = 0, events: Events | None = None) -> Enhancement:
    return get_method(name).enhance(case, preset, torch.Generator().manual_seed(seed), events or Events())


def constant_network(value: float, channels: int):
    """Stands for any weights: answers ``value`` everywhere."""

    class Constant(torch.nn.Module):
        multiple = 4

        def forward(self, x: torch.Tensor, noise: torch.Tensor | None = None) -> torch.Tensor:
            return torch.full((x.shape[0], channels, *x.shape[2:]), value)

    return Constant()
