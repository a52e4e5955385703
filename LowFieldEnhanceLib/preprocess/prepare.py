"""From a scan as acquired to the case a method works on, and from its result back to the scanner's scale."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from ..errors import BadInput
from ..events import Events
from ..image import Image
from ..physics.acquisition import Acquisition
from ..physics.noise import estimate_sigma
from ..segmentation.labels import WHITE_MATTER, LabelMap
from .bias_correction import n4_bias_field
from .brain import brain_mask, dilated, faded, feathered, is_stripped
from .grid import Grid, canonical_grid, field_of_view, resample, same_grid
from .intensity import MODEL_MIN, from_model, intensity_scale, to_model

MASK_MARGIN = 2
MIN_BRAIN_ML = 50.0
LEAST_COVER, WHOLE_COVER = 0.5, 0.95  # of the brain, by a further contrast
MOST_NEGATIVE = 0.2  # share of the brain's voxels; interpolation and filters leave some around dark fluid


@dataclass(frozen=True)
class Prepared:
    """A scan on the working grid.

    Attributes:
        acquired: the scan as read, bias-corrected if asked for.
        on_grid: the same, interpolated (cubic) to the working grid, never negative.
        brain: bool on the working grid.
        mask: the brain grown by 2 voxels: where methods work.
        scale: intensity that maps to model +1.
        sigma: noise level in the scan's units.
        sigma_source: ``background``, ``difference`` or ``user``.
        stripped: whether the scan shows the brain alone (see brain.is_stripped).
        fwhm, profile: the scan's point-spread function, see options.Options.
    """

    acquired: Image
    on_grid: Image
    brain: np.ndarray
    mask: np.ndarray
    scale: float
    sigma: float
    sigma_source: str
    stripped: bool
    fwhm: tuple[float, float, float] | None = None
    profile: str = "gaussian"

    @property
    def weight(self) -> np.ndarray:
        """Share of a result in the picture, 0 to 1: 1 in the brain, 0 outside the mask.

        Off the brain of a stripped scan lies nothing but what the scan smeared there, which a result may take back.
        In a whole head lie fluid and meninges, and the scan's own come through.
        """
        return feathered(self.mask) if self.stripped else faded(self.brain, MASK_MARGIN)

    @property
    def model_input(self) -> Image:
        """The working-grid image in the model range, -1 outside the mask."""
        return self.on_grid.with_array(to_model(self.on_grid.array * self.mask, self.scale))

    @property
    def acquisition(self) -> Acquisition:
        """How the scan was acquired."""
        return Acquisition.of(self.acquired, self.on_grid, self.sigma / self.scale)

    @property
    def noise_plausible(self) -> bool:
        """Whether the noise level can be a scanner's; else the scan was interpolated or filtered before it came."""
        return self.sigma_source == "user" or self.acquisition.plausible

    @property
    def measured(self) -> Image:
        """The acquired voxels divided by the scale."""
        return self.acquired.with_array(self.acquired.array / np.float32(self.scale))

    def back(self, enhanced: np.ndarray) -> Image:
        """A result in the model range -> the scanner's intensities; outside the brain the input."""
        weight = self.weight
        return self.on_grid.with_array(weight * from_model(enhanced, self.scale) + (1 - weight) * self.on_grid.array)

    def brain_alone(self, image: Image) -> Image:
        """A volume on the working grid, faded to 0 outside the brain."""
        return image.with_array(self.weight * image.array)

    def surrounded(self, image: Image) -> Image:
        """What :meth:`brain_alone` has left of a volume, with the input around it again."""
        return image.with_array(image.array + (1 - self.weight) * self.on_grid.array)

    def landing(self, grid: Grid, mask: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        """What brings results in the model range from a grid that a method worked on to the working grid (cubic).

        Outside the method's ``mask``, which on larger voxels ends before :attr:`weight` does, the scan's own values
        stand: the background there would leave a dark ring around the brain.
        """
        target = Grid.of(self.on_grid)
        if same_grid(grid, target):
            return lambda enhanced: enhanced
        own = to_model(resample(self.on_grid, grid, "cubic").array, self.scale)

        def land(enhanced: np.ndarray) -> np.ndarray:
            whole = np.where(mask, enhanced, own) - MODEL_MIN
            above = Image(np.ascontiguousarray(whole, dtype=np.float32), grid.affine)
            return resample(above, target, "cubic").array + MODEL_MIN  # outside of the method's grid: background

        return land

    def difference_back(self, difference: np.ndarray) -> np.ndarray:
        """A difference of results in the model range -> the scanner's unit, 0 outside the brain."""
        return self.weight * difference.astype(np.float32) * np.float32(self.scale / 2)


def to_working_grid(image: Image, spacing: float) -> Image:
    """The scan on its canonical grid, cubic, negative overshoot removed."""
    on_grid = resample(image, canonical_grid(image, spacing), "cubic")
    return on_grid.with_array(np.maximum(on_grid.array, 0.0))


def prepare(
    image: Image,
    on_grid: Image,
    labels: LabelMap | None,
    brain: np.ndarray | None = None,
    n4: bool = False,
    sigma: float | None = None,
    events: Events | None = None,
    fwhm: tuple[float, float, float] | None = None,
    profile: str = "gaussian",
) -> Prepared:
    """Mask, bias, scale and noise of one scan.

    Args:
        image: as acquired.
        on_grid: from :func:`to_working_grid`.
        labels: of ``on_grid``; may be None when ``brain`` is given.
        brain: a known brain mask on the working grid, instead of the labels'.
        n4: correct the bias field.
        sigma: the user's noise level; None estimates it.
        events: cancel.
        fwhm, profile: the user's point-spread function, see options.Options.

    Raises:
        BadInput: no brain of at least 50 mL was found or marked, more than a fifth of it is negative, or the user's
            noise level is not a number above 0.
    """
    if sigma is not None and not (math.isfinite(sigma) and sigma > 0):
        raise BadInput(f"the noise level {sigma:g} must be a number above 0")
    own = brain is not None
    if brain is None:
        if labels is None:
            raise BadInput("either labels or a brain mask is needed to prepare a scan")
        brain = brain_mask(labels)
    volume = float(brain.sum()) * on_grid.voxel_volume_ml
    if volume < MIN_BRAIN_ML and own:
        raise BadInput(f"the brain mask marks only {volume:.0f} mL of the scan; is it in the same frame of reference?")
    if volume < MIN_BRAIN_ML:
        raise BadInput(f"only {volume:.0f} mL of brain was found in the image; is this a head scan?")
    if n4:
        image, on_grid = without_bias(image, on_grid, brain, events)
    head = resample(on_grid.with_array(dilated(brain, 1).astype(np.float32)), Grid.of(image), "linear").array > 0.5
    _check_magnitude(image, head)
    scale = intensity_scale(on_grid.array, brain)
    source = "user"
    if sigma is None:
        sigma, source = estimate_sigma(image.array, head, None if labels is None else white_matter_of(labels, image))
    stripped = is_stripped(on_grid.array, brain, on_grid.spacing)
    grown = dilated(brain, MASK_MARGIN)
    return Prepared(image, on_grid, brain, grown, scale, float(sigma), source, stripped, fwhm, profile)


def without_bias(image: Image, on_grid: Image, brain: np.ndarray, events: Events | None = None) -> tuple[Image, Image]:
    """A scan as acquired, and on a grid where ``brain`` is known, both divided by the bias field that N4 finds."""
    field = n4_bias_field(on_grid, brain, events=events)
    at_scan = resample(on_grid.with_array(field), Grid.of(image), "linear").array
    return (
        image.with_array(image.array / np.where(at_scan > 0, at_scan, 1.0)),
        on_grid.with_array(on_grid.array / field),
    )


def white_matter_of(labels: LabelMap, image: Image) -> np.ndarray:
    """True where a voxel of the scan is mostly cerebral white matter."""
    inside = Image(np.isin(labels.array, WHITE_MATTER).astype(np.float32), labels.affine)
    return resample(inside, Grid.of(image), "linear").array > 0.5


def regridded(prepared: Prepared, spacing: float) -> Prepared:
    """The same scan on its canonical grid of another spacing (mm); scale, noise level and brain stay what they are."""
    on_grid = to_working_grid(prepared.acquired, spacing)
    inside = prepared.on_grid.with_array(prepared.brain.astype(np.float32))
    brain = resample(inside, Grid.of(on_grid), "linear").array > 0.5
    return replace(prepared, on_grid=on_grid, brain=brain, mask=dilated(brain, MASK_MARGIN))


@dataclass(frozen=True)
class Companion:
    """A further contrast of the same head.

    Attributes:
        image: as acquired.
        on_grid: the same, interpolated (cubic) to the working grid, never negative.
        field: bool on the working grid, what it shows.
        head: bool on the grid of ``image``, the brain grown by a voxel.
    """

    image: Image
    on_grid: Image
    field: np.ndarray
    head: np.ndarray

    def without_bias(self, brain: np.ndarray, events: Events | None = None) -> Companion:
        """Divided by its bias field, which N4 finds where it shows something of the brain (on the working grid)."""
        image, on_grid = without_bias(self.image, self.on_grid, brain & (self.on_grid.array > 0), events)
        return replace(self, image=image, on_grid=on_grid)


def bring_others(
    contrasts: Mapping[str, Image], main: Prepared, warn: Callable[[str], object] = lambda _: None
) -> dict[str, Companion]:
    """Further contrasts of the same head on the working grid, in their own intensities.

    Args:
        contrasts: scans in the same frame of reference.
        main: the scan that they belong to.
        warn: called with a sentence for each that does not show all of the brain.

    Raises:
        BadInput: one shows less than half of the brain, or is no magnitude scan.
    """
    grid = Grid.of(main.on_grid)
    grown = main.on_grid.with_array(dilated(main.brain, 1).astype(np.float32))
    found = {}
    for contrast, image in contrasts.items():
        on_grid = resample(image, grid, "cubic")
        field = field_of_view(image, grid)
        cover = float(field[main.brain].mean())
        said = f"the {contrast} scan shows {cover:.0%} of the brain that is in the scan to be enhanced"
        if cover < LEAST_COVER:
            raise BadInput(f"{said}; is it of the same head, in the same frame of reference?")
        if cover < WHOLE_COVER:
            warn(f"{said}; outside of it the result can use it no more than if it were dark there")
        head = resample(grown, Grid.of(image), "linear").array > 0.5
        _check_magnitude(image, head)
        found[contrast] = Companion(image, on_grid.with_array(np.maximum(on_grid.array, 0.0)), field, head)
    return found


def others_to_model(
    companions: Mapping[str, Companion], main: Prepared
) -> tuple[dict[str, Image], dict[str, Acquisition]]:
    """Further contrasts in the model range, and how they were acquired."""
    others, acquisitions = {}, {}
    for contrast, one in companions.items():
        scale = intensity_scale(one.on_grid.array, main.brain & one.field)
        others[contrast] = one.on_grid.with_array(to_model(one.on_grid.array * main.mask, scale))
        sigma, _ = estimate_sigma(one.image.array, one.head)
        acquisitions[contrast] = Acquisition.of(one.image, one.on_grid, sigma / scale)
    return others, acquisitions


def prepare_others(
    contrasts: Mapping[str, Image], main: Prepared, warn: Callable[[str], object] = lambda _: None
) -> tuple[dict[str, Image], dict[str, Acquisition]]:
    """Further contrasts on the working grid in the model range; see :func:`bring_others`, :func:`others_to_model`."""
    return others_to_model(bring_others(contrasts, main, warn), main)


def _check_magnitude(image: Image, head: np.ndarray) -> None:
    """Refuse intensities that were shifted, as z-scores are: below 0 all anatomy would be lost."""
    negative = float((image.array[head] < 0).mean()) if head.any() else 0.0
    if negative > MOST_NEGATIVE:
        raise BadInput(
            f"{negative:.0%} of the brain's intensities are negative, so this is no magnitude scan (was it normalised "
            "to z-scores?); give the scan as the scanner wrote it"
        )
