"""Fixtures of the library tests: a phantom head with labels, awkward grids, and tiny networks with random weights."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from phantoms import phantom_head  # noqa: E402

from LowFieldEnhanceLib.image import Image  # noqa: E402
from LowFieldEnhanceLib.segmentation.labels import LabelMap  # noqa: E402

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def phantom() -> Callable[..., tuple[Image, LabelMap]]:
    """:func:`phantom_head`, for any shape and spacing."""
    return phantom_head


@pytest.fixture(scope="session")
def head() -> Image:
    """A whole phantom head at 4 mm."""
    return phantom_head()[0]


@pytest.fixture(scope="session")
def head_labels() -> LabelMap:
    """Its labels."""
    return phantom_head()[1]


def _tiny(architecture: dict[str, Any]) -> dict[str, Any]:
    """The architecture of a recipe with the same inputs and outputs and hardly any parameters."""
    small = {**architecture, "widths": [8, 8], "blocks": 1}
    if "fine_blocks" in small:
        small |= {"fine_blocks": 1, "spacing": 3.0}  # a grid on which a phantom is soon labelled
    if small.get("embedding"):
        small["embedding"] = 8
    if "condition_widths" in small:
        small |= {"condition_widths": [8] * len(small["condition_widths"]), "condition": 8, "latent": 4}
    if "decoder_blocks" in small:
        small |= {"decoder_blocks": 1, "latent": 4}
    return small


def tiny_architectures() -> dict[str, dict[str, Any]]:
    """Every network that a registered method or the segmenter loads; a new method adds its networks here."""
    from LowFieldEnhanceLib.training import (
        bridged,
        companions,
        css_networks,
        css_sgp,
        expected_deviation,
        latent_autoencoder,
        latent_student,
        latent_teacher,
        regression,
        segmenter,
        slice_prior,
    )

    return {
        "segmenter": _tiny(segmenter.ARCHITECTURE),
        "regression_unet": _tiny(regression.ARCHITECTURE),
        "bridged_bridge": _tiny(bridged.BRIDGE),
        "bridged_companions": {**companions.ARCHITECTURE, "width": 8, "blocks": 1},
        "bridged_prior": _tiny(bridged.PRIOR),
        "slice_prior": _tiny(slice_prior.ARCHITECTURE),
        "css_generator": {**_tiny(css_networks.ARCHITECTURE), "context": 8},
        "css_sgp": {**css_sgp.ARCHITECTURE, "edge": 32, "width": 8, "layers": 1, "heads": 1, "embedding": 8},
        "latent_autoencoder": _tiny(latent_autoencoder.ARCHITECTURE),
        "latent_teacher": _tiny(latent_teacher.ARCHITECTURE),
        "latent_student": _tiny(latent_student.ARCHITECTURE),
        "expected_deviation": _tiny(expected_deviation.ARCHITECTURE),
    }


@pytest.fixture(scope="session")
def tiny_models_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with random weights for all networks, registered with their checksums."""
    from LowFieldEnhanceLib.networks.registry import build_network
    from LowFieldEnhanceLib.weight_files import save_weights

    folder = tmp_path_factory.mktemp("models")
    generator = torch.Generator().manual_seed(7)
    entries = {}
    for name, architecture in tiny_architectures().items():
        network = build_network(architecture)
        for parameter in network.parameters():
            parameter.data = 0.08 * torch.randn(parameter.shape, generator=generator)
        entries[name] = {
            "file": f"{name}.safetensors",
            "sha256": save_weights(network.state_dict(), folder / f"{name}.safetensors"),
            "architecture": architecture,
            "licence": "Apache-2.0",
            "title": f"random {name}",
            "card": f"{name}.md",
        }
    (folder / "models.json").write_text(json.dumps({"models": entries}), encoding="utf-8")
    return folder


@pytest.fixture
def tiny_models(tiny_models_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The library finds the tiny networks first."""
    monkeypatch.setenv("LOWFIELDENHANCE_MODELS", str(tiny_models_folder))
    yield tiny_models_folder
