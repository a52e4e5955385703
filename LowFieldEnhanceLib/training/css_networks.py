"""The networks of CSS-Diff's two generators, and how they start from the slice prior."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..errors import BadInput
from ..physics.acquisition import COORDINATES
from . import css_sgp, slice_prior

ARCHITECTURE = {
    **slice_prior.ARCHITECTURE,
    "in_channels": 4,
    "coordinates": COORDINATES,
    "context": css_sgp.ARCHITECTURE["embedding"],
}
CONTEXT = ("context.weight", "context.bias")  # of a generator: how it listens to SGP
BACKWARD = {**ARCHITECTURE, "in_channels": 2}


def from_prior(generator: nn.Module, prior: dict[str, Tensor]) -> None:
    """Weights of the slice prior for a generator, which then denoises as the prior does.

    The condition, the acquisition and SGP's embedding start at zero.

    Raises:
        BadInput: the networks do not fit.
    """
    state = generator.state_dict()
    for name, value in prior.items():
        wide = state.get(name)
        if wide is not None and name == "stem.weight":
            wide.zero_()
            wide = wide[:, : value.shape[1]]
        if wide is None or wide.shape != value.shape:
            raise BadInput(f"the slice prior does not fit the generator at '{name}'")
        wide.copy_(value)
    for name in ("acquisition.layers.2.weight", "acquisition.layers.2.bias", *CONTEXT):
        if name in state:
            state[name].zero_()


def for_gap(generator: nn.Module, state: dict[str, Tensor]) -> tuple[dict[str, Tensor], bool]:
    """Weights of a generator for one whose SGP has an embedding of another length: it starts to listen at zero.

    Returns:
        The weights, and whether they were changed.
    """
    own = generator.state_dict()
    if all(name in own and name in state and own[name].shape == state[name].shape for name in CONTEXT):
        return state, False
    kept = {name: value for name, value in state.items() if name not in CONTEXT}
    return kept | {name: torch.zeros_like(own[name]) for name in CONTEXT if name in own}, True
