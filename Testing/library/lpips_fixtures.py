"""Random weights for LPIPS: a backbone in torchvision's layout, heads in that of the package lpips."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from LowFieldEnhanceLib.evaluation.lpips import SqueezeNetFeatures

CHANNELS = (64, 128, 256, 384, 384, 512, 512)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """The files of the backbone (with a classifier, to be ignored) and of the heads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # on arrays this small more threads only wait for each other
    folder = tmp_path_factory.mktemp("lpips")
    generator = torch.Generator().manual_seed(0)
    backbone = {
        key: torch.randn(value.shape, generator=generator) * 0.1
        for key, value in SqueezeNetFeatures().state_dict().items()
    }
    backbone["classifier.1.weight"] = torch.zeros(10, 512, 1, 1)
    heads = {f"lin{i}.model.1.weight": torch.rand(1, c, 1, 1, generator=generator) for i, c in enumerate(CHANNELS)}
    torch.save(backbone, folder / "backbone.pth")
    torch.save(heads, folder / "heads.pth")
    yield folder / "backbone.pth", folder / "heads.pth"
    torch.set_num_threads(threads)
