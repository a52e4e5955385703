"""Stacks of slices: halved when memory runs out, in every method that works slice by slice, for the same result."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from test_measurement import case_of
from torch import Tensor, nn

from LowFieldEnhanceLib import autocast
from LowFieldEnhanceLib.diffusion.denoiser import SliceDenoiser
from LowFieldEnhanceLib.errors import OutOfMemory
from LowFieldEnhanceLib.events import Events
from LowFieldEnhanceLib.methods import cssdiff, diffdeur, dps, latent
from LowFieldEnhanceLib.stacks import Stacks
from LowFieldEnhanceLib.weights import load_network

OUT_OF_MEMORY = {
    "cuda": torch.OutOfMemoryError("CUDA out of memory"),
    "python": MemoryError(),
    "cpu": RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried"),
}
METHODS = {
    "latent": (latent, latent.DistilledLatent(latent.LatentSettings(steps=2, bias=False, temperature=1.0))),
    "cssdiff": (cssdiff, cssdiff.CssDiff(cssdiff.CssDiffSettings(steps=2, shared_noise=False))),
    "diffdeur": (diffdeur, diffdeur.DiffDeur(diffdeur.DiffDeurSettings(start=300, steps=3, data_step="cg"))),
    "dps": (dps, dps.Dps(dps.DpsSettings(start=300, steps=3))),
}


class Starved:
    """Lets no network have more than a number of slices at once; counts how often that was asked for."""

    def __init__(self, most: int, only: Callable[[], bool] = lambda: True) -> None:
        self.most, self.only, self.refused = most, only, 0

    def __call__(self, _module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        slices = inputs[0].shape[2] if inputs[0].ndim == 5 else len(inputs[0])
        if slices > self.most and self.only():
            self.refused += 1
            raise torch.OutOfMemoryError("CUDA out of memory")


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """No bfloat16, whose rounding depends on the size of a stack."""
    monkeypatch.setattr(autocast, "has_bfloat16", lambda _: False)


def volume(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", OUT_OF_MEMORY)
def test_a_stack_that_does_not_fit_is_halved_and_stays_small(name: str) -> None:
    x, asked = volume(21, 4, 5), []

    def square(place: slice) -> Tensor:
        asked.append((place.start, place.stop))
        if place.stop - place.start > 3:
            raise OUT_OF_MEMORY[name]
        return x[place] ** 2

    stacks = Stacks(12 * 4 * 5)
    torch.testing.assert_close(stacks.run(square, x.shape), x**2, rtol=0, atol=0)
    starts = range(0, 21, 3)
    assert asked == [(0, 12), (0, 6), *((n, n + 3) for n in starts)]
    asked.clear()
    stacks.run(square, x.shape)
    assert asked == [(n, n + 3) for n in starts]


def test_memory_that_runs_out_in_the_middle_repeats_no_stack_that_is_done() -> None:
    x, asked = volume(8, 2, 2), []

    def late(place: slice) -> Tensor:
        asked.append((place.start, place.stop))
        if place.start >= 4 and place.stop - place.start > 1:
            raise MemoryError
        return -x[place]

    torch.testing.assert_close(Stacks(4 * 2 * 2).run(late, x.shape), -x, rtol=0, atol=0)
    assert asked == [(0, 4), (4, 8), (4, 6), (4, 5), (5, 6), (6, 7), (7, 8)]


def test_a_slice_larger_than_a_stack_comes_alone_and_without_memory_for_it_the_run_is_out_of_memory() -> None:
    x = volume(3, 8, 8)
    torch.testing.assert_close(Stacks(1).run(lambda place: x[place], x.shape), x, rtol=0, atol=0)
    for error in OUT_OF_MEMORY.values():
        with pytest.raises(OutOfMemory, match="even for a single slice"):
            Stacks(10**6).run(lambda _, error=error: (_ for _ in ()).throw(error), x.shape)


def test_any_other_failure_is_not_mistaken_for_lack_of_memory() -> None:
    calls = []

    def broken(place: slice) -> Tensor:
        calls.append(place)
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        Stacks(10**6).run(broken, (4, 2, 2))
    assert len(calls) == 1


@pytest.mark.usefixtures("tiny_models", "exact")
@pytest.mark.parametrize("name", METHODS)
def test_a_method_short_of_memory_draws_the_same_noise_and_gives_the_same_voxels(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, method = METHODS[name]
    case, _ = case_of()

    def run(starved: Starved | None) -> tuple[np.ndarray, Tensor, list[dict]]:
        def load(*arguments: str) -> tuple[nn.Module, object]:
            network, info = load_network(*arguments)
            if starved is not None:
                for part in (network, *(getattr(network, side) for side in ("low",) if hasattr(network, side))):
                    part.register_forward_pre_hook(starved)
            return network, info

        monkeypatch.setattr(module, "load_network", load)
        generator, sent = torch.Generator().manual_seed(3), []
        result = method.enhance(case, "fast", generator, Events(sent.append)).array
        return result, generator.get_state(), sent

    whole, state, _ = run(None)
    starved = Starved(3)
    small, same, sent = run(starved)
    assert starved.refused >= 2
    np.testing.assert_allclose(small, whole, rtol=0, atol=2e-5)
    assert torch.equal(same, state)
    assert sent[-1]["done"] == sent[-1]["total"] == max(event["done"] for event in sent)
    with pytest.raises(OutOfMemory, match="even for a single slice"):
        run(Starved(0))


@pytest.mark.usefixtures("tiny_models")
def test_memory_that_runs_out_in_the_backward_pass_alone_leaves_the_gradient_as_it_is() -> None:
    """There a stack takes several times the memory that it takes in the pass before."""
    x, weight = volume(6, 8, 8), volume(6, 8, 8, seed=1)
    gradients = []
    for starved in (None, Starved(2, torch.is_grad_enabled)):
        network, _ = load_network("slice_prior")
        if starved is not None:
            network.register_forward_pre_hook(starved)
        leaf = x.clone().requires_grad_()
        denoiser = SliceDenoiser(network, diffdeur.SCHEDULE, "T1w", bfloat16=False)
        (denoiser(leaf, 0.6) * weight).sum().backward()
        gradients.append(leaf.grad)
    assert starved.refused > 0
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-3, atol=1e-5)
