"""The settings of a run."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .errors import BadInput
from .evaluation.lpips import read_lpips
from .physics.operator import check_profile
from .samples import MOST_SAMPLES, check_samples

SPACING_LIMITS_MM = (0.3, 5.0)
SEED_LIMITS = (-(2**63), 2**63 - 1 - MOST_SAMPLES)  # of torch's generators; sample n takes the seed plus n


@dataclass(frozen=True)
class Options:
    """Settings of a run.

    Attributes:
        method, preset: see ``lowfield-enhance methods``.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        seed: of all randomness, a whole number of 63 bits and a sign.
        spacing: of the output, mm, isotropic; networks work on the voxels that they know (1 mm), and then it is
            interpolated.
        brain_only: 0 outside the brain instead of the interpolated input; the volume is judged before that.
        n4: bias-field correction first.
        segment: label the enhanced image and report structures.
        mirrored: segment each image and its mirror image (see segmentation.segmenter).
        sigma: the user's noise level in the scan's units; None estimates it.
        fwhm: the user's full widths at half maximum of the point-spread function along the axes i, j, k of the scan,
            mm; None takes its spacing.
        profile: the scan's slice profile: ``gaussian``, ``box`` (of that full width) or ``point`` (of none).
        samples: 1 to 64; from 2 on the spread among them is reported (see samples.run_samples).
        data_consistency: project the result onto the acquired scan (see evaluation.data_consistency).
        register_reference: move the reference onto the scan first (rigid; see evaluation.registration).
        added_detail: map what the result shows beyond the scan (see evaluation.added_detail).
        lpips: file with the weights of SqueezeNet 1.1 (torchvision's layout), for LPIPS among the image scores against
            a reference; None leaves LPIPS out.

    Raises:
        BadInput: a number is none.
    """

    method: str = "bridged"
    preset: str = "fast"
    device: str = "auto"
    seed: int = 0
    spacing: float = 1.0
    brain_only: bool = False
    n4: bool = False
    segment: bool = True
    mirrored: bool = False
    sigma: float | None = None
    fwhm: tuple[float, float, float] | None = None
    profile: str = "gaussian"
    samples: int = 1
    data_consistency: bool = False
    register_reference: bool = False
    added_detail: bool = True
    lpips: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        """Numbers of NumPy become Python's own, which the provenance can hold."""
        for name, kind in (("seed", operator.index), ("samples", operator.index), ("spacing", float), ("sigma", float)):
            value = getattr(self, name)
            if value is not None or name != "sigma":
                object.__setattr__(self, name, _number(name, value, kind))
        if self.fwhm is not None:
            widths = self.fwhm if hasattr(self.fwhm, "__iter__") else (self.fwhm,)
            object.__setattr__(self, "fwhm", tuple(_number("fwhm", width, float) for width in widths))

    def check(self) -> None:
        """Refuse numbers that no run can have.

        Raises:
            BadInput: the spacing, the noise level, the point-spread function, the seed or the number of samples is out
                of its range, or the file for LPIPS cannot be used.
        """
        low, high = SPACING_LIMITS_MM
        if not low <= self.spacing <= high:
            raise BadInput(f"the output spacing {self.spacing:g} mm must be between {low:g} and {high:g} mm")
        if self.sigma is not None and not (math.isfinite(self.sigma) and self.sigma > 0):
            raise BadInput(f"the noise level {self.sigma:g} must be a number above 0")
        check_profile(self.fwhm, self.profile)
        check_seed(self.seed)
        check_samples(self.samples)
        if self.lpips is not None:
            read_lpips(self.lpips)


def check_seed(seed: int) -> None:
    """Raise :class:`BadInput` for a seed that torch's generators do not take (see :data:`SEED_LIMITS`)."""
    if not SEED_LIMITS[0] <= seed <= SEED_LIMITS[1]:
        raise BadInput(f"the seed {seed} is too large a number; choose one below {SEED_LIMITS[1]}")


def _number(name: str, value: Any, kind: Callable[[Any], float]) -> float:
    try:
        return kind(value)
    except (TypeError, ValueError) as error:
        whole = "a whole number" if kind is operator.index else "a number"
        raise BadInput(f"the option {name} must be {whole}, not {value!r}") from error
