"""What the user is told of a failure: a lack of memory from any library, a known error, an error of the program."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref

import numpy as np
import pytest
import torch
from compare_support import fake_run, unprepared

from LowFieldEnhanceLib import autocast, cli, commands, pipeline
from LowFieldEnhanceLib.autocast import half_precision, has_bfloat16
from LowFieldEnhanceLib.batch import _noted
from LowFieldEnhanceLib.compare import compare
from LowFieldEnhanceLib.errors import BadInput, OutOfMemory, is_out_of_memory, known_failure
from LowFieldEnhanceLib.events import Events
from LowFieldEnhanceLib.image import Image

pytest_plugins = ["compare_fixtures"]
MEMORY = [
    MemoryError(),
    np._core._exceptions._ArrayMemoryError((10**6, 10**6), np.dtype(np.float32)),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
    RuntimeError("CUDA error: out of memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("MPS backend out of memory (MPS allocated: 5.05 GB)"),
    RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried ..."),
    RuntimeError("could not create a memory object"),
]


@pytest.mark.parametrize("error", MEMORY, ids=range(len(MEMORY)))
def test_a_lack_of_memory_is_known_from_every_library(error: BaseException) -> None:
    assert is_out_of_memory(error)
    known = known_failure(error)
    assert isinstance(known, OutOfMemory)
    assert "\n" not in str(known)


def test_an_error_of_the_program_is_not_a_lack_of_memory() -> None:
    for error in (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ValueError("out of memory bounds")):
        assert not is_out_of_memory(error)
        assert known_failure(error) is None


def test_a_known_error_keeps_its_kind_and_sentence_and_nothing_else() -> None:
    try:
        raise BadInput("the scan is empty") from ValueError("cause")
    except BadInput as error:
        known = known_failure(error)
    assert (type(known), str(known)) == (BadInput, "the scan is empty")
    assert known.__traceback__ is None and known.__cause__ is None


def test_the_command_line_says_out_of_memory_with_its_own_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(commands, "run_methods", fails)
    assert cli.main(["methods", "--json"]) == 4
    assert '"kind": "OutOfMemory"' in capsys.readouterr().out


def test_a_scan_of_a_batch_that_needs_too_much_memory_is_that_scans_failure() -> None:
    failed: list[tuple[str, str]] = []

    class State:
        scan = type("Scan", (), {"name": "a"})
        state = "failed"
        failure = {"message": ""}

        @staticmethod
        def fail(kind: str, message: str) -> None:
            failed.append((kind, message))

    with _noted(State(), Events()):
        raise MemoryError
    assert failed[0][0] == "OutOfMemory"


def test_a_method_that_needs_too_much_memory_is_a_row_and_holds_none_of_it(scan: Image) -> None:
    class Tensors:
        pass

    alive: list[weakref.ref] = []
    still: list[bool] = []
    works = fake_run({})

    def run(subject: object, options: object, events: Events) -> object:
        if options.method == "latent":
            large = Tensors()
            alive.append(weakref.ref(large))
            raise torch.OutOfMemoryError("CUDA out of memory.")
        gc.collect()
        still.append(alive[0]() is not None)
        return works(subject, options, events)

    found = compare(scan, [("latent", "fast"), ("cubic", "fast")], start=unprepared, run=run)
    assert found.rows[1]["failure"]["kind"] == "OutOfMemory"
    assert found.rows[2]["failure"] is None
    assert still == [False]


def test_half_precision_is_for_devices_that_are_quick_at_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(autocast, "has_bfloat16", lambda kind: kind == "cpu")
    with half_precision("cpu"):
        assert torch.is_autocast_enabled("cpu")
    for device, wanted in (("cpu", False), ("mps", True), ("cuda:0", True)):
        with half_precision(device, wanted):
            assert not any(torch.is_autocast_enabled(kind) for kind in ("cpu", "mps", "cuda"))


def test_a_torch_without_onednn_computes_in_full_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """As torch for Apple's processors, where asking oneDNN was an AttributeError and the end of every run."""
    monkeypatch.setattr(torch.ops, "mkldnn", type(torch.ops.mkldnn)("built_without"))
    assert has_bfloat16("cpu") is False
    with half_precision("cpu"):
        assert not torch.is_autocast_enabled("cpu")


def test_a_processor_without_avx_512_computes_in_full_precision() -> None:
    """There bfloat16 is 10 to 80 times slower; oneDNN itself is told to be such a processor."""
    line = "from LowFieldEnhanceLib.autocast import has_bfloat16; print(has_bfloat16('cpu'))"
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    found = subprocess.run([sys.executable, "-c", line], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
    assert has_bfloat16("mps") is False


@pytest.mark.parametrize(
    ("raised", "kind"),
    [(torch.OutOfMemoryError("CUDA out of memory."), OutOfMemory), (RuntimeError("a bug"), RuntimeError)],
)
def test_a_script_meets_a_lack_of_memory_as_it_is_documented(
    scan: Image, monkeypatch: pytest.MonkeyPatch, raised: Exception, kind: type
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr(pipeline, "open_subject", fails)
    monkeypatch.setattr(pipeline, "Segmenter", lambda *_: None)
    with pytest.raises(kind) as caught:
        pipeline.enhance(scan, pipeline.Options(method="linear"))
    assert type(caught.value) is kind
