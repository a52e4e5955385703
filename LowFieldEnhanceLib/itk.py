"""What SimpleITK says when it fails, in a user's words."""

from __future__ import annotations

import re


def reason_of(error: RuntimeError) -> str:
    """The last sentence of an ITK exception, without its source file and line, and without an errno that misleads."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and not line.startswith("Reason:")]
    text = lines[-1] if lines else "unknown error"
    return re.sub(r"^.*?ERROR:\s*|^ITK ERROR:\s*|\w+\(0x[0-9a-f]+\):\s*", "", text) or "unknown error"
