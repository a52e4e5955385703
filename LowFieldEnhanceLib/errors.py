"""The closed list of ways in which a run can fail.

Each class carries the ``kind`` that appears in the JSON events and the exit code of the command line.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

# the end of a sentence about memory; it must hold for a run on the CPU too
FREE_MEMORY = "free memory, or use the CPU in the place of a graphics card"


class LowFieldEnhanceError(Exception):
    """Base of all errors that reach the user as one sentence.

    Attributes:
        kind: name in the JSON event ``{"event": "error", "kind": ...}``.
        exit_code: exit status of the command line.
    """

    kind = "Internal"
    exit_code = 1


class BadInput(LowFieldEnhanceError):
    """The input cannot be right (NaN, 4-D, singular affine, unknown option ...); nothing was written."""

    kind = "BadInput"
    exit_code = 2


class MissingModel(LowFieldEnhanceError):
    """A network's weights are not where the registry says."""

    kind = "MissingModel"
    exit_code = 3


class CorruptModel(LowFieldEnhanceError):
    """A network's weights do not match their recorded SHA-256."""

    kind = "CorruptModel"
    exit_code = 3


class OutOfMemory(LowFieldEnhanceError):
    """Memory ran out even with the smallest window or a single slice."""

    kind = "OutOfMemory"
    exit_code = 4


class Cancelled(LowFieldEnhanceError):
    """The user cancelled the run."""

    kind = "Cancelled"
    exit_code = 130


# PyTorch's CPU allocator, oneDNN, cuBLAS and the MPS backend report a lack of memory as a plain RuntimeError
LACKS_MEMORY = (
    "out of memory", "can't allocate memory", "not enough memory", "could not create a memory", "alloc_failed",
)  # fmt: skip


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, on the computer or its GPU; of an error of any library, without importing it."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(text in str(error).lower() for text in LACKS_MEMORY)


def known_failure(error: BaseException) -> LowFieldEnhanceError | None:
    """What the user is told of an error, one of the closed list; None for an error of the program.

    A new object without traceback and cause: whoever keeps it does not keep the failed run's memory with it.
    """
    if isinstance(error, LowFieldEnhanceError):
        return type(error)(str(error))
    if is_out_of_memory(error):
        return OutOfMemory(f"memory ran out; {FREE_MEMORY}, or choose a larger output spacing")
    return None


@contextmanager
def memory_told() -> Iterator[None]:
    """As a decorator: a lack of memory, which every library reports in its own way, leaves as :class:`OutOfMemory`."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise known_failure(error) from error
