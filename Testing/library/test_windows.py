"""Windows: one consistent volume whatever its size, less memory when it runs out, and a stop when asked."""

from __future__ import annotations

import threading
import time

import pytest
import torch
from torch import Tensor, nn

from LowFieldEnhanceLib.errors import Cancelled, OutOfMemory
from LowFieldEnhanceLib.events import Events
from LowFieldEnhanceLib.networks.residual_unet import ResidualUNet
from LowFieldEnhanceLib.networks.windows import WindowedNetwork


class Blur(nn.Module):
    """A 5 x 5 x 5 convolution: receptive field of 2 voxels, zero padding."""

    multiple = 4

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(1, 2, 5, padding=2)
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        self.shapes.append(tuple(x.shape[2:]))
        return self.conv(x) + (0 if noise is None else noise[:, None, None, None, None])


class Identity(nn.Module):
    multiple = 4

    def forward(self, x: Tensor) -> Tensor:
        return x


def volume(*shape: int) -> Tensor:
    return torch.randn(1, 1, *shape, generator=torch.Generator().manual_seed(0))


def exact(network: nn.Module, **options) -> WindowedNetwork:
    return WindowedNetwork(network, bfloat16=False, **options)


@pytest.mark.parametrize("shape", [(21, 34, 29), (16, 16, 16), (5, 50, 7)])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.7])
def test_the_weights_of_the_windows_sum_to_one(shape: tuple[int, ...], overlap: float) -> None:
    """Blending what each window saw of the input must give back the input."""
    x = volume(*shape)
    torch.testing.assert_close(exact(Identity(), window=16, overlap=overlap)(x), x)


def test_windows_agree_with_the_whole_volume_away_from_their_cuts() -> None:
    network, x = Blur(), volume(40, 24, 24)
    whole = exact(network, window=None)(x)
    windowed = exact(network, window=24, overlap=0.25)
    blended = windowed(x)
    cuts = {edge for place in windowed._starts((40, 24, 24)) for edge in (place[0].start, place[0].stop)} - {0, 40}
    assert cuts
    near = torch.zeros(40, dtype=torch.bool)
    for cut in cuts:
        near[cut - 2 : cut + 2] = True  # voxels whose receptive field is cut
    torch.testing.assert_close(blended[:, :, ~near], whole[:, :, ~near])
    assert not torch.allclose(blended[:, :, near], whole[:, :, near])


def test_near_a_cut_the_neighbouring_window_outweighs_the_blind_one() -> None:
    network, x = Blur(), volume(40, 24, 24)
    whole = exact(network, window=None)(x)
    errors = [float((exact(network, window=24, overlap=o)(x) - whole).abs().max()) for o in (0.0, 0.5)]
    assert errors[1] < 0.5 * errors[0]


@pytest.mark.parametrize("window", [None, 64])
def test_any_volume_size_is_padded_to_what_the_network_takes_and_cropped_back(window: int | None) -> None:
    network, x = Blur(), volume(13, 22, 7)
    y = exact(network, window=window)(x)
    assert y.shape == (1, 2, 13, 22, 7)
    assert network.shapes == [(16, 24, 8)]
    padded = nn.functional.pad(x, (0, 1, 0, 2, 0, 3), mode="replicate")
    torch.testing.assert_close(y, network.conv(padded)[:, :, :13, :22, :7].detach())


def test_the_noise_reaches_every_window() -> None:
    network, x = Blur(), volume(24, 24, 40)
    plain = exact(network, window=24)(x)
    torch.testing.assert_close(exact(network, window=24)(x, torch.tensor([0.75])), plain + 0.75)


def test_bfloat16_stays_within_one_percent_and_returns_float32() -> None:
    network, x = Blur(), volume(16, 16, 16)
    fast, slow = WindowedNetwork(network)(x), exact(network)(x)
    assert fast.dtype == torch.float32
    assert float((fast - slow).norm() / slow.norm()) < 0.01


class Hungry(Blur):
    """Runs out of memory on windows above a size, in the words of the given error."""

    def __init__(self, largest: int, error: BaseException) -> None:
        super().__init__()
        self.largest, self.error = largest, error

    def forward(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        if max(x.shape[2:]) > self.largest:
            raise self.error
        return super().forward(x)


OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory"),
    MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=["cuda", "python", "cpu"])
def test_the_window_shrinks_until_it_fits_and_stays_that_small(error: BaseException) -> None:
    network = Hungry(60, error)
    windowed = exact(network, window=256)
    x = volume(104, 8, 8)
    y = windowed(x)
    assert y.shape == (1, 2, 104, 8, 8)
    assert torch.isfinite(y).all()
    assert windowed.window == 52
    passes = len(network.shapes)
    windowed(x)
    assert len(network.shapes) == 2 * passes


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=["cuda", "python", "cpu"])
def test_memory_that_does_not_suffice_for_the_smallest_window_is_out_of_memory(error: BaseException) -> None:
    with pytest.raises(OutOfMemory):
        exact(Hungry(10, error), window=256)(volume(104, 8, 8))


def test_any_other_failure_of_the_network_is_not_mistaken_for_lack_of_memory() -> None:
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        exact(Hungry(10, RuntimeError("mat1 and mat2 shapes cannot be multiplied")), window=256)(volume(104, 8, 8))


def test_the_machines_own_allocator_is_understood() -> None:
    class Greedy(Blur):
        def forward(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
            return torch.empty(2**55)

    with pytest.raises(OutOfMemory):
        exact(Greedy())(volume(8, 8, 8))


@pytest.mark.parametrize("network", [Blur(), ResidualUNet(widths=(8, 8), blocks=1)], ids=["plain", "residual"])
def test_a_cancelled_run_does_not_evaluate_the_network(network: nn.Module) -> None:
    events = Events()
    events.cancel()
    with pytest.raises(Cancelled):
        exact(network, check=events.check)(volume(8, 8, 8))


def test_a_cancel_takes_effect_before_the_next_residual_block() -> None:
    network = ResidualUNet(widths=(8, 8), blocks=4)
    calls = []

    def check() -> None:
        calls.append(1)
        if len(calls) == 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        exact(network, check=check)(volume(8, 8, 8))
    assert len(calls) == 3
    assert not any(module._forward_pre_hooks for module in network.modules())


def test_a_cancel_from_another_thread_stops_a_long_run() -> None:
    events = Events()
    network = ResidualUNet(widths=(8, 8), blocks=1)
    windowed = exact(network, check=events.check)
    timer = threading.Timer(0.2, events.cancel)
    timer.start()
    started = time.monotonic()
    with pytest.raises(Cancelled):
        for _ in range(100_000):
            windowed(volume(16, 16, 16))
    assert time.monotonic() - started < 2.0
    timer.join()
