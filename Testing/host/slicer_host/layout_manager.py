"""The layout manager on the real layout node, slice nodes and slice logics; no view is drawn."""

from __future__ import annotations

import slicer
import vtk
from PySide6 import QtCore


class RenderWindow:
    """What stands in for the view's window, because a real one looks for a screen: its renderers."""

    def __init__(self) -> None:
        self._renderers = vtk.vtkRendererCollection()
        self._renderers.AddItem(vtk.vtkRenderer())

    def GetRenderers(self) -> vtk.vtkRendererCollection:
        return self._renderers


class DisplayableManager:
    """One of Slicer's own displayable managers at work in a view that is not on any screen."""

    def __init__(
        self, className: str, node: slicer.vtkMRMLSliceNode, applicationLogic: slicer.vtkMRMLApplicationLogic
    ) -> None:
        # Slicer's factory of slice views outlives the session, and would keep what is gone by then.
        self._factory = slicer.vtkMRMLDisplayableManagerFactory()
        self._factory.SetMRMLApplicationLogic(applicationLogic)
        self._factory.RegisterDisplayableManager(className)
        renderer, self._window = vtk.vtkRenderer(), vtk.vtkGenericOpenGLRenderWindow()
        self._window.AddRenderer(renderer)
        self._interactor = vtk.vtkGenericRenderWindowInteractor()
        self._interactor.SetRenderWindow(self._window)
        self._group = self._factory.InstantiateDisplayableManagers(renderer)
        self._group.SetMRMLDisplayableNode(node)
        self.manager = self._group.GetDisplayableManagerByClassName(className)

    def close(self) -> None:
        self._group.SetMRMLDisplayableNode(None)


class SliceView:
    """What stands in for the drawn view: its actors and corner annotation are kept, rendering is nothing."""

    def __init__(self, node: slicer.vtkMRMLSliceNode, applicationLogic: slicer.vtkMRMLApplicationLogic) -> None:
        self._node, self._applicationLogic = node, applicationLogic
        self._managers: dict[str, DisplayableManager] = {}
        self._annotation = vtk.vtkCornerAnnotation()
        self._window = RenderWindow()
        self._window.GetRenderers().GetFirstRenderer().AddViewProp(self._annotation)

    def cornerAnnotation(self) -> vtk.vtkCornerAnnotation:
        return self._annotation

    def renderWindow(self) -> RenderWindow:
        return self._window

    def displayableManagerByClassName(self, className: str) -> slicer.vtkMRMLAbstractDisplayableManager:
        """Made when it is first asked for; in Slicer it is there from the beginning."""
        if className not in self._managers:
            self._managers[className] = DisplayableManager(className, self._node, self._applicationLogic)
        return self._managers[className].manager

    def close(self) -> None:
        for manager in self._managers.values():
            manager.close()
        self._managers = {}

    def scheduleRender(self) -> None:
        pass

    def forceRender(self) -> None:
        pass


class SliceWidget:
    """A slice view's node and logic."""

    def __init__(self, node: slicer.vtkMRMLSliceNode, applicationLogic: slicer.vtkMRMLApplicationLogic) -> None:
        self._logic = slicer.vtkMRMLSliceLogic()
        self._logic.SetMRMLApplicationLogic(applicationLogic)
        self._logic.SetMRMLScene(node.GetScene())
        self._logic.SetSliceNode(node)
        self._view = SliceView(node, applicationLogic)

    def sliceLogic(self) -> slicer.vtkMRMLSliceLogic:
        return self._logic

    def mrmlSliceNode(self) -> slicer.vtkMRMLSliceNode:
        return self._logic.GetSliceNode()

    def mrmlSliceCompositeNode(self) -> slicer.vtkMRMLSliceCompositeNode:
        return self._logic.GetSliceCompositeNode()

    def sliceView(self) -> SliceView:
        return self._view

    def fitSliceToBackground(self) -> None:
        self._logic.FitSliceToBackground()


class ThreeDView:
    """What stands in for the drawn 3-D view: its renderer, and how often it was centred."""

    def __init__(self) -> None:
        self._window = RenderWindow()
        self.centred = 0

    def renderWindow(self) -> RenderWindow:
        return self._window

    def scheduleRender(self) -> None:
        pass

    def resetFocalPoint(self) -> None:
        self.centred += 1


class ThreeDWidget:
    """A 3-D view in its frame."""

    def __init__(self) -> None:
        self._view = ThreeDView()

    def threeDView(self) -> ThreeDView:
        return self._view


class LayoutManager(QtCore.QObject):
    """Slice views by the tag of their node, made as the layout asks for them."""

    layoutChanged = QtCore.Signal(int)

    threeDViewCount = 1
    tableViewCount = 0
    plotViewCount = 0

    def __init__(self, scene: slicer.vtkMRMLScene, applicationLogic: slicer.vtkMRMLApplicationLogic) -> None:
        super().__init__()
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
        self._scene = scene
        self._applicationLogic = applicationLogic
        self._widgets: dict[str, SliceWidget] = {}
        self._closed = False
        self._threeD = ThreeDWidget()
        self._sliceLogics = vtk.vtkCollection()
        applicationLogic.SetSliceLogics(self._sliceLogics)
        self._layoutLogic = slicer.vtkMRMLLayoutLogic()
        self._layoutLogic.SetMRMLScene(scene)
        node = self._layoutLogic.GetLayoutNode()
        node.SetViewArrangement(node.SlicerLayoutFourUpView)
        self._arrangement = node.GetViewArrangement()
        self._observation = node, node.AddObserver(vtk.vtkCommand.ModifiedEvent, self._onLayoutModified)

    def close(self) -> None:
        self._closed = True
        node, tag = self._observation
        node.RemoveObserver(tag)
        for widget in self._widgets.values():
            widget.sliceView().close()
            widget.sliceLogic().SetMRMLScene(None)
        self._sliceLogics.RemoveAllItems()
        self._layoutLogic.SetMRMLScene(None)

    def layoutLogic(self) -> slicer.vtkMRMLLayoutLogic:
        return self._layoutLogic

    def _getLayout(self) -> int:
        return self._layoutLogic.GetLayoutNode().GetViewArrangement()

    def setLayout(self, layout: int) -> None:
        self._layoutLogic.GetLayoutNode().SetViewArrangement(layout)

    layout = QtCore.Property(int, _getLayout, setLayout)

    def sliceViewNames(self) -> list[str]:
        """The tags of the scene's slice nodes, shown now or not."""
        self._update()
        return list(self._widgets)

    def sliceWidget(self, name: str) -> SliceWidget | None:
        self._update()
        return self._widgets.get(name)

    def threeDWidget(self, index: int) -> ThreeDWidget | None:
        return self._threeD if index == 0 else None

    def mrmlSliceLogics(self) -> vtk.vtkCollection:
        self._update()
        return self._sliceLogics

    def resetSliceViews(self) -> None:
        self._update()
        for widget in self._widgets.values():
            widget.fitSliceToBackground()

    def resetThreeDViews(self) -> None:
        pass

    def _onLayoutModified(self, node: slicer.vtkMRMLLayoutNode, event: str) -> None:
        if node.GetViewArrangement() != self._arrangement:
            self._arrangement = node.GetViewArrangement()
            self._update()
            self.layoutChanged.emit(self._arrangement)

    def _update(self) -> None:
        if self._closed:  # PythonQt's words
            raise ValueError("Trying to call a slot on a destroyed qSlicerLayoutManager object")
        for index in range(self._scene.GetNumberOfNodesByClass("vtkMRMLSliceNode")):
            node = self._scene.GetNthNodeByClass(index, "vtkMRMLSliceNode")
            if node.GetLayoutName() not in self._widgets:
                widget = SliceWidget(node, self._applicationLogic)
                self._widgets[node.GetLayoutName()] = widget
                self._sliceLogics.AddItem(widget.sliceLogic())
