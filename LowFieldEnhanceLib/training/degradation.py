"""What a random low-field protocol is drawn from."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ..errors import BadInput


@dataclass(frozen=True)
class DegradationRange:
    """What a random low-field protocol is drawn from (mm, ratios and standard deviations; log-uniform SNR).

    A share ``common_share`` is drawn around the protocols that 64 mT scanners use every day (``common_*``: 1.6 x 1.6 x
    5 mm, mostly axial), the rest from everything else, so that no protocol is the only one known.

    A ``protocol``, the spacing along the three axes, takes the place of both: a network for one scanner's protocol.

    Bias and gain change the target as they change the scan: a method is not asked to guess them (the pipeline offers
    N4), and as unpredictable errors they would hide what can be learned. The contrast changes the scan alone.

    A share ``filtered_share`` of the scans went through the scanner's filter: it blurs the anatomy and makes the noise
    of neighbours alike, by a Gaussian of ``filter_width`` voxels of the scan (full width at half maximum).

    A share ``session_share`` of the heads with several contrasts has them all acquired on one grid, as in a session;
    each still has its own noise. The rest has a protocol for each contrast.
    """

    in_plane: tuple[float, float] = (1.0, 2.0)
    slices: tuple[float, float] = (2.0, 6.0)
    isotropic: tuple[float, float] = (1.5, 3.0)
    isotropic_share: float = 0.2
    common_share: float = 0.5
    common_in_plane: tuple[float, float] = (1.4, 1.8)
    common_slices: tuple[float, float] = (4.0, 6.0)
    axial_share: float = 0.75
    width_factor: tuple[float, float] = (0.9, 1.1)
    snr: tuple[float, float] = (8.0, 40.0)
    bias: float = 0.15
    contrast: float = 0.05
    gain: float = 0.04
    misjudged: tuple[float, float] = (0.05, 0.2)
    unknown: float = 0.1
    filtered_share: float = 0.3
    filter_width: tuple[float, float] = (0.6, 2.2)
    most_grown: int = 3
    session_share: float = 0.5
    protocol: tuple[float, float, float] | None = None

    def spacings(self) -> tuple[float, float]:
        """Least and greatest spacing (mm) that can be drawn."""
        if self.protocol is not None:
            return min(self.protocol), max(self.protocol)
        common, rest = (self.common_in_plane, self.common_slices), (self.in_plane, self.slices)
        drawn = [pair for pairs, there in ((common, self.common_share > 0), (rest, self.common_share < 1)) if there
                 for pair in pairs]  # fmt: skip
        if self.common_share < 1 and self.isotropic_share > 0:
            drawn.append(self.isotropic)
        return min(low for low, _ in drawn), max(high for _, high in drawn)

    @classmethod
    def read(cls, path: Path) -> DegradationRange:
        """The ranges of a JSON file; a field it does not name keeps its value.

        Raises:
            BadInput: see :meth:`read_fields`.
        """
        given = cls.read_fields(path)
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in given.items()})

    @classmethod
    def read_fields(cls, path: Path) -> dict[str, Any]:
        """What a JSON file holds, an object of the fields above.

        Raises:
            BadInput: no such file, no object, an unknown field, or a value that is not of the field's kind: a number
                not below 0 (a share not above 1), a pair of them, or a protocol of three spacings; spacings are from
                0.5 to 10 mm.
        """
        try:
            given = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise BadInput(f"the degradation {path} cannot be read as JSON: {error}") from error
        if not isinstance(given, dict):
            raise BadInput(f"the degradation {path} is not an object of field names and values")
        known = {field.name: field.default for field in fields(cls)}
        for name, value in given.items():
            if name not in known:
                raise BadInput(f"the degradation {path} has the unknown field '{name}'; there are {', '.join(known)}")
            if not _fits(name, value, known[name]):
                raise BadInput(f"the degradation {path} cannot have {json.dumps(value)} as '{name}'")
        return given


STEPS = (0.5, 10.0)  # mm
LIMITS = dict.fromkeys(("in_plane", "slices", "isotropic", "common_in_plane", "common_slices"), STEPS)
LIMITS |= {"width_factor": (0.1, 10.0)}  # of the other pairs: 0 and more


def _fits(name: str, value: Any, default: Any) -> bool:
    """Whether a value of a JSON file is of the kind of the field's default, and possible."""
    if name == "protocol":
        return _numbers(value, 3) and all(0.5 <= step <= 10 for step in value)
    if isinstance(default, tuple):
        # misjudged is a pair of standard deviations, the others are least and most; the SNR is drawn on a log scale
        low, high = LIMITS.get(name, (0.0, math.inf))
        rising = name == "misjudged" or (_numbers(value, 2) and value[0] <= value[1])
        within = _numbers(value, 2) and all(low <= number <= high for number in value)
        return within and rising and (name != "snr" or value[0] > 0)
    if isinstance(default, int):
        return type(value) is int and value >= 0
    return _numbers([value], 1) and value >= 0 and (not name.endswith("share") or value <= 1)


def _numbers(value: Any, count: int) -> bool:
    return (
        isinstance(value, list)
        and len(value) == count
        and all(type(number) in (int, float) and math.isfinite(number) for number in value)
    )
