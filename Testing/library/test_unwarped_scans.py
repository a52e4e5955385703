"""A scan unwarped without correction of its intensities: results that correct them are compared with it as it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK
from judging_support import OPTIONS

from LowFieldEnhanceLib import pipeline, subject
from LowFieldEnhanceLib.evaluation.data_consistency import measure_fidelity
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.methods.registry import get_method
from LowFieldEnhanceLib.preprocess.grid import Grid, resample
from LowFieldEnhanceLib.preprocess.unwarp import Displacement

pytest_plugins = ["judging_fixtures"]
pytestmark = pytest.mark.usefixtures("quick_pipeline")


def ramp(grid: Grid) -> np.ndarray:
    """Logarithm of a determinant that grows along x, -0.3 to 0.3 over 120 mm."""
    affine = grid.affine
    x = np.einsum("c,cijk->ijk", affine[0, :3], np.indices(grid.shape)) + affine[0, 3]
    return np.clip(0.3 * (x - x.mean()) / 60, -0.3, 0.3).astype(np.float32)


@pytest.fixture
def unwarped(low: Image, monkeypatch: pytest.MonkeyPatch) -> tuple[Image, Displacement]:
    """The scan darkened where its unwarping spread it, and the field that says so."""
    monkeypatch.setattr(subject, "log_jacobian", lambda displacement, grid: ramp(grid))
    shaded = low.with_array(low.array * np.exp(-ramp(Grid.of(low))))
    return shaded, Displacement(SimpleITK.TranslationTransform(3), "field")


def test_the_truth_explains_a_scan_that_the_unwarping_darkened(
    unwarped: tuple[Image, Displacement], high: Image
) -> None:
    scan, displacement = unwarped
    opened = pipeline.subject_of(scan, OPTIONS, displacement=displacement)
    on_grid = pipeline.subject_of(high, OPTIONS).prepared.on_grid
    truth = resample(on_grid, Grid.of(opened.prepared.on_grid), "cubic")
    as_it_is = measure_fidelity(truth, opened.prepared)[1].rms
    seen = measure_fidelity(opened.as_scanned(truth, True), opened.prepared)[1].rms
    assert seen < 0.8 * as_it_is
    assert opened.as_scanned(truth, False) is truth and opened.corrected(truth, False) is truth
    back = opened.corrected(opened.as_scanned(truth, True), True)
    np.testing.assert_allclose(back.array, truth.array, rtol=1e-5)


def test_the_projection_leaves_the_correction_in_the_result(
    unwarped: tuple[Image, Displacement], monkeypatch: pytest.MonkeyPatch
) -> None:
    scan, displacement = unwarped
    options = replace(OPTIONS, data_consistency=True)
    plain = pipeline.enhance(scan, options, displacement=displacement)
    monkeypatch.setattr(type(get_method("cubic")), "unwarps", True, raising=False)
    corrected = pipeline.enhance(scan, options, displacement=displacement)
    inside = plain.brain & (np.minimum(plain.enhanced.array, corrected.enhanced.array) > 500)
    gained = np.log(corrected.enhanced.array[inside] / plain.enhanced.array[inside])
    assert np.corrcoef(gained, ramp(Grid.of(plain.enhanced))[inside])[0, 1] > 0.7
    told = corrected.report["data_consistency"]
    assert told["applied"] and told["after"]["rms"] < 0.5 * told["before"]["rms"]
    assert corrected.report["fidelity"]["rms"] == pytest.approx(told["after"]["rms"], rel=1e-3)
