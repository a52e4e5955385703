"""How far a result probably lies from the truth, voxel by voxel: told by a network that learned it from others.

The spread among several results is what a method itself is unsure of; what all of them miss does not show in it. This
network sees the scan and the result, and was trained on simulated scans, whose truth is known, to say how large
|result - truth| is on average and which value it does not exceed in 95 % of such places (quantile regression, Koenker
and Bassett, Econometrica 1978;46:33; as an interval of an image: Angelopoulos et al., ICML 2022).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ..networks.windows import WindowedNetwork
from ..weights import load_network
from .base import Case, Method

NETWORK = "expected_deviation"
HELD = 0.95  # share of the truth within the limit
TYPICAL = math.log(0.07)  # of |result - truth| in the model range, where the network's first answer is 0
RATIO = math.log(2.7)  # of the limit to the mean, where its second answer is 0
LARGEST = math.log(2.0)  # the model range


def has_uncertainty(method: Method, preset: str, samples: int) -> bool:
    """Whether a run ends with an uncertainty map: of several samples, or of a method that has one for a single one."""
    return samples > 1 or preset in (*getattr(method, "spreads", ()), *getattr(method, "expects", ()))


def expecting(method: Method, preset: str, samples: int) -> tuple[str, ...]:
    """The network that tells the expected deviation of a single result, if it was trained on such results."""
    return (NETWORK,) if samples == 1 and preset in getattr(method, "expects", ()) else ()


def mean_and_limit(answer: Tensor) -> tuple[Tensor, Tensor]:
    """What the network's answer says: the mean of |result - truth| and what 95 % of it do not exceed.

    Args:
        answer: (B, 2, I, J, K): logarithms of the mean over a typical one, and of their ratio over a typical ratio.

    Returns:
        mean, limit: (B, 1, I, J, K), model range, above 0.
    """
    mean = (TYPICAL + answer[:, :1]).clamp(-8.0, LARGEST)
    return mean.exp(), (mean + RATIO + answer[:, 1:]).clamp(-8.0, LARGEST).exp()


def deviation_limit(case: Case, result: np.ndarray, check: Callable[[], None] | None = None) -> np.ndarray:
    """What |result - truth| does not exceed in 95 % of such places: float32 on the working grid, model range, 0 outside
    the mask.

    Args:
        case: that the method was given.
        result: on the case's grid, model range.
        check: called again and again; raises to cancel.

    Raises:
        MissingModel, CorruptModel, OutOfMemory: see errors.
    """
    network, _ = load_network(NETWORK, case.device)
    inner, place = case.cropped()
    pair = np.stack([inner.inputs[case.target].array, result[place]])
    told = inner.told()[:, case.channel_of(case.target)]
    answer = WindowedNetwork(network, check=check)(torch.from_numpy(pair)[None].to(case.device), told)
    _, limit = mean_and_limit(answer)
    whole = np.zeros(result.shape, dtype=np.float32)
    whole[place] = limit[0, 0].cpu().numpy() * inner.mask
    return whole
