"""The whole way of one scan: the single function that the panel, the console, the command line and batch call."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .devices import choose_device
from .earlier_run import take_over
from .errors import BadInput, memory_told
from .evaluation.data_consistency import make_consistent
from .evaluation.input_checks import check_shown, failed_checks
from .events import Events
from .image import Image, no_sides
from .image_io import DERIVED
from .judge import Result, judge, shown_part
from .methods.base import models_of
from .methods.expected_deviation import expecting
from .methods.registry import get_method
from .options import Options
from .preprocess.brain import is_stripped
from .preprocess.grid import Grid, resample, same_grid
from .preprocess.prepare import Prepared
from .preprocess.unwarp import Displacement
from .samples import run_samples
from .segmentation.labels import LabelMap
from .segmentation.segmenter import Segmenter
from .subject import Subject, check_companions, check_images, doubts_of, file_and_sha256, open_subject
from .weights import ModelInfo, common_range, foreign, model_info

__all__ = [
    "Options",
    "Result",
    "assess",
    "choose_device",
    "enhance",
    "enhance_subject",
    "subject_of",
    "tell_doubts",
]

UNKNOWN = {"method": "unknown (an existing volume)", "title": "Existing volume"}
# What a report on an existing volume says of the run that made it, as if that run had written it.
WHO = ("method", "title", "citation", "preset", "seed", "weights", "licences")


@memory_told()
def enhance(
    image: Image,
    options: Options | None = None,
    contrasts: Mapping[str, Image] | None = None,
    reference: Image | None = None,
    reference_labels: LabelMap | None = None,
    brain: Image | None = None,
    events: Events | None = None,
    lesions: LabelMap | None = None,
    displacement: Displacement | None = None,
) -> Result:
    """Enhance one scan and report on it.

    Args:
        image: the low-field scan; its ``contrast`` should be set.
        options: see :class:`Options`.
        contrasts: further contrasts of the same head, same frame of reference, by name (T1w, T2w or FLAIR).
        reference: a high-field scan of the head; turns "change" into "error". In the same frame of reference, unless
            ``options.register_reference`` is set.
        reference_labels: its labels, if known (else it is segmented).
        brain: the user's brain mask (above 0.5 is brain), in the scan's frame of reference, instead of the segmenter's.
        events: progress, warnings and cancel; ``Events(print)`` shows them, without it they are dropped.
        lesions: regions to follow (values above 0), in the scan's frame of reference.
        displacement: with which the scan was unwarped (gradient nonlinearity, without correction of its intensities).

    Raises:
        BadInput, MissingModel, CorruptModel, OutOfMemory, Cancelled: see errors.
    """
    options, events = options or Options(), events or Events()
    if not isinstance(options, Options):
        raise BadInput(f"the options must be Options(method=..., preset=...), not {type(options).__name__}")
    check_images(image, reference)
    check_companions(image, contrasts)
    method = get_method(options.method)
    used = models_of(method, options.preset, bool(contrasts))
    choose_device(options.device)
    options.check()
    _models((*used, *expecting(method, options.preset, options.samples)))  # a missing one ends the run here
    if displacement is not None and not getattr(method, "unwarps", False):
        events.warning(f"{method.title} does not use the displacement field; the method 'latent' does")
    subject = subject_of(image, options, contrasts, reference, reference_labels, brain, events, lesions, displacement)
    result = enhance_subject(subject, options, events)
    tell_doubts(subject, [result.report], events)
    return result


@memory_told()
def subject_of(
    image: Image,
    options: Options,
    contrasts: Mapping[str, Image] | None = None,
    reference: Image | None = None,
    reference_labels: LabelMap | None = None,
    brain: Image | None = None,
    events: Events | None = None,
    lesions: LabelMap | None = None,
    displacement: Displacement | None = None,
) -> Subject:
    """The part of :func:`enhance` that is the same for every method; its arguments."""
    events = events or Events()
    check_images(image, reference)
    if image.contrast == "other":
        events.warning("the contrast of the scan is unknown; it is taken for T1w")
        image = image.taken_for_t1w()
    check_companions(image, contrasts)
    options.check()
    device = choose_device(options.device, events)
    events.progress("read", 0, 1, device=device)
    segmenter = Segmenter(device, options.mirrored)
    return open_subject(
        image, segmenter, device, options, contrasts, reference, reference_labels, brain, lesions, events, displacement
    )


@memory_told()
def enhance_subject(subject: Subject, options: Options, events: Events | None = None) -> Result:
    """The rest of :func:`enhance`; of the options, those that :func:`subject_of` has heeded are past."""
    events = events or Events()
    method = get_method(options.method)
    used = models_of(method, options.preset, bool(subject.others))
    told_by = expecting(method, options.preset, options.samples)
    models = _models((*used, *told_by))
    for sentence in foreign(models.values()):
        events.warning(sentence)
    started = time.monotonic()
    prepared = subject.prepared
    if subject.others and not getattr(method, "companions", False):
        events.warning(f"{method.title} uses the scan alone: what was given as {', '.join(subject.others)} is not used")
    trained = common_range(models.values())
    # the voxels that the method's networks know; the segmenter sees to its grid itself
    grid_mm = common_range(models[name] for name in used).get("grid_mm", (None,))[0]
    case = subject.case_on(grid_mm)
    if not same_grid(case.grid, Grid.of(prepared.on_grid)):
        events.warning(
            f"the networks of {method.title} know voxels of {grid_mm:g} mm; they work on those, and the result is "
            f"interpolated to {options.spacing:g} mm{_finer(options.spacing, grid_mm)}"
        )
    outcome = run_samples(
        method, case, prepared, options.preset, options.seed, options.samples,
        subject.segmenter if options.segment else None, events,
    )  # fmt: skip
    enhanced, consistency = outcome.enhanced, None
    unwarps = getattr(method, "unwarps", False)
    if options.data_consistency and not prepared.noise_plausible:
        events.warning(
            "the projection onto the scan was left out: it goes to within the scan's noise, which cannot be measured "
            "because the scan was interpolated or filtered before (give the noise level, --sigma, if you know it)"
        )
    elif options.data_consistency:
        events.progress("data consistency", 0, 1)
        projected, consistency = make_consistent(subject.as_scanned(enhanced, unwarps), prepared, events)
        if consistency.start is not None:
            consistency = replace(consistency, start=enhanced.array)
            enhanced = subject.corrected(projected, unwarps)
    provenance = {
        "derived": DERIVED,
        "method": method.name,
        "title": method.title,
        "citation": method.citation,
        "preset": options.preset,
        "seed": options.seed,
        **outcome.drawn(options.seed),
        "data_consistency": None if consistency is None else consistency.regularisation,
        "settings": outcome.details,
        **subject.made_with,
        "brain_only": options.brain_only,
        "method_spacing": grid_mm or options.spacing,
        "weights": {name: models[name].sha256 for name in used},
        **{name: models[name].identity for name in told_by},
        "licences": {name: info.licence for name, info in models.items()},
        "device": subject.device,
    }
    result = judge(
        subject, enhanced, options, provenance, started, events, trained, outcome.uncertainty, consistency,
        subject.as_scanned(enhanced, unwarps),
    )  # fmt: skip
    if options.brain_only:  # not before: next to zeros the brain's rim would contradict the scan of a whole head
        result = replace(result, enhanced=prepared.brain_alone(enhanced))
    return result


@memory_told()
def assess(
    image: Image,
    enhanced: Image,
    device: str = "auto",
    reference: Image | None = None,
    reference_labels: LabelMap | None = None,
    brain: Image | None = None,
    events: Events | None = None,
    lesions: LabelMap | None = None,
    register_reference: bool = False,
    spacing: float = 1.0,
    made_by: Mapping[str, Any] | None = None,
    lpips: str | os.PathLike[str] | None = None,
    sigma: float | None = None,
    fwhm: tuple[float, float, float] | None = None,
    profile: str | None = None,
    mirrored: bool = False,
) -> Result:
    """Report on an enhanced volume that already exists, made by whatever method.

    Args:
        image: the low-field scan.
        enhanced: in the same frame of reference; brought to the scan's canonical grid.
        device, reference, reference_labels, brain, events, lesions: as in :func:`enhance`.
        register_reference, spacing, lpips, mirrored: see :class:`Options`.
        sigma, fwhm, profile: likewise; None is that of the run that made the volume from this scan, if one was given
            to it, else as there.
        made_by: provenance of that run, if it is known (ours.provenance_beside); if it corrected the bias field, so
            does this one.

    Raises:
        BadInput: the volume shows less than nine tenths of the scan's brain; and as :func:`enhance`.
    """
    events = events or Events()
    check_images(image, enhanced)
    made = made_by or {}
    settings, taken_over = take_over(made, image, sigma, fwhm, profile, events)
    options = Options(
        device=device, register_reference=register_reference, spacing=spacing, lpips=lpips, mirrored=mirrored,
        **settings,
    )  # fmt: skip
    subject = subject_of(image, options, None, reference, reference_labels, brain, events, lesions)
    for doubt in (doubts := doubts_of(enhanced)):
        events.warning(no_sides(doubt))
    subject = replace(subject, orientation_doubts=(*subject.orientation_doubts, *doubts))
    started = time.monotonic()
    grid = Grid.of(subject.prepared.on_grid)
    moved = resample(enhanced, grid, "cubic")
    shown = shown_part(enhanced, moved, subject.prepared.brain)
    check_shown(shown, subject.prepared.brain)
    provenance = {
        **UNKNOWN,
        **{key: value for key, value in made.items() if key in WHO},
        **file_and_sha256("enhanced", enhanced),
        "enhanced_by": None if made_by is None else dict(made_by),
        "taken_over": taken_over,
        **subject.made_with,
        "device": subject.device,
    }
    head = _among_its_surroundings(moved, subject.prepared, made_by, events)
    trained = common_range(_models(()).values())
    result = judge(subject, head, options, provenance, started, events, trained, shown=shown)
    tell_doubts(subject, [result.report], events)
    return replace(result, enhanced=moved)


def tell_doubts(subject: Subject, reports: Sequence[Mapping[str, Any]], events: Events) -> None:
    """Warn of the input checks that failed, each sentence once; those that :func:`subject_of` has told are past."""
    reference = subject.reference
    told = {"contrast"} if subject.image.known_contrast == "other" else set()
    if subject.orientation_doubts:
        told.add("orientation")
    if reference is not None and (reference.incomparable or reference.apart):
        told.add("reference")
    kinds = {check["text"]: check["trained_range"] for check in failed_checks(reports) if check["name"] not in told}
    for text, trained in kinds.items():
        events.warning(f"this scan is outside the range that the models were trained in: {text}" if trained else text)


def _among_its_surroundings(
    volume: Image, prepared: Prepared, made_by: Mapping[str, Any] | None, events: Events
) -> Image:
    """A volume of the brain alone as it is judged beside the scan of a whole head; any other as it is."""
    if prepared.stripped or not is_stripped(volume.array, prepared.brain, volume.spacing):
        return volume
    events.warning(
        "the enhanced volume shows the brain alone, the scan the whole head: outside the brain the scan's own voxels "
        "are judged in its place"
    )
    if made_by is not None and made_by.get("brain_only"):
        return prepared.surrounded(volume)
    inside = prepared.brain | (volume.array > 0)
    return volume.with_array(np.where(inside, volume.array, prepared.on_grid.array))


def _finer(spacing: float, grid_mm: float) -> str:
    """What a reader has to know of an output with smaller voxels than the networks'; empty for others."""
    if spacing >= grid_mm:
        return ""
    return f": it holds no detail finer than {grid_mm:g} mm, and none could be checked against a truth"


def _models(names: tuple[str, ...]) -> dict[str, ModelInfo]:
    """The registered networks of a run, and the segmenter; MissingModel if one is not installed."""
    return {name: model_info(name)[0] for name in (*names, "segmenter")}
