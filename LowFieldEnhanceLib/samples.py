"""One result of a method, or several whose spread tells how unsure the method is: other seeds, or the mirrored scan."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from .errors import BadInput
from .evaluation.uncertainty import FLIPS, ORIENTATIONS, SAMPLES, RunningMoments, Uncertainty
from .evaluation.volumes import label_volumes_ml
from .events import Events
from .image import Image
from .methods.base import Case, Method, run_method
from .preprocess.prepare import Prepared
from .segmentation.segmenter import Segmenter

MOST_SAMPLES = 64
AXES = ("left-right", "antero-posterior", "supero-inferior")
FLIP_AXES = ((), (0,), (1,), (0, 1), (2,), (0, 2), (1, 2), (0, 1, 2))  # of the RAS-like working grid


@dataclass(frozen=True)
class Samples:
    """What :func:`run_samples` returns.

    Attributes:
        first, mean: the first sample (the scan as it is) and the mean of all, working grid, scan's intensities.
        details: the method's settings (the same for all).
        uncertainty: None for a single sample, unless the method has a spread of its own.
    """

    first: Image
    mean: Image
    details: dict[str, Any]
    uncertainty: Uncertainty | None

    @property
    def enhanced(self) -> Image:
        """The result: the mean of samples that are equals; of flips the first, since no head is built upside down."""
        drawn = self.uncertainty is not None and self.uncertainty.kind == SAMPLES
        return self.mean if drawn else self.first

    def drawn(self, seed: int) -> dict[str, Any]:
        """For the provenance: how many ``samples``, their ``seeds`` and ``flips``; ``seed`` is that of a single one."""
        if self.uncertainty is None or self.uncertainty.kind == ORIENTATIONS:
            return {"samples": 1, "seeds": [seed], "flips": []}
        spread = self.uncertainty
        return {"samples": spread.samples, "seeds": list(spread.seeds), "flips": list(spread.flips)}


class _Part(Events):
    """Progress of one of several equal runs as a part of the whole, so that one bar and one time left cover them all.

    Args:
        whole: gets everything.
        index, count: which run of how many.
        more: units of work that follow each run (its segmentation), done at :meth:`finish`.
    """

    def __init__(self, whole: Events, index: int, count: int, more: int = 0) -> None:
        super().__init__(whole.send)
        self._whole, self._index, self._count, self._more = whole, index, count, more
        self._latest: tuple[str, int] | None = None

    def cancel(self) -> None:
        """Cancel the whole."""
        self._whole.cancel()

    def check(self) -> None:
        """Raise Cancelled if the whole was cancelled."""
        self._whole.check()

    def progress(self, stage: str, done: int, total: int) -> None:
        """``done`` of this run's ``total`` units, on the scale of all runs."""
        self._latest = stage, total
        units = total + self._more
        self._whole.progress(self._prefix + stage, self._index * units + done, self._count * units)

    def finish(self) -> None:
        """What follows the run is done too."""
        if self._more and self._latest is not None:
            stage, total = self._latest
            self.progress(stage, total + self._more, total)


def check_samples(samples: int) -> None:
    """Raise :class:`BadInput` unless the number is 1 to 64."""
    if not 1 <= samples <= MOST_SAMPLES:
        raise BadInput(f"the number of samples {samples} must be between 1 and {MOST_SAMPLES}")


def run_samples(
    method: Method,
    case: Case,
    prepared: Prepared,
    preset: str,
    seed: int,
    samples: int = 1,
    brain_only: bool = False,
    segmenter: Segmenter | None = None,
    events: Events | None = None,
) -> Samples:
    """Run a method once or several times; only a running mean and variance are kept in memory.

    Args:
        method, case, preset: see methods.base.
        prepared: leads the results back to the scan's intensities.
        seed: of the first sample; the others follow it by 1.
        samples: 1 to 64. A method that draws nothing has at most 8 results, one for each way to mirror the head.
        brain_only: see Options.
        segmenter: labels every sample for the spread of the volumes; None leaves that out.
        events: progress over all samples, and cancel.

    Raises:
        BadInput: the number of samples is not within 1 to 64.
    """
    check_samples(samples)
    events = events or Events()
    if samples == 1:
        outcome = run_method(method, case, preset, torch.Generator().manual_seed(seed), events)
        only = prepared.back(outcome.array, brain_only)
        own = None
        if outcome.spread is not None:
            deviation = only.with_array(prepared.difference_back(outcome.spread))
            own = Uncertainty(ORIENTATIONS, deviation, orientations=outcome.parts)
        return Samples(only, only, outcome.details, own)
    draws = method.stochastic(preset)
    if not draws and samples > len(FLIP_AXES):
        events.warning(
            f"{method.title} ({preset}) draws nothing, and a head can be mirrored in {len(FLIP_AXES)} ways, so "
            f"{len(FLIP_AXES)} results are compared instead of {samples}"
        )
        samples = len(FLIP_AXES)
    moments, volumes = RunningMoments(), []
    first: Image | None = None
    details: dict[str, Any] = {}
    for index in range(samples):
        events.check()
        axes = () if draws else FLIP_AXES[index]
        generator = torch.Generator().manual_seed(seed + index if draws else seed)
        part = _Part(events, index, samples, int(segmenter is not None))
        outcome = run_method(method, mirrored(case, axes), preset, generator, part)
        sample = prepared.back(np.flip(outcome.array, axes), brain_only)
        moments.add(sample.array)
        if segmenter is not None:
            volumes.append(label_volumes_ml(segmenter.segment(sample, events)))
            part.finish()
        if index == 0:
            first, details = sample, outcome.details
    assert first is not None
    spread = Uncertainty(
        kind=SAMPLES if draws else FLIPS,
        deviation=first.with_array(moments.deviation),
        seeds=tuple(seed + n for n in range(samples)) if draws else (),
        flips=() if draws else tuple(flip_name(axes) for axes in FLIP_AXES[:samples]),
        volumes=tuple(volumes),
    )
    return Samples(first, first.with_array(moments.mean), details, spread)


def mirrored(case: Case, axes: tuple[int, ...]) -> Case:
    """The same head mirrored along axes of the working grid, as if it had been scanned that way.

    Volumes on the working grid are flipped there; the acquired voxels keep their order and move in the world, by the
    reflection at the working grid's centre.
    """
    if not axes:
        return case
    target = case.inputs[case.target]
    flip = np.eye(4)
    for axis in axes:
        flip[axis, axis], flip[axis, 3] = -1.0, case.shape[axis] - 1.0
    world = target.affine @ flip @ np.linalg.inv(target.affine)
    return replace(
        case,
        inputs={name: image.with_array(np.flip(image.array, axes)) for name, image in case.inputs.items()},
        mask=np.ascontiguousarray(np.flip(case.mask, axes)),
        measured=replace(case.measured, affine=world @ case.measured.affine),
        log_jacobian=None if case.log_jacobian is None else np.flip(case.log_jacobian, axes).copy(),
    )


def flip_name(axes: tuple[int, ...]) -> str:
    """``none``, ``left-right``, ``left-right + antero-posterior`` ..."""
    return " + ".join(AXES[axis] for axis in axes) or "none"
