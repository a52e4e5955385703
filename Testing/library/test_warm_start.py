"""A bridge that starts from the regression U-Net answers like it, contrast by contrast."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.networks.residual_unet import ResidualUNet
from LowFieldEnhanceLib.training.warm_start import warm_start, widen_contrasts
from LowFieldEnhanceLib.weight_files import save_weights

SMALL = {"widths": (8, 8), "blocks": 1}


def test_with_one_contrast_the_wide_network_answers_as_the_narrow_one_did() -> None:
    torch.manual_seed(0)
    narrow, wide = ResidualUNet(1, 1, **SMALL), ResidualUNet(6, 3, **SMALL)
    wide.load_state_dict(widen_contrasts(narrow.state_dict()))
    image = torch.randn(1, 1, 8, 8, 8)
    for channel in range(3):
        shown = torch.zeros(1, 6, 8, 8, 8)
        shown[:, channel : channel + 1], shown[:, 3 + channel] = image, 0.1
        torch.testing.assert_close(wide(shown)[:, channel : channel + 1], narrow(image))


def test_a_wide_network_that_is_told_of_one_scan_answers_as_the_narrow_one_that_was_told_of_it() -> None:
    torch.manual_seed(0)
    narrow = ResidualUNet(1, 1, **SMALL, embedding=8, coordinates=4)
    for parameter in narrow.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    wide = ResidualUNet(6, 3, **SMALL, embedding=8, coordinates=12)
    wide.load_state_dict(widen_contrasts(narrow.state_dict()))
    image, acquisition = torch.randn(1, 1, 8, 8, 8), torch.tensor([[0.3, 0.2, 0.9, 0.5]])
    assert not torch.allclose(narrow(image, acquisition), narrow(image, 0 * acquisition))
    for channel in range(3):
        shown, told = torch.zeros(1, 6, 8, 8, 8), torch.full((1, 3, 4), torch.nan)
        shown[:, channel : channel + 1], told[:, channel] = image, acquisition
        found = wide(shown, told.flatten(1))[:, channel : channel + 1]
        torch.testing.assert_close(found, narrow(image, acquisition))


def test_a_start_that_is_missing_or_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="does not exist"):
        warm_start(ResidualUNet(6, 3, **SMALL), tmp_path)
    save_weights(ResidualUNet(1, 1, widths=(16, 16), blocks=1).state_dict(), tmp_path / "regression_unet.safetensors")
    with pytest.raises(BadInput, match="does not fit"):
        warm_start(ResidualUNet(6, 3, **SMALL), tmp_path)
    with pytest.raises(BadInput, match="one contrast"):
        widen_contrasts(ResidualUNet(6, 3, **SMALL).state_dict())
