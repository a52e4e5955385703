"""PySide6 6.12 on a Python before 3.12.

Its wheels hand out None, True and False without counting a reference, which is right where these are immortal
(Python 3.12). An older Python counts down until it "deallocates None": give it more than a session can use.
"""

from __future__ import annotations

import ctypes
import sys

SPARE = 1 << 40


def protectConstants() -> None:
    """Call once, before Qt is used."""
    if sys.version_info < (3, 12):
        for constant in (None, True, False, NotImplemented):
            ctypes.c_ssize_t.from_address(id(constant)).value += SPARE
