"""Which device a run takes; networks and methods on another than the CPU: nothing fails, the result is the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from method_support import run, thick_slices
from pretend_device import CARD, card
from test_methods import quick_runs
from torch.optim import optimizer

from LowFieldEnhanceLib import autocast, devices, pipeline
from LowFieldEnhanceLib.devices import choose_device, fault_of
from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.events import Events
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.methods.base import Case, Method
from LowFieldEnhanceLib.methods.bridged import BridgedDiffusion, BridgedSettings
from LowFieldEnhanceLib.methods.coordinate_fit import FitSettings
from LowFieldEnhanceLib.methods.cssdiff import CssDiff, CssDiffSettings
from LowFieldEnhanceLib.methods.diffdeur import DiffDeur, DiffDeurSettings
from LowFieldEnhanceLib.methods.dps import Dps, DpsSettings
from LowFieldEnhanceLib.methods.irem import Irem, IremSettings
from LowFieldEnhanceLib.methods.latent import DistilledLatent, LatentSettings
from LowFieldEnhanceLib.networks.pooling import cell_means
from LowFieldEnhanceLib.physics.acquisition import Acquisition
from LowFieldEnhanceLib.segmentation.segmenter import Segmenter

LACKING = ("avg_pool3d", "max_pool3d_with_indices")  # of Apple's cards in torch 2.8
FIT = FitSettings(coarsest=6.0, finest=1.5, levels=3, features=2, hidden=16, edge=12, log2_table=6, tolerance=-1.0)
SHORT = DiffDeurSettings(start=300, steps=3, first_epochs=2, epochs=1, fit=replace(FIT, embedding="exact"))
LONG = {
    "bridged": BridgedDiffusion(BridgedSettings(prior_time=4, steps=2, repeats=2, overlap=0.7)),
    "diffdeur": DiffDeur(replace(SHORT, orientations="average", fresh=0.5)),
    "fitted": DiffDeur(replace(SHORT, fit=FIT)),
    "irem": Irem(IremSettings(epochs=2, fit=FIT)),
    "dps": Dps(DpsSettings(start=300, steps=3)),
    "latent": DistilledLatent(LatentSettings("teacher", 2, temperature=1.0)),
    "cssdiff": CssDiff(CssDiffSettings(steps=1, axes=(2,), shared_noise=False)),
}
pytestmark = pytest.mark.usefixtures("tiny_models")


@pytest.fixture(scope="module")
def case(phantom) -> Case:
    return thick_slices(phantom)


@pytest.fixture(scope="module")
def rich(case: Case) -> Case:
    """With all that a case can hold."""
    image = case.inputs["T1w"]
    inputs = {contrast: replace(image, contrast=contrast) for contrast in ("T2w", "FLAIR")}
    told = {"T2w": Acquisition((1.0, 1.0, 3.0), 0.05)}
    return replace(
        case, inputs=inputs, target="T2w", measured=replace(case.measured, contrast="T2w"), acquisitions=told,
        log_jacobian=np.full(image.shape, 0.1, np.float32),
    )  # fmt: skip


@pytest.fixture(autouse=True)
def of_the_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """No half precision, as on Apple's cards, and an Adam in one piece, as on every card."""
    monkeypatch.setattr(autocast, "has_bfloat16", lambda _: False)
    monkeypatch.setattr(optimizer, "_get_fused_kernels_supported_devices", lambda: ["cpu", CARD])


def test_the_card_refuses_what_a_card_refuses() -> None:
    with card(["relu"]) as device:
        there = torch.ones(3, 3).to(CARD)
        assert float((there * 2).sum()) == 18 and "mul" in device.used
        torch.testing.assert_close(torch.tensor([1.0, 2.0], device=CARD).cpu(), torch.tensor([1.0, 2.0]))
        for wrong in (lambda: there + torch.ones(3), lambda: there.numpy(), lambda: torch.ones(3)[there[0] > 0]):
            with pytest.raises(RuntimeError):
                wrong()
        with pytest.raises(TypeError, match="double"):
            there.double()
        with pytest.raises(NotImplementedError):
            there.relu()
        with pytest.raises(AssertionError, match="without values"):
            there[[2, 0]]  # torch makes the tensor of this list on the card by itself


def assert_same_on_the_card(make: Callable[[], np.ndarray], wanted: np.ndarray, atol: float) -> set[str]:
    """The card gives the voxels of the CPU (of a range of 2); the operations that ran there."""
    with card(LACKING) as device:
        found = make()
    np.testing.assert_allclose(found, wanted, rtol=0, atol=atol)
    return device.used


@pytest.mark.parametrize(("name", "preset"), [r for r in quick_runs() if r[0] not in ("cubic", "linear", "bm4d")])
def test_a_preset_gives_the_same_on_another_device(name: str, preset: str, case: Case) -> None:
    wanted = run(name, preset, case).array
    used = assert_same_on_the_card(lambda: run(name, preset, replace(case, device=CARD)).array, wanted, 1e-3)
    assert len(used) > 10


@pytest.mark.parametrize("name", LONG)
def test_every_part_of_a_method_gives_the_same_on_another_device(name: str, rich: Case) -> None:
    method: Method = LONG[name]

    def voxels(device: str) -> np.ndarray:
        generator = torch.Generator().manual_seed(0)
        return method.enhance(replace(rich, device=device), method.presets[0], generator, Events()).array

    wanted = voxels("cpu")
    assert_same_on_the_card(lambda: voxels(CARD), wanted, 3e-3)


def test_samples_in_a_batch_are_the_same_on_another_device(case: Case) -> None:
    def voxels(device: str) -> list[np.ndarray]:
        generators = [torch.Generator().manual_seed(seed) for seed in (0, 1)]
        made = BridgedDiffusion().enhance_batch(replace(case, device=device), "standard", generators, Events())
        return [sample.array for sample in made]

    wanted = voxels("cpu")
    with card(LACKING):
        found = voxels(CARD)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-3)  # of a range of 2


def test_the_segmenter_labels_the_same_on_another_device(head: Image) -> None:
    wanted = Segmenter("cpu").segment(head).array
    with card(LACKING):
        found = Segmenter(CARD).segment(head).array
    assert (found != wanted).mean() < 1e-4


@pytest.mark.parametrize("cell", [(2, 2, 2), (1, 4, 4), (1, 2, 2)])
def test_means_of_cells_are_the_same_with_and_without_pooling(cell: tuple[int, int, int]) -> None:
    x = torch.randn(2, 3, 4, 8, 12, generator=torch.Generator().manual_seed(0))
    wanted = torch.nn.functional.avg_pool3d(x, cell)
    assert torch.equal(cell_means(x, cell), wanted)
    with card(LACKING):
        found = cell_means(x.to(CARD), cell).cpu()
    torch.testing.assert_close(found, wanted)


def test_a_device_that_computes_what_the_processor_does_has_no_fault() -> None:
    before = torch.get_rng_state()
    with card() as device:
        assert fault_of.__wrapped__(CARD) is None
    assert {"convolution", "pixel_shuffle", "embedding"} <= device.used
    assert torch.equal(torch.get_rng_state(), before)
    assert fault_of.__wrapped__("cpu") is None


@pytest.mark.parametrize(
    ("bad", "said"),
    [({"wrong": ["convolution"]}, "other numbers"), ({"lacking": ["pixel_shuffle"]}, "not implemented")],
)
def test_a_device_that_fails_or_computes_other_numbers_is_found_out(bad: dict, said: str) -> None:
    with card(**bad):
        assert said in fault_of.__wrapped__(CARD)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine whose torch cannot reach a card")
def test_auto_passes_over_a_card_that_is_there_and_of_no_use(monkeypatch: pytest.MonkeyPatch, head: Image) -> None:
    """As a card too old for the build of torch: said to be there, and every operation fails."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    sent: list[dict] = []
    assert choose_device("auto", Events(sent.append)) == "cpu"
    assert [event["event"] for event in sent] == ["warning"]
    assert "the graphics card (cuda) is not used, because it fails" in sent[0]["message"]
    with pytest.raises(BadInput, match="cannot be used.*--device cpu"):
        choose_device("cuda")
    with pytest.raises(BadInput, match="'cuda:7' is not available.*--device cpu"):
        choose_device("cuda:7")
    fault_of.cache_clear()
    subject = pipeline.subject_of(head, pipeline.Options(spacing=4.0), events=Events(sent.append))
    assert subject.device == "cpu" and len(sent) > 2
    fault_of.cache_clear()


def test_the_best_device_without_a_fault_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    faults: dict[str, str] = {}
    monkeypatch.setattr(devices, "fault_of", faults.get)
    assert choose_device() == "cuda"
    assert choose_device("mps") == "mps"
    faults["cuda"] = "it fails"
    assert choose_device() == "mps"
    faults["mps"] = "it computes other numbers than the processor does"
    assert choose_device() == "cpu"
