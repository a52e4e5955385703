"""What models.json says the networks were measured at: the benchmarks' own figures, of these weights."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from LowFieldEnhanceLib.weights import model_info, model_names

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
import model_figures  # noqa: E402


@pytest.mark.parametrize("name", model_names())
def test_the_registry_has_the_figures_that_the_benchmark_recorded_for_these_weights(name: str) -> None:
    info, _ = model_info(name)
    assert info.measured, f"run {model_figures.SOURCES[name].script.split()[0]}, then model_figures.py"
    assert info.measured == model_figures.measured(name, info.sha256)
    script = info.measured["command"].split()[1]
    assert (BENCHMARKS.parents[1] / script).is_file()


def test_the_figures_are_those_of_the_published_table() -> None:
    lines = (BENCHMARKS / "quality.md").read_text(encoding="utf-8").splitlines()
    table = {cells[0]: cells[1:] for cells in ([cell.strip() for cell in line.split("|")[1:-1]] for line in lines)}
    for name, row in (("bridged_bridge", "bridged:fast"), ("regression_unet", "regression")):
        figures = model_info(name)[0].measured["figures"][row]
        for column, key in ((0, "psnr"), (1, "ssim"), (2, "lpips"), (6, "volume_error"), (9, "dice")):
            digits = len(table[row][column].partition(".")[2])
            assert float(table[row][column]) == pytest.approx(figures[key], abs=0.51 * 10**-digits)


def test_a_score_is_the_mean_over_the_heads_that_have_it() -> None:
    heads = {"a": {"psnr": 20.0, "ssim": 0.8}, "b": {"psnr": 25.0, "ssim": None}}
    assert model_figures.mean_scores(heads) == {"psnr": 22.5, "ssim": 0.8}
    assert model_figures.rounded(np.pi) == 3.142


@pytest.mark.parametrize("name", [name for name, source in model_figures.SOURCES.items() if source.weights])
def test_of_other_weights_there_are_no_figures(name: str) -> None:
    assert model_figures.measured(name, model_info(name)[0].sha256)
    assert model_figures.measured(name, "0" * 64) == {}


def test_most_networks_have_their_weights_recorded_with_their_figures() -> None:
    without = {name for name, source in model_figures.SOURCES.items() if source.weights is None}
    assert without == {"css_sgp", "css_lsc", "latent_teacher"}


def test_rows_of_two_states_are_of_no_weights() -> None:
    results = {"weights": {"a": {"net": "1"}, "b": {"net": "2"}, "c": {"net": "1"}}}
    assert model_figures.weights_in("net", "a", "c")(results) == "1"
    assert model_figures.weights_in("net", "a", "b")(results) == model_figures.weights_in("net", "gone")(results) == ""


def test_a_benchmark_of_other_weights_gives_no_figures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    source = model_figures.SOURCES["segmenter"]
    recorded = json.loads(source.file.read_text(encoding="utf-8"))["weights"]["sha256"]
    assert model_figures.measured("segmenter", recorded)["figures"]["dice"] > 0.5
    assert model_figures.measured("segmenter", "0" * 64) == {}
    monkeypatch.setitem(model_figures.SOURCES, "segmenter", replace(source, weights=None))
    assert model_figures.measured("segmenter", "0" * 64)["figures"]["dice"] > 0.5
