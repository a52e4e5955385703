"""Field-dependent tissue contrast: relaxation times at 50 mT and 3 T, sequence equations, and moving a head between.

Relaxation changes with the field: at 50 mT the T1 of grey and white matter are short and close together, so a T1w
scan has less contrast between them than at 3 T, whatever the resolution. The 64 mT scans that are simulated with the
50 mT values are that far from true: T1 rises a little from 50 to 64 mT.

Sources of the tissue values (ms):
    50 mT: O'Reilly and Webb, MRM 2022;87:884: the nearest published in-vivo whole-brain values to 64 mT.
    3 T:   white and grey matter: Stanisz et al., MRM 2005;54:507. CSF T1: Rooney et al., MRM 2007;57:308;
           CSF T2: of the order of free water, 2 s.
    Proton densities: BrainWeb, Kwan et al., IEEE TMI 1999;18:1085.
Sequence parameters: BIDS sidecars of OpenNeuro ds006557 (Swoop and SIGNA Premier). Inversion recovery at 64 mT is taken
with the sign of the signal and negative values at 0, because CSF is dark in Swoop T1w scans.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..errors import BadInput
from ..image import Image
from ..preprocess.grid import Grid, same_grid
from ..segmentation.labels import LabelMap, label_table

TISSUES = ("WM", "GM", "CSF")


@dataclass(frozen=True)
class Tissue:
    """Relaxation times in ms and proton density relative to CSF."""

    t1: float
    t2: float
    density: float


@dataclass(frozen=True)
class Sequence:
    """Acquisition in ms; ``ti`` None is a spin echo, else inversion recovery."""

    tr: float
    te: float
    ti: float | None = None


TISSUE_50MT = {"WM": Tissue(275, 102, 0.77), "GM": Tissue(327, 102, 0.86), "CSF": Tissue(3695, 1584, 1.0)}
TISSUE_3T = {"WM": Tissue(1084, 69, 0.77), "GM": Tissue(1820, 99, 0.86), "CSF": Tissue(4300, 2000, 1.0)}
LOW_FIELD = {"T1w": Sequence(1500, 6, 300), "T2w": Sequence(2000, 161), "FLAIR": Sequence(4000, 161, 1400)}
HIGH_FIELD = {"T1w": Sequence(2500, 2.8, 1060), "T2w": Sequence(3200, 60), "FLAIR": Sequence(9000, 120, 2500)}


def signal(tissue: Tissue, sequence: Sequence) -> float:
    """Signal of a tissue, relative to the proton density of CSF; never negative.

    Spin echo: PD (1 - exp(-TR/T1)) exp(-TE/T2). Inversion recovery: PD (1 - 2 exp(-TI/T1) + exp(-TR/T1)) exp(-TE/T2)
    (Haacke et al., Magnetic Resonance Imaging, 1999, ch. 8), negative values set to 0.
    """
    recovery = 1 - math.exp(-sequence.tr / tissue.t1)
    if sequence.ti is not None:
        recovery = 1 - 2 * math.exp(-sequence.ti / tissue.t1) + math.exp(-sequence.tr / tissue.t1)
    return max(tissue.density * recovery * math.exp(-sequence.te / tissue.t2), 0.0)


def field_ratios(contrast: str, floor: float = 0.02) -> dict[str, float]:
    """Low-field over high-field signal a tissue, white matter = 1: what turns a 3 T head into a low-field one.

    ``floor`` (share of the white-matter signal) keeps the ratio finite where a sequence nulls a tissue.

    Raises:
        BadInput: a contrast without known sequences.
    """
    if contrast not in LOW_FIELD:
        raise BadInput(
            f"the field-dependent contrast of '{contrast}' is unknown; it is known for {', '.join(LOW_FIELD)}"
        )
    low = {t: signal(TISSUE_50MT[t], LOW_FIELD[contrast]) for t in TISSUES}
    high = {t: signal(TISSUE_3T[t], HIGH_FIELD[contrast]) for t in TISSUES}
    relative = {t: max(low[t] / low["WM"], floor) / max(high[t] / high["WM"], floor) for t in TISSUES}
    return {t: relative[t] / relative["WM"] for t in TISSUES}


def apply_field_contrast(image: Image, labels: LabelMap, strength: float = 1.0, blur: float = 0.6) -> Image:
    """A high-field image with low-field tissue contrast.

    Args:
        image: high-field, T1w, T2w or FLAIR.
        labels: on the same grid; unlabelled voxels keep their intensity.
        strength: exponent of the ratios; 0 changes nothing, 1 is the physical model.
        blur: standard deviation in voxels of the ratio map (partial volume at tissue borders).

    Raises:
        BadInput: grids differ or the contrast is unknown.
    """
    if not same_grid(Grid.of(image), Grid(labels.array.shape, labels.affine)):  # type: ignore[arg-type]
        raise BadInput("the label map is not on the grid of the image, so the tissue contrast cannot be changed")
    ratios = field_ratios(image.contrast)
    table = np.ones(256, dtype=np.float32)
    for label in label_table():
        table[label.id] = ratios[label.tissue] ** strength
    field = ndimage.gaussian_filter(np.log(table[labels.array]), blur)
    return image.with_array(image.array * np.exp(field))
