"""Architecture dictionaries (as in models.json) to networks."""

from __future__ import annotations

from typing import Any

from torch import nn

from ..errors import BadInput
from .coarse_to_fine_unet import CoarseToFineUNet
from .companions import CompanionEncoder
from .edm_slice_unet import EdmSliceUNet
from .gap_perception import GapPerception
from .latent_autoencoder import LatentAutoencoder
from .latent_unet import LatentUNet
from .residual_unet import ResidualUNet
from .slice_unet import SliceUNet

KINDS: dict[str, type[nn.Module]] = {
    "residual_unet": ResidualUNet,
    "coarse_to_fine_unet": CoarseToFineUNet,
    "slice_unet": SliceUNet,
    "edm_slice_unet": EdmSliceUNet,
    "gap_perception": GapPerception,
    "latent_autoencoder": LatentAutoencoder,
    "latent_unet": LatentUNet,
    "companion_encoder": CompanionEncoder,
}


def build_network(architecture: dict[str, Any]) -> nn.Module:
    """A network with fresh weights from ``{"kind": ..., arguments ...}``.

    Raises:
        BadInput: unknown kind or arguments that do not fit it.
    """
    arguments = dict(architecture)
    kind = arguments.pop("kind", None)
    if kind not in KINDS:
        raise BadInput(f"unknown network kind '{kind}'; it must be one of {', '.join(KINDS)}")
    try:
        return KINDS[kind](**arguments)
    except TypeError as error:
        raise BadInput(f"the architecture of a '{kind}' network does not fit: {error}") from error
