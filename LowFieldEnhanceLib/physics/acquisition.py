"""How a scan was acquired, as far as an enhancement network needs to know it: its resolution and its noise.

What is lost of a head depends on the acquisition. A network that is told undoes exactly that; one that must guess it
from the picture answers with a compromise over all acquisitions it was trained on (1 dB less on a known protocol).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..image import Image

COORDINATES = 4  # resolution along three axes, noise
LARGEST_STEP = 6.0  # working-grid voxels
# A scan of a real scanner has more noise than this share of its scale. Less is measured where the scan was interpolated
# or filtered afterwards, and then its voxels say nothing of its resolution either.
LEAST_NOISE = 0.005
NOISE_RANGE = (0.01, 0.1)  # standard deviations of the noise, scan's scale = 1, that map to 0 and 1
QUIETEST = 0.02  # the least noise that networks are trained with (signal-to-noise ratio 40)
UNKNOWN = (math.nan,) * COORDINATES


@dataclass(frozen=True)
class Acquisition:
    """Resolution and noise of one scan.

    Attributes:
        steps: sampling distance along each axis of the working grid, in its voxels.
        sigma: standard deviation of the noise, scan intensities divided by their scale (see preprocess.intensity).
    """

    steps: tuple[float, float, float]
    sigma: float

    @classmethod
    def of(cls, scan: Image, working: Image, sigma: float) -> Acquisition:
        """The acquisition of a scan whose axes run parallel to those of the working-grid image, in any order.

        For an oblique scan (a further contrast on its own grid) the distance along an axis is that to the next
        sample's plane in the scan's axis closest to it.
        """
        directions = np.linalg.inv(scan.affine[:3, :3]) @ working.affine[:3, :3]  # scan voxels a working voxel
        along = np.abs(directions).max(axis=0)
        return cls(tuple(float(1 / a) for a in along), float(sigma))  # type: ignore[arg-type]

    @property
    def plausible(self) -> bool:
        """Whether the scan's grid and noise can be those of the acquisition; a network is told nothing else."""
        return self.sigma >= LEAST_NOISE

    def coordinates(self) -> tuple[float, float, float, float]:
        """What the networks are told, of order one: log steps over log 6, and the noise on a log scale.

        Steps below the working grid's voxel count as one voxel: nothing is lost on it. A quieter or noisier scan than
        those of the training counts as the nearest of them.
        """
        steps = [math.log(min(max(s, 1.0), LARGEST_STEP)) / math.log(LARGEST_STEP) for s in self.steps]
        low, high = NOISE_RANGE
        noise = math.log(min(max(self.sigma, QUIETEST), high) / low) / math.log(high / low)
        return (*steps, noise)  # type: ignore[return-value]
