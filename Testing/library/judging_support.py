"""What the tests of judging share: the lesion of the phantom head, and options for its coarse grid."""

from __future__ import annotations

import numpy as np
from phantoms import WHITE

from LowFieldEnhanceLib import pipeline
from LowFieldEnhanceLib.image import Image

OPTIONS = pipeline.Options(method="cubic", device="cpu", spacing=4.0)
LESION_MM = (-36.0, -24.0, 20.0)  # in the left white matter


def ball(image: Image, centre: tuple[float, ...], radius: float) -> np.ndarray:
    world = np.indices(image.shape).T @ image.affine[:3, :3].T + image.affine[:3, 3]
    return (((world - centre) ** 2).sum(-1) < radius**2).T


def with_lesion(image: Image) -> Image:
    return image.with_array(np.where(ball(image, LESION_MM, 9.0), 0.5 * WHITE, image.array))
