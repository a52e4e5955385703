"""Noise schedules: variance-preserving (abar) and the sigma it stands for.

x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps is, divided by sqrt(abar_t), the same as x_0 + sigma_t eps with
sigma_t = sqrt((1 - abar_t) / abar_t). Denoisers here take the second form (Karras et al. 2022).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class CosineSchedule:
    """Cosine schedule of Nichol and Dhariwal 2021 (eq. 17), as Bridged diffusion uses.

    Attributes:
        steps: T, number of diffusion steps.
        offset: s of the paper.
    """

    steps: int = 1000
    offset: float = 0.008

    def alpha_bar(self, t: float | np.ndarray) -> np.ndarray:
        """abar_t in (0, 1] for t in 0..T (real-valued t allowed); abar_0 = 1."""
        fraction = np.asarray(t, dtype=np.float64) / self.steps
        angle = (fraction + self.offset) / (1 + self.offset) * math.pi / 2
        start = math.cos(self.offset / (1 + self.offset) * math.pi / 2) ** 2
        return np.clip(np.cos(angle) ** 2 / start, 1e-5, 1.0)

    def sigma(self, t: float | np.ndarray) -> np.ndarray:
        """Noise standard deviation over signal amplitude: sqrt((1 - abar_t) / abar_t)."""
        abar = self.alpha_bar(t)
        return np.sqrt((1 - abar) / abar)

    def timestep(self, sigma: float | np.ndarray) -> np.ndarray:
        """The real-valued t with sigma(t) = sigma, the inverse of :meth:`sigma`."""
        start = math.cos(self.offset / (1 + self.offset) * math.pi / 2) ** 2
        abar = 1 / (1 + np.asarray(sigma, dtype=np.float64) ** 2)
        angle = np.arccos(np.sqrt(np.clip(abar * start, 0, 1)))
        return np.maximum((angle * 2 / math.pi * (1 + self.offset) - self.offset) * self.steps, 0.0)


@dataclass(frozen=True)
class LinearSchedule:
    """Linear schedule of Ho et al. 2020, short: with CSS-Diff's 50 steps abar_50 is 0.60, so an image stays visible.

    Attributes:
        steps: T, number of diffusion steps.
        first, last: beta of the first and the last step.
    """

    steps: int = 50
    first: float = 1e-4
    last: float = 0.02

    def _log_alpha_bar(self) -> np.ndarray:
        return np.concatenate([[0.0], np.cumsum(np.log1p(-np.linspace(self.first, self.last, self.steps)))])

    def alpha_bar(self, t: float | np.ndarray) -> np.ndarray:
        """abar_t in (0, 1] for t in 0..T, the product of 1 - beta; between two steps its logarithm is interpolated."""
        return np.exp(np.interp(np.asarray(t, dtype=np.float64), np.arange(self.steps + 1), self._log_alpha_bar()))

    def sigma(self, t: float | np.ndarray) -> np.ndarray:
        """Noise standard deviation over signal amplitude: sqrt((1 - abar_t) / abar_t)."""
        abar = self.alpha_bar(t)
        return np.sqrt((1 - abar) / abar)

    def sigmas(self, count: int) -> list[float]:
        """Noise levels of ``count`` evenly spaced steps from T: those of T, T (n - 1) / n, ..., T / n.

        Raises:
            ValueError: count below 1.
        """
        if count < 1:
            raise ValueError("the number of steps must be at least 1")
        return [float(s) for s in self.sigma(self.steps * np.arange(count, 0, -1) / count)]


def strided_timesteps(start: int, count: int) -> list[int]:
    """``count`` timesteps from ``start`` down to 1, evenly spaced; all of them if count >= start.

    Raises:
        ValueError: start or count below 1.
    """
    if start < 1 or count < 1:
        raise ValueError("the first timestep and the number of steps must be at least 1")
    if count >= start:
        return list(range(start, 0, -1))
    if count == 1:
        return [start]
    return sorted({int(round(t)) for t in np.linspace(start, 1, count)}, reverse=True)
