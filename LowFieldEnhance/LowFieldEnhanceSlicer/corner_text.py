"""The text "ENHANCED - not for diagnosis" in every view that shows something derived, of whatever layout.

A slice view is marked while it shows a derived volume or derived structures, a 3-D view while a slice with a derived
volume, its volume rendering, or surfaces of derived structures are seen in it. The slice view's own corner annotation
is not used: Slicer's Data Probe writes all four corners of it anew whenever the slice moves. Here each view gets an
annotation of its own in the view's renderer.
"""

from __future__ import annotations

import contextlib
from typing import Any

import slicer
import vtk

from LowFieldEnhanceLib.image_io import DERIVED

from .closed_surface import CLOSED_SURFACE
from .marks import isDerived
from .observing import Observing
from .timers import DeferredCall

COLOUR = (1.0, 0.85, 0.2)
FONT_SIZE = 14
IN_3D = "3D"  # and the number of the view
DISPLAYS = ("vtkMRMLVolumeRenderingDisplayNode", "vtkMRMLSegmentationDisplayNode")


def applicationLayoutManager() -> Any:
    """Slicer's layout manager; None where there is no window, or no application at all."""
    application = getattr(slicer, "app", None)
    return application.layoutManager() if application is not None else None


def shownVolumes(compositeNode: slicer.vtkMRMLSliceCompositeNode) -> list[slicer.vtkMRMLVolumeNode]:
    """The volumes of a slice view's layers, without those that are blended with no weight."""
    plain = compositeNode.GetCompositing() == slicer.vtkMRMLSliceCompositeNode.Alpha
    ids = [compositeNode.GetBackgroundVolumeID()]
    # With other ways of blending, an opacity of zero does not mean that the foreground is unseen.
    if compositeNode.GetForegroundOpacity() > 0 or not plain:
        ids.append(compositeNode.GetForegroundVolumeID())
    if compositeNode.GetLabelOpacity() > 0:
        ids.append(compositeNode.GetLabelVolumeID())
    # Further layers came with Slicer 5.10.
    if hasattr(compositeNode, "GetNumberOfAdditionalLayers"):
        ids += [compositeNode.GetNthLayerVolumeID(3 + n) for n in range(compositeNode.GetNumberOfAdditionalLayers())]
    nodes = [compositeNode.GetScene().GetNodeByID(nodeId) for nodeId in ids if nodeId]
    return [node for node in nodes if node is not None]


def makeAnnotation(corner: int) -> vtk.vtkCornerAnnotation:
    """The text as an actor, in one of vtkCornerAnnotation's places."""
    annotation = vtk.vtkCornerAnnotation()
    annotation.SetMaximumFontSize(FONT_SIZE)
    annotation.SetText(corner, DERIVED)
    textProperty = annotation.GetTextProperty()
    textProperty.SetColor(*COLOUR)
    textProperty.SetBold(True)
    textProperty.SetShadow(True)
    return annotation


def displaysOf(scene: slicer.vtkMRMLScene) -> list[slicer.vtkMRMLDisplayNode]:
    """The display nodes of volume renderings and segmentations, visible or not."""
    return [node for name in DISPLAYS for node in slicer.util.getNodesByClass(name, scene)]


def isSeenIn3D(display: slicer.vtkMRMLDisplayNode) -> bool:
    """Whether it is visible and belongs to something derived."""
    node = display.GetDisplayableNode()
    if node is None or not isDerived(node) or not display.GetVisibility() or not display.GetVisibility3D():
        return False
    return not node.IsA("vtkMRMLSegmentationNode") or node.GetSegmentation().ContainsRepresentation(CLOSED_SURFACE)


def isSeenInSlice(display: slicer.vtkMRMLDisplayNode, sliceNode: slicer.vtkMRMLSliceNode) -> bool:
    """Whether it draws derived structures, filled or as outlines, where the slice cuts them."""
    node = display.GetDisplayableNode()
    if node is None or not node.IsA("vtkMRMLSegmentationNode") or not isDerived(node):
        return False
    drawn = display.GetVisibility2DFill() or display.GetVisibility2DOutline()
    visible = display.GetVisibility() and display.GetVisibility2D() and drawn
    return bool(visible and display.IsDisplayableInView(sliceNode.GetID()))


def _eventsOf(node: slicer.vtkMRMLNode) -> tuple[int, ...]:
    """After which what a view shows of the node may be another."""
    if node.IsA("vtkMRMLSegmentationNode"):  # surfaces that are made later
        return vtk.vtkCommand.ModifiedEvent, slicer.vtkSegmentation.ContainedRepresentationNamesModified
    return (vtk.vtkCommand.ModifiedEvent,)


class CornerText(Observing):
    """Keeps the text in step with what the slice and 3-D views show, from :meth:`install` to :meth:`remove`."""

    def __init__(self, layoutManager: Any, scene: slicer.vtkMRMLScene) -> None:
        super().__init__()
        self.layoutManager = layoutManager
        self.scene = scene
        self._annotations: dict[str, tuple[Any, vtk.vtkRenderer, vtk.vtkCornerAnnotation]] = {}
        self._observed: dict[str, slicer.vtkMRMLNode] = {}
        self._inSpace: dict[str, int] = {}  # slice node to whether it was seen in 3-D views
        self._later: DeferredCall | None = None

    def install(self) -> None:
        """Start: the views of now are marked at once."""
        self._later = DeferredCall(self.update)
        # New views are there only after the events: their widgets are made when the layout has changed.
        for event in (
            slicer.vtkMRMLScene.NodeAddedEvent,
            slicer.vtkMRMLScene.NodeRemovedEvent,
            slicer.vtkMRMLScene.EndImportEvent,
            slicer.vtkMRMLScene.EndCloseEvent,
        ):
            self.addObserver(self.scene, event, self._updateLater)
        layoutNode = self.layoutManager.layoutLogic().GetLayoutNode()
        self.addObserver(layoutNode, vtk.vtkCommand.ModifiedEvent, self._updateLater)
        self.update()

    def remove(self) -> None:
        """Stop: all texts and observers go."""
        self.removeObservers()
        self._observed = {}
        if self._later is not None:
            self._later.stop()
            self._later = None
        for name in list(self._annotations):
            self._unmark(name)

    def update(self) -> None:
        """Look at all views again."""
        if self._later is None:
            return
        nodes: dict[str, slicer.vtkMRMLNode] = {}
        displays = displaysOf(self.scene)
        names = list(self.layoutManager.sliceViewNames())
        inSpace = False  # whether something derived is seen in 3-D views
        for name in names:
            widget = self.layoutManager.sliceWidget(name)
            compositeNode = widget.mrmlSliceCompositeNode() if widget is not None else None
            if compositeNode is None or compositeNode.GetScene() is None:
                continue
            volumes = shownVolumes(compositeNode)
            sliceNode = widget.mrmlSliceNode()
            nodes |= {node.GetID(): node for node in (compositeNode, sliceNode, *volumes)}
            derived = [node for node in volumes if isDerived(node)]
            self._inSpace[sliceNode.GetID()] = sliceNode.GetSliceVisible()
            inSpace = inSpace or bool(derived and sliceNode.GetSliceVisible())
            if derived or any(isSeenInSlice(display, sliceNode) for display in displays):
                self._mark(name, widget.sliceView(), volumes)
            else:
                self._unmark(name)
        owners = [display.GetDisplayableNode() for display in displays]
        segmentations = [node for node in owners if node is not None and node.IsA("vtkMRMLSegmentationNode")]
        nodes |= {node.GetID(): node for node in (*displays, *segmentations)}
        inSpace = inSpace or any(map(isSeenIn3D, displays))
        for index in range(self.layoutManager.threeDViewCount if inSpace else 0):
            names.append(f"{IN_3D}{index}")
            self._mark(names[-1], self.layoutManager.threeDWidget(index).threeDView(), [])
        for name in set(self._annotations) - set(names):
            self._unmark(name)
        self._observe(nodes)

    def text(self, viewName: str) -> str:
        """The text that a view shows now, a slice view by its name, 3-D views as 3D0 and so on; empty if none."""
        if viewName not in self._annotations:
            return ""
        annotation = self._annotations[viewName][2]
        return "".join(annotation.GetText(corner) or "" for corner in range(8))

    def _mark(self, name: str, view: Any, volumes: list[slicer.vtkMRMLVolumeNode]) -> None:
        # Data Probe writes names into the lower left, and into the upper corners what it knows of DICOM volumes.
        fromDicom = any(node.GetAttribute("DICOM.instanceUIDs") for node in volumes)
        corner = vtk.vtkCornerAnnotation.UpperEdge if fromDicom else vtk.vtkCornerAnnotation.UpperRight
        renderer = view.renderWindow().GetRenderers().GetFirstRenderer()
        if name in self._annotations:
            _, earlier, annotation = self._annotations[name]
            if earlier is renderer and renderer.HasViewProp(annotation) and annotation.GetText(corner):
                return
            self._unmark(name)
        if renderer is None:
            return
        annotation = makeAnnotation(corner)
        renderer.AddViewProp(annotation)
        self._annotations[name] = view, renderer, annotation
        view.scheduleRender()

    def _unmark(self, name: str) -> None:
        if name in self._annotations:
            view, renderer, annotation = self._annotations.pop(name)
            renderer.RemoveViewProp(annotation)
            with contextlib.suppress(RuntimeError, ValueError):  # at exit Qt may have destroyed the view already
                view.scheduleRender()

    def _observe(self, nodes: dict[str, slicer.vtkMRMLNode]) -> None:
        for nodeId, node in list(self._observed.items()):
            if nodes.get(nodeId) is not node:
                for event in _eventsOf(node):
                    self.removeObserver(node, event, self._onModified)
                del self._observed[nodeId]
        for nodeId, node in nodes.items():
            if nodeId not in self._observed:
                for event in _eventsOf(node):
                    self.addObserver(node, event, self._onModified)
                self._observed[nodeId] = node

    def _onModified(self, caller: Any = None, event: str = "") -> None:
        if caller.IsA("vtkMRMLSliceNode") and caller.GetSliceVisible() == self._inSpace.get(caller.GetID()):
            return  # it was moved: scrolling must cost nothing
        # At once, so that no picture of a derived volume is drawn without the text; not in the middle of a scene's
        # loading or closing, when the references between nodes are not settled.
        if self.scene.IsBatchProcessing():
            self._updateLater()
        else:
            self.update()

    def _updateLater(self, caller: Any = None, event: str = "") -> None:
        if self._later is not None:
            self._later.start()


_installed: CornerText | None = None


def installCornerText() -> CornerText | None:
    """Mark derived volumes in the views of the application from now on; None where there are no views.

    Called again it returns the object that is at work already.
    """
    global _installed
    layoutManager, scene = applicationLayoutManager(), getattr(slicer, "mrmlScene", None)
    if _installed is not None and (_installed.layoutManager != layoutManager or _installed.scene is not scene):
        removeCornerText()
    if _installed is None and layoutManager is not None and scene is not None:
        _installed = CornerText(layoutManager, scene)
        _installed.install()
    return _installed


def removeCornerText() -> None:
    """End it, for instance when the module is unloaded."""
    global _installed
    if _installed is not None:
        _installed.remove()
        _installed = None
