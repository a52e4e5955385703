"""The networks of CSS-Diff's two generators, and how they start from the slice prior."""

from __future__ import annotations

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
    for name in ("acquisition.layers.2.weight", "acquisition.layers.2.bias", "context.weight", "context.bias"):
        if name in state:
            state[name].zero_()
