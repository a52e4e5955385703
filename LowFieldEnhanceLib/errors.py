"""The closed list of ways in which a run can fail.

Each class carries the ``kind`` that appears in the JSON events and the exit code of the command line.
"""

from __future__ import annotations


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
    """Memory ran out even with the smallest window."""

    kind = "OutOfMemory"
    exit_code = 4


class Cancelled(LowFieldEnhanceError):
    """The user cancelled the run."""

    kind = "Cancelled"
    exit_code = 130
