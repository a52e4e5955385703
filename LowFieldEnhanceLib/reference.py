"""A high-field scan of the same head beside a low-field one: brought to its grid, and doubted where that is due."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import BadInput
from .evaluation.input_checks import mismatch
from .evaluation.overlap import dice
from .evaluation.registration import Registration, register_rigid
from .events import Events
from .image import Image
from .preprocess.brain import brain_mask
from .preprocess.grid import Grid, field_of_view, resample
from .preprocess.prepare import Prepared
from .segmentation.labels import WHITE_MATTER, LabelMap
from .segmentation.segmenter import Segmenter

WHOLE_BRAIN = (2, 41, 3, 42)  # ids without which a label map does not show the brain


@dataclass(frozen=True)
class Reference:
    """A high-field scan on the working grid.

    Attributes:
        image: 0 outside its field of view.
        labels: on the same grid.
        overlap: Dice of its brain with that of the scan, 0..1.
        white_matter: Dice of both cerebral white matters, 0..1; None if neither has any.
        registration: how it was moved; None if its own frame of reference was taken as it is.
        field_of_view: bool on the working grid, where it was measured.
        labels_given: whether the labels are the user's, and so perhaps of a few structures alone.
        incomparable: why its intensities cannot be compared with the scan's; None if they can.
    """

    image: Image
    labels: LabelMap
    overlap: float
    white_matter: float | None
    registration: Registration | None
    field_of_view: np.ndarray
    labels_given: bool
    incomparable: str | None

    @property
    def apart(self) -> str | None:
        """Why it seems not to show this head in this place; None if it does."""
        return mismatch(self.overlap, self.white_matter)

    def summary(self) -> dict[str, Any]:
        """The report's block ``registration``."""
        moved = None if self.registration is None else self.registration.summary()
        return {
            "registered": moved is not None,
            "brain_overlap_dice": self.overlap,
            "white_matter_dice": self.white_matter,
            "images_left_out": self.incomparable,
            "rigid": moved,
        }


def open_reference(
    image: Image,
    labels: LabelMap | None,
    prepared: Prepared,
    scan_labels: LabelMap,
    segmenter: Segmenter,
    register: bool,
    events: Events,
) -> Reference:
    """Reference image and labels on the scan's working grid.

    Args:
        image, labels: of the reference; labels may be None, or of a few structures.
        prepared, scan_labels: the scan, and its segmentation on the working grid.
        segmenter: for what the labels do not show.
        register: move the reference onto the scan first.
        events: progress, warnings and cancel.

    Raises:
        BadInput: it shows nothing of the scan's brain, or cannot be registered.
    """
    grid, moved = Grid.of(prepared.on_grid), None
    if register:
        moved = register_rigid(image, prepared.on_grid, events, prepared.brain)
        image = moved.moved
        if labels is not None:
            labels = LabelMap(labels.array, np.linalg.inv(moved.matrix) @ labels.affine, labels.confidence)
    on_grid = resample(image, grid, "cubic")
    seen = field_of_view(image, grid)
    if not seen[prepared.brain].any():
        advice = "" if register else "; if it was taken in another position, register it (--register)"
        raise BadInput(f"the reference shows nothing of the brain that is in the scan{advice}")
    found = None
    if labels is not None:
        nearest = resample(labels.as_image(), grid, "nearest")
        found = LabelMap(np.round(nearest.array).astype(np.uint8), grid.affine, labels.confidence)
        if not found.array[prepared.brain].any():
            raise BadInput(
                "the reference's labels mark nothing of the brain that is in the scan; are they in the frame of "
                "reference of the reference?"
            )
    whole = found is not None and np.isin(WHOLE_BRAIN, found.array).all()
    segmented = found
    if not whole:  # labels of a few structures do not show where the brain lies
        events.progress("segment the reference", 0, 1)
        segmented = segmenter.segment(on_grid, events)
    # of the scan's brain, the part that the reference could show
    overlap = dice(prepared.brain & seen, brain_mask(segmented))
    white = [np.isin(m.array, WHITE_MATTER) & seen for m in (scan_labels, segmented)]
    agreement = dice(*white) if any(part.any() for part in white) else None
    incomparable = _incomparable(image, on_grid, seen, prepared)
    found = Reference(on_grid, found or segmented, overlap, agreement, moved, seen, labels is not None, incomparable)
    if found.apart is not None:
        elsewhere = "if it was taken in another position, register it (--register)"
        advice = "is it of the same person?" if register else elsewhere
        events.warning(f"{found.apart}, so comparisons with it mean little; {advice}")
    if incomparable is not None:
        events.warning(f"the reference's intensities are not compared with those of the scan: {incomparable}")
    return found


def _incomparable(reference: Image, on_grid: Image, seen: np.ndarray, prepared: Prepared) -> str | None:
    """Why image scores against the reference would mean nothing, although its structures can be compared."""
    known = prepared.on_grid.known_contrast
    if "other" not in (reference.contrast, known) and reference.contrast != known:
        return f"it is {reference.contrast} and the scan {known}"
    inside = prepared.brain & seen
    pair = np.stack([image.array[inside] for image in (prepared.on_grid, on_grid)]).astype(np.float64)
    if pair.shape[1] and (pair.std(axis=1) > 0).all() and np.corrcoef(pair)[0, 1] <= 0:
        return "what is bright in one is dark in the other, so it seems to be of another contrast"
    return None
