"""Float voxels as the 16-bit integers of a DICOM slice, and the display window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

UNSIGNED_MAX, SIGNED_MAX, SIGNED_MIN = 65535, 32767, -32768


@dataclass(frozen=True)
class Quantised:
    """Stored integers; voxel value = slope * stored, within half a slope.

    Attributes:
        stored: uint16, or int16 where a voxel is negative; same shape as the voxels.
        slope: decimal string of DICOM (at most 16 characters); ``"1"`` where the voxels are whole numbers already.
    """

    stored: np.ndarray
    slope: str

    @property
    def signed(self) -> bool:
        """Whether the stored integers have a sign."""
        return self.stored.dtype == np.int16


def quantise(values: np.ndarray) -> Quantised:
    """Round to the finest step that 16 bits allow for the volume's range.

    The intercept is always 0, so that a viewer that knows no rescaling shows the same picture in other units.

    Args:
        values: finite, not all 0.
    """
    low, high = float(values.min()), float(values.max())
    signed = low < 0
    kind = np.int16 if signed else np.uint16
    fits = (low >= SIGNED_MIN and high <= SIGNED_MAX) if signed else high <= UNSIGNED_MAX
    if fits and np.array_equal(values, np.rint(values)):
        return Quantised(values.astype(kind), "1")
    finest = max(high / SIGNED_MAX, low / SIGNED_MIN) if signed else high / UNSIGNED_MAX
    slope = f"{finest * (1 + 1e-9):.9e}"  # a little more, so that rounding to ten digits never overflows
    return Quantised(np.rint(values / float(slope)).astype(kind), slope)


def display_window(values: np.ndarray) -> tuple[float, float]:
    """Centre and width from the 0.5th to the 99.5th percentile of what is not background (0)."""
    low, high = np.percentile(values[values != 0], (0.5, 99.5))
    if high <= low:
        low, high = float(values.min()), float(values.max())
    return float(low + high) / 2, float(high - low)
