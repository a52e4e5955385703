"""N4 bias-field correction (Tustison et al. 2010) through SimpleITK, on a shrunken copy for speed."""

from __future__ import annotations

import numpy as np
import SimpleITK

from ..image import Image
from ..image_io import to_sitk


def n4_bias_field(image: Image, mask: np.ndarray, shrink: int = 4, iterations: int = 30) -> np.ndarray:
    """The multiplicative bias field of an image.

    Args:
        image: any intensity unit, non-negative.
        mask: bool, where the tissue is (same shape).
        shrink: factor of the shrunken copy that the field is fitted on.
        iterations: at each of three levels.

    Returns:
        float32 field of the image's shape, mean 1 inside the mask; ``image / field`` is corrected.
    """
    source = to_sitk(image)
    inside = to_sitk(image.with_array(mask.astype(np.float32)), np.uint8)
    factors = [max(1, min(shrink, n // 16)) for n in image.shape]
    corrector = SimpleITK.N4BiasFieldCorrectionImageFilter()
    corrector.SetMaximumNumberOfIterations([iterations] * 3)
    corrector.Execute(SimpleITK.Shrink(source, factors), SimpleITK.Shrink(inside, factors))
    field = SimpleITK.GetArrayFromImage(corrector.GetLogBiasFieldAsImage(source)).transpose(2, 1, 0)
    field = np.exp(field.astype(np.float32))
    return field / max(float(field[mask].mean()), 1e-6)
