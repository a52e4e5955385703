"""One scan made ready for any number of methods: labelled, on the working grid, its reference beside it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .evaluation.lesions import marked_regions
from .evaluation.overlap import dice
from .evaluation.registration import Registration, register_rigid
from .events import Events
from .image import Image, check_image
from .methods.base import Case
from .options import Options
from .physics.acquisition import Acquisition
from .preprocess.brain import brain_mask
from .preprocess.grid import Grid, resample
from .preprocess.prepare import Prepared, prepare, prepare_others, to_working_grid
from .preprocess.unwarp import Displacement, log_jacobian
from .segmentation.labels import LabelMap
from .segmentation.segmenter import Segmenter

POOR_OVERLAP = 0.8  # Dice of two masks of the same brain, scanned and segmented twice, is above 0.9


@dataclass(frozen=True)
class Reference:
    """A high-field scan on the working grid.

    Attributes:
        image: 0 outside its field of view.
        labels: on the same grid.
        overlap: Dice of its brain with that of the scan, 0..1.
        registration: how it was moved; None if its own frame of reference was taken as it is.
    """

    image: Image
    labels: LabelMap
    overlap: float
    registration: Registration | None

    def summary(self) -> dict[str, Any]:
        """The report's block ``registration``."""
        moved = None if self.registration is None else self.registration.summary()
        return {"registered": moved is not None, "brain_overlap_dice": self.overlap, "rigid": moved}


@dataclass(frozen=True)
class Subject:
    """Everything about a scan that no method changes.

    Attributes:
        image: as read.
        prepared: on the working grid, with mask, noise and scale.
        labels: its segmentation.
        segmenter: for the results.
        device: torch device.
        others, acquisitions: further contrasts on the working grid in the model range, and how they were acquired.
        reference: None without one.
        lesions: regions to follow, on any grid of the same frame of reference; None without them.
        seconds: that all this took.
        log_jacobian: of the user's displacement field on the working grid; None without one.
    """

    image: Image
    prepared: Prepared
    labels: LabelMap
    segmenter: Segmenter
    device: str
    others: Mapping[str, Image]
    acquisitions: Mapping[str, Acquisition]
    reference: Reference | None
    lesions: LabelMap | None
    seconds: float
    log_jacobian: np.ndarray | None = None

    @property
    def case(self) -> Case:
        """What a method gets."""
        return Case.of(self.prepared, self.others, self.acquisitions, self.device, self.log_jacobian)


def check_images(*images: Image | None) -> None:
    """Refuse what cannot be a scan before any work is done; None is an image that was not given."""
    for image in images:
        if image is not None:
            check_image(image)


def open_subject(
    image: Image,
    segmenter: Segmenter,
    device: str,
    options: Options,
    contrasts: Mapping[str, Image] | None = None,
    reference: Image | None = None,
    reference_labels: LabelMap | None = None,
    brain: Image | None = None,
    lesions: LabelMap | None = None,
    events: Events | None = None,
    displacement: Displacement | None = None,
) -> Subject:
    """Segment and prepare the scan and whatever came with it.

    Args:
        segmenter, device: of all networks.
        options: its spacing, n4, sigma and register_reference are heeded.
        image, contrasts, reference, reference_labels, brain, lesions, events, displacement: see pipeline.enhance.

    Raises:
        BadInput: no brain was found, a contrast cannot be used, the lesions lie outside the brain, or the reference
            cannot be registered.
    """
    events = events or Events()
    started = time.monotonic()
    on_grid = to_working_grid(image, options.spacing)
    jacobian = None if displacement is None else log_jacobian(displacement, Grid.of(on_grid))
    events.progress("segment the input", 0, 1)
    labels = segmenter.segment(on_grid, events)
    # the user's brain mask, if given, instead of the segmenter's
    known = None
    if brain is not None:  # above 0.5 is brain, whatever its value: 1, 255 or a label
        inside = brain.with_array((brain.array > 0.5).astype(np.float32))
        known = resample(inside, Grid.of(on_grid), "linear").array > 0.5
    prepared = prepare(image, on_grid, labels, known, n4=options.n4, sigma=options.sigma)
    if lesions is not None:
        marked_regions(lesions, on_grid, prepared.brain)  # refused now, not after the work
    others, acquisitions = prepare_others(contrasts or {}, prepared)
    found = None
    if reference is not None:
        found = _reference(reference, reference_labels, prepared, segmenter, options.register_reference, events)
    seconds = time.monotonic() - started
    return Subject(image, prepared, labels, segmenter, device, others, acquisitions, found, lesions, seconds, jacobian)


def _reference(
    image: Image,
    labels: LabelMap | None,
    prepared: Prepared,
    segmenter: Segmenter,
    register: bool,
    events: Events,
) -> Reference:
    """Reference image and labels on the working grid."""
    grid, moved = Grid.of(prepared.on_grid), None
    if register:
        moved = register_rigid(image, prepared.on_grid, events, prepared.brain)
        image = moved.moved
        if labels is not None:
            labels = LabelMap(labels.array, np.linalg.inv(moved.matrix) @ labels.affine, labels.confidence)
    on_grid = resample(image, grid, "cubic")
    if labels is None:
        events.progress("segment the reference", 0, 1)
        found = segmenter.segment(on_grid, events)
    else:
        nearest = resample(labels.as_image(), grid, "nearest")
        found = LabelMap(np.round(nearest.array).astype(np.uint8), grid.affine, labels.confidence)
    overlap = dice(prepared.brain, brain_mask(found))
    if overlap < POOR_OVERLAP:
        advice = "" if register else "; if it was taken in another position, use --register"
        events.warning(
            f"the brain of the reference and that of the scan overlap poorly (Dice {overlap:.2f}), so comparisons with "
            f"it mean little{advice}"
        )
    return Reference(on_grid, found, overlap, moved)
