"""The shipped weights on the bundled head: better than interpolation, plausible anatomy, left on the left."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from LowFieldEnhanceLib import pipeline
from LowFieldEnhanceLib.evaluation.input_checks import input_checks
from LowFieldEnhanceLib.evaluation.intensity import linear_coefficients
from LowFieldEnhanceLib.evaluation.uncertainty import calibration
from LowFieldEnhanceLib.evaluation.volumes import label_volumes_ml
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.image_io import read_image
from LowFieldEnhanceLib.methods.registry import METHODS
from LowFieldEnhanceLib.resources import resource
from LowFieldEnhanceLib.segmentation.labels import label_by_id, label_table
from LowFieldEnhanceLib.training.recipes import BUILT_ON
from LowFieldEnhanceLib.training.register import INTENSITY, RANGES
from LowFieldEnhanceLib.weight_files import file_sha256
from LowFieldEnhanceLib.weights import common_range, foreign, model_info, model_names

TRAINING_ONLY = {"css_lsc"}  # shipped so that its generator can be trained further
EXPECTED = "expected_deviation"  # beside the methods: how far their results may be off
OF_METHODS = {model for method in METHODS.values() for model in method.models}
NEEDED = sorted({"segmenter", EXPECTED, *TRAINING_ONLY, *OF_METHODS})
# of the last part of a training; the generator's card tells of the earlier part
LEAST_MINUTES = {
    "bridged_companions": 20, "latent_autoencoder": 15, "latent_student": 20,
    "css_sgp": 10, "css_lsc": 5, "css_generator": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def result() -> pipeline.Result:
    """The bundled head through the default method."""
    torch.set_num_threads(2)
    try:
        scan = read_image(resource("SampleData", "colin27_64mT_T1w.nii.gz"))
        reference = read_image(resource("SampleData", "colin27_reference_T1w.nii.gz"))
        return pipeline.enhance(scan, pipeline.Options(method="bridged", preset="fast"), reference=reference)
    finally:
        torch.set_num_threads(1)


def test_every_network_of_every_method_is_shipped_and_nothing_else() -> None:
    assert sorted(model_names()) == NEEDED


def test_all_networks_together_take_at_most_100_megabytes() -> None:
    assert sum(model_info(name)[1].stat().st_size for name in NEEDED) <= 100e6


@pytest.mark.parametrize("name", NEEDED)
def test_a_network_has_its_checksum_its_card_its_licence_and_an_honest_training(name: str) -> None:
    info, path = model_info(name)
    assert file_sha256(path) == info.sha256
    assert path.stat().st_size <= 16e6
    card = resource("Models", info.card).read_text(encoding="utf-8")
    assert "CC BY-NC-SA" in info.licence and "CC BY-NC-SA" in card
    assert info.training["minutes"] >= LEAST_MINUTES.get(name, 30)
    assert info.training["steps"] > 0 and info.training["finished"]
    json.dumps(info.valid_range)


def test_every_network_was_trained_on_the_shipped_state_of_those_beside_it() -> None:
    infos = [model_info(name)[0] for name in NEEDED]
    assert foreign(infos) == []
    built_on = {info.name: set(info.training.get("built_on", {})) for info in infos}
    for name, others in BUILT_ON.items():
        assert built_on[name] == set(others)


@pytest.mark.parametrize("name", NEEDED)
def test_the_card_tells_the_range_that_the_registry_holds_and_registering_anew_would_write(name: str) -> None:
    info, _ = model_info(name)
    known = info.valid_range
    assert known == RANGES[name]
    card = resource("Models", info.card).read_text(encoding="utf-8")
    paragraphs = [part for part in card.split("\n\n") if part.startswith("**Range.**")]
    assert len(paragraphs) == 1
    text = " ".join(paragraphs[0].split())
    assert ("Any contrast" if known["contrasts"] == ["any"] else ", ".join(known["contrasts"])) in text
    sees_low_field = "spacing_mm" in known
    assert ("never sees a low-field scan" in text) != sees_low_field
    if sees_low_field:
        assert "; {:g}-{:g} mm".format(*known["spacing_mm"]) in text
    assert ("SNR" in text) == ("snr" in known)
    if "snr" in known:
        low, high = known["snr"]
        assert (f"SNR {low:g} and more" if high is None else f"SNR {low:g}-{high:g};") in text
    field = known.get("field_t")
    assert field is None or ("any field" if field == ["any"] else "{:g}-{:g} T".format(*field)) in text
    intensity = known.get("intensity", {})
    assert ("any intensity" in text) == (intensity == ["any"])
    assert ("signal of white matter" in text) == isinstance(known.get("intensity"), dict)
    for contrast, figures in {} if intensity == ["any"] else intensity.items():
        assert "{:.2f}-{:.2f} ({})".format(*figures["grey_to_white"], contrast) in text


def test_the_intensity_range_holds_all_that_was_measured_on_training_heads() -> None:
    record = Path(__file__).resolve().parents[1] / "benchmarks" / "intensity_range.json"
    measured = json.loads(record.read_text(encoding="utf-8"))["range"]
    assert measured.keys() == INTENSITY.keys()
    for contrast, figures in measured.items():
        for figure, (least, greatest) in figures.items():
            low, high = INTENSITY[contrast][figure]
            assert low <= least <= greatest <= high, (contrast, figure)


@pytest.mark.parametrize("method", ["bridged", "cssdiff", "diffdeur", "dps", "latent", "regression"])
def test_a_scan_with_the_contrast_of_another_is_outside_the_range_of_every_trained_method(method: str) -> None:
    trained = common_range(model_info(model)[0] for model in (*METHODS[method].models, "segmenter"))
    grid, brain = Image(np.ones((60, 60, 60)), np.diag([3.0, 3.0, 3.0, 1.0]), "T1w"), np.zeros((60, 60, 60), bool)
    brain[10:50, 10:50, 10:50] = True
    source = {"spacing": [1.6, 1.6, 5.0], "snr_brightest": 20.0, "brain_ml": 1400.0, "contrast": "T1w"}
    usual = {"clipped_percent": 0.0, "white_level": 0.7, "grey_to_white": 0.8}
    for figures, ok in ((usual, True), ({**usual, "grey_to_white": 1.2}, False)):
        checks = input_checks({**source, "intensity": figures}, grid, brain, valid_range=trained)
        assert [check["ok"] for check in checks if check["name"] == "intensity"] == [ok]
        assert [check["trained_range"] for check in checks if not check["ok"]] == [True] * (not ok)


def test_the_enhanced_head_is_nearer_to_its_reference_than_interpolation(result: pipeline.Result) -> None:
    images = result.report["images"]
    # the scan's bias field of 10 %, which methods keep, limits the gain in PSNR
    assert images["enhanced"]["psnr"] >= images["input"]["psnr"] + 0.7
    assert images["enhanced"]["ssim"] >= images["input"]["ssim"] + 0.05


def test_the_expected_deviation_holds_the_reference_and_is_larger_in_cortex_than_in_white_matter(
    result: pipeline.Result,
) -> None:
    assert result.reference is not None and result.uncertainty is not None and result.labels_after is not None
    truth, found, brain = result.reference.array, result.enhanced.array, result.brain
    slope, offset = linear_coefficients(truth, found, brain)
    held = calibration(truth, slope * found + offset, abs(slope) * result.uncertainty.array, brain)
    assert (
        0.85 < held.coverage < 0.99 and held.spearman is not None and held.spearman > 0.1
    )  # its bias field, which methods keep, hides some
    white, cortex = (np.isin(result.labels_after.array, ids) for ids in ((2, 41), (3, 42)))
    assert result.uncertainty.array[cortex].mean() > 1.3 * result.uncertainty.array[white].mean()


@pytest.mark.parametrize("which", ["labels_before", "labels_after"])
def test_the_segmentation_is_a_head(result: pipeline.Result, which: str) -> None:
    labels = getattr(result, which)
    volumes = label_volumes_ml(labels)
    brain = sum(v for i, v in volumes.items() if label_by_id()[i].name != "CSF")
    assert 1000 < brain < 2200
    assert 0.7 < volumes[2] / volumes[41] < 1.4
    i, j, k = np.nonzero(labels.array)
    right = (np.stack([i, j, k, np.ones_like(i)], 1) @ labels.affine.T)[:, 0]
    values = labels.array[i, j, k]
    middle = np.median(right)
    for label in label_table():
        here = right[values == label.id]
        if label.side and here.size * labels.voxel_volume_ml > 1.0:
            assert (here.mean() < middle) == (label.side == "left"), label.name


def test_no_structure_of_the_result_drifts_far_from_the_reference(result: pipeline.Result) -> None:
    errors = {
        row["name"]: abs(row["error_enhanced_percent"])
        for row in result.report["structures"]
        if row.get("error_enhanced_percent") is not None and (row["volume_reference_ml"] or 0) > 5
    }
    assert len(errors) >= 12
    assert np.median(list(errors.values())) < 10
