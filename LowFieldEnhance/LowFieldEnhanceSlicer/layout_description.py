"""The layouts "input | enhanced" as Slicer's layout node takes them: identifiers, slice views and XML."""

from __future__ import annotations

from dataclasses import dataclass
from xml.sax.saxutils import quoteattr

import slicer

# Slicer keeps the numbers up to 100 for itself.
THREE_PLANES, AXIAL_ONLY = 641, 642
# The sides scroll and zoom together, and apart from the views of other layouts.
VIEW_GROUP = 64
TAG_PREFIX = "LowFieldEnhance"
INPUT, ENHANCED = "Input", "Enhanced"
ORIENTATIONS = ("Axial", "Coronal", "Sagittal")
# Red, green and yellow, as Slicer paints the views of these planes.
COLOURS = {"Axial": "#F34A33", "Coronal": "#6EB04B", "Sagittal": "#EDD54C"}


@dataclass(frozen=True)
class SliceViewDescription:
    """One slice view of a layout."""

    side: str
    orientation: str

    @property
    def tag(self) -> str:
        """The singleton tag of its slice node, which is the view's name in the layout manager."""
        return f"{TAG_PREFIX}{self.side}{self.orientation}"

    @property
    def label(self) -> str:
        """What the view's bar shows."""
        return f"{self.side} {self.orientation.lower()}"

    @property
    def colour(self) -> tuple[float, float, float]:
        """Red, green and blue from 0 to 1."""
        red, green, blue = bytes.fromhex(COLOURS[self.orientation][1:])
        return red / 255.0, green / 255.0, blue / 255.0


def sliceViews(side: str, axialOnly: bool) -> list[SliceViewDescription]:
    """The views of one side, the axial one first."""
    return [SliceViewDescription(side, orientation) for orientation in ORIENTATIONS[: 1 if axialOnly else None]]


def layoutXml(axialOnly: bool) -> str:
    """The layout: the input on the left, the enhanced volume on the right, each side with the axial view on top."""
    sides = "".join(f"<item>{_sideXml(sliceViews(side, axialOnly))}</item>" for side in (INPUT, ENHANCED))
    return f'<layout type="horizontal" split="true">{sides}</layout>'


def registerLayouts(layoutNode: slicer.vtkMRMLLayoutNode) -> dict[bool, int]:
    """Make the layouts known; returns their numbers by ``axialOnly``.

    A number that another extension has taken for a layout of its own is left to it, and the next free one is used.
    """
    return {axialOnly: _register(layoutNode, axialOnly) for axialOnly in (False, True)}


def isOwnLayout(layoutNode: slicer.vtkMRMLLayoutNode) -> bool:
    """Whether the layout that is shown now is one of these."""
    description = layoutNode.GetLayoutDescription(layoutNode.GetViewArrangement())
    return description in (layoutXml(False), layoutXml(True))


def _register(layoutNode: slicer.vtkMRMLLayoutNode, axialOnly: bool) -> int:
    number, xml = AXIAL_ONLY if axialOnly else THREE_PLANES, layoutXml(axialOnly)
    while layoutNode.IsLayoutDescription(number) and layoutNode.GetLayoutDescription(number) != xml:
        number += 10
    if not layoutNode.IsLayoutDescription(number):
        layoutNode.AddLayoutDescription(number, xml)
    return number


def _sideXml(views: list[SliceViewDescription]) -> str:
    axial, *others = (_viewXml(view) for view in views)
    if not others:
        return axial
    below = "".join(f"<item>{view}</item>" for view in others)
    row = f'<item splitSize="400"><layout type="horizontal" split="true">{below}</layout></item>'
    return f'<layout type="vertical" split="true"><item splitSize="600">{axial}</item>{row}</layout>'


def _viewXml(view: SliceViewDescription) -> str:
    properties = {
        "orientation": view.orientation,
        "viewlabel": view.label,
        "viewcolor": COLOURS[view.orientation],
        "viewgroup": str(VIEW_GROUP),
    }
    inner = "".join(f'<property name="{key}" action="default">{value}</property>' for key, value in properties.items())
    return f'<view class="vtkMRMLSliceNode" singletontag={quoteattr(view.tag)}>{inner}</view>'
