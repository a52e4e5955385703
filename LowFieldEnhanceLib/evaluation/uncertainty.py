"""How far several results of one scan differ, voxel by voxel and in the volume of every structure, or how far a single
one is expected to lie from the truth.

The results are samples of a method that draws (other seeds), or those of a method without randomness on the mirrored
scan (test-time flips; Wang et al., Neurocomputing 2019;338:34). The spread is what the method itself is unsure of: a
fault that all results share does not show in it. What is expected of a single result, a network tells that learned it
from simulated scans (methods.expected_deviation). How well either predicts real deviations is measured by
calibration.py and expected_deviation.py of Testing/benchmarks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import rankdata

from ..image import Image
from ..segmentation.labels import label_table
from .checks import as_finite, as_pair, check_same_shape
from .report_structures import with_columns

SAMPLES, FLIPS, ORIENTATIONS, EXPECTED = "samples", "flips", "orientations", "expected"
COLUMNS = ("volume_mean_ml", "volume_sd_ml", "volume_cv_percent")
TEXTS = {
    SAMPLES: "{n} results with other seeds; the enhanced scan is their mean.",
    FLIPS: "{n} results of the scan as it is and mirrored ({flips}); the enhanced scan is the one that was not "
    "mirrored. They differ as far as the method depends on the head's orientation.",
    ORIENTATIONS: "{n} volumes made of slices in other orientations; the enhanced scan is their mean. They differ "
    "where the slices of one orientation do not support what those of another show.",
    EXPECTED: "How far this result is expected to lie from a high-field scan of the same contrast: told by a network "
    "that saw the scan and the result, and learned it from results of simulated scans, whose high-field images are "
    "known.",
}
INTERVAL = 1.959963984540054  # standard deviations on either side that hold 95 % of a Gaussian
LIMIT = "What all results have in common, right or wrong, does not show in their spread."
LIMITS = {
    EXPECTED: "It knows what is hard to see in such scans, such as thin folds, and not what is rare: a small lesion "
    "that was lost does not show in it."
}
# Testing/benchmarks/calibration.md: ULF-sim v1, eight results each; expected_deviation.md
MEASURED = {
    SAMPLES: (
        "On simulated scans whose truth is known, the standard deviation of such samples (of Bridged diffusion and "
        "CSS-Diff) had to be multiplied by 7 to 14 to hold the truth in 95 % of the voxels, and the deviation from it "
        "hardly followed (rank correlation about 0.1), so it is no range that holds the truth."
    ),
    FLIPS: (
        "On simulated scans whose truth is known, the standard deviation of such results (of the regression U-Net, "
        "the bridge and the distilled student) had to be multiplied by 4 to 15 to hold the truth in 95 % of the "
        "voxels, and the deviation from it followed loosely (rank correlation 0.25 to 0.30), so it is no range that "
        "holds the truth."
    ),
    EXPECTED: (
        "On simulated scans of other heads, 1.96 times this standard deviation on either side held the truth in 97 % "
        "of the voxels, in 92 to 99 % on scans unlike those of the training, and in 74 to 97 % inside of lesions. That "
        "the scan's own contrast and receive field are not those of a high-field scan is not counted: against one "
        "without them it held 44 to 51 %."
    ),
}


class RunningMoments:
    """Mean and standard deviation of arrays that come one by one (Welford, Technometrics 1962;4:419).

    Two arrays (float64) are kept, however many come.
    """

    def __init__(self) -> None:
        self.count = 0
        self._mean: np.ndarray = np.zeros(0)
        self._squares: np.ndarray = np.zeros(0)

    def add(self, array: np.ndarray) -> None:
        """Take in one more array.

        Raises:
            BadInput: another shape than the arrays before.
        """
        if not self.count:
            self._mean, self._squares = np.zeros(array.shape), np.zeros(array.shape)
        check_same_shape(self._mean, array, "the results")
        self.count += 1
        difference = array - self._mean
        self._mean += difference / self.count
        difference *= array - self._mean
        self._squares += difference

    @property
    def mean(self) -> np.ndarray:
        """Mean of the arrays so far, float32."""
        return self._mean.astype(np.float32)

    @property
    def deviation(self) -> np.ndarray:
        """Standard deviation with n - 1 in the denominator, float32; 0 for a single array."""
        return np.sqrt(self._squares / max(self.count - 1, 1)).astype(np.float32)


@dataclass(frozen=True)
class Uncertainty:
    """The spread of several results, or the expected deviation of a single one.

    Attributes:
        kind: ``samples``, ``flips``, ``orientations`` of a method that enhances slice by slice, or ``expected`` of a
            single result.
        deviation: voxel standard deviation on the working grid, in the scan's intensity unit.
        seeds: of the samples; empty for flips, which draw nothing.
        flips: names of the mirrored axes of every result (``none`` first); empty for samples.
        volumes: for each result, FreeSurfer id to mL; empty if nothing was segmented.
        orientations: number of slice orientations; 0 for all others.
    """

    kind: str
    deviation: Image
    seeds: tuple[int, ...] = ()
    flips: tuple[str, ...] = ()
    volumes: tuple[Mapping[int, float], ...] = ()
    orientations: int = 0

    @property
    def samples(self) -> int:
        """How many results there are: those that were compared, or one."""
        return len(self.seeds) or len(self.flips) or self.orientations or 1

    def _text(self) -> str:
        parts = [TEXTS[self.kind].format(n=self.samples, flips=", ".join(self.flips[1:]))]
        parts.append(LIMITS.get(self.kind, LIMIT))
        return " ".join([*parts, *filter(None, [MEASURED.get(self.kind)])])

    def as_report(self, brain: np.ndarray, sigma: float) -> dict[str, Any]:
        """The report's block ``uncertainty``.

        Args:
            brain: bool on the grid of the deviation.
            sigma: noise of the scan in its unit.

        Returns:
            kind, samples, seeds, flips, text, the mean and 95th percentile of the deviation inside the brain (scan's
            unit, and the mean in units of sigma), and ``structures`` (see :func:`structure_spread`).
        """
        inside = self.deviation.array[np.asarray(brain) != 0].astype(np.float64)
        mean = float(inside.mean()) if inside.size else None
        return {
            "kind": self.kind,
            "samples": self.samples,
            "seeds": list(self.seeds),
            "flips": list(self.flips),
            "text": self._text(),
            "deviation_mean": mean,
            "deviation_p95": float(np.percentile(inside, 95)) if inside.size else None,
            "deviation_mean_in_noise": mean / sigma if mean is not None and sigma > 0 else None,
            "structures": structure_spread(self.volumes),
        }


def structure_spread(volumes: Sequence[Mapping[int, float]]) -> dict[str, dict[str, Any]]:
    """Mean, standard deviation and coefficient of variation of every structure's volume over several results.

    Args:
        volumes: for each result, FreeSurfer id to mL; a structure that a result lacks has 0 mL there.

    Returns:
        English name to ``label_id``, ``volume_mean_ml``, ``volume_sd_ml`` (n - 1 in the denominator) and
        ``volume_cv_percent`` (SD / mean x 100), in the label table's order; structures that no result has are left out.
    """
    spread = {}
    for label in label_table():
        values = np.array([found.get(label.id, 0.0) for found in volumes])
        if not values.any():
            continue
        mean, deviation = float(values.mean()), float(values.std(ddof=1)) if values.size > 1 else 0.0
        spread[label.name] = {
            "label_id": label.id,
            **dict(zip(COLUMNS, (mean, deviation, 100.0 * deviation / mean), strict=True)),
        }
    return spread


def with_spread(rows: Sequence[Mapping[str, Any]], block: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """The report's structure rows with the columns of the spread, if there is one.

    Args:
        rows: of the report, each with its ``name``.
        block: :meth:`Uncertainty.as_report`, or None.
    """
    if block is None or not block["structures"]:
        return [dict(row) for row in rows]
    return with_columns(rows, COLUMNS, block["structures"])


@dataclass(frozen=True)
class Calibration:
    """How well a standard deviation predicts the real deviation of an image from its reference, inside a mask.

    Attributes:
        spearman: rank correlation of |reference - image| with the deviation, -1..1, higher is better; None if all
            deviations (or all differences) are equal.
        coverage: share of reference values within 1.96 deviations of the image, 0..1; 0.95 is best.
        factor: what the deviation must be multiplied by for a coverage of 0.95: 1 is best, above 1 the method is surer
            of itself than it should be; None if more than 5 % of the deviations are 0.
    """

    spearman: float | None
    coverage: float
    factor: float | None


def calibration(reference: np.ndarray, image: np.ndarray, deviation: np.ndarray, mask: np.ndarray) -> Calibration:
    """Compare |reference - image| with the deviation, voxel by voxel.

    Args:
        reference, image: [i, j, k], in one intensity unit.
        deviation: standard deviation of the image in the same unit.
        mask: voxels that are not 0 count.

    Raises:
        BadInput: shapes differ, the mask is empty, or a value is NaN or infinite.
    """
    reference, image, inside = as_pair(reference, image, mask)
    check_same_shape(image, deviation, "the image and its deviation")
    off = np.abs(reference - image)[inside]
    spread = as_finite(deviation, "the deviation")[inside]
    spearman = None
    if np.ptp(off) > 0 and np.ptp(spread) > 0:
        spearman = float(np.corrcoef(rankdata(off), rankdata(spread))[0, 1])
    in_deviations = np.divide(off, spread, out=np.where(off > 0, np.inf, 0.0), where=spread > 0)
    factor = float(np.quantile(in_deviations, 0.95, method="higher")) / INTERVAL
    return Calibration(spearman, float(np.mean(off <= INTERVAL * spread)), factor if np.isfinite(factor) else None)
