"""Files of weights: what half precision and 8 bits cost, and what a registered run becomes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from LowFieldEnhanceLib import weight_files
from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.training import register


def test_half_precision_keeps_every_weight_to_one_part_in_two_thousand(tmp_path: Path) -> None:
    tensors = {
        "a": torch.randn(8, 3, 3, 3, 3).to(memory_format=torch.channels_last_3d),
        "b": torch.tensor([1.0, -0.5, 1000.0]),
        "count": torch.tensor([3, 70000]),
    }
    checksum = weight_files.save_weights(tensors, tmp_path / "new" / "x.safetensors")
    from safetensors.torch import load_file

    again = load_file(tmp_path / "new" / "x.safetensors")
    assert again["a"].dtype == torch.float16
    torch.testing.assert_close(again["a"].float(), tensors["a"].contiguous(), rtol=2**-11, atol=1e-7)
    assert torch.equal(again["b"].float(), tensors["b"])
    assert torch.equal(again["count"], tensors["count"])
    assert checksum == weight_files.file_sha256(tmp_path / "new" / "x.safetensors")
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["x.safetensors"]


def test_others_may_read_the_weights_as_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        weight_files.save_weights({"a": torch.ones(3)}, tmp_path / "x.safetensors")
    finally:
        os.umask(before)
    assert (tmp_path / "x.safetensors").stat().st_mode & 0o777 == 0o644


def test_weights_that_cannot_be_written_are_one_sentence_and_leave_the_former_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.safetensors"
    checksum = weight_files.save_weights({"a": torch.ones(3)}, path)

    def full(_tensors: dict, _path: Path) -> None:
        raise safetensors.SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(safetensors.torch, "save_file", full)
    with pytest.raises(BadInput, match="is the disk full"):
        weight_files.save_weights({"a": torch.zeros(3)}, path)
    assert weight_files.file_sha256(path) == checksum and list(tmp_path.iterdir()) == [path]


def test_sha256_is_the_published_one(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")  # FIPS 180-2, appendix B.1
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert weight_files.file_sha256(tmp_path / "abc") == expected


def test_eight_bits_keep_every_weight_to_a_254th_of_the_largest_of_its_output_channel(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    kernels = torch.randn(8, 3, 3, 3, 3, generator=generator) * torch.logspace(-6, 1, 8).reshape(8, 1, 1, 1, 1)
    kernels[3] = 0
    tensors = {
        "kernels": kernels.to(memory_format=torch.channels_last_3d),
        "matrix": torch.tensor([[1.0, -127.0], [63.5, 0.5]]),
        "bias": torch.tensor([1.0, -0.3125, 1000.0]),
        "count": torch.tensor([3, 70000]),
    }
    weight_files.save_weights(tensors, tmp_path / "small.safetensors", bits=8)
    again = weight_files.read_weights(tmp_path / "small.safetensors")
    assert set(again) == set(tensors)
    largest = kernels.flatten(1).abs().amax(1)
    assert ((again["kernels"] - kernels).flatten(1).abs().amax(1) <= largest / 254 * 1.0001).all()
    assert torch.equal(again["matrix"], torch.tensor([[1.0, -127.0], [63.5, 0.5]]))
    assert torch.equal(again["bias"], tensors["bias"]) and torch.equal(again["count"], tensors["count"])
    weight_files.save_weights(tensors, tmp_path / "whole.safetensors", bits=32)
    whole = weight_files.read_weights(tmp_path / "whole.safetensors")
    assert all(torch.equal(whole[name], tensor) for name, tensor in tensors.items())
    wide = {"w": torch.randn(64, 64, 3, 3, 3, generator=generator)}
    sizes = []
    for bits in (8, 16):
        weight_files.save_weights(wide, tmp_path / "wide.safetensors", bits)
        sizes.append((tmp_path / "wide.safetensors").stat().st_size)
    assert sizes[0] == pytest.approx(sizes[1] / 2, rel=0.01)


@pytest.mark.parametrize("name", ["latent_teacher", "regression_unet"])
def test_a_registered_run_has_the_bits_of_its_network_and_the_checksum_of_its_file(name: str, tmp_path: Path) -> None:
    run, models = tmp_path / "run", tmp_path / "models"
    tensors = {"w": torch.randn(4, 6, generator=torch.Generator().manual_seed(0))}
    checksum = weight_files.save_weights(tensors, run / f"{name}.safetensors")
    record = {"recipe": name, "architecture": {"kind": "x"}, "steps": 7, "finished": True, "sha256": checksum}
    (run / "training.json").write_text(json.dumps(record))
    models.mkdir()
    entry = register.register(run, models)
    assert entry == json.loads((models / "models.json").read_text())["models"][name]
    assert entry["sha256"] == weight_files.file_sha256(models / f"{name}.safetensors")
    assert entry["training"] == {"steps": 7, "finished": True}
    found = weight_files.read_weights(models / f"{name}.safetensors")["w"]
    torch.testing.assert_close(found, tensors["w"], rtol=0, atol=float(tensors["w"].abs().max()) * (1 / 254 + 1 / 2048))
    assert torch.equal(found, tensors["w"].half().float()) == (name not in register.EIGHT_BITS)


def test_figures_belong_to_the_weights_that_they_were_measured_with(tmp_path: Path) -> None:
    run, models, name = tmp_path / "run", tmp_path / "models", "regression_unet"
    models.mkdir()

    def registered(seed: int) -> dict[str, Any]:
        tensors = {"w": torch.randn(4, 6, generator=torch.Generator().manual_seed(seed))}
        checksum = weight_files.save_weights(tensors, run / f"{name}.safetensors")
        record = {"recipe": name, "architecture": {"kind": "x"}, "steps": 7, "finished": True, "sha256": checksum}
        (run / "training.json").write_text(json.dumps(record))
        register.register(run, models)
        return json.loads((models / "models.json").read_text())["models"][name]

    figures = {"benchmark": "b", "command": "c", "figures": {"psnr": 24.0}}
    assert "measured" not in registered(0)
    register.record_measured(models, {name: figures})
    assert registered(0)["measured"] == figures  # the same weights once more
    assert "measured" not in registered(1)
    register.record_measured(models, {name: figures})
    register.record_measured(models, {name: {}})
    assert "measured" not in registered(1)


def test_a_run_whose_files_are_not_what_the_training_wrote_is_not_registered(tmp_path: Path) -> None:
    run, name = tmp_path / "run", "regression_unet"
    checksum = weight_files.save_weights({"w": torch.ones(4, 6)}, run / f"{name}.safetensors")
    record = {"recipe": name, "architecture": {"kind": "x"}, "steps": 7, "finished": True, "sha256": checksum}
    (run / "training.json").write_text(json.dumps(record))
    weight_files.save_weights({"w": torch.zeros(4, 6)}, run / f"{name}.safetensors")
    with pytest.raises(BadInput, match="is not what the training wrote"):
        register.register(run, tmp_path)
    (run / "training.json").write_text(json.dumps(record)[:-20])
    with pytest.raises(BadInput, match=r"training.json is damaged"):
        register.register(run, tmp_path)
    assert not (tmp_path / "models.json").exists()
