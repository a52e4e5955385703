"""Samples, uncertainty and data consistency along the whole way of a scan and on the command line."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from cli_support import SAMPLE, run_json
from compare_support import labelled_by
from scipy import ndimage
from test_pipeline import high_field

from LowFieldEnhanceLib import pipeline, samples
from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.evaluation.report_files import write_csv
from LowFieldEnhanceLib.events import Events
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.image_io import read_image, write_image
from LowFieldEnhanceLib.methods.base import Case, Enhancement
from LowFieldEnhanceLib.physics.simulate import Protocol, simulate
from LowFieldEnhanceLib.segmentation.labels import LabelMap

OPTIONS = pipeline.Options(method="bridged", preset="standard", spacing=4.0, seed=11, samples=3)


class Blurred:
    """A method that contradicts the scan: it shows less than was measured."""

    name = title = citation = "blurred"
    presets, models = ("fast",), ()

    def enhance(self, case: Case, preset: str, generator: torch.Generator, events: Events) -> Enhancement:
        return Enhancement(ndimage.gaussian_filter(case.inputs[case.target].array, 2.0))


class Thresholds:
    """A segmenter without a network: white matter is what is brighter than 600, left and right by world position."""

    provenance = {"name": "thresholds", "sha256": "0" * 64}

    def __init__(self, device: str, mirrored: bool) -> None:
        self.device = device

    def segment(self, image: Image, events: Events | None = None) -> LabelMap:
        right = np.arange(image.shape[0]) > image.shape[0] / 2
        ids = np.where(right, 41, 2)[:, None, None]
        return LabelMap(np.where(image.array > 600, ids, 0), image.affine, {2: 0.9, 41: 0.9})


@pytest.fixture(scope="module", autouse=True)
def quick(tiny_models_folder: Path) -> Iterator[None]:
    """Tiny networks, and labels without one."""
    with labelled_by(Thresholds, tiny_models_folder):
        yield


@pytest.fixture
def mask(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A box in the middle of the sample, of the size of a brain."""
    sample = read_image(SAMPLE)
    inside = np.zeros(sample.shape, dtype=np.float32)
    inside[tuple(slice(n // 4, n - n // 4) for n in sample.shape)] = 1
    path = tmp_path_factory.mktemp("mask") / "brain.nii.gz"
    write_image(sample.with_array(inside), path, "mask")
    return str(path)


@pytest.fixture(scope="module")
def scan() -> Image:
    return simulate(high_field()[0], Protocol(spacing=(4.0, 4.0, 8.0), snr=30), seed=3)


@pytest.fixture(scope="module")
def brain() -> Image:
    return high_field()[1]


@pytest.fixture(scope="module")
def result(scan: Image, brain: Image) -> pipeline.Result:
    return pipeline.enhance(scan, OPTIONS, brain=brain)


def test_three_samples_have_three_seeds_in_provenance_and_report(result: pipeline.Result) -> None:
    block, provenance = result.report["uncertainty"], result.report["provenance"]
    assert (block["kind"], block["samples"], block["seeds"]) == ("samples", 3, [11, 12, 13])
    assert (provenance["seed"], provenance["samples"], provenance["seeds"]) == (11, 3, [11, 12, 13])
    assert "error" not in json.dumps(result.report).lower()


def test_the_result_is_the_mean_of_its_seeds_and_the_uncertainty_their_deviation(
    scan: Image, brain: Image, result: pipeline.Result
) -> None:
    single = []
    for seed in (11, 12, 13):
        options = dataclasses.replace(OPTIONS, seed=seed, samples=1, segment=False)
        single.append(pipeline.enhance(scan, options, brain=brain))
    arrays = np.stack([one.enhanced.array for one in single])
    np.testing.assert_allclose(result.enhanced.array, arrays.mean(0), rtol=1e-5, atol=1e-3)
    assert result.uncertainty is not None
    np.testing.assert_allclose(result.uncertainty.array, arrays.std(0, ddof=1), rtol=1e-3, atol=0.01)
    assert single[0].uncertainty is not None and single[0].report["uncertainty"]["kind"] == "expected"
    assert single[1].report["provenance"]["seeds"] == [12]


def test_structures_and_table_have_the_mean_volume_of_the_samples(result: pipeline.Result, tmp_path: Path) -> None:
    spread = result.report["uncertainty"]["structures"]
    assert spread
    for row in result.report["structures"]:
        if row["name"] in spread:
            assert row["volume_mean_ml"] == spread[row["name"]]["volume_mean_ml"] > 0
            assert row["volume_cv_percent"] >= 0
    write_csv(result.report, tmp_path / "report.csv")
    header = (tmp_path / "report.csv").read_text(encoding="utf-8").splitlines()[0].split(",")
    assert {"volume_mean_ml", "volume_sd_ml", "volume_cv_percent"} <= set(header)


def test_a_method_without_randomness_is_compared_with_its_mirror_images(scan: Image, brain: Image) -> None:
    options = dataclasses.replace(OPTIONS, preset="fast", samples=2, segment=False)
    flips = pipeline.enhance(scan, options, brain=brain)
    plain = pipeline.enhance(scan, dataclasses.replace(options, samples=1), brain=brain)
    block = flips.report["uncertainty"]
    assert (block["kind"], block["samples"], block["seeds"]) == ("flips", 2, [])
    assert flips.report["provenance"]["flips"] == ["none", "left-right"]
    assert np.array_equal(flips.enhanced.array, plain.enhanced.array)
    assert flips.uncertainty is not None and flips.uncertainty.array[flips.brain].mean() > 0
    assert not flips.uncertainty.array[~flips.brain][:10].any()
    assert block["structures"] == {}


def test_data_consistency_brings_the_residual_to_the_noise_and_says_so(
    scan: Image, brain: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "get_method", lambda _: Blurred())
    options = dataclasses.replace(OPTIONS, preset="fast", samples=1, segment=False)
    plain = pipeline.enhance(scan, options, brain=brain)
    result = pipeline.enhance(scan, dataclasses.replace(options, data_consistency=True), brain=brain)
    block, fidelity = result.report["data_consistency"], result.report["fidelity"]
    assert plain.report["data_consistency"] is None
    assert block["before"]["rms"] == pytest.approx(plain.report["fidelity"]["rms"])
    assert block["before"]["rms"] > 1.5
    assert 1.0 <= fidelity["rms"] <= 1.02
    assert fidelity["rms"] == pytest.approx(block["after"]["rms"])
    assert result.report["provenance"]["data_consistency"] == block["regularisation"] > 0
    assert f"to {fidelity['rms']:.2f} noise standard deviations" in block["text"]
    assert np.array_equal(result.enhanced.array[~result.brain], plain.enhanced.array[~result.brain])
    assert not np.array_equal(result.enhanced.array[result.brain], plain.enhanced.array[result.brain])


def test_with_a_reference_the_projections_effect_on_the_image_scores_is_reported(
    scan: Image, brain: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "get_method", lambda _: Blurred())
    options = dataclasses.replace(OPTIONS, preset="fast", samples=1, segment=False, added_detail=False)
    plain, projected = (
        pipeline.enhance(
            scan, dataclasses.replace(options, data_consistency=on), reference=high_field()[0], brain=brain
        )
        for on in (False, True)
    )
    before = projected.report["data_consistency"]["images_before"]
    assert before == plain.report["images"]["enhanced"]
    assert projected.report["images"]["enhanced"]["psnr"] > before["psnr"]


def test_a_senseless_number_of_samples_is_refused_before_any_work(scan: Image) -> None:
    with pytest.raises(BadInput, match="between 1 and 64"):
        pipeline.enhance(scan, dataclasses.replace(OPTIONS, samples=65))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["-m", "cubic", "--uncertainty", "{out}/u.nii.gz"], "--samples"),
        (["--samples", "100"], "between 1 and 64"),
        (["--samples", "2", "--uncertainty", "{out}/e.nii.gz"], "same name"),
        (["--samples", "2", "--uncertainty", "{out}/u.txt"], "must end in"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    arguments: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [a.replace("{out}", str(tmp_path)) for a in arguments]
    code, events = run_json(capsys, "enhance", SAMPLE, "-o", str(tmp_path / "e.nii.gz"), *arguments)
    assert code == 2
    assert sentence in events[-1]["message"]
    assert list(tmp_path.iterdir()) == []


def command(tmp_path: Path, mask: str) -> list[str]:
    return [
        "enhance", SAMPLE, "-p", "standard", "--spacing", "4", "--brain-mask", mask, "--samples", "2",
        "--data-consistency", "-o", str(tmp_path / "e.nii.gz"), "--uncertainty", str(tmp_path / "u.nii.gz"),
        "--report", str(tmp_path / "r.html"),
    ]  # fmt: skip


def test_the_command_line_writes_the_uncertainty(
    tmp_path: Path,
    mask: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, events = run_json(capsys, *command(tmp_path, mask))
    assert code == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["e.json", "e.nii.gz", "r.html", "u.nii.gz"]
    assert events[-1]["uncertainty"] == str(tmp_path / "u.nii.gz")
    deviation = read_image(tmp_path / "u.nii.gz")
    assert deviation.shape == read_image(tmp_path / "e.nii.gz").shape
    assert deviation.array.min() >= 0 and deviation.array.max() > 0
    assert json.loads((tmp_path / "e.json").read_text(encoding="utf-8"))["seeds"] == [0, 1]
    assert "Variation, %" in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_an_interrupt_between_samples_leaves_nothing(
    tmp_path: Path,
    mask: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    runs: list[int] = []
    original = samples.label_volumes_ml

    def interrupted(*arguments: object) -> object:
        if runs:
            raise KeyboardInterrupt
        runs.append(1)
        return original(*arguments)

    monkeypatch.setattr(samples, "label_volumes_ml", interrupted)
    code, events = run_json(capsys, *command(tmp_path, mask))
    assert (code, events[-1]["kind"]) == (130, "Cancelled")
    assert runs == [1]
    assert list(tmp_path.iterdir()) == []
