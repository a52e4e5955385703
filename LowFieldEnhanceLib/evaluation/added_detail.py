"""What the enhanced scan shows that the acquired one cannot support, in percent of the local contrast.

With the forward model A and the scan y, the most that the measurement says about the fine grid is its regularised
minimum-norm reconstruction S y, S = A' (A A' + lambda)^-1. What an output x holds beyond it has two parts:

    x - S y = S (A x - y) + (x - S A x)

The first part contradicts the measurement: seen through A, the output differs from the scan there. It counts where the
residual, averaged over the point-spread function (A' (A x - y) / A' 1, the matched filter of a spot that the scan can
just resolve), exceeds its noise. The second part cannot be checked: A removes it, so the scan has no say about it
(range and null space as in Schwab, Antholzer, Haltmeier, Inverse Problems 2019;35:025008). A true fine edge and an
invented one look alike in it. A structure that was taken away is in the first part, with the sign turned.

Signs: positive where the output is brighter than supported (an added bright spot, or a dark one that was taken away).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from scipy.sparse.linalg import LinearOperator, cg
from torch import Tensor

from ..errors import BadInput
from ..image import Image
from ..physics.noise import filter_noise, noise_widths
from ..physics.operator import ForwardOperator
from ..physics.separable import SIGMA_PER_FWHM, SeparableOperator, linear_matrix, profile_matrix
from ..preprocess.grid import Grid, resample
from .checks import as_mask, bounding_box, check_same_shape
from .intensity import linear_coefficients

REGULARISATION = 0.02  # lambda over the largest eigenvalue of A A': detail below a seventh of full response is unseen
ITERATIONS, TOLERANCE = 20, 0.01  # of conjugate gradients
NOISE_GATE = (2.5, 3.5)  # in SD of the averaged residual's noise: the contradiction fades in between the two
CONTRAST_SIGMA_MM = 5.0
CONTRAST_FLOOR_SIGMA = 3.0  # a local contrast below three times the noise is not one
FLAG_PERCENT = 50.0
MARGIN_MM = 8.0
MIN_SPOT_MM3 = 15.0
MAX_SPOTS = 5
NOISE_SEED = 0


@dataclass(frozen=True)
class AddedDetail:
    """The maps on the working grid, in percent of the local contrast, 0 outside the brain, and their summary.

    Attributes:
        percent: contradicting + unseen; positive where the output is brighter than the scan supports.
        contradicting: what the scan speaks against, beyond its noise.
        unseen: detail that the scan cannot show, so that it can be neither confirmed nor denied.
        summary: JSON-serialisable, see :func:`added_detail`.
    """

    percent: Image
    contradicting: Image
    unseen: Image
    summary: dict[str, Any]


def added_detail(
    before: Image,
    enhanced: Image,
    acquired: Image,
    sigma: float,
    brain: np.ndarray,
    fwhm: Sequence[float] | None = None,
    profile: str = "gaussian",
    calm: np.ndarray | None = None,
) -> AddedDetail:
    """Split the enhanced scan into what the acquired one supports and what was added to it or taken from it.

    Args:
        before: the scan interpolated to the working grid [i, j, k]; the local contrast is measured in it.
        enhanced: on the same grid. A global change of intensity scale is fitted away.
        acquired: the scan on its own grid.
        sigma: noise standard deviation of ``acquired`` in its unit, above 0.
        brain: bool on the working grid.
        fwhm: of the PSF along the axes of ``acquired``, mm; None takes its spacing.
        profile: slice profile, see physics.separable.
        calm: bool on the grid of ``acquired``, its white matter, where the filter of its noise shows best; None if
            that is not known.

    Returns:
        The maps and a summary: ``rms_percent`` of the three maps; ``share_flagged`` (0..1) of the brain where the whole
        map exceeds ``flag_percent``, and the same for each part; ``share_brighter`` and ``share_darker``; ``spots``: up
        to five largest regions where the contradicting part exceeds ``flag_percent``, with their centre in RAS mm,
        volume in mm3, signed peak in percent, and ``sign`` (brighter or darker than the scan).

    Raises:
        BadInput: different grids, an empty brain, sigma not above 0, or a scan that does not cover the brain.
    """
    check_same_shape(before.array, enhanced.array, "the input and the enhanced scan")
    brain = as_mask(brain, before.shape)
    if not (sigma > 0 and math.isfinite(sigma)):
        raise BadInput(f"the noise level is {sigma:g}; added detail needs a noise level above 0")
    box = bounding_box(brain, math.ceil(MARGIN_MM / min(before.spacing)))
    inside = brain[box]
    fine, start = cropped(enhanced, box), before.array[box]
    operator = ForwardOperator(fine.shape, fine.affine, acquired.shape, acquired.affine, fwhm, profile)
    covered = resample(fine.with_array(inside.astype(np.float32)), Grid.of(acquired), "linear").array > 0.5
    if not covered.any():
        raise BadInput("the acquired scan does not cover the brain of the enhanced one, so nothing can be compared")

    predicted = operator(torch.from_numpy(fine.array))
    slope, intercept = linear_coefficients(acquired.array, predicted.numpy(), covered)
    weight = torch.from_numpy(covered.astype(np.float32))
    residual = weight * (slope * predicted + intercept - torch.from_numpy(acquired.array))
    # lambda would take its share of a constant too, so the support is sought around the brain's mean
    centred = torch.from_numpy(slope * (fine.array - np.float32(fine.array[inside].mean())))
    against, seen = support(operator, residual), support(operator, operator(centred))
    scale = np.where(inside, 100.0 / local_contrast(start, inside, before.spacing, CONTRAST_FLOOR_SIGMA * sigma), 0.0)
    widths = noise_widths(acquired.array, covered, calm)
    contradicting = against.numpy() * noise_gate(operator, residual, weight, sigma, inside, widths) * scale
    unseen = (centred - seen).numpy() * scale

    parts = [part.astype(np.float32) for part in (contradicting + unseen, contradicting, unseen)]
    summary = {**_numbers([part[inside] for part in parts]), "spots": _spots(parts[1], fine)}
    maps = []
    for part in parts:
        whole = np.zeros(before.shape, dtype=np.float32)
        whole[box] = part
        maps.append(before.with_array(whole))
    return AddedDetail(*maps, summary)


def noise_gate(
    operator: ForwardOperator,
    residual: Tensor,
    weight: Tensor,
    sigma: float,
    inside: np.ndarray,
    widths: Sequence[float] = (0.0, 0.0, 0.0),
) -> Any:  # noqa: ANN401
    """0..1 on the fine grid: whether the residual, averaged over the point-spread function, is more than noise.

    Args:
        operator: A.
        residual: A x - y on the coarse grid, 0 where ``weight`` is.
        weight: 1 for the coarse voxels that count, else 0.
        sigma: noise of the residual.
        inside: bool on the fine grid: where the noise of the average is measured, on one draw of noise.
        widths: of the filter that the scanner sent its noise through (physics.noise.noise_widths). Noise that
            neighbours share is averaged away less than white noise.
    """
    noise = torch.randn(weight.shape, generator=torch.Generator().manual_seed(NOISE_SEED))
    noise = sigma * (filter_noise(noise, widths) if any(widths) else noise)
    total = operator.adjoint(weight)
    total = total.clamp_min(1e-3 * float(total.max()))
    deviation = float((operator.adjoint(weight * noise) / total).numpy()[inside].std())
    low, high = NOISE_GATE
    steps = (operator.adjoint(residual) / total).abs() / deviation
    return ((steps - low) / (high - low)).clamp(0.0, 1.0).numpy()


def support(operator: ForwardOperator, measured: Tensor) -> Tensor:
    """S v = A' (A A' + lambda)^-1 v.

    On parallel grids A A' is a Kronecker product of one small matrix an axis, so the solution is exact, through their
    eigenvectors. On oblique grids it comes from conjugate gradients.

    Args:
        operator: A.
        measured: v on the coarse grid.

    Returns:
        On the fine grid. Lambda is :data:`REGULARISATION` times the largest eigenvalue of A A'.
    """
    factors = operator.factors()
    solved = _solve_iteratively(operator, measured) if factors is None else _solve_exactly(factors, measured)
    return operator.adjoint(solved)


def _solve_exactly(factors: list[Tensor], measured: Tensor) -> Tensor:
    """(A A' + lambda)^-1 v for A = M0 x M1 x M2, factor a along axis a of the coarse grid."""
    values, vectors = zip(*(torch.linalg.eigh((m @ m.T).double()) for m in factors), strict=True)
    turned = SeparableOperator([v.numpy() for v in vectors], measured.dtype)
    spectrum = torch.einsum("a,b,c->abc", *values).clamp_min(0.0)
    shifted = (spectrum + REGULARISATION * spectrum.max()).to(measured.dtype)
    return turned(turned.adjoint(measured) / shifted)


def _solve_iteratively(operator: ForwardOperator, measured: Tensor) -> Tensor:
    """The same by conjugate gradients; the largest eigenvalue by power iterations."""
    start = measured.numpy()

    def gram(v: np.ndarray) -> np.ndarray:
        whole = torch.from_numpy(np.asarray(v, dtype=start.dtype).reshape(start.shape))
        return operator(operator.adjoint(whole)).numpy().ravel()

    vector = np.ones(start.size, dtype=start.dtype)
    largest = 1.0
    for _ in range(3):
        vector = gram(vector)
        largest = float(np.linalg.norm(vector))
        vector = vector / max(largest, 1e-12)
    shift = start.dtype.type(REGULARISATION * largest)
    system = LinearOperator((start.size,) * 2, matvec=lambda v: gram(v) + shift * v.ravel(), dtype=start.dtype)
    solution, _ = cg(system, start.ravel(), rtol=TOLERANCE, maxiter=ITERATIONS)
    return torch.from_numpy(solution.astype(start.dtype).reshape(start.shape))


def local_contrast(
    array: np.ndarray, mask: np.ndarray, spacing: tuple[float, float, float], floor: float
) -> np.ndarray:
    """Twice the local standard deviation: the difference of two tissues that share the neighbourhood equally.

    Gaussian neighbourhood of 5 mm standard deviation, inside the mask only, taken at every second voxel and
    interpolated between them; never below ``floor``.
    """
    smooth, back = [], []
    for size, step in zip(array.shape, spacing, strict=True):
        centres = np.arange(0, size + 1, 2, dtype=np.float64).clip(max=size - 1)
        smooth.append(profile_matrix(centres, CONTRAST_SIGMA_MM / step / SIGMA_PER_FWHM, size, "gaussian"))
        back.append(linear_matrix(np.arange(size) / 2.0, len(centres)))
    centred = np.where(mask, array - float(array[mask].mean()), 0.0).astype(np.float32)
    stacked = torch.from_numpy(np.stack([mask.astype(np.float32), centred, centred * centred]))
    weight, mean, square = SeparableOperator(smooth)(stacked)
    weight = weight.clamp_min(1e-6)
    deviation = (square / weight - (mean / weight) ** 2).clamp_min(0.0).sqrt()
    return np.maximum(2.0 * SeparableOperator(back)(deviation).numpy(), floor)


def cropped(image: Image, box: tuple[slice, ...]) -> Image:
    """The part of an image inside a box of voxel slices, at its place in the world."""
    affine = image.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ [part.start for part in box]
    return Image(image.array[box], affine, image.contrast, image.meta)


def _numbers(values: list[np.ndarray]) -> dict[str, Any]:
    names = ("all", "contradicting", "unseen")
    return {
        "flag_percent": FLAG_PERCENT,
        "rms_percent": {n: float(np.sqrt(np.mean(v**2))) for n, v in zip(names, values, strict=True)},
        "share_flagged": {n: float(np.mean(np.abs(v) > FLAG_PERCENT)) for n, v in zip(names, values, strict=True)},
        "share_brighter": float(np.mean(values[0] > FLAG_PERCENT)),
        "share_darker": float(np.mean(values[0] < -FLAG_PERCENT)),
    }


def _spots(percent: np.ndarray, image: Image) -> list[dict[str, Any]]:
    """The largest regions where the output contradicts the scan, by the sum of their percentages."""
    voxel = image.voxel_volume_ml * 1000.0
    found = []
    for sign, name in ((1.0, "brighter"), (-1.0, "darker")):
        regions, _ = ndimage.label(sign * percent > FLAG_PERCENT)
        numbers = regions[regions > 0]
        sizes = np.bincount(numbers) * voxel
        weights = np.bincount(numbers, sign * percent[regions > 0]) * voxel
        large = np.flatnonzero(sizes >= MIN_SPOT_MM3)
        for n in large[np.argsort(-weights[large])][:MAX_SPOTS]:
            places = np.nonzero(regions == n)
            height = sign * percent[places]
            centre = np.average(places, axis=1, weights=height)
            world = image.affine[:3, :3] @ centre + image.affine[:3, 3]
            found.append((weights[n], {
                "centre_ras_mm": [round(float(w), 1) for w in world],
                "volume_mm3": round(float(sizes[n]), 1),
                "peak_percent": sign * float(height.max()),
                "sign": name,
            }))  # fmt: skip
    found.sort(key=lambda item: -item[0])
    return [spot for _, spot in found[:MAX_SPOTS]]
