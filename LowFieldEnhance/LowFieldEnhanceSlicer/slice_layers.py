"""The layers of a slice view: changing them so that all that follows them takes notice, and keeping them meanwhile."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator

import slicer

from .marks import ATTRIBUTE_PREFIX

BACKGROUND_ROLE, FOREGROUND_ROLE = ATTRIBUTE_PREFIX + "KeptBackground", ATTRIBUTE_PREFIX + "KeptForeground"
KEPT_ATTRIBUTE = ATTRIBUTE_PREFIX + "KeptLayers"  # opacity and compositing


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


def layersOf(view: slicer.vtkMRMLSliceCompositeNode) -> tuple[str | None, str | None, float, int]:
    """What a view shows, as :func:`setLayers` takes it."""
    return (
        view.GetBackgroundVolumeID(),
        view.GetForegroundVolumeID(),
        view.GetForegroundOpacity(),
        view.GetCompositing(),
    )


def setLayers(
    view: slicer.vtkMRMLSliceCompositeNode,
    background: str | None,
    foreground: str | None,
    opacity: float,
    compositing: int = slicer.vtkMRMLSliceCompositeNode.Alpha,
) -> None:
    """Show these volumes, by their ids."""
    with changingLayers(view):
        view.SetBackgroundVolumeID(background)
        view.SetForegroundVolumeID(foreground)
        view.SetForegroundOpacity(opacity)
        view.SetCompositing(compositing)


def keepLayers(view: slicer.vtkMRMLSliceCompositeNode) -> None:
    """Remember what a view shows on its node, so that it goes into a scene that is saved meanwhile."""
    background, foreground, *blending = layersOf(view)
    view.SetNodeReferenceID(BACKGROUND_ROLE, background)
    view.SetNodeReferenceID(FOREGROUND_ROLE, foreground)
    view.SetAttribute(KEPT_ATTRIBUTE, json.dumps(blending))


def putBackLayers(view: slicer.vtkMRMLSliceCompositeNode) -> None:
    """Show what was kept, if anything was; a volume that has left the scene meanwhile is an empty layer."""
    text = view.GetAttribute(KEPT_ATTRIBUTE)
    if not text:
        return
    nodes = [view.GetNodeReference(role) for role in (BACKGROUND_ROLE, FOREGROUND_ROLE)]
    for role in (BACKGROUND_ROLE, FOREGROUND_ROLE):
        view.RemoveNodeReferenceIDs(role)
    view.RemoveAttribute(KEPT_ATTRIBUTE)
    setLayers(view, *(node.GetID() if node is not None else None for node in nodes), *json.loads(text))
