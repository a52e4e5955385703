"""Heads and voxels made up for the tests, and the sentence with which a file is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from LowFieldEnhanceLib import image_io
from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.segmentation.labels import LabelMap

SHAPE = (5, 7, 6)


def voxels(shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """Noise-like intensities, the same each time."""
    return np.random.default_rng(3).normal(300, 100, shape).astype(np.float32)


def refused(path: Path) -> str:
    """The one sentence with which reading the file is refused."""
    with pytest.raises(BadInput) as refusal:
        image_io.read_image(path)
    message = str(refusal.value)
    assert "\n" not in message
    assert ".cxx" not in message
    return message


# T1w-like intensities of the phantom's tissues
WHITE, GREY, FLUID, SCALP, SKULL = 800.0, 560.0, 200.0, 700.0, 60.0


def phantom_head(
    shape: tuple[int, int, int] = (44, 52, 44),
    spacing: tuple[float, float, float] = (4.0, 4.0, 4.0),
    stripped: bool = False,
) -> tuple[Image, LabelMap]:
    """Nested ellipsoids centred on world 0: scalp, skull, CSF, cortex, white matter, ventricles, a thalamus a side.

    RAS axes; the left half (negative R) carries the left labels. The right thalamus is larger, so that a flip shows.
    """
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -np.asarray(spacing) * (np.asarray(shape) - 1) / 2
    i, j, k = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    r, a, s = (affine[x, x] * index + affine[x, 3] for x, index in enumerate((i, j, k)))

    def ellipsoid(centre: tuple[float, float, float], radii: tuple[float, float, float]) -> np.ndarray:
        return sum(((w - c) / q) ** 2 for w, c, q in zip((r, a, s), centre, radii, strict=True)) <= 1

    labels = np.zeros(shape, dtype=np.uint8)
    array = np.zeros(shape, dtype=np.float32)
    left = r < 0
    if not stripped:
        array[ellipsoid((0, 0, 0), (82, 98, 82))] = SCALP
        array[ellipsoid((0, 0, 0), (75, 91, 75))] = SKULL
    for radii, ids, value in (
        ((69, 85, 69), (24, 24), FLUID),
        ((65, 81, 65), (3, 42), GREY),
        ((57, 73, 57), (2, 41), WHITE),
    ):
        inside = ellipsoid((0, 0, 0), radii)
        labels[inside] = np.where(left[inside], *ids)
        array[inside] = value
    for side, centre, ids, radii, value in (
        (-1, (16, 5, 12), 4, (9, 24, 9), FLUID),
        (1, (16, 5, 12), 43, (9, 24, 9), FLUID),
        (-1, (14, -8, -8), 10, (9, 12, 9), GREY),
        (1, (14, -8, -8), 49, (11, 15, 11), GREY),
    ):
        inside = ellipsoid((side * centre[0], centre[1], centre[2]), radii)
        labels[inside], array[inside] = ids, value
    return Image(array, affine, "T1w"), LabelMap(labels, affine, {})
