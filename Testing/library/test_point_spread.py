"""A point-spread function that the user gives counts everywhere: fidelity, added detail, data steps, projection."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from phantoms import phantom_head

from LowFieldEnhanceLib import pipeline
from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.evaluation.data_consistency import make_consistent
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.methods.base import Case
from LowFieldEnhanceLib.methods.measurement import Measurement
from LowFieldEnhanceLib.physics import separable
from LowFieldEnhanceLib.physics.operator import ForwardOperator
from LowFieldEnhanceLib.preprocess.prepare import Prepared, prepare, regridded
from LowFieldEnhanceLib.scan_options import PROFILES

FWHM, SIGMA = (6.0, 6.0, 12.0), 5.0  # of slices that overlap by half; the voxels are 3 x 3 x 6 mm
OPTIONS = pipeline.Options(method="cubic", spacing=2.0, segment=False, fwhm=FWHM, profile="box")


@pytest.fixture(scope="module")
def heads() -> tuple[Image, Image, Image]:
    """A phantom head at 2 mm, its brain, and its scan through a box of twice the voxel."""
    head, labels = phantom_head((88, 104, 88), (2.0, 2.0, 2.0))
    brain = head.with_array(((labels.array > 0) & (labels.array != 24)).astype(np.float32))
    affine = head.affine @ np.diag([1.5, 1.5, 3.0, 1.0])
    shape = (58, 69, 29)
    clean = ForwardOperator(head.shape, head.affine, shape, affine, FWHM, "box")(torch.from_numpy(head.array))
    noise = np.random.default_rng(0).normal(0, SIGMA, shape)
    return head, brain, Image((clean.numpy() + noise).astype(np.float32), affine, "T1w")


def assessed(heads: tuple[Image, Image, Image], **known: Any) -> dict[str, Any]:
    head, brain, scan = heads
    return pipeline.assess(scan, head, device="cpu", brain=brain, spacing=2.0, sigma=SIGMA, **known).report


@pytest.fixture(scope="module")
def reports(heads: tuple[Image, Image, Image], tiny_models_folder: Any) -> dict[str, dict[str, Any]]:
    """Of the truth as an enhanced volume: with the voxel size as width, with the true width, and with both."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOWFIELDENHANCE_MODELS", str(tiny_models_folder))
        given = {"usual": {}, "wide": {"fwhm": FWHM}, "told": {"fwhm": FWHM, "profile": "box"}}
        return {name: assessed(heads, **known) for name, known in given.items()}


def test_the_truth_explains_a_scan_only_through_the_scans_own_point_spread_function(
    reports: dict[str, dict[str, Any]],
) -> None:
    rms = {name: report["fidelity"]["rms"] for name, report in reports.items()}
    assert rms["told"] == pytest.approx(1, abs=0.15)
    assert rms["usual"] > 2 * rms["told"]
    assert rms["wide"] > 1.5 * rms["told"]  # the profile counts too


def test_what_the_scan_could_not_show_is_not_said_to_contradict_it(reports: dict[str, dict[str, Any]]) -> None:
    share = {name: report["added_detail"]["share_flagged"]["contradicting"] for name, report in reports.items()}
    assert share["told"] < 0.2 * share["usual"] and share["told"] < 0.05 * share["wide"]


def test_the_report_says_with_which_it_was_measured(reports: dict[str, dict[str, Any]]) -> None:
    usual, told = reports["usual"], reports["told"]
    assert usual["input"]["psf"] == {"fwhm_mm": [3.0, 3.0, 6.0], "profile": "gaussian", "source": "spacing"}
    assert told["input"]["psf"] == {"fwhm_mm": list(FWHM), "profile": "box", "source": "user"}
    assert (told["provenance"]["fwhm"], told["provenance"]["profile"]) == (list(FWHM), "box")
    assert (usual["provenance"]["fwhm"], usual["provenance"]["profile"]) == (None, "gaussian")


def prepared(heads: tuple[Image, Image, Image], **known: Any) -> Prepared:
    head, brain, scan = heads
    return prepare(scan, head, None, brain.array > 0.5, sigma=SIGMA, **known)


def test_data_steps_on_any_grid_and_projection_use_it(heads: tuple[Image, Image, Image]) -> None:
    usual, told = prepared(heads), prepared(heads, fwhm=FWHM, profile="box")
    for of in (told, regridded(told, 4.0)):
        measurement = Measurement(Case.of(of).cropped()[0])
        np.testing.assert_allclose(measurement.operator.fwhm, FWHM)
        assert measurement.operator.profile == ["box"] * 3
    # the truth needs no projection where the model is right, and a large one where it is not
    changes = [make_consistent(heads[0], replace(p, sigma=1.1 * SIGMA))[1].regularisation for p in (usual, told)]
    assert changes[0] is not None and changes[1] is None


def test_a_run_hands_it_to_its_report(heads: tuple[Image, Image, Image], tiny_models: Any) -> None:
    report = pipeline.enhance(heads[2], OPTIONS, brain=heads[1]).report
    assert report["input"]["psf"]["fwhm_mm"] == list(FWHM)
    json.dumps(report, allow_nan=False)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"fwhm": (0.0, 1.0, 1.0)}, r"widths of the point-spread function \(0 1 1\) must be three of 0.1 to 30 mm"),
        ({"fwhm": (1.0, 1.0, 31.0)}, "must be three of"),
        ({"fwhm": (1.0, 1.0, float("nan"))}, "must be three of"),
        ({"fwhm": (1.0, 1.0)}, "must be three of"),
        ({"profile": "sinc"}, "unknown slice profile 'sinc'"),
        ({"profile": "point"}, "'point' has no width"),
    ],
)
def test_one_that_no_scan_has_is_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        replace(OPTIONS, **changes).check()


def test_widths_are_numbers() -> None:
    assert pipeline.Options(fwhm=np.float32([1.5, 1.5, 5])).fwhm == (1.5, 1.5, 5.0)
    for wrong in (("a", 1, 1), 3):
        with pytest.raises(BadInput, match="fwhm must be a number|must be three of"):
            pipeline.Options(fwhm=wrong).check()


def test_the_command_line_offers_the_profiles_that_there_are() -> None:
    assert PROFILES == separable.PROFILES and PROFILES[0] == pipeline.Options().profile
