"""What people read of a method, in the language of the application.

The texts stand in the catalogue, which is used outside the application too, so they are translated here, in the context
that Slicer's tools give to the texts of that file.
"""

from __future__ import annotations

from slicer.i18n import translate

from . import catalogue


def methodTitle(name: str) -> str:
    """The title of a method; of one that is not known, as of another version, its name."""
    entry = catalogue.METHODS.get(name)
    return translate(catalogue.__name__, entry.title) if entry is not None else name


def methodSummary(name: str) -> str:
    """What a method does, in one sentence."""
    return translate(catalogue.__name__, catalogue.METHODS[name].summary)
