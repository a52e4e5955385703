"""The whole way of one scan, with tiny random networks: geometry, intensities, provenance, honesty, refusals."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from phantoms import phantom_head
from scipy import ndimage

from LowFieldEnhanceLib import pipeline
from LowFieldEnhanceLib.errors import BadInput, MissingModel
from LowFieldEnhanceLib.events import Events
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.physics.simulate import Protocol, simulate
from LowFieldEnhanceLib.preprocess.grid import Grid, resample
from LowFieldEnhanceLib.segmentation.segmenter import Segmenter

OPTIONS = pipeline.Options(method="bridged", preset="fast", spacing=2.0)


def high_field() -> tuple[Image, Image]:
    """A phantom head at 2 mm and its brain mask."""
    head, labels = phantom_head((88, 104, 88), (2.0, 2.0, 2.0))
    brain = (labels.array > 0) & (labels.array != 24)
    return Image(head.array, head.affine, "T1w"), head.with_array(brain.astype(np.float32))


@pytest.fixture(scope="module")
def scan() -> Image:
    return simulate(high_field()[0], Protocol(spacing=(3.0, 3.0, 6.0), snr=30), seed=3)


@pytest.fixture(scope="module")
def brain() -> Image:
    return high_field()[1]


@pytest.fixture(scope="module")
def events_seen() -> list[dict]:
    return []


@pytest.fixture(scope="module")
def result(scan: Image, brain: Image, tiny_models_folder: Path, events_seen: list[dict]) -> pipeline.Result:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOWFIELDENHANCE_MODELS", str(tiny_models_folder))
        return pipeline.enhance(scan, OPTIONS, brain=brain, events=Events(events_seen.append))


def test_output_has_the_spacing_asked_for_in_the_scans_frame_of_reference(scan: Image, result: pipeline.Result) -> None:
    enhanced = result.enhanced
    assert enhanced.spacing == pytest.approx((2, 2, 2))
    centre_in = scan.affine @ [*((np.array(scan.shape) - 1) / 2), 1]
    centre_out = enhanced.affine @ [*((np.array(enhanced.shape) - 1) / 2), 1]
    assert np.allclose(centre_in, centre_out, atol=1e-6)
    extent = np.array(scan.shape) * scan.spacing
    assert np.all(np.array(enhanced.shape) * 2 >= extent - 1e-3)
    assert np.all(np.array(enhanced.shape) * 2 < extent + 2)


def test_outside_the_brain_the_interpolated_input_is_kept_and_inside_it_changes(result: pipeline.Result) -> None:
    outside = ~ndimage.binary_dilation(result.brain, iterations=3)
    assert np.array_equal(result.enhanced.array[outside], result.before.array[outside])
    inside = ndimage.binary_erosion(result.brain, iterations=3)
    assert np.abs(result.enhanced.array - result.before.array)[inside].mean() > 1


def test_brain_only_leaves_nothing_outside(scan: Image, brain: Image, tiny_models: Path) -> None:
    options = pipeline.Options(method="cubic", spacing=2.0, brain_only=True, segment=False)
    enhanced = pipeline.enhance(scan, options, brain=brain).enhanced
    mask = resample(brain, Grid.of(enhanced), "linear").array > 0.5
    assert not enhanced.array[~ndimage.binary_dilation(mask, iterations=3)].any()


def test_the_users_brain_mask_is_the_one_that_counts(brain: Image, result: pipeline.Result) -> None:
    truth = resample(brain, Grid.of(result.enhanced), "linear").array > 0.5
    assert np.array_equal(result.brain, truth)


def test_the_truth_explains_the_scan_down_to_its_noise_and_a_flat_head_does_not(
    scan: Image, brain: Image, tiny_models: Path
) -> None:
    truth = high_field()[0]
    fidelity = pipeline.assess(scan, truth, device="cpu", brain=brain).report["fidelity"]
    assert fidelity["rms"] < 1.6  # the truth itself: only noise is left
    flat = truth.with_array(np.where(truth.array > 0, truth.array.mean(), 0) + np.arange(truth.shape[0])[:, None, None])
    assert pipeline.assess(scan, flat, device="cpu", brain=brain).report["fidelity"]["rms"] > 2 * fidelity["rms"]


def test_only_a_noise_level_that_a_scanner_can_have_is_called_plausible(
    scan: Image, brain: Image, result: pipeline.Result, tiny_models: Path
) -> None:
    smooth = scan.with_array(np.asarray(ndimage.gaussian_filter(scan.array, 2.0)))
    options = pipeline.Options(method="cubic", device="cpu", spacing=4.0, segment=False)
    assert result.report["fidelity"]["noise_plausible"]
    assert not pipeline.enhance(smooth, options, brain=brain).report["fidelity"]["noise_plausible"]
    told = pipeline.enhance(smooth, replace(options, sigma=1.0), brain=brain)
    assert told.report["fidelity"]["noise_plausible"]


def test_report_is_json_with_provenance_and_the_derived_mark(scan: Image, result: pipeline.Result) -> None:
    text = json.dumps(result.report, allow_nan=False)
    assert "ENHANCED - not for diagnosis" in text
    provenance = result.report["provenance"]
    assert provenance["input_sha256"] == scan.sha256()
    assert len(provenance["weights"]["bridged_bridge"]) == 64
    assert not result.report["has_reference"]
    assert "error" not in text.lower()


def test_with_the_mirror_image_every_volume_is_segmented_that_way(
    scan: Image, brain: Image, result: pipeline.Result, tiny_models: Path
) -> None:
    twice = pipeline.enhance(scan, replace(OPTIONS, mirrored=True), brain=brain)
    assert twice.report["provenance"]["mirrored"] and not result.report["provenance"]["mirrored"]
    np.testing.assert_array_equal(twice.enhanced.array, result.enhanced.array)  # the brain was given
    segmenter = Segmenter(mirrored=True)
    np.testing.assert_array_equal(twice.labels_before.array, segmenter.segment(twice.before).array)
    np.testing.assert_array_equal(twice.labels_after.array, segmenter.segment(twice.enhanced).array)
    assert not np.array_equal(twice.labels_before.array, result.labels_before.array)
    judged = pipeline.assess(scan, twice.enhanced, device="cpu", brain=brain, spacing=2.0, mirrored=True)
    np.testing.assert_array_equal(judged.labels_before.array, twice.labels_before.array)


def test_a_reference_turns_change_into_error(scan: Image, brain: Image, tiny_models: Path) -> None:
    options = pipeline.Options(method="cubic", spacing=2.0)
    result = pipeline.enhance(scan, options, reference=high_field()[0], brain=brain)
    assert result.report["has_reference"]
    assert result.reference is not None
    scores = result.report["images"]["enhanced"]
    assert 10 < scores["psnr"] < 60


def test_same_provenance_gives_the_same_voxels(
    scan: Image, brain: Image, result: pipeline.Result, tiny_models: Path
) -> None:
    again = pipeline.enhance(scan, OPTIONS, brain=brain)
    assert np.array_equal(again.enhanced.array, result.enhanced.array)


def test_progress_runs_through_all_stages(result: pipeline.Result, events_seen: list[dict]) -> None:
    assert [e["device"] for e in events_seen if "device" in e] == ["cpu"]  # that of OPTIONS, once
    stages = [e["stage"] for e in events_seen if e["event"] == "progress"]
    for stage in ("segment the input", "enhance", "check fidelity", "segment the result", "report"):
        assert stage in stages


def test_scanner_flips_and_axis_order_do_not_change_the_result(scan: Image, brain: Image, tiny_models: Path) -> None:
    """The same head stored with other axes gives the same enhanced anatomy in the world."""
    options = pipeline.Options(method="cubic", spacing=2.0, segment=False)
    straight = pipeline.enhance(scan, options, brain=brain)
    flipped = scan.affine.copy()
    flipped[:3, 3] += flipped[:3, 1] * (scan.shape[1] - 1)
    flipped[:3, 1] *= -1
    permuted = Image(scan.array[:, ::-1].transpose(2, 0, 1), flipped[:, [2, 0, 1, 3]], "T1w")
    turned = pipeline.enhance(permuted, options, brain=brain)
    assert turned.enhanced.shape == straight.enhanced.shape
    assert np.allclose(turned.enhanced.affine, straight.enhanced.affine, atol=1e-6)
    assert np.allclose(turned.enhanced.array, straight.enhanced.array, atol=0.5)


def test_refuses_unknown_method_preset_device_spacing_and_seed(scan: Image) -> None:
    for options in (
        pipeline.Options(method="magic"),
        pipeline.Options(preset="slow"),
        pipeline.Options(device="abacus"),
        pipeline.Options(spacing=0.01),
        pipeline.Options(seed=2**63),
    ):
        with pytest.raises(BadInput):
            pipeline.enhance(scan, options)


def test_a_bad_reference_is_refused_before_any_work(scan: Image, events_seen: list[dict]) -> None:
    seen: list[dict] = []
    constant = Image(np.ones((8, 8, 8)), np.eye(4), "T1w")
    with pytest.raises(BadInput, match="same value"):
        pipeline.enhance(scan, OPTIONS, reference=constant, events=Events(seen.append))
    assert seen == []


@pytest.mark.parametrize(
    ("name", "damaged", "said"),
    [
        ("T1w", False, "is T1w itself"),  # it was enhanced in the place of the scan
        ("t2w", False, "'t2w' is no further"),  # it took the place of a T1w
        ("PD", False, "'PD' is no further"),
        ("T2w", True, "NaN"),
    ],
)
def test_a_further_contrast_without_a_place_is_refused_before_any_work(
    scan: Image, name: str, damaged: bool, said: str
) -> None:
    seen: list[dict] = []
    array = scan.array.copy()
    array[0, 0, 0] = np.nan if damaged else 0.0
    for begin in (pipeline.enhance, pipeline.subject_of):
        with pytest.raises(BadInput, match=said):
            begin(scan, OPTIONS, {name: Image(array, scan.affine)}, events=Events(seen.append))
    assert seen == []


def test_refuses_an_image_without_a_brain(scan: Image, brain: Image, tiny_models: Path) -> None:
    nothing = brain.with_array(np.zeros(brain.shape, dtype=np.float32))
    with pytest.raises(BadInput, match="brain"):
        pipeline.enhance(scan, OPTIONS, brain=nothing)


def test_a_missing_network_ends_the_run_before_any_work(
    scan: Image, tiny_models_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_models_folder, tmp_path / "models")
    (tmp_path / "models" / "bridged_bridge.safetensors").unlink()
    monkeypatch.setenv("LOWFIELDENHANCE_MODELS", str(tmp_path / "models"))
    seen: list[dict] = []
    with pytest.raises(MissingModel, match="bridged_bridge"):
        pipeline.enhance(scan, OPTIONS, events=Events(seen.append))
    assert seen == []


def test_only_networks_that_ran_are_named_and_only_those_have_to_fit_together(
    scan: Image, brain: Image, tiny_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(tiny_models, tmp_path / "models")
    registry = json.loads((folder / "models.json").read_text(encoding="utf-8"))
    registry["models"]["bridged_companions"]["training"] = {"built_on": {"bridged_bridge": "0" * 64}}
    (folder / "models.json").write_text(json.dumps(registry), encoding="utf-8")
    monkeypatch.setenv("LOWFIELDENHANCE_MODELS", str(folder))
    other = Image(scan.array, scan.affine, "T2w")
    used = {"fast": ["bridged_bridge"], "standard": ["bridged_bridge", "bridged_prior"]}
    for preset, names in used.items():
        for contrasts, more in ((None, []), ({"T2w": other}, ["bridged_companions"])):
            said: list[dict] = []
            options = replace(OPTIONS, preset=preset, segment=False, added_detail=False)
            result = pipeline.enhance(scan, options, contrasts, brain=brain, events=Events(said.append))
            assert sorted(result.report["provenance"]["weights"]) == sorted(names + more)
            warned = any("was trained on another 'bridged_bridge'" in e.get("message", "") for e in said)
            assert warned == bool(more)


def test_an_unknown_contrast_is_taken_for_t1w_before_any_network_sees_it(
    scan: Image, brain: Image, tiny_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unknown, said = Image(scan.array, scan.affine, "other"), []
    subject = pipeline.subject_of(unknown, OPTIONS, brain=brain, events=Events(said.append))
    assert subject.case.target == "T1w" and any("is taken for T1w" in e.get("message", "") for e in said)
    assert subject.image.known_contrast == "other"
    with pytest.raises(BadInput):
        pipeline.subject_of(unknown, OPTIONS, {"T1w": scan}, brain=brain)


def test_after_n4_the_volumes_before_are_those_of_the_corrected_scan(
    scan: Image, brain: Image, tiny_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[np.ndarray] = []
    inherited = Segmenter.segment
    monkeypatch.setattr(Segmenter, "segment", lambda self, *a: (seen.append(a[0].array), inherited(self, *a))[1])
    subject = pipeline.subject_of(scan, replace(OPTIONS, n4=True, spacing=4.0), brain=brain)
    np.testing.assert_array_equal(seen[-1], subject.prepared.on_grid.array)
    assert len(seen) == 2 and not np.allclose(seen[0], seen[1])


def test_n4_takes_the_bias_of_further_contrasts_off_too(scan: Image, brain: Image, tiny_models: Path) -> None:
    """In training one field lay over all contrasts of a head; half of it would be something no network has seen."""
    along = np.linspace(0.7, 1.3, scan.shape[0], dtype=np.float32)[:, None, None]
    others = {"T2w": Image(scan.array * along, scan.affine, "T2w")}
    plain, corrected = (
        pipeline.subject_of(scan, replace(OPTIONS, n4=n4, spacing=4.0), others, brain=brain) for n4 in (False, True)
    )
    inside = resample(brain, Grid.of(scan), "nearest").array > 0.5

    def slope(image: Image) -> float:
        ratio = np.where(scan.array > 0, image.array / np.maximum(scan.array, 1e-6), np.nan)
        places = [float(np.nanmedian(ratio[part][inside[part]])) for part in (np.s_[:20], np.s_[-20:])]
        return places[1] / places[0]

    assert plain.contrasts["T2w"] is others["T2w"]
    assert abs(np.log(slope(corrected.contrasts["T2w"]))) < 0.5 * abs(np.log(slope(plain.contrasts["T2w"])))
    assert corrected.made_with["further_contrasts_sha256"] == plain.made_with["further_contrasts_sha256"]


def test_with_n4_a_further_contrast_is_interpolated_once(
    scan: Image, brain: Image, tiny_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    for module in ("subject", "preprocess.prepare"):
        monkeypatch.setattr(
            f"LowFieldEnhanceLib.{module}.resample",
            lambda image, grid, how: seen.append(f"{image.contrast} {how}") or resample(image, grid, how),
        )
    others = {"T2w": Image(scan.array, scan.affine, "T2w")}
    subject = pipeline.subject_of(scan, replace(OPTIONS, n4=True, spacing=4.0), others, brain=brain)
    assert seen.count("T2w cubic") == 1
    # the voxels of the scan itself, which N4 has corrected on the working grid too
    alike = np.corrcoef(subject.others["T2w"].array.ravel(), subject.prepared.model_input.array.ravel())[0, 1]
    assert alike > 0.999
