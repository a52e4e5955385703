"""One result of a method, or several whose spread tells how unsure the method is: other seeds, or the mirrored scan.

A single result has an uncertainty of its own where the method's slices have one, or a network tells it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from .errors import BadInput
from .evaluation.uncertainty import EXPECTED, FLIPS, INTERVAL, ORIENTATIONS, SAMPLES, RunningMoments, Uncertainty
from .evaluation.volumes import label_volumes_ml
from .events import Events
from .image import Image
from .methods.base import Case, Method, run_batch, run_method, spread_of
from .methods.expected_deviation import deviation_limit, expecting
from .preprocess.grid import Grid, resample, same_grid
from .preprocess.prepare import Prepared
from .segmentation.segmenter import Segmenter

MOST_SAMPLES = 64
MOST_TOGETHER = 8  # samples in one batch
SEGMENT_ORIENTATIONS = "segment the orientations"  # a stage of the progress
EXPECT = "expect the deviation"  # another
SINGLE = (ORIENTATIONS, EXPECTED)  # kinds of a single result's own
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
        if self.uncertainty is None or self.uncertainty.kind in SINGLE:
            return {"samples": 1, "seeds": [seed], "flips": []}
        spread = self.uncertainty
        return {"samples": spread.samples, "seeds": list(spread.seeds), "flips": list(spread.flips)}


class _Part(Events):
    """Progress of one of several equal runs as a part of the whole, so that one bar and one time left cover them all.

    Args:
        whole: gets everything.
        start, size: first sample of the run, and how many it makes at once.
        count: samples in all.
        more: units of work that follow each sample (its segmentation), done at :meth:`finish`.
    """

    def __init__(self, whole: Events, start: int, size: int, count: int, more: int = 0) -> None:
        super().__init__(whole.send)
        self._whole, self._start, self._size, self._count, self._more = whole, start, size, count, more
        self._latest: tuple[str, int] | None = None

    def cancel(self) -> None:
        """Cancel the whole."""
        self._whole.cancel()

    def check(self) -> None:
        """Raise Cancelled if the whole was cancelled."""
        self._whole.check()

    def progress(self, stage: str, done: int, total: int, **more: Any) -> None:
        """``done`` of this run's ``total`` units, on the scale of all samples."""
        self._latest = stage, total
        self._send(stage, done * self._size, total, **more)

    def finish(self, number: int) -> None:
        """What follows the first ``number`` samples of the run is done too."""
        if self._more and self._latest is not None:
            stage, total = self._latest
            self._send(stage, total * self._size + number * self._more, total)

    def _send(self, stage: str, done: int, total: int, **more: Any) -> None:
        units = total + self._more
        self._whole.progress(self._prefix + stage, self._start * units + done, self._count * units, **more)


def check_samples(samples: int) -> None:
    """Raise :class:`BadInput` unless the number is 1 to 64."""
    if not 1 <= samples <= MOST_SAMPLES:
        raise BadInput(f"the number of samples {samples} must be between 1 and {MOST_SAMPLES}")


def batch_size(method: Method, case: Case, preset: str) -> int:
    """Samples in one batch: as many as a GPU's free memory holds; on a CPU a method takes them in turn."""
    if torch.device(case.device).type != "cuda":
        return MOST_TOGETHER
    free, _ = torch.cuda.mem_get_info(case.device)
    return min(max(int(free // max(method.cost(case, preset).peak_bytes, 1)), 1), MOST_TOGETHER)


def run_samples(
    method: Method,
    case: Case,
    prepared: Prepared,
    preset: str,
    seed: int,
    samples: int = 1,
    segmenter: Segmenter | None = None,
    events: Events | None = None,
    together: int | None = None,
) -> Samples:
    """Run a method once or several times; only a running mean and variance are kept in memory.

    Args:
        method, case, preset: see methods.base.
        prepared: leads the results back to the scan's intensities, and to its grid if the case is on another.
        seed: of the first sample; the others follow it by 1.
        samples: 1 to 64. A method that draws nothing has at most 8 results, one for each way to mirror the head.
        segmenter: labels every sample (of a single one, the volume of every slice orientation, if the method has them)
            for the spread of the volumes; None leaves that out.
        events: progress over all samples, and cancel.
        together: samples in one batch, for a method that can; None: see :func:`batch_size`.

    Raises:
        BadInput: the number of samples is not within 1 to 64.
    """
    check_samples(samples)
    events = events or Events()
    land = prepared.landing(case.grid, case.mask)
    if samples == 1:
        outcome = run_method(method, case, preset, torch.Generator().manual_seed(seed), events)
        only = prepared.back(land(outcome.array))
        along = [land(array) for array in outcome.along]
        own = _among_orientations(along, prepared, segmenter, events) if along else None
        if expecting(method, preset, samples):
            own = expected_of(case, prepared, outcome.array, events)
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
    batched = draws and hasattr(method, "enhance_batch")
    size = (together or batch_size(method, case, preset)) if batched else 1
    for start in range(0, samples, size):
        events.check()
        numbers = range(start, min(start + size, samples))
        generators = [torch.Generator().manual_seed(seed + n if draws else seed) for n in numbers]
        axes = () if draws else FLIP_AXES[start]
        part = _Part(events, start, len(numbers), samples, int(segmenter is not None))
        if batched:
            outcomes = run_batch(method, case, preset, generators, part)
        else:
            outcomes = [run_method(method, mirrored(case, axes), preset, generators[0], part)]
        for number, outcome in enumerate(outcomes, start=1):
            sample = prepared.back(land(np.flip(outcome.array, axes)))
            moments.add(sample.array)
            if segmenter is not None:
                volumes.append(label_volumes_ml(segmenter.segment(sample, events)))
                part.finish(number)
            if first is None:
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


def _among_orientations(
    along: list[np.ndarray], prepared: Prepared, segmenter: Segmenter | None, events: Events
) -> Uncertainty:
    """The spread of a single result's slice orientations, as an image and in the volume of every structure."""
    count = len(along)
    volumes = []
    for number, array in enumerate(along if segmenter is not None else ()):
        events.progress(SEGMENT_ORIENTATIONS, number, count)
        volumes.append(label_volumes_ml(segmenter.segment(prepared.back(array), events)))
        events.progress(SEGMENT_ORIENTATIONS, number + 1, count)
    deviation = prepared.on_grid.with_array(prepared.difference_back(spread_of(along)))
    return Uncertainty(ORIENTATIONS, deviation, volumes=tuple(volumes), orientations=count)


def expected_of(case: Case, prepared: Prepared, result: np.ndarray, events: Events | None = None) -> Uncertainty:
    """How far a single result is expected to lie from the truth: the limit for 95 % as if deviations were Gaussian.

    Args:
        case: that the method was given.
        prepared: leads to the scan's intensities, and to its grid if the case is on another.
        result: on the case's grid, model range.
        events: progress and cancel.
    """
    events = events or Events()
    events.progress(EXPECT, 0, 1)
    deviation = Image(deviation_limit(case, result, events.check) / np.float32(INTERVAL), case.grid.affine)
    target = Grid.of(prepared.on_grid)
    if not same_grid(case.grid, target):
        deviation = resample(deviation, target, "linear")
    events.progress(EXPECT, 1, 1)
    return Uncertainty(EXPECTED, prepared.on_grid.with_array(prepared.difference_back(deviation.array)))


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
