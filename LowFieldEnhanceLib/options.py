"""The settings of a run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral

from .errors import BadInput
from .samples import check_samples

SPACING_LIMITS_MM = (0.3, 5.0)
SEEDS = 2**63  # torch takes them up to 2^64; samples go on from the seed


@dataclass(frozen=True)
class Options:
    """Settings of a run.

    Attributes:
        method, preset: see ``lowfield-enhance methods``.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        seed: of all randomness, from -2^63 to 2^63 - 1.
        spacing: of the output, mm, isotropic; networks work on the voxels that they know (1 mm), and then it is
            interpolated.
        brain_only: 0 outside the brain instead of the interpolated input.
        n4: bias-field correction first.
        segment: label the enhanced image and report structures.
        sigma: the user's noise level in the scan's units; None estimates it.
        samples: 1 to 64; from 2 on the spread among them is reported (see samples.run_samples).
        data_consistency: project the result onto the acquired scan (see evaluation.data_consistency).
        register_reference: move the reference onto the scan first (rigid; see evaluation.registration).
        added_detail: map what the result shows beyond the scan (see evaluation.added_detail).
    """

    method: str = "bridged"
    preset: str = "fast"
    device: str = "auto"
    seed: int = 0
    spacing: float = 1.0
    brain_only: bool = False
    n4: bool = False
    segment: bool = True
    sigma: float | None = None
    samples: int = 1
    data_consistency: bool = False
    register_reference: bool = False
    added_detail: bool = True

    def check(self) -> None:
        """Refuse numbers that no run can have.

        Raises:
            BadInput: the spacing, the seed, the noise level or the number of samples is out of its range.
        """
        low, high = SPACING_LIMITS_MM
        if not low <= self.spacing <= high:
            raise BadInput(f"the output spacing {self.spacing:g} mm must be between {low:g} and {high:g} mm")
        if not isinstance(self.seed, Integral) or not -SEEDS <= self.seed < SEEDS:
            raise BadInput(f"the seed {self.seed} must be a whole number from -2^63 to 2^63 - 1")
        if self.sigma is not None and not (math.isfinite(self.sigma) and self.sigma > 0):
            raise BadInput(f"the noise level {self.sigma:g} must be a number above 0")
        check_samples(self.samples)
