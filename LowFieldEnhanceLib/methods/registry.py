"""All methods by name. A new method is one file in this folder and one line here."""

from __future__ import annotations

from ..errors import BadInput
from .base import Method
from .bm4d import Bm4d
from .bridged import BridgedDiffusion
from .classical import Interpolation
from .cssdiff import CssDiff
from .diffdeur import DiffDeur
from .dps import Dps
from .irem import Irem
from .latent import DistilledLatent
from .regression import RegressionUNet

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        BridgedDiffusion(),
        DiffDeur(),
        CssDiff(),
        DistilledLatent(),
        RegressionUNet(),
        Dps(),
        Irem(),
        Interpolation("cubic"),
        Interpolation("linear"),
        Bm4d(),
    )
}


def get_method(name: str) -> Method:
    """The method of that name.

    Raises:
        BadInput: there is none.
    """
    if name not in METHODS:
        raise BadInput(f"unknown method '{name}'; choose {', '.join(METHODS)}")
    return METHODS[name]
