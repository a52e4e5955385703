"""Networks work on voxels of the size that they were trained on, whatever the spacing of the output."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from judging_support import OPTIONS
from samples_support import Gaussian
from scipy import ndimage

from LowFieldEnhanceLib import pipeline
from LowFieldEnhanceLib.evaluation.html import render_html
from LowFieldEnhanceLib.events import Events
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.methods.base import Case
from LowFieldEnhanceLib.methods.registry import METHODS
from LowFieldEnhanceLib.preprocess.grid import Grid, resample
from LowFieldEnhanceLib.preprocess.prepare import regridded
from LowFieldEnhanceLib.preprocess.unwarp import Displacement
from LowFieldEnhanceLib.samples import run_samples

pytest_plugins = ["judging_fixtures"]
pytestmark = pytest.mark.usefixtures("quick_pipeline")
TRAINED_MM = 4.0


@pytest.fixture(autouse=True)
def of_four_millimetres(tiny_models_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The tiny networks, registered as trained on voxels of 4 mm."""
    folder = shutil.copytree(tiny_models_folder, tmp_path / "models")
    registry = json.loads((folder / "models.json").read_text(encoding="utf-8"))
    for name, entry in registry["models"].items():
        entry["valid_range"] = {} if name == "segmenter" else {"grid_mm": [TRAINED_MM, TRAINED_MM]}
    (folder / "models.json").write_text(json.dumps(registry), encoding="utf-8")
    monkeypatch.setenv("LOWFIELDENHANCE_MODELS", str(folder))
    yield


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Case]:
    """The cases that methods were given."""
    cases: list[Case] = []
    for name in ("cubic", "regression", "bridged", "latent"):
        kind = type(METHODS[name])
        inherited = kind.enhance

        def watched(self, case, preset, generator, events, inherited=inherited):  # noqa: ANN001, ANN202
            cases.append(case)
            return inherited(self, case, preset, generator, events)

        monkeypatch.setattr(kind, "enhance", watched)
    return cases


def run(low: Image, method: str, spacing: float, **more: object) -> tuple[pipeline.Result, str]:
    """The result, and its warnings."""
    events: list[dict] = []
    options = replace(OPTIONS, method=method, preset=METHODS[method].presets[0], spacing=spacing)
    given = {name: more.pop(name) for name in ("contrasts", "displacement") if name in more}
    result = pipeline.enhance(low, replace(options, **more), events=Events(events.append), **given)
    return result, " ".join(event["message"] for event in events if event["event"] == "warning")


def test_at_another_output_spacing_the_networks_see_what_they_know_and_the_result_is_interpolated(
    low: Image, seen: list[Case]
) -> None:
    coarse, quiet = run(low, "regression", TRAINED_MM)
    fine, warned = run(low, "regression", 2.0)
    np.testing.assert_allclose(seen[0].inputs["T1w"].spacing, TRAINED_MM)
    np.testing.assert_allclose(seen[1].inputs["T1w"].spacing, TRAINED_MM)
    deep = ndimage.binary_erosion(seen[0].mask, iterations=2)  # the outlines, from two grids, differ a little
    first, second = (case.inputs["T1w"] for case in seen)
    second = resample(second.with_array(second.array + 1), Grid.of(first), "linear").array - 1
    np.testing.assert_allclose(second[deep], first.array[deep], atol=0.03)
    assert "voxels of 4 mm" in warned and "interpolated to 2 mm" in warned and "voxels of" not in quiet
    for text in (warned, " ".join(render_html(fine.report, {}).split())):
        assert "it holds no detail finer than 4 mm, and none could be checked against a truth" in text
    assert fine.report["provenance"]["method_spacing"] == TRAINED_MM and fine.report["provenance"]["spacing"] == 2.0
    np.testing.assert_allclose(fine.enhanced.spacing, 2.0)
    inner = ndimage.binary_erosion(fine.brain, iterations=4)
    expected = resample(coarse.enhanced, Grid.of(fine.enhanced), "cubic").array
    away, change = (np.abs(fine.enhanced.array - other)[inner].mean() for other in (expected, fine.before.array))
    assert away < 0.1 * change and change > 5.0  # and it is no mere interpolation of the scan


def test_an_output_coarser_than_the_networks_is_interpolated_and_lacks_nothing(low: Image, seen: list[Case]) -> None:
    result, warned = run(low, "regression", 5.0)
    for text in (warned, render_html(result.report, {})):
        assert "interpolated to 5 mm" in text and "no detail finer" not in text


def test_a_method_without_networks_works_on_the_output_grid(low: Image, seen: list[Case]) -> None:
    result, warned = run(low, "cubic", 2.0)
    np.testing.assert_allclose(seen[0].inputs["T1w"].spacing, 2.0)
    assert warned == "" and result.report["provenance"]["method_spacing"] == 2.0


def test_further_contrasts_and_the_displacement_field_come_along(low: Image, seen: list[Case]) -> None:
    second = replace(low, array=1000.0 - np.clip(low.array, 0, 900), contrast="T2w")
    run(low, "bridged", 2.0, contrasts={"T2w": second})
    assert seen[0].inputs["T2w"].shape == seen[0].inputs["T1w"].shape == seen[0].mask.shape
    np.testing.assert_array_equal(seen[0].inputs["T2w"].affine, seen[0].inputs["T1w"].affine)
    scaling = SimpleITK.AffineTransform(3)
    scaling.Scale(1.1)
    run(low, "latent", 2.0, displacement=Displacement(scaling, "field"))
    jacobian = seen[1].log_jacobian
    assert jacobian is not None and jacobian.shape == seen[1].shape
    assert jacobian[seen[1].mask].mean() == pytest.approx(3 * np.log(1.1), rel=0.01)


@pytest.mark.parametrize("method", ["regression", "latent"])  # mirrored heads; slice orientations
def test_the_spread_is_on_the_output_grid(method: str, low: Image) -> None:
    samples = 2 if method == "regression" else 1
    coarse, _ = run(low, method, TRAINED_MM, samples=samples)
    fine, _ = run(low, method, 2.0, samples=samples)
    assert coarse.uncertainty is not None and fine.uncertainty is not None
    assert fine.uncertainty.shape == fine.enhanced.shape != coarse.uncertainty.shape
    figures = [result.uncertainty.array[result.brain].mean() for result in (coarse, fine)]
    assert 0.4 * figures[0] < figures[1] < 1.05 * figures[0]  # interpolation smooths what random networks make


@pytest.mark.parametrize("spacing", [4.0, 5.0])
def test_a_result_that_is_the_scan_itself_has_no_ring_around_the_brain(spacing: float, low: Image) -> None:
    prepared = pipeline.subject_of(low, replace(OPTIONS, spacing=spacing)).prepared
    inner = regridded(prepared, spacing / 2)
    landed = prepared.landing(Grid.of(inner.on_grid), inner.mask)(inner.model_input.array)
    back, scan = prepared.back(landed).array, prepared.on_grid.array
    rim = (prepared.weight > 0) & ~prepared.brain & (scan > 0.1 * prepared.scale)
    assert rim.sum() > 100
    assert np.median(back[rim] / scan[rim]) == pytest.approx(1.0, abs=0.1)
    assert np.median(back[prepared.brain] / scan[prepared.brain]) == pytest.approx(1.0, abs=0.02)


def test_where_the_networks_grid_ends_lies_background(low: Image) -> None:
    subject = pipeline.subject_of(low, replace(OPTIONS, spacing=2.0))
    case = subject.case_on(TRAINED_MM)
    inner, _ = case.cropped(0)
    landed = subject.prepared.landing(inner.grid, inner.mask)(np.full(inner.shape, 0.5, np.float32))
    assert landed.shape == subject.prepared.on_grid.shape
    assert landed[0, 0, 0] == -1.0 and landed[tuple(n // 2 for n in landed.shape)] == pytest.approx(0.5)


def test_the_scan_is_brought_to_the_networks_grid_once_for_all_samples(
    low: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = pipeline.subject_of(low, replace(OPTIONS, spacing=2.0))
    case, sizes = subject.case_on(TRAINED_MM), []
    monkeypatch.setattr(
        "LowFieldEnhanceLib.preprocess.prepare.resample",
        lambda image, grid, how: sizes.append(grid.shape) or resample(image, grid, how),
    )
    run_samples(Gaussian(), case, subject.prepared, "fast", 0, 3)
    assert sizes == [case.shape] + 3 * [subject.prepared.on_grid.shape]


def test_a_mirrored_head_comes_back_in_its_place(low: Image) -> None:
    """All of two flips' mean lies where the scan lies: on a finer grid too."""
    fine, _ = run(low, "regression", 2.0, samples=2)
    single, _ = run(low, "regression", 2.0)
    inside = fine.brain
    together = np.corrcoef(fine.enhanced.array[inside], single.enhanced.array[inside])[0, 1]
    assert together > 0.999
    assert fine.uncertainty.array[inside].mean() < 0.3 * single.enhanced.array[inside].std()
