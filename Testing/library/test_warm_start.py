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
    with pytest.raises(BadInput, match="bridged_bridge.safetensors does not exist"):
        warm_start(ResidualUNet(6, 3, **SMALL), tmp_path, "bridged_bridge")
    save_weights(ResidualUNet(1, 1, widths=(16, 16), blocks=1).state_dict(), tmp_path / "regression_unet.safetensors")
    with pytest.raises(BadInput, match="does not fit"):
        warm_start(ResidualUNet(6, 3, **SMALL), tmp_path, "bridged_bridge")
    with pytest.raises(BadInput, match="bridged_prior.safetensors does not exist"):
        warm_start(ResidualUNet(6, 3, **SMALL), tmp_path, "bridged_prior")
    (tmp_path / "bridged_prior.safetensors").write_bytes(b"no tensors")
    with pytest.raises(BadInput, match="does not fit"):
        warm_start(ResidualUNet(6, 3, **SMALL), tmp_path, "bridged_prior")
    with pytest.raises(BadInput, match="one contrast"):
        widen_contrasts(ResidualUNet(6, 3, **SMALL).state_dict())


@pytest.mark.parametrize("bits", [8, 16, 32])
def test_a_network_goes_on_from_its_own_weights_however_they_are_stored(tmp_path: Path, bits: int) -> None:
    torch.manual_seed(0)
    before, after = ResidualUNet(6, 3, **SMALL), ResidualUNet(6, 3, **SMALL)
    for parameter in before.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    sha256 = save_weights(before.state_dict(), tmp_path / "bridged_bridge.safetensors", bits)
    # its own weights go before those of the regression U-Net, which lie in the same folder of registered models
    save_weights(ResidualUNet(1, 1, **SMALL).state_dict(), tmp_path / "regression_unet.safetensors")
    assert warm_start(after, tmp_path, "bridged_bridge") == f"start from bridged_bridge with SHA-256 {sha256[:12]}"
    for name, tensor in after.state_dict().items():
        torch.testing.assert_close(tensor, before.state_dict()[name], atol=1 / 127, rtol=1e-2)


def test_a_bridge_starts_from_the_regression_network_where_there_is_no_bridge(tmp_path: Path) -> None:
    torch.manual_seed(0)
    narrow, wide = ResidualUNet(1, 1, **SMALL), ResidualUNet(6, 3, **SMALL)
    save_weights(narrow.state_dict(), tmp_path / "regression_unet.safetensors", 32)
    assert "copied to every contrast" in warm_start(wide, tmp_path, "bridged_bridge")
    for name, tensor in widen_contrasts(narrow.state_dict()).items():
        torch.testing.assert_close(wide.state_dict()[name], tensor)
