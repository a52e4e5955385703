"""The acquired scan seen from a volume on the working grid, and the projection of a volume onto what was measured.

The scan is y = a A x + b + n: A is the forward model (physics.operator), a and b take up a difference of intensity
scale as in evaluation.fidelity, n is noise of standard deviation sigma. The projection

    x <- x + W B' (B B' + lambda I)^-1 (y - a A x - b),   B = a R A W

is the smallest change inside the brain (W: its weight, R: the scan's voxels inside it) that explains the scan as far
as lambda asks (Tikhonov; the data step of plug-and-play methods, Zhu et al., CVPRW 2023). lambda follows Morozov's
discrepancy principle: the residual that stays has the size of the noise, so noise is never fitted. a and b are those
of the volume before, so its intensity scale stays its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, cg

from ..events import Events
from ..image import Image
from ..physics.operator import ForwardOperator
from ..preprocess.brain import feathered
from ..preprocess.grid import Grid, resample
from ..preprocess.prepare import Prepared
from .fidelity import FidelitySummary, fidelity_residual

TARGET_RMS = 1.0
TOLERANCE = 0.01  # the search ends with the residual between 1 and 1.01 sigma
SEARCHES = 12
LEAST_REGULARISATION = 1e-3  # of the largest eigenvalue of B B': below, sampling errors of the model would be fitted
CG_TOLERANCE, CG_ITERATIONS = 1e-3, 60


@dataclass(frozen=True)
class Projection:
    """A volume after the projection.

    Attributes:
        array: float32 on the working grid, never below 0.
        regularisation: lambda, or None if nothing was changed.
        iterations: of the conjugate gradients, over all tried lambda.
        before, after: fidelity to the scan.
        note: one sentence that says what was done, and why not if nothing was.
        start: the volume before, for scores that compare both; None if nothing was changed.
    """

    array: np.ndarray
    regularisation: float | None
    iterations: int
    before: FidelitySummary
    after: FidelitySummary
    note: str
    start: np.ndarray | None = None

    def as_report(self) -> dict[str, Any]:
        """The report's block ``data_consistency``; ``images_before`` is for whoever knows a reference."""
        return {
            "applied": self.regularisation is not None,
            "regularisation": self.regularisation,
            "iterations": self.iterations,
            "before": asdict(self.before),
            "after": asdict(self.after),
            "images_before": None,
            "text": self.note,
        }


def measure_fidelity(enhanced: Image, prepared: Prepared) -> tuple[Image, FidelitySummary]:
    """Residual of the acquired scan against the enhanced one seen through the forward model, in units of the noise."""
    scan = prepared.acquired
    operator, inside = scan_model(enhanced, prepared)
    predicted = operator(torch.from_numpy(enhanced.array)).numpy()
    residual, summary = fidelity_residual(scan.array, predicted, prepared.sigma, inside)
    return scan.with_array(residual), summary


def scan_model(enhanced: Image, prepared: Prepared) -> tuple[ForwardOperator, np.ndarray]:
    """The forward model from the volume's grid to the scan's, and the brain (bool) on the scan's grid."""
    scan = prepared.acquired
    operator = ForwardOperator(
        enhanced.shape, enhanced.affine, scan.shape, scan.affine, prepared.fwhm, prepared.profile
    )
    brain = enhanced.with_array(prepared.brain.astype(np.float32))
    return operator, resample(brain, Grid.of(scan), "linear").array > 0.5


def make_consistent(enhanced: Image, prepared: Prepared, events: Events | None = None) -> tuple[Image, Projection]:
    """Project an enhanced scan (scan's intensities, working grid) onto the acquired one; only the brain changes."""
    operator, inside = scan_model(enhanced, prepared)
    weight = feathered(prepared.brain)
    check = (events or Events()).check
    outcome = project(enhanced.array, prepared.acquired.array, operator, prepared.sigma, weight, inside, check)
    return enhanced.with_array(outcome.array), outcome


def project(
    x: np.ndarray,
    y: np.ndarray,
    operator: ForwardOperator,
    sigma: float,
    weight: np.ndarray,
    inside: np.ndarray,
    check: Callable[[], None] = lambda: None,
) -> Projection:
    """The projection of the module's text.

    Args:
        x: float32 on the operator's fine grid, in the scan's intensities.
        y: the scan on the coarse grid.
        operator: A.
        sigma: noise of y, in its unit.
        weight: W on the fine grid, 0..1; where it is 0, x stays to the last bit.
        inside: R, bool on the coarse grid: the voxels that are to be explained.
        check: called before every product with A; raises to stop.

    Raises:
        BadInput: see evaluation.fidelity.
    """
    model = _WeightedModel(operator, weight, inside, check)
    _, before = fidelity_residual(y, model.predict(x), sigma, inside)
    if before.rms <= TARGET_RMS:
        note = "The enhanced scan explains the acquired one within its noise already, so nothing was changed."
        return Projection(x, None, 0, before, before, note)
    if before.slope <= 0:
        note = "The enhanced scan has another contrast than the acquired one, so it was not projected onto it."
        return Projection(x, None, 0, before, before, note)
    right = (y - before.slope * model.predict(x) - before.intercept)[inside].astype(np.float32)
    model.slope = before.slope
    largest = model.largest_eigenvalue(right)
    floor, level = LEAST_REGULARISATION * largest, largest
    low, high = 0.0, math.inf  # the residual is below 1 sigma at low and not below at high
    best = Projection(x, None, 0, before, before, "")
    z = np.zeros_like(right)
    for _ in range(SEARCHES):
        level = max(level, floor)
        z = model.solve(right, level, z)
        changed = np.maximum(x + model.change(z), np.minimum(x, 0)).astype(np.float32)
        _, after = fidelity_residual(y, model.predict(changed), sigma, inside)
        if after.rms >= TARGET_RMS:
            high = level
            if after.rms < best.after.rms:
                best = Projection(changed, level, 0, before, after, "")
            if after.rms <= TARGET_RMS + TOLERANCE or level <= floor:
                break
        else:
            low = level
        level = _next_level(level, after.rms, before.rms, low, high)
    start = None if best.regularisation is None else x
    return replace(best, iterations=model.iterations, note=_note(before, best), start=start)


def _note(before: FidelitySummary, best: Projection) -> str:
    """What the search came to, in one sentence; that the noise was left is said only where it was reached."""
    if best.regularisation is None:
        return (
            f"No change that was tried lowers the residual of {before.rms:.2f} noise standard deviations to the noise."
        )
    moved = (
        f"The residual inside the brain went from {before.rms:.2f} to {best.after.rms:.2f} noise standard deviations "
    )
    if best.after.rms > TARGET_RMS + 2 * TOLERANCE:
        return f"{moved}and no further; what is left is more than noise, and no change inside the brain explains it."
    return f"{moved}by the smallest change that does so; a residual of the size of the noise was left on purpose."


def _next_level(level: float, rms: float, start: float, low: float, high: float) -> float:
    """The next lambda: as if B B' had a single eigenvalue e, for which rms = start lambda / (lambda + e).

    A guess outside of what is known already is replaced by the middle (on a logarithmic scale).
    """
    aim = TARGET_RMS + TOLERANCE / 2
    eigenvalue = level * max(start / rms - 1.0, 1e-6)
    guess = eigenvalue / max(start / aim - 1.0, 1e-9)
    if low < guess < high:
        return guess
    if low == 0.0:
        return level / 10
    return level * 10 if math.isinf(high) else math.sqrt(low * high)


class _WeightedModel:
    """B = slope R A W as a matrix on the scan's voxels inside the brain."""

    def __init__(
        self, operator: ForwardOperator, weight: np.ndarray, inside: np.ndarray, check: Callable[[], None]
    ) -> None:
        self._operator, self._inside, self._check = operator, np.asarray(inside) != 0, check
        self._weight = torch.from_numpy(np.ascontiguousarray(weight, dtype=np.float32))
        self.slope = 1.0
        self.iterations = 0

    def predict(self, x: np.ndarray) -> np.ndarray:
        """A x on the scan's grid."""
        self._check()
        return self._operator(torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32))).numpy()

    def change(self, z: np.ndarray) -> np.ndarray:
        """W B' z on the fine grid."""
        return (self._weight * self._adjoint(z)).numpy()

    def normal(self, z: np.ndarray) -> np.ndarray:
        """B B' z."""
        self._check()
        return self.slope * self._operator(self._weight * self._adjoint(z)).numpy()[self._inside]

    def largest_eigenvalue(self, start: np.ndarray, steps: int = 5) -> float:
        """Of B B', by power iteration; some percent too low, which its use forgives."""
        z = np.abs(start) + np.float32(1e-6)
        value = 0.0
        for _ in range(steps):
            z = z / np.linalg.norm(z)
            moved = self.normal(z)
            value, z = float(z @ moved), moved
        return value

    def solve(self, right: np.ndarray, regularisation: float, start: np.ndarray) -> np.ndarray:
        """(B B' + lambda I)^-1 right by conjugate gradients (scipy)."""
        matrix = LinearOperator(
            (right.size, right.size), matvec=lambda z: self.normal(z) + regularisation * z.ravel(), dtype=np.float32
        )

        def count(_: np.ndarray) -> None:
            self.iterations += 1

        z, _ = cg(matrix, right, x0=start, rtol=CG_TOLERANCE, maxiter=CG_ITERATIONS, callback=count)
        return z.astype(np.float32)

    def _adjoint(self, z: np.ndarray) -> torch.Tensor:
        """B' z = slope W A' R' z."""
        full = np.zeros(self._inside.shape, dtype=np.float32)
        full[self._inside] = np.asarray(z, dtype=np.float32).ravel()
        return self.slope * self._weight * self._operator.adjoint(torch.from_numpy(full))
