"""Which device a run takes, and whether it computes what the processor computes.

A card may be there and still be of no use: a build of torch without code for its generation ("no kernel image is
available"), a card that another program holds, or Apple's convolutions, which on some systems answer wrong numbers
without a word (pytorch issues 141471, 197114).
"""

from __future__ import annotations

from copy import deepcopy
from functools import cache

import torch

from .errors import BadInput
from .events import Events
from .networks.residual_unet import ResidualUNet
from .networks.slice_unet import SliceUNet

KINDS = ("cuda", "mps", "cpu")  # the best first
TOLERANCE = 0.02  # of the largest value: ten times what convolutions in TensorFloat-32 are off
EDGE = 16  # voxels of the probe


def choose_device(name: str | torch.device = "auto", events: Events | None = None) -> str:
    """``auto`` -> the best device that is there and passes :func:`fault_of`.

    Args:
        name: ``auto``, ``cpu``, ``cuda``, ``mps``, one of several cards (``cuda:1``), or a device of torch.
        events: told by ``auto`` of a card that is passed over.

    Raises:
        BadInput: unknown, not available on this machine, or of no use.
    """
    name = str(name)
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        for kind in KINDS:
            fault = fault_of(kind) if available[kind] else None
            if fault is not None and events is not None:
                events.warning(f"the graphics card ({kind}) is not used, because {fault}")
            if available[kind] and fault is None:
                return kind
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in available:
        raise BadInput(f"unknown device '{name}'; choose auto, cpu, cuda or mps")
    missing = device.type == "cuda" and device.index is not None and device.index >= torch.cuda.device_count()
    if missing or not available[device.type]:
        raise BadInput(f"the device '{name}' is not available on this machine; use the CPU (--device cpu)")
    fault = fault_of(name)
    if fault is not None:
        raise BadInput(f"the device '{name}' cannot be used, because {fault}; use the CPU (--device cpu)")
    return name


@cache
def fault_of(device: str) -> str | None:
    """What is wrong with a device: two small networks, with the layers of the shipped ones, run there and on the CPU.

    Returns:
        The rest of a sentence, or None for a device that can be trusted. The CPU is not asked.
    """
    if device == "cpu":
        return None
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        volume = torch.randn(1, 1, EDGE, EDGE, EDGE)
        probes = (
            (ResidualUNet(1, 1, (64, 96), 1), ()),
            (SliceUNet((64, 96), 1), (torch.zeros(1), torch.zeros(1).long())),
        )
    try:
        with torch.no_grad():
            for network, more in probes:
                moved = deepcopy(network).to(device).to(memory_format=torch.channels_last_3d)
                wanted = network(volume, *more)
                found = moved(volume.to(device), *(x.to(device) for x in more)).cpu()
                if not bool((found - wanted).abs().max() <= TOLERANCE * wanted.abs().max()):  # nor if it is no number
                    return "it computes other numbers than the processor does"
    except (RuntimeError, AssertionError) as error:  # the latter from a torch that was built without such devices
        return f"it fails ({str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__})"
    return None
