"""The whole way of one scan: the single function that the panel, the console, the command line and batch call."""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from . import __version__
from .errors import BadInput
from .evaluation.fidelity import FidelitySummary, fidelity_residual
from .evaluation.report import build_report
from .events import Events
from .image import Image, check_image
from .image_io import DERIVED
from .methods.base import Case, check_preset, run_method
from .methods.registry import get_method
from .physics.operator import ForwardOperator
from .preprocess.grid import Grid, resample
from .preprocess.prepare import Prepared, prepare, prepare_others, to_working_grid
from .segmentation.labels import LabelMap
from .segmentation.segmenter import Segmenter
from .weights import common_range, model_info


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
    """

    enhanced: Image
    before: Image
    labels_before: LabelMap
    labels_after: LabelMap | None
    fidelity: Image
    brain: np.ndarray
    reference: Image | None
    report: dict[str, Any]


@dataclass(frozen=True)
class Options:
    """Settings of a run.

    Attributes:
        method, preset: see ``lowfield-enhance methods``.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        seed: of all randomness.
        spacing: of the output, mm, isotropic.
        brain_only: 0 outside the brain instead of the interpolated input.
        n4: bias-field correction first.
        segment: label the enhanced image and report structures.
        sigma: the user's noise level in the scan's units; None estimates it.
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


def choose_device(name: str = "auto") -> str:
    """``auto`` -> the best device there is.

    Raises:
        BadInput: unknown, or not available on this machine.
    """
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return next(d for d in ("cuda", "mps", "cpu") if available[d])
    if name.split(":")[0] not in available:
        raise BadInput(f"unknown device '{name}'; choose auto, cpu, cuda or mps")
    if not available[name.split(":")[0]]:
        raise BadInput(f"the device '{name}' is not available on this machine; use --device cpu")
    return name


def enhance(
    image: Image,
    options: Options | None = None,
    contrasts: Mapping[str, Image] | None = None,
    reference: Image | None = None,
    reference_labels: LabelMap | None = None,
    brain: Image | None = None,
    events: Events | None = None,
) -> Result:
    """Enhance one scan and report on it.

    Args:
        image: the low-field scan; its ``contrast`` should be set.
        options: see :class:`Options`.
        contrasts: further contrasts of the same head, same frame of reference, by name.
        reference: a high-field scan in the same frame of reference; turns "change" into "error".
        reference_labels: its labels, if known (else it is segmented).
        brain: the user's brain mask (above 0.5 is brain), in the scan's frame of reference, instead of the segmenter's.
        events: progress and cancel.

    Raises:
        BadInput, MissingModel, CorruptModel, OutOfMemory, Cancelled: see errors.
    """
    options, events = options or Options(), events or Events()
    _check_images(image, reference)
    method = get_method(options.method)
    check_preset(method, options.preset)
    device = choose_device(options.device)
    if not 0.3 <= options.spacing <= 5:
        raise BadInput(f"the output spacing {options.spacing:g} mm must be between 0.3 and 5 mm")
    models = {name: model_info(name)[0] for name in (*method.models, "segmenter")}  # a missing one ends the run here
    started = time.monotonic()

    events.progress("read", 0, 1)
    segmenter = Segmenter(device)
    labels_before, prepared = _prepare(image, brain, segmenter, options, events)
    inputs = {image.contrast: prepared.model_input, **prepare_others(contrasts or {}, prepared)}
    case = Case(inputs, image.contrast, prepared.mask, prepared.measured, prepared.sigma / prepared.scale, device)
    outcome = run_method(method, case, options.preset, torch.Generator().manual_seed(options.seed), events)
    enhanced = prepared.back(outcome.array, options.brain_only)
    provenance = {
        "derived": DERIVED,
        "method": method.name,
        "title": method.title,
        "citation": method.citation,
        "preset": options.preset,
        "seed": options.seed,
        "settings": outcome.details,
        "weights": {name: models[name].sha256 for name in method.models},
        "licences": {name: info.licence for name, info in models.items()},
        "device": device,
    }
    return _judge(
        image, enhanced, prepared, labels_before, segmenter, options.segment,
        reference, reference_labels, provenance, started, events, common_range(models.values()),
    )  # fmt: skip


def assess(
    image: Image,
    enhanced: Image,
    device: str = "auto",
    reference: Image | None = None,
    reference_labels: LabelMap | None = None,
    brain: Image | None = None,
    events: Events | None = None,
) -> Result:
    """Report on an enhanced volume that already exists, made by whatever method.

    Args:
        image: the low-field scan.
        enhanced: in the same frame of reference; brought to the scan's 1 mm canonical grid.
        device, reference, reference_labels, brain, events: as in :func:`enhance`.
    """
    events = events or Events()
    _check_images(image, enhanced, reference)
    started = time.monotonic()
    device = choose_device(device)
    segmenter = Segmenter(device)
    labels_before, prepared = _prepare(image, brain, segmenter, Options(), events)
    moved = resample(enhanced, Grid.of(prepared.on_grid), "cubic")
    provenance = {"method": "unknown (an existing volume)", "title": "Existing volume", "device": device}
    return _judge(
        image, moved, prepared, labels_before, segmenter, True,
        reference, reference_labels, provenance, started, events,
    )  # fmt: skip


def _check_images(*images: Image | None) -> None:
    """Refuse what cannot be a scan before any work is done; None is an image that was not given."""
    for image in images:
        if image is not None:
            check_image(image)


def _prepare(
    image: Image, brain: Image | None, segmenter: Segmenter, options: Options, events: Events
) -> tuple[LabelMap, Prepared]:
    """The scan on the working grid, labelled, with the user's brain mask (if given) instead of the segmenter's."""
    on_grid = to_working_grid(image, options.spacing)
    events.progress("segment the input", 0, 1)
    labels = segmenter.segment(on_grid, events)
    known = None if brain is None else resample(brain, Grid.of(on_grid), "linear").array > 0.5
    return labels, prepare(image, on_grid, labels, known, n4=options.n4, sigma=options.sigma)


def _judge(
    image: Image,
    enhanced: Image,
    prepared: Prepared,
    labels_before: LabelMap,
    segmenter: Segmenter,
    segment: bool,
    reference: Image | None,
    reference_labels: LabelMap | None,
    provenance: dict[str, Any],
    started: float,
    events: Events,
    valid_range: dict[str, Any] | None = None,
) -> Result:
    """Fidelity, segmentation and report of an enhanced volume; the same for every method."""
    events.progress("check fidelity", 0, 1)
    fidelity, summary = measure_fidelity(enhanced, prepared)
    labels_after = None
    if segment:
        events.progress("segment the result", 0, 1)
        labels_after = segmenter.segment(enhanced, events)
    reference_on_grid, reference_labels = _reference(reference, reference_labels, enhanced, segmenter, events)
    events.progress("report", 0, 1)
    provenance = {
        **provenance,
        "segmenter": segmenter.provenance,
        "input_sha256": image.sha256(),
        "input_file": image.meta.get("file", ""),
        "seconds": round(time.monotonic() - started, 2),
        "versions": {
            "lowfield-enhance": __version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
    }
    report = build_report(
        before=prepared.on_grid,
        enhanced=enhanced,
        brain=prepared.brain,
        acquired=image,
        labels_before=labels_before,
        labels_after=labels_after,
        reference=reference_on_grid,
        reference_labels=reference_labels,
        fidelity=summary,
        sigma_source=prepared.sigma_source,
        provenance=provenance,
        valid_range=valid_range,
    )
    events.progress("report", 1, 1)
    return Result(
        enhanced, prepared.on_grid, labels_before, labels_after, fidelity, prepared.brain, reference_on_grid, report
    )


def measure_fidelity(enhanced: Image, prepared: Prepared) -> tuple[Image, FidelitySummary]:
    """Residual of the acquired scan against the enhanced one seen through the forward model, in units of the noise."""
    scan = prepared.acquired
    operator = ForwardOperator(enhanced.shape, enhanced.affine, scan.shape, scan.affine)
    predicted = operator(torch.from_numpy(enhanced.array)).numpy()
    inside = resample(enhanced.with_array(prepared.brain.astype(np.float32)), Grid.of(scan), "linear").array > 0.5
    residual, summary = fidelity_residual(scan.array, predicted, prepared.sigma, inside)
    return scan.with_array(residual), summary


def _reference(
    reference: Image | None,
    labels: LabelMap | None,
    enhanced: Image,
    segmenter: Segmenter,
    events: Events,
) -> tuple[Image | None, LabelMap | None]:
    """Reference image and labels on the result's grid."""
    if reference is None:
        return None, None
    grid = Grid.of(enhanced)
    on_grid = resample(reference, grid, "cubic")
    if labels is None:
        events.progress("segment the reference", 0, 1)
        return on_grid, segmenter.segment(on_grid, events)
    moved = resample(labels.as_image(), grid, "nearest")
    return on_grid, LabelMap(np.round(moved.array).astype(np.uint8), grid.affine, labels.confidence)
