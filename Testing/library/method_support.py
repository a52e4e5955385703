"""What the tests of several methods say in the same words."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from LowFieldEnhanceLib.events import Events


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
