"""What can be said of an enhanced volume, whatever made it: fidelity, added detail, labels, lesions, the report."""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import scipy
import SimpleITK
import torch
from scipy import ndimage

from . import __version__
from .earlier_run import identity_of
from .errors import BadInput
from .evaluation.added_detail import AddedDetail, added_detail
from .evaluation.data_consistency import Projection, measure_fidelity
from .evaluation.intensity import score_images
from .evaluation.lesions import lesion_report, lesion_section
from .evaluation.lpips import Lpips, read_lpips
from .evaluation.report import build_report
from .evaluation.report_structures import find_unreferenced
from .evaluation.uncertainty import Uncertainty
from .events import Events
from .image import Image
from .options import Options
from .preprocess.grid import Grid, field_of_view
from .preprocess.prepare import Prepared, white_matter_of
from .reference import Reference
from .segmentation.labels import LabelMap
from .subject import Subject

MOST_TIGHTER = 0.03  # of the brain; a volume of the brain alone may be cut out a little tighter


@dataclass(frozen=True)
class Result:
    """Everything one run returns.

    Attributes:
        enhanced: on the working grid (1 mm by default), in the scan's intensity scale.
        before: the scan interpolated to the same grid.
        labels_before, labels_after: segmentation of both; after is None if segmentation was switched off.
        fidelity: residual (y - A x) / sigma on the scan's own grid.
        brain: bool on the working grid.
        reference: the high-field scan on the working grid, if one was given.
        report: JSON-serialisable report (see evaluation.report).
        uncertainty: voxel standard deviation among the samples on the working grid, in the scan's intensity unit; None
            for a single sample.
        added_detail: what the scan does not support, in percent of the local contrast, on the working grid; None if it
            was switched off or could not be measured.
    """

    enhanced: Image
    before: Image
    labels_before: LabelMap
    labels_after: LabelMap | None
    fidelity: Image
    brain: np.ndarray
    reference: Image | None
    report: dict[str, Any]
    uncertainty: Image | None = None
    added_detail: Image | None = None


def judge(
    subject: Subject,
    enhanced: Image,
    options: Options,
    provenance: dict[str, Any],
    started: float,
    events: Events,
    valid_range: dict[str, Any] | None = None,
    spread: Uncertainty | None = None,
    consistency: Projection | None = None,
    scanned: Image | None = None,
    shown: np.ndarray | None = None,
) -> Result:
    """Measure, segment and report; the same for every method.

    Args:
        subject: the scan.
        enhanced: on its working grid, in its intensity scale.
        options: its ``segment``, ``added_detail`` and ``lpips`` are heeded.
        provenance: of the enhanced volume; completed here.
        started: of the method, on the clock of time.monotonic.
        events: progress and cancel.
        valid_range: what the models were trained for (weights.common_range).
        spread, consistency: of several samples, and of the projection onto the scan, if there were any.
        scanned: ``enhanced`` as it is to be compared with the scan, see Subject.as_scanned; None: it is the same.
        shown: bool on the working grid, what ``enhanced`` shows if it was made elsewhere; None for one made here.
    """
    prepared, reference = subject.prepared, subject.reference
    events.progress("check fidelity", 0, 1)
    scanned = enhanced if scanned is None else scanned
    compared = prepared if shown is None else _narrowed(prepared, shown)
    fidelity, summary = measure_fidelity(scanned, compared)
    detail = _added_detail(subject, compared, scanned, events) if options.added_detail else None
    labels_after = None
    if options.segment:
        events.progress("segment the result", 0, 1)
        labels_after = subject.segmenter.segment(enhanced, events)
    events.progress("report", 0, 1)
    lpips = None if options.lpips is None else read_lpips(options.lpips)
    if lpips is not None:
        lpips.check = events.check
        provenance = {**provenance, "lpips_sha256": lpips.sha256}
    report = build_report(
        before=prepared.on_grid,
        enhanced=enhanced,
        brain=prepared.brain,
        acquired=subject.image,
        labels_before=subject.labels,
        labels_after=labels_after,
        reference=None if reference is None else reference.image,
        reference_labels=None if reference is None else reference.labels,
        registration=None if reference is None else reference.summary(),
        fidelity=summary,
        sigma_source=prepared.sigma_source,
        provenance=_completed(provenance, subject, started),
        valid_range=valid_range,
        uncertainty=None if spread is None else spread.as_report(prepared.brain, prepared.sigma),
        data_consistency=None if consistency is None else _consistency(consistency, subject, lpips, events),
        added_detail=None if detail is None else detail.summary,
        lesions=_lesions(subject, enhanced, shown, events.check),
        noise_plausible=prepared.noise_plausible,
        reference_field=None if reference is None else reference.field_of_view,
        unreferenced=None if reference is None else _unreferenced(subject, reference, labels_after),
        lpips=lpips,
        fwhm=prepared.fwhm,
        profile=prepared.profile,
        check=events.check,
        shown=shown,
        orientation_doubts=subject.orientation_doubts,
    )
    events.progress("report", 1, 1)
    return Result(
        enhanced,
        prepared.on_grid,
        subject.labels,
        labels_after,
        fidelity,
        prepared.brain,
        None if reference is None else reference.image,
        report,
        None if spread is None else spread.deviation,
        None if detail is None else detail.percent,
    )


def _unreferenced(subject: Subject, reference: Reference, after: LabelMap | None) -> dict[int, str]:
    found, field = reference.labels, reference.field_of_view
    return find_unreferenced(subject.labels, after, found, field, reference.labels_given)


def shown_part(enhanced: Image, on_grid: Image, brain: np.ndarray) -> np.ndarray:
    """What an enhanced volume that was made elsewhere shows of the working grid, bool: not what it was padded with.

    Args:
        enhanced: as read.
        on_grid: the same on the working grid.
        brain: bool on that grid.
    """
    field = field_of_view(enhanced, Grid.of(on_grid))
    filled = np.zeros_like(field)
    for box in ndimage.find_objects((on_grid.array != 0).astype(np.uint8)):
        filled[box] = True
    return field if np.mean(~filled[brain]) <= MOST_TIGHTER else field & filled


def _narrowed(prepared: Prepared, shown: np.ndarray) -> Prepared:
    """With the brain that an enhanced volume shows, so far from its edge that the scan's voxels do not reach out."""
    if shown[prepared.brain].all():
        return prepared
    reach = math.ceil(max(prepared.acquired.spacing) / min(prepared.on_grid.spacing))
    inner = ndimage.binary_erosion(shown, iterations=reach, border_value=1)
    return replace(prepared, brain=prepared.brain & inner)


def _added_detail(subject: Subject, prepared: Prepared, enhanced: Image, events: Events) -> AddedDetail | None:
    try:
        return added_detail(
            prepared.on_grid, enhanced, prepared.acquired, prepared.sigma, prepared.brain, prepared.fwhm,
            prepared.profile, white_matter_of(subject.labels, prepared.acquired),
        )  # fmt: skip
    except BadInput as reason:  # an empty or flat volume must not cost the user the finished run
        events.warning(f"added detail was not measured: {reason}")
        return None


def _consistency(consistency: Projection, subject: Subject, lpips: Lpips | None, events: Events) -> dict[str, Any]:
    """The block of the projection; against a reference with the image scores that the volume had before."""
    block = consistency.as_report()
    reference = subject.reference
    if reference is not None and reference.incomparable is None and consistency.start is not None:
        brain = subject.prepared.brain & reference.field_of_view
        try:
            block["images_before"] = asdict(
                score_images(reference.image.array, consistency.start, brain, lpips, events.check)
            )
        except BadInput:  # an empty or constant reference must not cost the user the finished run
            block["images_before"] = None
    return block


def _lesions(
    subject: Subject, enhanced: Image, shown: np.ndarray | None, check: Callable[[], object]
) -> dict[str, Any] | None:
    if subject.lesions is None:
        return None
    prepared, reference = subject.prepared, subject.reference
    against = None if reference is None or reference.incomparable is not None else reference.image
    field = None if against is None or reference is None else reference.field_of_view
    rows = lesion_report(
        prepared.on_grid, enhanced, subject.lesions, prepared.brain, against, subject.labels, field=field, shown=shown,
        check=check,
    )  # fmt: skip
    return lesion_section(rows, subject.lesions_outside)


def _completed(provenance: dict[str, Any], subject: Subject, started: float) -> dict[str, Any]:
    """With what judged the volume, and from what it was made; the seconds are those of a run of its own."""
    return {
        **provenance,
        **subject.judged_with,
        "segmenter": subject.segmenter.provenance,
        **identity_of(subject.image),
        "input_file": subject.image.meta.get("file", ""),
        "seconds": round(subject.seconds + time.monotonic() - started, 2),
        "versions": {
            "lowfield-enhance": __version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "scipy": scipy.__version__,
            "SimpleITK": SimpleITK.__version__,
            "python": platform.python_version(),
        },
    }
