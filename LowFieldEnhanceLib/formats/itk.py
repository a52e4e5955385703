"""What SimpleITK cannot be given, and what it says when it fails, in a user's words."""

from __future__ import annotations

import os
import re

from ..errors import BadInput


def check_path(path: str | os.PathLike[str]) -> None:
    """Refuse a path that is not UTF-8, as a name in Latin-1 of an old disk: SimpleITK ends the whole process there.

    Raises:
        BadInput: see above.
    """
    text = str(path)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        shown = text.encode("utf-8", "backslashreplace").decode("utf-8")
        raise BadInput(f"the name of {shown} is not valid UTF-8, so it cannot be used; rename it") from None


def reason_of(error: RuntimeError) -> str:
    """The last sentence of an ITK exception, without its source file and line, and without an errno that misleads."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and not line.startswith("Reason:")]
    text = lines[-1] if lines else "unknown error"
    return re.sub(r"^.*?ERROR:\s*|^ITK ERROR:\s*|\w+\(0x[0-9a-f]+\):\s*", "", text) or "unknown error"
