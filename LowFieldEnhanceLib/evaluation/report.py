"""The anatomical report of one run as plain data: report_files.py writes JSON and CSV, html.py makes it a page.

With a reference it speaks of error. Without one (the usual clinical case) it speaks of change and of fidelity to the
acquired scan only: the words "error" and "accuracy" then occur nowhere, neither in keys nor in sentences. Every key is
described in ``Resources/report-schema.json``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import BadInput
from ..formats.field_strength import field_strength_t
from ..image import Image
from ..image_io import DERIVED
from ..preprocess.brain import is_stripped
from ..preprocess.intensity import brightest
from ..segmentation.labels import WHITE_MATTER, LabelMap
from .checks import check_same_shape
from .fidelity import GAUSSIAN_SHARE_ABOVE_3, FidelitySummary
from .input_checks import input_checks, other_scan
from .input_intensity import intensity_figures
from .intensity import RANGE, score_images
from .report_files import plain
from .report_structures import structure_rows, summary_of
from .report_text import percent, verdict_of
from .simulated import as_block, entry_of, with_simulated
from .uncertainty import with_spread

if TYPE_CHECKING:
    from .lpips import Lpips

SCHEMA = "lowfieldenhance-report/2"
NOTICE = DERIVED


def build_report(
    *,
    before: Image,
    enhanced: Image,
    brain: np.ndarray,
    acquired: Image,
    labels_before: LabelMap,
    labels_after: LabelMap | None,
    reference: Image | None,
    reference_labels: LabelMap | None,
    fidelity: FidelitySummary,
    sigma_source: str,
    provenance: dict[str, Any],
    valid_range: Mapping[str, Any] | None = None,
    uncertainty: Mapping[str, Any] | None = None,
    data_consistency: Mapping[str, Any] | None = None,
    added_detail: Mapping[str, Any] | None = None,
    lesions: Mapping[str, Any] | None = None,
    registration: Mapping[str, Any] | None = None,
    noise_plausible: bool = True,
    reference_field: np.ndarray | None = None,
    unreferenced: Mapping[int, str] | None = None,
    lpips: Lpips | None = None,
    fwhm: Sequence[float] | None = None,
    profile: str = "gaussian",
    check: Callable[[], object] | None = None,
    shown: np.ndarray | None = None,
    orientation_doubts: Sequence[str] = (),
) -> dict[str, Any]:
    """Everything that can be said about one run, JSON-serialisable (strict: None instead of NaN and infinity).

    Args:
        before: the scan interpolated to the working grid [i, j, k], RAS-like.
        enhanced: the result on the same grid, same intensity unit.
        brain: bool on the same grid.
        acquired: the scan on its own grid.
        labels_before, labels_after: segmentations on the working grid; after is None if it was switched off, and then
            the structures have the input's volumes only.
        reference: a high-field scan resampled to the working grid; its voxels outside of its field of view are 0.
        reference_labels: its labels on the working grid.
        fidelity: see evaluation.fidelity.
        sigma_source: ``background``, ``difference`` or ``user``.
        provenance: method, preset, seed, weights ... (see pipeline); values that JSON lacks become text.
        valid_range: what the models were trained for (see evaluation.input_checks).
        uncertainty: spread among several results (evaluation.uncertainty); adds its columns to the structures.
        data_consistency: what the projection did (evaluation.data_consistency).
        added_detail: what the scan does not support (evaluation.added_detail).
        lesions: what became of marked regions (evaluation.lesions.lesion_section).
        registration: how well the reference lies on the scan, and how it was moved there (subject.Reference.summary).
        noise_plausible: False if the noise level is too low for a scanner (the scan was interpolated or filtered
            before): then nothing is said in units of it.
        reference_field: bool on the working grid, where the reference was measured; None: where it is not 0 in the
            checks, everywhere in the scores.
        unreferenced: structures of which the reference says nothing, with the reason (see report_structures).
        lpips: the metric, for its score against the reference; None leaves it out.
        fwhm, profile: the point-spread function of ``acquired`` that fidelity was measured with (options.Options).
        check: called before every structure and image score (raises to cancel).
        shown: bool on the working grid, what an enhanced volume that was made elsewhere shows; None for one made here.
        orientation_doubts: why the orientation is in doubt of ``acquired`` and of what came with it, a file each.

    Returns:
        Keys schema, notice, has_reference, verdict, summary, input, input_checks, fidelity, data_consistency,
        uncertainty, added_detail, lesions, simulated, structures, images, registration (each None if it was not
        measured) and provenance. Volumes in mL, distances in mm, percentages signed.

    Raises:
        BadInput: arrays of different shapes, or label maps on different grids.
    """
    grids = {"the enhanced scan": enhanced.array, "the brain mask": brain, "its labels": labels_before.array}
    for what, array in {**grids, **({} if reference is None else {"the reference": reference.array})}.items():
        check_same_shape(before.array, array, f"the input and {what}")
    brain = np.asarray(brain) != 0
    has_reference = reference is not None or (reference_labels is not None and labels_after is not None)
    structures = structure_rows(labels_before, labels_after, reference_labels, unreferenced, check, shown)
    lies = registration or {}
    source = _input(before, brain, acquired, labels_before, fidelity, sigma_source)
    source["psf"] = {
        "fwhm_mm": [round(float(width), 4) for width in fwhm or acquired.spacing],
        "profile": profile,
        "source": "spacing" if fwhm is None else "user",
    }
    checks = input_checks(
        source,
        before,
        brain,
        reference,
        valid_range,
        bool(lies.get("registered")),
        labels_before,
        reference_field,
        lies.get("brain_overlap_dice"),
        lies.get("images_left_out"),
        orientation_doubts,
        lies.get("white_matter_dice"),
        shown,
        other_scan(provenance),
    )
    simulated = None if has_reference or labels_after is None else entry_of(provenance, checks)
    report: dict[str, Any] = {
        "schema": SCHEMA,
        "notice": NOTICE,
        "has_reference": has_reference,
        "verdict": "",
        "summary": summary_of(structures, reference_labels is not None, labels_after is not None),
        "input": source,
        "input_checks": checks,
        "fidelity": _fidelity(fidelity, source["snr"], noise_plausible),
        "data_consistency": data_consistency,
        "uncertainty": uncertainty,
        "added_detail": added_detail,
        "lesions": lesions,
        "simulated": None if simulated is None else as_block(simulated),
        "structures": with_simulated(with_spread(structures, uncertainty), simulated),
        "images": None
        if reference is None or lies.get("images_left_out")
        else _images(reference, before, enhanced, brain, reference_field, shown, lpips, check),
        "registration": registration,
        "provenance": provenance,
    }
    report["verdict"] = verdict_of(report)
    return plain(report)


def _input(
    before: Image, brain: np.ndarray, acquired: Image, labels: LabelMap, fidelity: FidelitySummary, sigma_source: str
) -> dict[str, Any]:
    white_matter = before.array[np.isin(labels.array, WHITE_MATTER)]  # the signal of the SNR
    measurable = white_matter.size > 0 and fidelity.sigma > 0
    bright = brightest(before.array, brain) / fidelity.sigma if brain.any() and fidelity.sigma > 0 else None
    return {
        "file": str(acquired.meta.get("file", "")),
        "contrast": acquired.known_contrast,
        "field_t": field_strength_t(acquired.meta),
        "shape": list(acquired.shape),
        "spacing": [round(step, 4) for step in acquired.spacing],
        "sigma": fidelity.sigma,
        "sigma_source": sigma_source,
        "snr": float(white_matter.mean(dtype=np.float64)) / fidelity.sigma if measurable else None,
        "snr_brightest": bright,
        "brain_ml": float(np.count_nonzero(brain)) * before.voxel_volume_ml,
        "brain_only": bool(brain.any()) and is_stripped(before.array, brain, before.spacing),
        "intensity": intensity_figures(before.array, brain, labels.array),
    }


def _fidelity(fidelity: FidelitySummary, snr: float | None, noise_plausible: bool) -> dict[str, Any]:
    relative = fidelity.rms / snr if snr else None
    seen = "differs from the acquired one "
    if fidelity.slope <= 0:  # the fit has turned it round, so its residual may be small whatever it shows
        seen = (
            "is not brighter where the acquired one is, so it is of another contrast or another head; a small residual"
        )
    elif noise_plausible:
        seen += (
            f"by more than 3 times the noise in {percent(fidelity.share_above_3)} of the brain's voxels (noise alone: "
            f"{percent(GAUSSIAN_SHARE_ABOVE_3)}); a large share contradicts the scan, a small one"
        )
    else:
        seen += (
            f"by {percent(relative)} of the white matter's intensity on average; the scan was interpolated or filtered "
            "before it came here, so its noise cannot be measured and nothing can be said in units of it, and a small "
            "difference"
        )
    return {
        **asdict(fidelity),
        "share_above_3_noise_alone": GAUSSIAN_SHARE_ABOVE_3,
        "noise_plausible": noise_plausible,
        "relative_rms": relative,
        "text": (
            f"Seen through a model of the low-field scanner, the enhanced scan {seen} does not prove that added detail "
            "is true."
        ),
    }


def in_noise_units(fidelity: Mapping[str, Any]) -> Mapping[str, Any]:
    """A report's block ``fidelity`` for figures in units of the scan's noise: empty if that could not be measured."""
    return fidelity if fidelity.get("noise_plausible", True) else {}


def _images(
    reference: Image,
    before: Image,
    enhanced: Image,
    brain: np.ndarray,
    field: np.ndarray | None,
    shown: np.ndarray | None,
    lpips: Lpips | None,
    check: Callable[[], object] | None,
) -> dict[str, Any] | None:
    """Image scores of both against the reference inside the brain; None where the reference shows nothing there."""
    fields = {"the reference's field of view": field, "the enhanced volume": shown}
    fields = {name: seen for name, seen in fields.items() if seen is not None and not seen[brain].all()}
    for seen in fields.values():
        brain = brain & seen
    try:
        scores = {
            name: asdict(score_images(reference.array, image.array, brain, lpips, check))
            for name, image in (("input", before), ("enhanced", enhanced))
        }
    except BadInput:  # an empty or constant reference must not cost the user the finished run
        return None
    mask = f"brain inside {' and '.join(fields)}" if fields else "brain"
    return {"mask": mask, "fit": "linear, inside the mask", "range": RANGE, **scores}
