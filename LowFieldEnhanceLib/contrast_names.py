"""The contrast that the name of a file or of a DICOM series tells."""

from __future__ import annotations

import re

BIDS_SUFFIX = re.compile(r"(?<![a-z0-9])sub-[a-z0-9]+(?:_[a-z]+-[a-z0-9+]+)*_(t1w|t2w|flair)(?=[.\s]|$)")
BIDS_SPACE = re.compile(r"(?<![a-z0-9])space-[a-z0-9]+")  # names what a scan lies over, not what it is
TARGET = re.compile(
    r"(?:(?<![a-z])|(?<=reg)|(?<=t[12]w)|(?<=flair))(?:on)?to[\W_]*(?:t[12][a-z]*|flair|mprage)"
)  # likewise
QUANTITATIVE = re.compile(
    r"t[12][\W_]*(?:s|star|\*)?[\W_]*map|t[12][\W_]*rho|(?<![a-z0-9])r[12](?:s|star|\*)(?![a-z])"
    r"|(?<![a-z0-9])(?:r[12]|pd|m0)[\W_]*map|(?<![a-z0-9])(?:adc|qsm|cbf|mtr|mtsat)(?![a-z0-9])"
)
T2_STAR = re.compile(r"t2(?:[\W_]*star(?!t)|\*|s(?![a-z])|sw(?![a-z]))w?")
T1_FLAIR = re.compile(r"(?<![a-z0-9])t1w?[\W_]*flair")  # a T1-weighted scan whose fluid is dark, of GE
DARK_FLUID = re.compile(r"dark[\W_]*fluid")  # Siemens names FLAIR so
CONTRAST_NAMES = {
    "T2w": re.compile(r"(?<![a-z0-9])t2(?!\d)|t2w"),
    "T1w": re.compile(r"(?<![a-z0-9])t1(?!\d)|t1w|t1flair|mprage"),
}


def guess_contrast(name: str) -> str:
    """T1w, T2w, FLAIR or other, from a file name or a series description."""
    text = name.lower()
    suffix = BIDS_SUFFIX.search(text)
    if suffix:
        return {"t1w": "T1w", "t2w": "T2w", "flair": "FLAIR"}[suffix[1]]
    text = _without_targets(text)
    if QUANTITATIVE.search(text):
        return "other"
    text = T2_STAR.sub(" ", text)
    found = [(match.start(), contrast) for contrast, said in CONTRAST_NAMES.items() for match in said.finditer(text)]
    first = min(found)[1] if found else "other"  # T2_reg_T1 is a T2w
    if "flair" in T1_FLAIR.sub("", text) or (DARK_FLUID.search(text) and first != "T1w"):
        return "FLAIR"
    return first


def other_kind(name: str) -> str | None:
    """What else than a T1w, T2w or FLAIR scan a name tells of, such as "a quantitative map"; None if it does not."""
    if guess_contrast(name) != "other":
        return None
    text = _without_targets(name.lower())
    if QUANTITATIVE.search(text):
        return "a quantitative map"
    return "a T2*-weighted scan" if T2_STAR.search(text) else None


def _without_targets(text: str) -> str:
    return TARGET.sub(" ", BIDS_SPACE.sub("", text))
