"""Rigid registration of a reference from another scanner or in another position to the scan, through SimpleITK.

Mattes mutual information (Mattes et al., IEEE TMI 2003;22:120) takes images of different contrast and scanner. The
search starts at the best of several positions (as the headers say, centres of the images, centres of intensity, each
with the head turned by up to 25 degrees) and goes from coarse to fine. It is deterministic: one thread, fixed samples.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK
from scipy import ndimage

from ..errors import BadInput
from ..events import Events
from ..image import LPS_FROM_RAS, Image
from ..image_io import to_sitk
from ..preprocess.grid import Grid, canonical_grid, resample

LEVELS_MM = (8.0, 4.0, 2.0)  # spacing of each level
SAMPLES = (1.0, 0.5, 0.15)  # share of voxels that the metric takes at each level
BINS = 32
SEED = 1
TURNS = tuple(math.radians(angle) for angle in (-25.0, 0.0, 25.0))
MASK_MARGIN_MM = 6.0
MIN_OVERLAP = 0.6
MIN_INFORMATION = 0.1  # of the smaller entropy; unrelated heads that merely overlap stay below


@dataclass(frozen=True)
class Registration:
    """A rigid transform and how far to trust it.

    Attributes:
        matrix: 4 x 4, RAS mm of the fixed image to RAS mm of the moving one (the direction that resampling needs).
        moved: the moving image with its own voxels and a new affine that puts them into the fixed image's frame.
        overlap: share (0..1) of the fixed head, or of its mask, that lies in the moving image's field of view.
        information: mutual information over the smaller of both entropies inside the fixed head, 0..1, higher is
            better.
        translation_mm, rotation_degrees: size of the movement at the centre of the fixed image, and its angle.
    """

    matrix: np.ndarray
    moved: Image
    overlap: float
    information: float
    translation_mm: float
    rotation_degrees: float

    def summary(self) -> dict[str, Any]:
        """JSON-serialisable, for the report."""
        return {
            "matrix_fixed_to_moving_ras": np.round(self.matrix, 6).tolist(),
            "overlap": self.overlap,
            "information": self.information,
            "translation_mm": self.translation_mm,
            "rotation_degrees": self.rotation_degrees,
        }


def register_rigid(
    moving: Image, fixed: Image, events: Events | None = None, fixed_mask: np.ndarray | None = None
) -> Registration:
    """Find the rigid movement that brings one image of a head onto another; both may have any grid and contrast.

    No voxel is interpolated: the result is the moving image with a corrected affine, to be resampled once.

    Args:
        moving: the reference.
        fixed: the scan, or its interpolation to the working grid.
        events: progress and cancel.
        fixed_mask: bool on the fixed grid; restricts the comparison to it and 6 mm around it (the brain, when only one
            image has a skull).

    Raises:
        BadInput: the images show no common anatomy, or too little of the fixed head lies in the moving image.
        Cancelled: through ``events``.
    """
    with _one_thread():
        return _register(moving, fixed, events or Events(), fixed_mask)


@contextmanager
def _one_thread() -> Iterator[None]:
    """ITK's metric adds up in the order in which its threads finish, so the last digits would differ from run to run.

    The metric has no thread count of its own in SimpleITK, only the default of the process; it is put back.
    """
    before = SimpleITK.ProcessObject.GetGlobalDefaultNumberOfThreads()
    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


def _register(moving: Image, fixed: Image, events: Events, fixed_mask: np.ndarray | None) -> Registration:
    stage, steps = "register the reference", len(LEVELS_MM) + 1
    events.progress(stage, 0, steps)
    head = foreground(fixed) if fixed_mask is None else _grown(np.asarray(fixed_mask) != 0, fixed.spacing)
    if not head.any():
        raise BadInput("the image to register to is empty, so there is no position to find")
    mask = fixed.with_array(head.astype(np.float32))
    transform = _start(moving, fixed, mask, head)
    for level, (spacing, share) in enumerate(zip(LEVELS_MM, SAMPLES, strict=False), start=1):
        events.progress(stage, level, steps)
        method = _method(fixed, mask, spacing, share)
        method.SetOptimizerAsRegularStepGradientDescent(0.5 * spacing, 0.005 * spacing, 100, 0.7, 1e-8)
        method.SetOptimizerScalesFromPhysicalShift()
        method.SetInitialTransform(transform, inPlace=True)
        try:
            method.Execute(_at(fixed, spacing), _at(moving, spacing))
        except RuntimeError as error:
            raise BadInput(
                "the reference could not be registered to the scan: they share too little anatomy"
            ) from error
    matrix = _ras_matrix(transform)
    result = _judged(moving, fixed, head, matrix)
    events.progress(stage, steps, steps)
    return result


def foreground(image: Image) -> np.ndarray:
    """The head: voxels above Otsu's threshold after smoothing by 2 mm, largest part, filled; bool."""
    smooth = ndimage.gaussian_filter(image.array, [2.0 / step for step in image.spacing])
    # Otsu between air and tissue; half of it keeps dark tissue in
    threshold = SimpleITK.OtsuThresholdImageFilter()
    threshold.Execute(SimpleITK.GetImageFromArray(smooth))
    parts, count = ndimage.label(smooth > 0.5 * threshold.GetThreshold())
    if count == 0:
        return np.zeros(image.shape, dtype=bool)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return ndimage.binary_fill_holes(parts == int(sizes.argmax()))


def _grown(mask: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    if not mask.any():
        return mask
    return ndimage.distance_transform_edt(~mask, sampling=spacing) <= MASK_MARGIN_MM


def _at(image: Image, spacing: float) -> SimpleITK.Image:
    """The image on a canonical grid of about that spacing, smoothed against aliasing."""
    steps = [max(spacing, 0.5 * step) for step in image.spacing]
    widths = [0.4 * math.sqrt(max(s**2 - step**2, 0.0)) / step for s, step in zip(steps, image.spacing, strict=True)]
    smooth = image.with_array(ndimage.gaussian_filter(image.array, widths))
    return to_sitk(resample(smooth, canonical_grid(image, spacing), "linear"))


def _method(fixed: Image, mask: Image, spacing: float, share: float) -> SimpleITK.ImageRegistrationMethod:
    method = SimpleITK.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(BINS)
    method.SetMetricSamplingStrategy(method.RANDOM if share < 1 else method.NONE)
    method.SetMetricSamplingPercentage(share, SEED)
    method.SetInterpolator(SimpleITK.sitkLinear)
    on_grid = resample(mask, canonical_grid(fixed, spacing), "nearest")
    method.SetMetricFixedMask(to_sitk(on_grid, np.uint8))
    return method


def _start(moving: Image, fixed: Image, mask: Image, head: np.ndarray) -> SimpleITK.Euler3DTransform:
    """The best of the starting positions, by the metric on the coarsest level."""
    spacing = LEVELS_MM[0]
    coarse = _at(fixed, spacing), _at(moving, spacing)
    method = _method(fixed, mask, spacing, 1.0)
    centre = _lps(fixed, np.argwhere(head).mean(axis=0))
    shifts = [
        np.zeros(3),
        _lps(moving, (np.array(moving.shape) - 1) / 2) - _lps(fixed, (np.array(fixed.shape) - 1) / 2),
        _lps(moving, np.array(ndimage.center_of_mass(foreground(moving).astype(np.float32)))) - centre,
    ]
    best: tuple[float, SimpleITK.Euler3DTransform] | None = None
    for shift, turn in itertools.product(shifts, itertools.product(TURNS, repeat=3)):
        if not np.isfinite(shift).all():
            continue
        transform = SimpleITK.Euler3DTransform()
        transform.SetCenter(centre.tolist())
        transform.SetRotation(*turn)
        transform.SetTranslation(shift.tolist())
        method.SetInitialTransform(transform, inPlace=False)
        try:
            value = float(method.MetricEvaluate(*coarse))
        except RuntimeError:  # ITK refuses a position without overlap
            continue
        if best is None or value < best[0]:
            best = value, transform
    if best is None:
        raise BadInput("the reference could not be registered to the scan: they do not overlap in any position tried")
    return best[1]


def _lps(image: Image, index: np.ndarray) -> np.ndarray:
    return (LPS_FROM_RAS @ image.affine @ [*index, 1.0])[:3]


def _ras_matrix(transform: SimpleITK.Euler3DTransform) -> np.ndarray:
    """The transform's matrix between RAS coordinates."""
    matrix = np.eye(4)
    rotation = np.array(transform.GetMatrix()).reshape(3, 3)
    centre, shift = np.array(transform.GetCenter()), np.array(transform.GetTranslation())
    matrix[:3, :3] = rotation
    matrix[:3, 3] = centre + shift - rotation @ centre
    return LPS_FROM_RAS @ matrix @ LPS_FROM_RAS


def _judged(moving: Image, fixed: Image, head: np.ndarray, matrix: np.ndarray) -> Registration:
    moved = Image(moving.array, np.linalg.inv(matrix) @ moving.affine, moving.contrast, moving.meta)
    grid = canonical_grid(fixed, 4.0)
    first, second = _sitk_array(fixed, grid), _sitk_array(moved, grid)
    inside = resample(fixed.with_array(head.astype(np.float32)), grid, "nearest").array > 0.5
    view = resample(moved.with_array(np.ones(moved.shape, dtype=np.float32)), grid, "nearest").array > 0.5
    overlap = float(np.mean(view[inside])) if inside.any() else 0.0
    if overlap < MIN_OVERLAP:
        raise BadInput(
            f"the reference shows only {100 * overlap:.0f} % of the head in the scan (at least "
            f"{100 * MIN_OVERLAP:.0f} % is needed), so it cannot be registered"
        )
    information = _information(first[inside & view], second[inside & view])
    if information < MIN_INFORMATION:
        raise BadInput(
            "the reference could not be registered to the scan: the best position found shows no common anatomy"
        )
    centre = fixed.affine @ [*((np.array(fixed.shape) - 1) / 2), 1.0]
    angle = math.degrees(math.acos(float(np.clip((np.trace(matrix[:3, :3]) - 1) / 2, -1, 1))))
    distance = float(np.linalg.norm((matrix @ centre - centre)[:3]))
    return Registration(matrix, moved, overlap, information, distance, angle)


def _sitk_array(image: Image, grid: Grid) -> np.ndarray:
    smooth = image.with_array(ndimage.gaussian_filter(image.array, [1.5 / step for step in image.spacing]))
    return resample(smooth, grid, "linear").array


def _information(first: np.ndarray, second: np.ndarray) -> float:
    """Mutual information over the smaller entropy, on 24 bins of equal frequency, bias of chance (bins) taken off."""
    bins = 24
    shares = np.linspace(0, 1, bins + 1)[1:-1]
    ranks = [np.searchsorted(np.quantile(v, shares), v, side="right") for v in (first, second)]
    joint = np.histogram2d(*ranks, bins=bins, range=[[-0.5, bins - 0.5]] * 2)[0] / first.size
    one, two = joint.sum(axis=1), joint.sum(axis=0)

    def entropy(p: np.ndarray) -> float:
        return float(-np.sum(p[p > 0] * np.log(p[p > 0])))

    smaller = min(entropy(one), entropy(two))
    chance = (bins - 1) ** 2 / (2.0 * first.size)  # Miller-Madow
    mutual = entropy(one) + entropy(two) - entropy(joint) - chance
    return max(mutual / smaller, 0.0) if smaller > 0 else 0.0
