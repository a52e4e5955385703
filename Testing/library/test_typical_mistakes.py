"""What people who write scripts get wrong: each mistake is refused with a sentence, before any work is done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from LowFieldEnhanceLib import devices, pipeline
from LowFieldEnhanceLib.cli import main
from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.events import Events
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.options import SEED_LIMITS, Options
from LowFieldEnhanceLib.subject import open_subject


def scan(contrast: str = "T1w") -> Image:
    """Random voxels."""
    array = np.random.default_rng(3).uniform(1, 9, (8, 8, 8))
    return Image(array, np.diag([2.0, 2.0, 5.0, 1.0]), contrast)


MISTAKES: dict[str, tuple[Callable[[], Any], str]] = {
    "a path": (lambda: pipeline.enhance("scan.nii.gz"), "must be of the class Image .*not str"),
    "an array": (lambda: pipeline.enhance(scan().array), "not ndarray"),
    "a reference as a path": (lambda: pipeline.enhance(scan(), reference="3T.nii.gz"), "not str"),
    "options as a dictionary": (lambda: pipeline.enhance(scan(), {"method": "linear"}), "not dict"),
    "options as a name": (lambda: pipeline.enhance(scan(), "linear"), "not str"),
    "a contrast of another spelling": (lambda: pipeline.enhance(scan("FLAIR"), contrasts={"t2w": scan()}), "'t2w'"),
    "the scan's own contrast": (lambda: pipeline.enhance(scan(), contrasts={"T1w": scan()}), "is T1w itself"),
    "a contrast as a path": (lambda: pipeline.enhance(scan(), contrasts={"T2w": "T2.nii.gz"}), "the T2w scan must be"),
    "three spacings": (lambda: Options(spacing=(1, 1, 1)), "the option spacing must be a number"),
    "half a seed": (lambda: Options(seed=1.5), "the option seed must be a whole number"),
    "half a sample": (lambda: Options(samples=2.5), "the option samples must be a whole number"),
    "a seed of 64 bits": (lambda: Options(seed=2**64).check(), "too large"),
    "a device of no number": (lambda: pipeline.choose_device("cpu:x"), "unknown device 'cpu:x'"),
    "a complex image": (lambda: Image(np.ones((8, 8, 8), complex), np.eye(4)), "complex"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_bad_input_in_one_sentence(mistake: str) -> None:
    call, sentence = MISTAKES[mistake]
    with pytest.raises(BadInput, match=sentence):
        call()


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"brain": np.ones((8, 8, 8))}, "the brain mask must be of the class Image"),
        ({"brain": scan()}, "the brain mask is the scan itself"),
        ({"lesions": scan()}, "the lesions must be of the class LabelMap"),
        ({"reference_labels": scan()}, "the reference's labels must be of the class LabelMap"),
    ],
)
def test_what_comes_with_a_scan_is_of_its_class(given: dict[str, Any], sentence: str) -> None:
    seen: list[dict] = []
    with pytest.raises(BadInput, match=sentence):
        open_subject(scan(), None, "cpu", Options(), events=Events(seen.append), **given)
    assert seen == []


def test_numbers_of_numpy_become_those_that_json_can_hold() -> None:
    options = Options(seed=np.int64(3), samples=np.int32(2), spacing=np.float32(1.5), sigma=np.float64(4))
    assert [type(value) for value in (options.seed, options.samples, options.spacing, options.sigma)] == [
        int,
        int,
        float,
        float,
    ]


def test_a_device_of_torch_is_taken_and_one_too_many_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pipeline.choose_device(torch.device("cpu")) == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(devices, "fault_of", lambda name: None)
    assert pipeline.choose_device("cuda:1") == "cuda:1"
    with pytest.raises(BadInput, match="'cuda:2' is not available"):
        pipeline.choose_device("cuda:2")


@pytest.mark.parametrize("seed", SEED_LIMITS)
def test_the_outermost_seeds_are_those_that_the_generators_take(seed: int) -> None:
    Options(seed=seed).check()
    torch.Generator().manual_seed(seed)


def test_a_seed_too_large_is_refused_by_simulate_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "none.nii.gz", "-o", "low.nii.gz", "--seed", str(2**64)]) == 2
    assert "too large" in capsys.readouterr().err
