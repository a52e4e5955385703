"""The model registry: what is missing, damaged or overridden is told apart."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from LowFieldEnhanceLib import weight_files, weights
from LowFieldEnhanceLib.errors import BadInput, CorruptModel, MissingModel
from LowFieldEnhanceLib.networks.registry import build_network
from LowFieldEnhanceLib.resources import resource
from LowFieldEnhanceLib.training.register import RANGES, refresh_ranges

NAME = "regression_unet"


@pytest.fixture
def models(tiny_models_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the tiny models that a test may damage."""
    folder = tmp_path / "models"
    shutil.copytree(tiny_models_folder, folder)
    monkeypatch.setenv("LOWFIELDENHANCE_MODELS", str(folder))
    return folder


def change_entry(folder: Path, **changes: Any) -> None:
    registry = json.loads((folder / "models.json").read_text())
    registry["models"][NAME].update(changes)
    (folder / "models.json").write_text(json.dumps(registry))


def test_a_network_is_read_once_where_it_is_kept_and_anew_elsewhere(tiny_models: Path) -> None:
    with weights.networks_kept():
        first, again = (weights.load_network("segmenter")[0] for _ in range(2))
    assert first is again
    assert weights.load_network("segmenter")[0] is not first
    with weights.networks_kept():
        assert weights.load_network("segmenter")[0] is not first


def test_a_network_comes_back_with_its_weights_ready_for_inference(models: Path) -> None:
    network, info = weights.load_network(NAME)
    from safetensors.torch import load_file

    stored = load_file(models / f"{NAME}.safetensors")
    for key, value in network.state_dict().items():
        assert torch.equal(value, stored[key].float())
    assert not network.training
    assert not any(p.requires_grad for p in network.parameters())
    assert info.name == NAME
    assert info.licence == "Apache-2.0"


def test_one_changed_byte_is_a_corrupt_model(models: Path) -> None:
    path = models / f"{NAME}.safetensors"
    weights.load_network(NAME)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CorruptModel, match="checksum"):
        weights.load_network(NAME)


@pytest.mark.parametrize(
    "architecture",
    [
        {"kind": "residual_unet", "widths": [4, 8], "blocks": 1},
        {"kind": "transformer"},
        {"kind": "residual_unet", "depth": 3},
    ],
)
def test_weights_that_do_not_fit_their_architecture_are_a_corrupt_model(models: Path, architecture: dict) -> None:
    change_entry(models, architecture=architecture)
    with pytest.raises(CorruptModel, match="do not fit"):
        weights.load_network(NAME)


def test_a_registered_file_that_is_no_tensor_file_is_a_corrupt_model(models: Path) -> None:
    (models / "text.safetensors").write_text("hello")
    change_entry(models, file="text.safetensors", sha256=weight_files.file_sha256(models / "text.safetensors"))
    with pytest.raises(CorruptModel):
        weights.load_network(NAME)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"models": {"regression_unet": {"file": "x"}}}'])
def test_a_registry_that_cannot_be_read_is_a_corrupt_model(models: Path, text: str) -> None:
    (models / "models.json").write_text(text)
    with pytest.raises(CorruptModel, match=r"models\.json"):
        weights.model_info(NAME)


def test_absent_models_and_absent_files_are_missing_models(models: Path) -> None:
    with pytest.raises(MissingModel, match="not registered"):
        weights.load_network("no_such_model")
    (models / f"{NAME}.safetensors").unlink()
    with pytest.raises(MissingModel, match="does not exist"):
        weights.load_network(NAME)


def test_the_override_folder_wins_over_the_bundled_one(
    models: Path, tiny_models_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "resource", lambda *_: tiny_models_folder)
    change_entry(models, title="mine")
    assert weights.model_info(NAME)[0].title == "mine"
    assert weights.model_info(NAME)[1].parent == models
    monkeypatch.delenv("LOWFIELDENHANCE_MODELS")
    assert weights.model_info(NAME)[1].parent == tiny_models_folder


def test_a_model_that_the_override_folder_lacks_is_taken_from_the_bundled_one(
    tiny_models_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "resource", lambda *_: tiny_models_folder)
    monkeypatch.setenv("LOWFIELDENHANCE_MODELS", str(tmp_path))
    assert weights.model_info(NAME)[1].parent == tiny_models_folder
    assert set(weights.model_names()) >= {NAME, "segmenter"}


def test_an_override_folder_that_is_not_there_never_gives_the_bundled_networks(
    tiny_models_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "resource", lambda *_: tiny_models_folder)
    monkeypatch.setenv("LOWFIELDENHANCE_MODELS", str(tmp_path / "misspelt"))
    with pytest.raises(MissingModel, match="misspelt, which does not exist"):
        weights.load_network(NAME)
    with pytest.raises(MissingModel, match="misspelt, which does not exist"):
        weights.is_installed(NAME)  # a recipe would train without it


@pytest.mark.parametrize("architecture", [{}, {"kind": "magic"}, {"kind": "residual_unet", "colour": 3}])
def test_an_unknown_architecture_is_bad_input(architecture: dict) -> None:
    with pytest.raises(BadInput):
        build_network(architecture)


def test_the_registry_of_the_checkout_has_no_broken_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOWFIELDENHANCE_MODELS", raising=False)
    for name in weights.model_names():
        info, path = weights.model_info(name)
        assert weight_files.file_sha256(path) == info.sha256
        assert path.stat().st_size <= 16 * 2**20
        assert np.isfinite(
            sum(float(v.float().abs().sum()) for v in weights.load_network(name)[0].state_dict().values())
        )


def test_the_ranges_of_the_registry_are_those_of_the_training_and_can_be_taken_over(tmp_path: Path) -> None:
    registered = json.loads(resource("Models", "models.json").read_text(encoding="utf-8"))
    assert {name: entry["valid_range"] for name, entry in registered["models"].items()} == {
        name: RANGES[name] for name in registered["models"]
    }
    for entry in registered["models"].values():
        entry["valid_range"] = {}
    (tmp_path / "models.json").write_text(json.dumps(registered), encoding="utf-8")
    refresh_ranges(tmp_path)
    found = json.loads((tmp_path / "models.json").read_text(encoding="utf-8"))["models"]
    assert all(entry["valid_range"] == RANGES[name] for name, entry in found.items())


def test_a_network_that_was_trained_on_another_state_of_one_beside_it_is_named(models: Path) -> None:
    others = [weights.model_info("bridged_bridge")[0]]
    for built_on, named in (({}, 0), ({"bridged_bridge": others[0].sha256}, 0), ({"bridged_bridge": "0" * 64}, 1)):
        change_entry(models, training={"built_on": built_on})
        sentences = weights.foreign([weights.model_info(NAME)[0], *others])
        assert len(sentences) == named and all(NAME in text and "'bridged_bridge'" in text for text in sentences)
    assert weights.foreign([weights.model_info(NAME)[0]]) == []  # not without the other


def test_the_common_range_is_what_every_network_was_trained_for(models: Path) -> None:
    ranges = (
        {"contrasts": ["T1w", "T2w"], "spacing_mm": [1.0, 6.0], "snr": [8, 40]},
        {"contrasts": ["any"], "spacing_mm": [2.0, 9.0], "intensity": ["any"], "field_t": ["any"]},
        {"contrasts": ["T2w", "FLAIR"]},
        {"intensity": {"T2w": {"white_level": [0.3, 0.7], "clipped_percent": [0, 1]}}},
        {"intensity": {"T2w": {"white_level": [0.4, 0.9]}, "T1w": {"white_level": [0.7, 0.9]}}},
    )
    infos = []
    for valid_range in ranges:
        change_entry(models, valid_range=valid_range)
        infos.append(weights.model_info(NAME)[0])
    assert weights.common_range(infos[:3]) == {"contrasts": ["T2w"], "spacing_mm": (2.0, 6.0), "snr": (8, 40)}
    assert weights.common_range(infos[3:])["intensity"] == {
        "T2w": {"white_level": (0.4, 0.7), "clipped_percent": (0, 1)}, "T1w": {"white_level": (0.7, 0.9)},
    }  # fmt: skip
    assert weights.common_range(infos[1:2]) == {"spacing_mm": (2.0, 9.0)}
    change_entry(models, valid_range={"snr": [10, None]})
    open_range = weights.model_info(NAME)[0]
    assert weights.common_range([open_range]) == {"snr": (10, math.inf)}
    assert weights.common_range([open_range, infos[0]])["snr"] == (10, 40)
