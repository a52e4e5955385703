"""Smooth multiplicative bias field of the receive coil."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .separable import SeparableOperator, cubic_matrix


def random_bias_field(
    shape: tuple[int, int, int],
    strength: float,
    generator: torch.Generator | None = None,
    knots: int = 4,
) -> Tensor:
    """exp of a smooth random field.

    Args:
        shape: voxels of the field.
        strength: standard deviation of the log field at its knots (0 gives ones; 0.1 is about +-10 %).
        generator: source of randomness.
        knots: control points along each axis.

    Returns:
        float32 of the given shape, positive, geometric mean near 1.
    """
    coarse = strength * torch.randn(knots, knots, knots, generator=generator)
    matrices = [cubic_matrix(np.linspace(0, knots - 1, n), knots) for n in shape]
    field = SeparableOperator(matrices)(coarse)
    return torch.exp(field - field.mean())
