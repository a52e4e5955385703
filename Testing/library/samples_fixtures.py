"""Fixtures of the tests of several results of one scan: the scan, prepared, and the case that a method gets."""

from __future__ import annotations

import pytest

from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.methods.base import Case
from LowFieldEnhanceLib.preprocess.grid import canonical_grid, resample
from LowFieldEnhanceLib.preprocess.prepare import Prepared, prepare


@pytest.fixture(scope="module")
def prepared(phantom) -> Prepared:
    """A thick-slice phantom scan with flipped axes on an 8 mm working grid of odd and even sizes."""
    image, labels = phantom((22, 27, 22), (8.0, 8.0, 8.0), stripped=True)
    scan = resample(image, canonical_grid(image, (8.0, 8.0, 16.0)), "linear")
    affine = scan.affine.copy()
    affine[:3, 3] += affine[:3, 1] * (scan.shape[1] - 1)
    affine[:3, 1] *= -1
    return prepare(Image(scan.array[:, ::-1], affine, "T1w"), image, labels, sigma=20)


@pytest.fixture(scope="module")
def case(prepared: Prepared) -> Case:
    return Case({"T1w": prepared.model_input}, "T1w", prepared.mask, prepared.measured, prepared.sigma / prepared.scale)
