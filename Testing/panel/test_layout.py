"""The layout "input | enhanced": its views, what links them, and comparing in one view."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
import vtk
from panel_tools import waitUntil
from PySide6.QtWidgets import QApplication

from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceSlicer import comparison, layout, volumes
from LowFieldEnhanceSlicer.layout_description import ENHANCED, INPUT, THREE_PLANES, VIEW_GROUP, layoutXml, sliceViews
from LowFieldEnhanceSlicer.marks import DERIVED_ATTRIBUTE
from LowFieldEnhanceSlicer.scene import writeMrb

VOLUME = "vtkMRMLScalarVolumeNode"


@pytest.fixture
def pair(scene):
    """An input of thick slices with the value 10, and an enhanced volume of 1 mm with the value 20, over one region."""
    thick = np.diag([2.0, 2.0, 5.0, 1.0])
    thick[:3, 3] = (0.5 - 30, 0.5 - 40, 2.0 - 20)
    fine = np.eye(4)
    fine[:3, 3] = (-30, -40, -20)
    inputNode = volumes.addVolume(scene, Image(np.full((30, 40, 10), 10, np.float32), thick, "T1w"), "Head")
    enhancedNode = volumes.addVolume(scene, Image(np.full((60, 80, 50), 20, np.float32), fine, "T1w"), "Better head")
    enhancedNode.SetAttribute(DERIVED_ATTRIBUTE, "yes")
    yield inputNode, enhancedNode
    layout.close()


def widgets(side: str, axialOnly: bool = False) -> list:
    return [slicer.app.layoutManager().sliceWidget(view.tag) for view in sliceViews(side, axialOnly)]


def composites(side: str, axialOnly: bool = False) -> list:
    return [widget.mrmlSliceCompositeNode() for widget in widgets(side, axialOnly)]


def matrix(source: vtk.vtkMatrix4x4) -> list[float]:
    return [source.GetElement(row, column) for row in range(4) for column in range(4)]


def names(scene) -> list[str]:
    return [scene.GetNthNodeByClass(n, VOLUME).GetName() for n in range(scene.GetNumberOfNodesByClass(VOLUME))]


@pytest.mark.parametrize(("axialOnly", "planes"), [(False, ["Axial", "Coronal", "Sagittal"]), (True, ["Axial"])])
def test_each_side_shows_its_volume(pair, axialOnly, planes):
    assert layout.showSideBySide(*pair, axialOnly=axialOnly) and layout.isShown()
    assert slicer.app.layoutManager().layout > slicer.vtkMRMLLayoutNode.SlicerLayoutCustomView
    for side, node in zip((INPUT, ENHANCED), pair, strict=True):
        assert [widget.mrmlSliceNode().GetOrientation() for widget in widgets(side, axialOnly)] == planes
        assert {item.GetBackgroundVolumeID() for item in composites(side, axialOnly)} == {node.GetID()}
        assert {item.GetForegroundVolumeID() for item in composites(side, axialOnly)} == {None}


def test_the_sides_are_linked_and_apart_from_other_views(pair):
    layout.showSideBySide(*pair)
    for side in (INPUT, ENHANCED):
        assert all(node.GetLinkedControl() and node.GetHotLinkedControl() for node in composites(side))
        assert {widget.mrmlSliceNode().GetViewGroup() for widget in widgets(side)} == {VIEW_GROUP}
    assert slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode().GetViewGroup() != VIEW_GROUP


def test_equal_pixels_show_equal_places_in_views_of_any_size(pair):
    layout.showSideBySide(*pair)
    for left, right, size in zip(widgets(INPUT), widgets(ENHANCED), [(640, 400), (300, 500), (200, 200)], strict=True):
        for widget in (left, right):
            widget.sliceLogic().ResizeSliceNode(*size)
    slicer.app.processEvents()
    for left, right in zip(widgets(INPUT), widgets(ENHANCED), strict=True):
        toRas = [widget.mrmlSliceNode().GetXYToRAS() for widget in (left, right)]
        assert matrix(toRas[0]) == pytest.approx(matrix(toRas[1]))
        assert left.mrmlSliceNode().GetSliceOffset() == pytest.approx(right.mrmlSliceNode().GetSliceOffset())


def test_the_whole_input_is_in_view(pair):
    layout.showSideBySide(*pair)
    bounds = np.zeros(6)
    pair[0].GetRASBounds(bounds)
    for widget in widgets(ENHANCED):
        node = widget.mrmlSliceNode()
        toPixel = vtk.vtkMatrix4x4()
        vtk.vtkMatrix4x4.Invert(node.GetXYToRAS(), toPixel)
        for corner in np.stack(np.meshgrid(bounds[:2], bounds[2:4], bounds[4:]), -1).reshape(-1, 3):
            pixel = toPixel.MultiplyPoint((*corner, 1.0))
            assert all(-1 <= pixel[axis] <= node.GetDimensions()[axis] + 1 for axis in range(2))


def test_window_and_level_are_equal_and_stay_so(pair):
    first, second = (node.GetDisplayNode() for node in pair)
    layout.showSideBySide(*pair)
    for changed, other, values in ((first, second, (50, 20)), (second, first, (70, 30))):
        changed.SetAutoWindowLevel(False)
        changed.SetWindowLevel(*values)
        assert (other.GetWindow(), other.GetLevel()) == values
    layout.restoreLayout()
    first.SetWindowLevel(5, 5)
    assert second.GetWindow() == 70


def test_the_layout_before_comes_back(pair):
    manager = slicer.app.layoutManager()
    manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalView)
    assert not layout.restoreLayout(), "nothing to go back from"
    layout.showSideBySide(*pair)
    layout.showSideBySide(*pair, axialOnly=True)
    assert layout.restoreLayout() and not layout.isShown()
    assert manager.layout == slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalView


def test_the_number_of_another_extension_is_left_to_it(pair):
    node = slicer.app.layoutManager().layoutLogic().GetLayoutNode()
    theirs = '<layout type="horizontal"><item><view class="vtkMRMLSliceNode" singletontag="Theirs"/></item></layout>'
    node.AddLayoutDescription(THREE_PLANES, theirs)
    layout.showSideBySide(*pair)
    assert node.GetLayoutDescription(THREE_PLANES) == theirs
    assert node.GetLayoutDescription(slicer.app.layoutManager().layout) == layoutXml(False)


def test_a_volume_shown_everywhere_does_not_replace_the_pair(pair, scene):
    layout.showSideBySide(*pair)
    other = scene.AddNewNodeByClass(VOLUME, "Other")
    selection = slicer.app.applicationLogic().GetSelectionNode()
    selection.SetActiveVolumeID(other.GetID())
    slicer.app.applicationLogic().PropagateVolumeSelection()
    assert {node.GetBackgroundVolumeID() for node in composites(ENHANCED)} == {pair[1].GetID()}


def test_blinking_shows_the_two_volumes_in_turn(pair, scene, monkeypatch):
    monkeypatch.setattr(comparison, "BLINK_MILLISECONDS", 10)
    layout.showSideBySide(*pair)
    overlay = scene.AddNewNodeByClass(VOLUME, "Uncertainty")
    view = composites(ENHANCED)[1]
    view.SetForegroundVolumeID(overlay.GetID())
    view.SetForegroundOpacity(0.4)
    assert layout.setBlink(True) and layout.comparisonMode() == "blink"
    assert [view.GetBackgroundVolumeID(), view.GetForegroundVolumeID()] == [node.GetID() for node in pair]
    seen = []
    tag = view.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda node, event: seen.append(node.GetForegroundOpacity()))
    waitUntil(lambda: len(seen) >= 4)
    view.RemoveObserver(tag)
    assert set(seen) == {0.0, 1.0} and all(a != b for a, b in zip(seen, seen[1:], strict=False))
    assert {node.GetForegroundVolumeID() for node in composites(INPUT)} == {None}, "the input's side is still"
    layout.setBlink(False)
    assert layout.comparisonMode() == "" and view.GetBackgroundVolumeID() == pair[1].GetID()
    assert view.GetForegroundVolumeID() == overlay.GetID() and view.GetForegroundOpacity() == pytest.approx(0.4)


def test_the_checkerboard_shows_cubes_of_both_in_turn(pair, scene):
    layout.showSideBySide(*pair)
    assert layout.setCheckerboard(True)
    board = scene.GetNodeByID(composites(ENHANCED)[0].GetBackgroundVolumeID())
    assert board.GetHideFromEditors() and not board.GetSaveWithScene() and board.GetAttribute(DERIVED_ATTRIBUTE)
    array = slicer.util.arrayFromVolume(board).transpose(2, 1, 0)
    # 60 x 80 x 50 mm in cubes of about 25 mm: 2 x 3 x 2; one voxel beside the borders, where thick slices end.
    centres = [(np.arange(n) + 0.5) * size / n for n, size in zip((2, 3, 2), array.shape, strict=True)]
    values = array[np.ix_(*[axis.astype(int) for axis in centres])]
    parity = np.indices(values.shape).sum(axis=0) % 2
    assert sorted({float(values[parity == 0].min()), float(values[parity == 1].min())}) == [10.0, 20.0]
    assert np.ptp(values[parity == 0]) == np.ptp(values[parity == 1]) == 0
    layout.setCheckerboard(False)
    assert names(scene) == ["Head", "Better head"]
    assert composites(ENHANCED)[0].GetBackgroundVolumeID() == pair[1].GetID()


def test_the_checkerboard_follows_voxels_that_change_as_when_a_run_fills_the_volume_anew(pair, scene):
    layout.showSideBySide(*pair)
    layout.setCheckerboard(True)
    earlier = scene.GetNodeByID(composites(ENHANCED)[0].GetBackgroundVolumeID())
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = (-30, -40, -20)
    volumes.updateVolumeNode(pair[1], Image(np.full((30, 40, 25), 30, np.float32), affine, "T1w"))
    QApplication.processEvents()
    board = scene.GetNodeByID(composites(ENHANCED)[0].GetBackgroundVolumeID())
    found = set(np.unique(slicer.util.arrayFromVolume(board)).tolist())
    assert board.GetImageData().GetDimensions() == (30, 40, 25) and {10.0, 30.0} <= found and 20.0 not in found
    assert earlier.GetScene() is None and layout.comparisonMode() == "checkerboard"
    layout.setCheckerboard(False)
    assert names(scene) == ["Head", "Better head"]
    assert composites(ENHANCED)[0].GetBackgroundVolumeID() == pair[1].GetID()


def test_the_input_is_compared_where_it_is_shown(scene):
    """A ramp along world x, under a transform: the resampled voxel is the world x of the reference's voxel."""
    affine = np.diag([-3.0, 2.0, 4.0, 1.0])
    affine[:3, 3] = (50, -5, -7)
    ramp = np.broadcast_to(50 - 3.0 * np.arange(40, dtype=np.float32)[:, None, None], (40, 12, 11))
    volume = volumes.addVolume(scene, Image(np.ascontiguousarray(ramp), affine, "T1w"), "Ramp")
    reference = volumes.addVolume(scene, Image(np.zeros((20, 5, 6), np.float32), np.eye(4), "T1w"), "Grid")
    for node, shift in ((volume, 7.0), (reference, -4.0)):
        transform = scene.AddNewNodeByClass("vtkMRMLTransformNode")
        toParent = vtk.vtkTransform()
        toParent.Translate(shift, 0, 0)
        transform.SetMatrixTransformToParent(toParent.GetMatrix())
        node.SetAndObserveTransformNodeID(transform.GetID())
    result = volumes.arrayFromImageData(comparison.resampleToGrid(volume, reference))
    assert result[:, 2, 3] == pytest.approx(np.arange(20) - 4.0 - 7.0, abs=1e-4)


def test_one_comparison_ends_the_other(pair, scene):
    layout.showSideBySide(*pair)
    layout.setCheckerboard(True)
    layout.setBlink(True)
    assert layout.comparisonMode() == "blink" and names(scene) == ["Head", "Better head"]
    layout.setCheckerboard(False)
    assert layout.comparisonMode() == "blink", "what is off already is left"


@pytest.mark.parametrize("how", ["another layout", "enhanced removed", "scene closed", "module closed"])
@pytest.mark.parametrize("switch", [layout.setBlink, layout.setCheckerboard])
def test_comparing_ends_with_what_it_shows(pair, scene, how, switch):
    layout.showSideBySide(*pair)
    switch(True)
    if how == "another layout":
        slicer.app.layoutManager().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    elif how == "enhanced removed":
        scene.RemoveNode(pair[1])
    elif how == "scene closed":
        scene.Clear(0)
    else:
        layout.close()
    assert layout.comparisonMode() == "" and not switch(True)
    left = {"another layout": ["Head", "Better head"], "enhanced removed": ["Head"], "scene closed": []}
    assert names(scene) == left.get(how, ["Head", "Better head"])
    slicer.app.processEvents()
    assert layout.isShown() == (how in ("scene closed", "module closed")), "another scene may have a layout of its own"


@pytest.mark.parametrize("read", ["with the module", "before the module"])
@pytest.mark.parametrize("switch", [layout.setBlink, layout.setCheckerboard])
def test_a_scene_that_was_saved_while_volumes_were_compared_shows_the_enhanced_one(pair, scene, switch, read, tmp_path):
    """Else the views called "Enhanced" would come back with the plain scan in them, or with nothing."""
    layout.showSideBySide(*pair)
    other = volumes.addVolume(scene, Image(np.zeros((4, 4, 4), np.float32), np.eye(4), "T1w"), "Below")
    view = composites(ENHANCED)[1]
    view.SetForegroundVolumeID(other.GetID())
    view.SetForegroundOpacity(0.4)
    switch(True)
    writeMrb(scene, tmp_path / "scene.mrb")
    assert layout.comparisonMode(), "comparing goes on"
    scene.Clear(0)
    if read == "before the module":
        layout.close()
    assert scene.ReadFromMRB(str(tmp_path / "scene.mrb"), True)
    layout.install()
    shown = [[scene.GetNodeByID(name or "") for name in (node.GetBackgroundVolumeID(), node.GetForegroundVolumeID())]
             for node in composites(ENHANCED)]  # fmt: skip
    assert [[node and node.GetName() for node in nodes] for nodes in shown] == [
        ["Better head", None],
        ["Better head", "Below"],
        ["Better head", None],
    ]
    assert composites(ENHANCED)[1].GetForegroundOpacity() == pytest.approx(0.4)


def test_there_is_nothing_to_compare_before_the_layout_is_shown(application):
    assert not layout.setBlink(True) and not layout.setCheckerboard(True) and layout.comparisonMode() == ""


@pytest.mark.parametrize("missing", ["layoutManager", "app"])
def test_without_views_nothing_happens(pair, monkeypatch, missing):
    if missing == "app":
        monkeypatch.delattr(slicer, "app")
    else:
        monkeypatch.setattr(slicer.app, "layoutManager", lambda: None)
    assert not layout.showSideBySide(*pair) and not layout.install() and not layout.isShown()
    assert not layout.setBlink(True) and not layout.setCheckerboard(True) and not layout.restoreLayout()
