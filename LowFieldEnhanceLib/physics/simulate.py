"""A low-field scan of a high-field one: contrast, bias, slice profile, sampling, noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from ..errors import BadInput
from ..image import MAX_SPACING_MM, MIN_SPACING_MM, Image
from ..preprocess.grid import Grid, canonical_grid, same_grid
from ..segmentation.labels import LabelMap
from .bias import random_bias_field
from .contrast import apply_field_contrast
from .noise import add_noise
from .operator import ForwardOperator

MOST_FILTERED = 5.0  # voxels
MOST_BIAS = 1.0  # of the logarithm: a factor of e


@dataclass(frozen=True)
class Protocol:
    """A low-field acquisition.

    Attributes:
        spacing: of the scan along R, A, S (the closest axes of an oblique head), mm.
        snr: white-matter (or reference) intensity over the noise's standard deviation; infinity for none.
        profile: slice profile, see physics.separable.
        fwhm: of the PSF along each axis, mm; None takes the spacing.
        noise: ``rician`` or ``gaussian``.
        bias: standard deviation of the log bias field's knots.
        contrast: strength of the change to low-field contrast (needs labels; physics.contrast: sequences of a 64 mT
            scanner, relaxation times of 50 mT); 0 leaves the contrast as it is.
        filtered: full width at half maximum, in voxels of the scan, of the Gaussian filter that the scanner sends the
            image through: it widens the PSF and makes the noise of neighbours alike; 0 for none. The SNR is that after
            the filter.
    """

    spacing: tuple[float, float, float] = (1.6, 1.6, 5.0)
    snr: float = 20.0
    profile: str = "gaussian"
    fwhm: tuple[float, float, float] | None = None
    noise: str = "rician"
    bias: float = 0.0
    contrast: float = 0.0
    filtered: float = 0.0

    def check(self) -> None:
        """Refuse what no scanner can be set to, before any work.

        Raises:
            BadInput: a number out of its range, or a point with a filter.
        """
        if not (self.snr > 0 and all(MIN_SPACING_MM <= s <= MAX_SPACING_MM for s in self.spacing)):
            raise BadInput("a low-field protocol needs a positive SNR and a spacing between 0.05 and 20 mm")
        if not (0 <= self.bias <= MOST_BIAS and math.isfinite(self.contrast)):
            raise BadInput(
                f"a bias field of {self.bias:g} (0 to {MOST_BIAS:g}) or a contrast change of {self.contrast:g} "
                "cannot be simulated"
            )
        if self.fwhm is not None and not all(math.isfinite(width) and width > 0 for width in self.fwhm):
            raise BadInput("the widths of a point spread function must be above 0 mm")
        if not 0 <= self.filtered <= MOST_FILTERED:
            raise BadInput(f"a scanner's filter is between 0 and {MOST_FILTERED:g} voxels wide, not {self.filtered:g}")
        if self.filtered and self.profile == "point":
            raise BadInput("a point has no width that a scanner's filter could widen; choose a gaussian or box profile")


def simulate(
    image: Image,
    protocol: Protocol | None = None,
    seed: int = 0,
    labels: LabelMap | None = None,
    signal_level: float | None = None,
) -> Image:
    """Simulate a low-field scan.

    Args:
        image: high-field scan, non-negative.
        protocol: of the low-field scanner.
        seed: of noise and bias.
        labels: of ``image`` on its grid, for the contrast change and the signal level.
        signal_level: intensity that the SNR refers to. Default: mean of the labelled white matter, else the 75th
            percentile of the foreground.

    Returns:
        The scan on its own grid, in the intensity unit of ``image``.

    Raises:
        BadInput: impossible protocol, labels on another grid, or a contrast change without labels.
    """
    protocol = protocol or Protocol()
    protocol.check()
    if labels is not None and not same_grid(Grid(labels.array.shape, labels.affine), Grid.of(image)):
        raise BadInput("the label map lies on another grid than the head; resample it first")
    if protocol.contrast and labels is None:
        raise BadInput("changing the tissue contrast needs a label map of the head")
    if signal_level is None:
        signal_level = reference_level(image, labels)
    if protocol.contrast and labels is not None:
        image = apply_field_contrast(image, labels, protocol.contrast)
    generator = torch.Generator().manual_seed(seed)
    volume = torch.from_numpy(np.maximum(image.array, 0))
    if protocol.bias:
        volume = volume * random_bias_field(image.shape, protocol.bias, generator)
    grid = canonical_grid(image, protocol.spacing)
    widths = np.hypot(protocol.fwhm or protocol.spacing, np.multiply(protocol.filtered, protocol.spacing))
    operator = ForwardOperator(
        image.shape, image.affine, grid.shape, grid.affine, [float(w) for w in widths], protocol.profile
    )
    low = operator(volume)
    if math.isfinite(protocol.snr):
        along = (protocol.filtered,) * 3 if protocol.filtered else None
        low = add_noise(low, signal_level / protocol.snr, protocol.noise, generator, along)
    return Image(low.numpy(), grid.affine, image.contrast, {"simulated": True})


def reference_level(image: Image, labels: LabelMap | None) -> float:
    """The intensity an SNR refers to: labelled white-matter mean, else the foreground's 75th percentile."""
    if labels is not None and labels.array.shape == image.shape:
        white = np.isin(labels.array, (2, 41))
        if white.any():
            return float(image.array[white].mean())
    foreground = image.array[image.array > 0.1 * float(np.percentile(image.array, 99))]
    return float(np.percentile(foreground, 75))
