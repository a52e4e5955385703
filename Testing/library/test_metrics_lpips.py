"""LPIPS with random weights against a second computation in numpy, and its way through a volume."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from LowFieldEnhanceLib.errors import BadInput, CorruptModel, MissingModel
from LowFieldEnhanceLib.evaluation.lpips import (
    DATA_VARIABLE,
    Lpips,
    default_backbone_path,
    default_heads_path,
    slice_indices,
)

pytest_plugins = ["lpips_fixtures"]


@pytest.fixture(scope="module")
def lpips(weights: tuple[Path, Path]) -> Lpips:
    return Lpips(*weights)


def images(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    a, b = torch.rand(2, 2, 3, height, width, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return a, b


def convolve(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, stride: int = 1) -> np.ndarray:
    pad = 1 if weight.shape[-1] == 3 and stride == 1 else 0
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
    windows = np.lib.stride_tricks.sliding_window_view(x, weight.shape[2:], axis=(1, 2))[:, ::stride, ::stride]
    return np.maximum(np.tensordot(weight, windows, axes=((1, 2, 3), (0, 3, 4))) + bias[:, None, None], 0)


def pool(x: np.ndarray) -> np.ndarray:
    """3 x 3 maximum with stride 2; a last window that is only partly inside still counts."""
    x = np.pad(x, ((0, 0), (0, (x.shape[1] + 1) % 2), (0, (x.shape[2] + 1) % 2)), constant_values=-np.inf)
    return np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2))[:, ::2, ::2].max(axis=(3, 4))


def fire(x: np.ndarray, state: dict[str, np.ndarray], index: int) -> np.ndarray:
    def layer(y: np.ndarray, name: str) -> np.ndarray:
        return convolve(y, state[f"features.{index}.{name}.weight"], state[f"features.{index}.{name}.bias"])

    squeezed = layer(x, "squeeze")
    return np.concatenate([layer(squeezed, "expand1x1"), layer(squeezed, "expand3x3")])


def numpy_features(image: np.ndarray, state: dict[str, np.ndarray]) -> list[np.ndarray]:
    """SqueezeNet 1.1 from its paper and release notes, in float64, for one (3, H, W) image in -1..1."""
    shift, scale = np.array([-0.030, -0.088, -0.188]), np.array([0.458, 0.448, 0.450])
    x = (image - shift[:, None, None]) / scale[:, None, None]
    first = convolve(x, state["features.0.weight"], state["features.0.bias"], stride=2)
    second = fire(fire(pool(first), state, 3), state, 4)
    third = fire(fire(pool(second), state, 6), state, 7)
    fourth = fire(pool(third), state, 9)
    fifth = fire(fourth, state, 10)
    sixth = fire(fifth, state, 11)
    return [first, second, third, fourth, fifth, sixth, fire(sixth, state, 12)]


def numpy_lpips(a: np.ndarray, b: np.ndarray, weights: tuple[Path, Path]) -> float:
    state = {key: value.double().numpy() for key, value in torch.load(weights[0], weights_only=True).items()}
    heads = torch.load(weights[1], weights_only=True)
    total = 0.0
    for index, (fa, fb) in enumerate(zip(numpy_features(a, state), numpy_features(b, state), strict=True)):
        head = heads[f"lin{index}.model.1.weight"].double().numpy().reshape(-1, 1, 1)
        na, nb = (f / (np.linalg.norm(f, axis=0) + 1e-10) for f in (fa, fb))
        total += float((head * (na - nb) ** 2).sum(axis=0).mean())
    return total


@pytest.mark.parametrize(("height", "width"), [(32, 32), (35, 41), (38, 33)])
def test_the_distance_equals_a_second_computation_in_numpy(
    lpips: Lpips, weights: tuple[Path, Path], height: int, width: int
) -> None:
    a, b = images(height, width)
    expected = [numpy_lpips(x.double().numpy(), y.double().numpy(), weights) for x, y in zip(a, b, strict=True)]
    assert lpips(a, b).tolist() == pytest.approx(expected, rel=1e-4)
    assert min(expected) > 0.01  # random weights do make a difference


def test_identical_images_are_at_zero_and_the_order_does_not_matter(lpips: Lpips) -> None:
    a, b = images(40, 36)
    assert lpips(a, a).tolist() == [0.0, 0.0]
    assert lpips(a, b).tolist() == pytest.approx(lpips(b, a).tolist())


def test_the_distance_can_train_a_network_even_where_no_channel_fires(
    weights: tuple[Path, Path], tmp_path: Path
) -> None:
    silent = {k: v * (v.ndim > 1) for k, v in torch.load(weights[0], weights_only=True).items()}  # no biases
    torch.save(silent, tmp_path / "silent.pth")
    a, b = images(32, 32)
    a[0] = torch.tensor([-0.030, -0.088, -0.188]).view(3, 1, 1)  # 0 after the scaling layer, so 0 in every layer
    a.requires_grad_(True)
    Lpips(tmp_path / "silent.pth", weights[1])(a, b).sum().backward()
    assert torch.isfinite(a.grad).all()
    assert a.grad[1].abs().max() > 0


def test_batches_that_do_not_fit_are_refused(lpips: Lpips) -> None:
    a, b = images(32, 40)
    small, grey = (a[:, :, :31], b[:, :, :31]), (a[:, :1], b[:, :1])
    for pair in (small, grey, (a, b[:, :, :, :35]), (a, b[:1])):
        with pytest.raises(BadInput, match="edges at least 32 pixels"):
            lpips(*pair)


def volume_case() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    reference = rng.random((12, 14, 36)) * 90 + 10
    image = reference + rng.standard_normal(reference.shape) * 10
    mask = np.zeros(reference.shape, bool)
    mask[2:8, 3:9, 1:35] = True
    mask[8, 3, 1] = True  # a slice with one voxel: too little to count
    return reference, image, mask


def padded(cut: np.ndarray) -> torch.Tensor:
    field = np.full((max(cut.shape[0], 32), max(cut.shape[1], 32)), -1.0)
    field[: cut.shape[0], : cut.shape[1]] = cut
    return torch.tensor(np.stack([field] * 3)[None], dtype=torch.float32)


def test_a_volume_is_the_mean_of_three_planes_of_cropped_scaled_slices(lpips: Lpips) -> None:
    reference, image, mask = volume_case()
    low = reference[mask].min()
    scaled = [np.where(mask, np.clip((v - low) / 80 * 2 - 1, -1, 1), -1)[2:9, 3:9, 1:35] for v in (reference, image)]
    planes = []
    for axis, indices in ((0, (0, 2, 4)), (1, (0, 2, 4)), (2, range(0, 34, 2))):
        pairs = [[padded(volume.take(index, axis)) for volume in scaled] for index in indices]
        planes.append(np.mean([float(lpips(*pair)) for pair in pairs]))
    assert lpips.volume(reference, image, mask, 80.0) == pytest.approx(np.mean(planes), rel=1e-4)


def test_volumes_ignore_what_lies_outside_the_mask_the_unit_and_the_batch_size(lpips: Lpips) -> None:
    reference, image, mask = volume_case()
    plain = lpips.volume(reference, image, mask, 80.0, stride=4)
    outside = lpips.volume(np.where(mask, reference, 7e3), np.where(mask, image, -9e3), mask, 80.0, stride=4)
    rescaled = lpips.volume(reference * 5 - 3, image * 5 - 3, mask, 400.0, stride=4)
    assert outside == plain
    assert rescaled == pytest.approx(plain, rel=1e-3)
    assert lpips.volume(reference, image, mask, 80.0, stride=4, batch_size=3) == pytest.approx(plain, rel=1e-4)
    assert lpips.volume(reference, reference, mask, 80.0, stride=4) == 0.0


def test_slices_with_a_tenth_of_the_largest_area_count_and_every_nth_of_them() -> None:
    mask = np.zeros((5, 10, 10), bool)
    for index, voxels in enumerate((9, 10, 100, 50, 0)):
        mask[index].flat[:voxels] = True
    assert slice_indices(mask, 0, 1).tolist() == [1, 2, 3]
    assert slice_indices(mask, 0, 2).tolist() == [1, 3]
    assert slice_indices(mask, 0, 9).tolist() == [1]


def test_volumes_that_cannot_be_compared_are_refused(lpips: Lpips) -> None:
    reference, image, mask = volume_case()
    flat = reference[0], image[0], mask[3]
    for sentence, case in (("shapes", (reference, image[:5], mask)), ("2 dimensions", flat)):
        with pytest.raises(BadInput, match=sentence):
            lpips.volume(*case, 80.0)
    for options in ({"data_range": 0.0}, {"data_range": 80.0, "stride": 0}, {"data_range": 80.0, "batch_size": 0}):
        with pytest.raises(BadInput, match="above 0"):
            lpips.volume(reference, image, mask, **options)


def test_absent_weights_are_a_missing_model_and_other_weights_a_corrupt_one(
    weights: tuple[Path, Path], tmp_path: Path
) -> None:
    for paths in ((tmp_path / "nothing.pth", weights[1]), (weights[0], tmp_path / "nothing.pth")):
        with pytest.raises(MissingModel, match=r"nothing\.pth"):
            Lpips(*paths)
    (tmp_path / "text.pth").write_text("not weights")
    torch.save([1, 2], tmp_path / "list.pth")
    for bad in (weights[1], tmp_path / "text.pth", tmp_path / "list.pth"):
        with pytest.raises(CorruptModel):
            Lpips(bad, weights[1])
    for bad in (weights[0], tmp_path / "text.pth"):
        with pytest.raises(CorruptModel):
            Lpips(weights[0], bad)


def test_the_backbone_is_found_in_the_data_folder(
    weights: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(DATA_VARIABLE, raising=False)
    with pytest.raises(MissingModel, match=DATA_VARIABLE):
        default_backbone_path()
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    (tmp_path / "lpips").mkdir()
    (tmp_path / "lpips" / "squeezenet1_1.pth").write_bytes(weights[0].read_bytes())
    assert default_backbone_path() == tmp_path / "lpips" / "squeezenet1_1.pth"
    a, b = images(32, 32)
    assert Lpips(heads_path=weights[1])(a, b).tolist() == Lpips(*weights)(a, b).tolist()


def test_the_heads_are_found_inside_the_package_without_importing_it(
    weights: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "lpips"
    (package / "weights" / "v0.1").mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('no torchvision')")
    (package / "weights" / "v0.1" / "squeeze.pth").write_bytes(weights[1].read_bytes())
    monkeypatch.syspath_prepend(tmp_path)
    assert default_heads_path() == package / "weights" / "v0.1" / "squeeze.pth"
    Lpips(weights[0])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingModel, match="pip install --no-deps lpips"):
        default_heads_path()


@pytest.mark.skipif(
    not os.environ.get(DATA_VARIABLE) or importlib.util.find_spec("lpips") is None,
    reason=f"needs {DATA_VARIABLE} and the package lpips",
)
def test_the_published_weights_give_the_figures_of_the_package_lpips() -> None:
    i, j = np.mgrid[0:48, 0:56] / 8.0
    pattern = torch.tensor(np.stack([np.sin(i), np.cos(j), np.sin(i * j / 4)])[None], dtype=torch.float32)
    shifted = torch.roll(pattern, 3, dims=3)
    # What lpips.LPIPS(net="squeeze") of the package lpips 0.1.4 gives for these two pairs.
    assert float(Lpips()(pattern, shifted)) == pytest.approx(0.04409001, rel=1e-4)
    assert float(Lpips()(pattern, pattern * 0.5)) == pytest.approx(0.05116856, rel=1e-4)
