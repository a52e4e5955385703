"""Changing the layers of a slice view so that all that follows them takes notice."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import slicer


@contextlib.contextmanager
def changingLayers(compositeNode: slicer.vtkMRMLSliceCompositeNode) -> Iterator[None]:
    """Change the layers inside the block as the controls of the slice view do, and tell it once at the end.

    Slicer's colour legends look at a view's layers only while its node says, by these flags, which of them are being
    changed. Without them a legend neither comes nor goes with its volume, and in a view that is younger than the legend
    it never appears.
    """
    node = slicer.vtkMRMLSliceCompositeNode
    earlier = compositeNode.GetInteractionFlags()
    compositeNode.SetInteractionFlags(node.BackgroundVolumeFlag | node.ForegroundVolumeFlag | node.LabelVolumeFlag)
    wasModifying = compositeNode.StartModify()
    try:
        yield
    finally:
        compositeNode.EndModify(wasModifying)
        compositeNode.SetInteractionFlags(earlier)
