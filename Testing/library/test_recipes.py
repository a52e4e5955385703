"""The recipes: what a run writes, and what a resumed piece may not change."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from loop_support import one_second_a_step, plan  # noqa: F401

from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.networks.registry import build_network
from LowFieldEnhanceLib.training import recipes
from LowFieldEnhanceLib.training.register import register

pytestmark = pytest.mark.usefixtures("one_second_a_step")


def test_a_recipe_writes_weights_and_the_record_of_its_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    architecture = {"kind": "residual_unet", "widths": [4, 4], "blocks": 1}
    x = torch.randn(1, 1, 4, 4, 4)
    made = (architecture, lambda network: (network(x) - 1).square().mean(), "one cube")
    monkeypatch.setitem(recipes.RECIPES, "tiny", lambda data, seed, device: made)
    record = recipes.run_recipe("tiny", tmp_path, plan(tmp_path / "run", 3), seed=5)
    stored = json.loads((tmp_path / "run" / "training.json").read_text())
    assert stored == record
    assert (record["steps"], record["seed"], record["training_data"]) == (3, 5, "one cube")
    from safetensors.torch import load_file

    from LowFieldEnhanceLib.weight_files import file_sha256

    assert record["sha256"] == file_sha256(tmp_path / "run" / "tiny.safetensors")
    build_network(record["architecture"]).load_state_dict(
        {k: v.float() for k, v in load_file(tmp_path / "run" / "tiny.safetensors").items()}
    )


def test_a_learning_rate_takes_the_place_of_the_recipes_and_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = ({"kind": "residual_unet", "widths": [4, 4], "blocks": 1}, lambda network: network.stem.weight.sum(), "")
    monkeypatch.setitem(recipes.RECIPES, "tiny", lambda data, seed, device: made)
    monkeypatch.setitem(recipes.LEARNING_RATES, "tiny", 2e-3)
    rates = []
    monkeypatch.setattr(
        recipes, "train", lambda network, loss, p, record, events: rates.append(p.learning_rate) or {"weights": {}}
    )
    for given, options in ((None, {}), (1e-4, {"learning_rate": 1e-4})):
        record = recipes.run_recipe("tiny", tmp_path, plan(tmp_path / "run", 3), learning_rate=given)
        assert record["options"] == options
    assert rates == [2e-3, 1e-4]


def test_an_unknown_recipe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="unknown recipe"):
        recipes.run_recipe("magic", tmp_path, plan(tmp_path, 1))


class OfTwoPieces:
    """A recipe that keeps the seeds it was called with."""

    def __init__(self) -> None:
        self.seeds: list[int] = []

    def __call__(self, data: Path, seed: int, device: str, colour: str = "red") -> tuple:
        self.seeds.append(seed)
        x = torch.ones(1, 1, 4, 4, 4)
        architecture = {"kind": "residual_unet", "widths": [4, 4], "blocks": 1}
        return architecture, lambda network: (network(x) - 1).square().mean(), f"{colour} cubes"


def test_a_resumed_piece_draws_other_samples_and_keeps_what_the_first_one_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = OfTwoPieces()
    monkeypatch.setitem(recipes.RECIPES, "tiny", recipe)
    monkeypatch.setitem(recipes.OPTIONS, "tiny", ("colour",))
    start, out = tmp_path / "start", tmp_path / "run"
    recipes.run_recipe("tiny", tmp_path, plan(start, 3))
    first = recipes.run_recipe("tiny", tmp_path, plan(out, 9, piece_minutes=4 / 60), 5, start=start, colour="blue")
    assert first["training_data"].startswith("blue cubes; start from tiny with SHA-256 ") and not first["finished"]
    with pytest.raises(BadInput, match="not finished"):
        register(out, tmp_path)
    shutil.rmtree(start)  # a resumed piece has no need of it
    last = recipes.run_recipe("tiny", tmp_path, plan(out, 9, resume=True), 5, start=start, colour="blue")
    assert last["training_data"] == first["training_data"] and last["finished"] and last["steps"] == 9
    assert recipe.seeds == [0, 5, 5 + 7919 * 4]
    for seed, options, said in ((6, {"colour": "blue"}, "seed 5, not 6"), (5, {}, "options")):
        with pytest.raises(BadInput, match=said):
            recipes.run_recipe("tiny", tmp_path, plan(out, 12, resume=True), seed, **options)
    monkeypatch.setitem(recipes.RECIPES, "other", recipe)
    with pytest.raises(BadInput, match='began with the recipe "tiny", not "other"'):
        recipes.run_recipe("other", tmp_path, plan(out, 12, resume=True), 5)


def test_a_piece_on_other_data_or_other_networks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x, said = torch.ones(1, 1, 4, 4, 4), ["2 heads"]
    architecture = {"kind": "residual_unet", "widths": [4, 4], "blocks": 1}
    made = lambda *_: (architecture, lambda network: (network(x) - 1).square().mean(), said[0])  # noqa: E731
    monkeypatch.setitem(recipes.RECIPES, "tiny", made)
    monkeypatch.setitem(recipes.USED, "tiny", ("segmenter",))
    first = recipes.run_recipe("tiny", tmp_path, plan(tmp_path / "run", 9, piece_minutes=4 / 60))
    said[0] = "1 head"
    with pytest.raises(BadInput, match='began with the data "2 heads", not "1 head"'):
        recipes.run_recipe("tiny", tmp_path, plan(tmp_path / "run", 9, resume=True))
    said[0] = "2 heads"
    monkeypatch.setattr(recipes, "is_installed", lambda _: False)
    with pytest.raises(BadInput, match="began with the networks"):
        recipes.run_recipe("tiny", tmp_path, plan(tmp_path / "run", 9, resume=True))
    monkeypatch.undo()
    assert first["steps"] == 4


def test_learning_rates_belong_to_recipes() -> None:
    from LowFieldEnhanceLib.training.recipes import LEARNING_RATES, RECIPES

    assert set(LEARNING_RATES) <= set(RECIPES)


def test_a_file_that_is_recorded_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "low.json").write_text('{"snr": [6, 12], "contrast": 0.05}', encoding="utf-8")
    read, plain = [], Path.read_text
    monkeypatch.setattr(Path, "read_text", lambda path, **how: (read.append(path), plain(path, **how))[1])
    assert recipes._plain(tmp_path / "low.json") == {"snr": [6, 12], "contrast": 0.05}
    assert read == [tmp_path / "low.json"]
