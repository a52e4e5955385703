"""What SimpleITK cannot be given, and what it says when it fails, in a user's words."""

from __future__ import annotations

import os
import re

from ..errors import BadInput

NO_READER = "Unable to determine ImageIO reader"
OWN_WORDS = (  # what ITK says, and what a user is told
    ("determinant is 0", "the axes in its header do not span space, so voxels have no volume"),
    ("Zero-valued spacing", "its header gives a spacing of 0, so voxels have no volume"),
    (NO_READER, "its content is damaged, or not of the format that its name tells"),
    ("only supports orthonormal", "the axes in its header are not at right angles, which no scanner grid is"),
)


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
    """The sentence that says most of an ITK exception, without its source file and line, and without an errno that
    misleads.

    It stands in the line of the error; what follows are matrices and regions, unless that line ends in a colon: then
    the last one names the cause.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and not line.startswith("Reason:")]
    marked = next((line for line in lines if "ERROR:" in line), None)
    text = lines[-1] if lines else ""
    if marked is not None and not marked.endswith(":"):
        text = marked
    own = next((sentence for said, sentence in OWN_WORDS if said in text), None)
    return own or re.sub(r"^.*?ERROR:\s*|^ITK ERROR:\s*|\w+\(0x[0-9a-f]+\):\s*", "", text) or "unknown error"
