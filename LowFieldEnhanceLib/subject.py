"""One scan made ready for any number of methods: labelled, on the working grid, its reference beside it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .errors import BadInput
from .evaluation.lesions import marked_regions, outside_brain
from .events import Events
from .image import CHANNELS, ORIENTATION_DOUBT, Image, check_image, no_sides
from .methods.base import Case
from .options import Options
from .physics.acquisition import Acquisition
from .preprocess.grid import Grid, resample
from .preprocess.prepare import (
    Prepared,
    bring_others,
    others_to_model,
    prepare,
    prepare_others,
    regridded,
    to_working_grid,
)
from .preprocess.unwarp import Displacement, log_jacobian
from .reference import Reference, open_reference
from .segmentation.labels import LabelMap
from .segmentation.segmenter import Segmenter

SAME_SPACING_MM = 0.005


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
        lesions_outside: what of them lies outside the brain (evaluation.lesions.outside_brain); None without them.
        made_with: what of the user's choices and files has made the prepared scan, for the provenance.
        judged_with: name and SHA-256 of what results are judged by: reference, its labels, lesions (None: not given).
        contrasts, displacement: as given, for working grids other than that of ``prepared``.
        orientation_doubts: why the orientation is in doubt of the scan and of what came with it, a file each.
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
    made_with: Mapping[str, Any] = field(default_factory=dict)
    lesions_outside: Mapping[str, Any] | None = None
    contrasts: Mapping[str, Image] = field(default_factory=dict)
    displacement: Displacement | None = None
    judged_with: Mapping[str, Any] = field(default_factory=dict)
    orientation_doubts: tuple[str, ...] = ()

    @property
    def case(self) -> Case:
        """What a method gets that works on the grid of ``prepared``."""
        return Case.of(self.prepared, self.others, self.acquisitions, self.device, self.log_jacobian)

    def as_scanned(self, enhanced: Image, unwarps: bool) -> Image:
        """An enhanced volume with the intensities that the unwarping left in the scan, so that the two can be compared.

        Args:
            enhanced: on the working grid.
            unwarps: its method took the Jacobian determinant of the user's displacement field out of the intensities.
        """
        shading = self._shading if unwarps else None
        return enhanced if shading is None else enhanced.with_array(enhanced.array * shading)

    def corrected(self, scanned: Image, unwarps: bool) -> Image:
        """The reverse of :meth:`as_scanned`."""
        shading = self._shading if unwarps else None
        return scanned if shading is None else scanned.with_array(scanned.array / shading)

    @property
    def _shading(self) -> np.ndarray | None:
        return None if self.log_jacobian is None else np.exp(-self.log_jacobian).astype(np.float32)

    def case_on(self, spacing: float | None) -> Case:
        """What a method gets whose networks know voxels of one size alone.

        Args:
            spacing: mm; None, or that of ``prepared``, gives :attr:`case`. Otherwise the same scan on its canonical
                grid of that spacing, with the same scale, noise level and brain.
        """
        if spacing is None or np.allclose(self.prepared.on_grid.spacing, spacing, atol=SAME_SPACING_MM):
            return self.case
        prepared = regridded(self.prepared, spacing)
        others, acquisitions = prepare_others(self.contrasts, prepared)
        jacobian = None
        if self.displacement is not None:
            jacobian = log_jacobian(self.displacement, Grid.of(prepared.on_grid))
        return Case.of(prepared, others, acquisitions, self.device, jacobian)


def check_images(*images: Image | None) -> None:
    """Refuse what cannot be a scan before any work is done; None is an image that was not given."""
    for image in images:
        if image is not None:
            _check_kind(image, Image, "a scan", "read_image reads one from a file")
            check_image(image)


def check_companions(image: Image, contrasts: Mapping[str, Image] | None) -> None:
    """Refuse further contrasts that would take the place of the scan itself, or of no contrast that there is.

    Raises:
        BadInput: a name that is not T1w, T2w or FLAIR, that of the scan's own contrast, no :class:`Image`, or one that
            cannot be a scan.
    """
    for contrast, other in (contrasts or {}).items():
        if contrast not in CHANNELS:
            raise BadInput(f"'{contrast}' is no further contrast; name it {', '.join(CHANNELS)}")
        if contrast == image.contrast:
            raise BadInput(f"the scan to be enhanced is {contrast} itself, so no further contrast can be {contrast}")
        _check_kind(other, Image, f"the {contrast} scan", "read_image reads one from a file")
        check_image(other)


def _check_kind(given: Any, kind: type, what: str, advice: str) -> None:
    """Refuse a path, an array or anything else in the place of an object of this library; None was not given."""
    if given is not None and not isinstance(given, kind):
        raise BadInput(f"{what} must be of the class {kind.__name__} ({advice}), not {type(given).__name__}")


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
        options: its spacing, n4, sigma, fwhm, profile and register_reference are heeded.
        image, contrasts, reference, reference_labels, brain, lesions, events, displacement: see pipeline.enhance.

    Raises:
        BadInput: an argument of another class, a brain mask that is the scan itself, no brain was found, a contrast
            cannot be used, the lesions lie outside the brain, the reference cannot be registered, or LPIPS without a
            reference.
    """
    if options.lpips is not None and reference is None:
        raise BadInput("LPIPS compares with a reference, and none was given")
    _check_kind(brain, Image, "the brain mask", "read_image reads one from a file")
    if brain is not None and np.array_equal(brain.array, image.array):  # above 0.5 lies the head and most of the air
        raise BadInput("the brain mask is the scan itself; it has to be a map that is above 0.5 inside the brain alone")
    for given, what in ((lesions, "the lesions"), (reference_labels, "the reference's labels")):
        _check_kind(given, LabelMap, what, "read_labels reads one from a file")
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
    prepared = prepare(image, on_grid, labels, known, options.n4, options.sigma, events, options.fwhm, options.profile)
    if options.n4:  # its volumes are compared with those of the result, which starts from the corrected scan
        labels = segmenter.segment(prepared.on_grid, events)
    lost = None
    if lesions is not None:
        marked_regions(lesions, on_grid, prepared.brain)  # refused now, not after the work
        lost = outside_brain(lesions, on_grid, prepared.brain, events.check)
        if lost["regions"]:
            events.warning(f"{lost['text']}; a brain mask of your own that holds them lets them be followed")
    given = contrasts or {}
    companions = bring_others(given, prepared, events.warning)
    if options.n4:  # in training one bias field lay over all contrasts of a head
        companions = {name: other.without_bias(prepared.brain, events) for name, other in companions.items()}
    others, acquisitions = others_to_model(companions, prepared)
    contrasts = {name: other.image for name, other in companions.items()}
    found = None
    if reference is not None:
        found = open_reference(
            reference, reference_labels, prepared, labels, segmenter, options.register_reference, events
        )
    seconds = time.monotonic() - started
    made_with = {
        "contrast": image.known_contrast,
        "spacing": options.spacing,
        "n4": options.n4,
        "mirrored": options.mirrored,
        "sigma": options.sigma,
        "fwhm": None if options.fwhm is None else list(options.fwhm),
        "profile": options.profile,
        "further_contrasts_sha256": {name: other.sha256() for name, other in given.items()},
        "brain_mask_sha256": None if brain is None else brain.sha256(),
        "displacement": None if displacement is None else displacement.name,
        "displacement_sha256": None if displacement is None else displacement.sha256,
    }
    judged_with = {
        **file_and_sha256("reference", reference),
        **file_and_sha256("reference_labels", reference_labels),
        **file_and_sha256("lesions", lesions),
    }
    doubts = doubts_of(image, *given.values(), brain, reference, reference_labels, lesions, displacement)
    for doubt in doubts:
        events.warning(no_sides(doubt))
    return Subject(
        image, prepared, labels, segmenter, device, others, acquisitions, found, lesions, seconds, jacobian, made_with,
        lost, contrasts, displacement, judged_with, doubts,
    )  # fmt: skip


def doubts_of(*given: Image | LabelMap | Displacement | None) -> tuple[str, ...]:
    """Why the orientations in the headers of these files are in doubt, each once; None is what was not given."""
    found = [
        one.meta.get(ORIENTATION_DOUBT) if isinstance(one, Image) else one.orientation_doubt
        for one in given
        if one is not None
    ]
    return tuple(dict.fromkeys(filter(None, found)))


def file_and_sha256(what: str, given: Image | LabelMap | None) -> dict[str, str | None]:
    """For the provenance: ``<what>_file``, its name ("" if it was read from none), and ``<what>_sha256``, that of its
    voxels and geometry (:meth:`Image.sha256`); both None for what was not given.
    """
    if given is None:
        return {f"{what}_file": None, f"{what}_sha256": None}
    labels = isinstance(given, LabelMap)
    name = given.file if labels else str(given.meta.get("file", ""))
    return {f"{what}_file": name, f"{what}_sha256": (given.as_image() if labels else given).sha256()}
