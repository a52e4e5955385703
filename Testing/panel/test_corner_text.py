"""The text "ENHANCED - not for diagnosis": in which slice views it stands, and that nothing takes it away."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
import vtk

from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.image_io import DERIVED
from LowFieldEnhanceLib.segmentation.labels import LabelMap
from LowFieldEnhanceSlicer import corner_text, layout, segmentations, volumes
from LowFieldEnhanceSlicer.layout_description import ENHANCED, INPUT, sliceViews
from LowFieldEnhanceSlicer.marks import DERIVED_ATTRIBUTE, markOutput
from LowFieldEnhanceSlicer.request import Request
from LowFieldEnhanceSlicer.request_checks import reasonAgainst


@pytest.fixture
def texts(application):
    """The texts of the application's views."""
    yield corner_text.installCornerText()
    corner_text.removeCornerText()


@pytest.fixture
def scan(scene):
    return addVolume(scene, "Head")


@pytest.fixture
def enhanced(scene):
    node = addVolume(scene, f"Head ({DERIVED})")
    node.SetAttribute(DERIVED_ATTRIBUTE, DERIVED)
    return node


def addVolume(scene, name: str):
    return volumes.addVolume(scene, Image(np.ones((4, 5, 6), np.float32), np.eye(4), "T1w"), name)


def composite(viewName: str):
    return slicer.app.layoutManager().sliceWidget(viewName).mrmlSliceCompositeNode()


def rendererOf(viewName: str):
    view = slicer.app.layoutManager().sliceWidget(viewName).sliceView()
    return view.renderWindow().GetRenderers().GetFirstRenderer()


def drawn(viewName: str) -> list[str]:
    """What the actors in the view's renderer say: the oracle beside the object's own account."""
    props = rendererOf(viewName).GetViewProps()
    actors = [props.GetItemAsObject(n) for n in range(props.GetNumberOfItems())]
    return [actor.GetText(place) for actor in actors for place in range(8) if actor.GetText(place)]


def marked() -> set[str]:
    return {name for name in slicer.app.layoutManager().sliceViewNames() if DERIVED in drawn(name)}


@pytest.mark.parametrize("name", ["Head (ENHANCED - not for diagnosis).nii.gz", "Head_ENHANCED_not_for_diagnosis.nrrd"])
def test_an_enhanced_volume_that_was_saved_alone_is_known_again(scene, texts, enhanced, tmp_path, name):
    """A file of its own, opened in a new scene as Slicer does it: under the name of the file."""
    storage = scene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
    storage.SetFileName(str(tmp_path / name))
    assert storage.WriteData(enhanced)
    scene.Clear(0)
    opened = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name.removesuffix(".gz").rpartition(".")[0])
    storage = scene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
    storage.SetFileName(str(tmp_path / name))
    assert storage.ReadData(opened)
    composite("Red").SetBackgroundVolumeID(opened.GetID())
    assert marked() == {"Red"}
    assert "is itself an output of LowFieldEnhance" in reasonAgainst(Request(opened))
    other = addVolume(scene, "Another head")
    refusal = reasonAgainst(Request(other, outputVolume=opened))
    assert "is a result of another scan" in refusal


def test_the_text_is_the_projects_mark():
    assert DERIVED == "ENHANCED - not for diagnosis"


def test_the_text_follows_the_volume(texts, scan, enhanced):
    assert marked() == set()
    composite("Red").SetBackgroundVolumeID(enhanced.GetID())
    composite("Green").SetBackgroundVolumeID(scan.GetID())
    assert marked() == {"Red"} and texts.text("Red") == DERIVED and texts.text("Green") == ""
    composite("Red").SetBackgroundVolumeID(scan.GetID())
    composite("Green").SetBackgroundVolumeID(enhanced.GetID())
    assert marked() == {"Green"}


def test_every_layer_counts_as_far_as_it_is_seen(texts, scan, enhanced):
    node = composite("Yellow")
    node.SetBackgroundVolumeID(scan.GetID())
    node.SetForegroundVolumeID(enhanced.GetID())
    node.SetForegroundOpacity(0.0)
    assert marked() == set()
    node.SetForegroundOpacity(0.01)
    assert marked() == {"Yellow"}
    node.SetForegroundOpacity(0.0)
    node.SetCompositing(slicer.vtkMRMLSliceCompositeNode.ReverseAlpha)
    assert marked() == {"Yellow"}, "here an opacity of zero shows the foreground alone"
    node.SetForegroundVolumeID(None)
    assert marked() == set()
    node.SetLabelVolumeID(enhanced.GetID())
    assert marked() == {"Yellow"}
    node.SetLabelOpacity(0.0)
    assert marked() == set()


def test_a_covered_background_still_counts(texts, scan, enhanced):
    """The foreground may be smaller than the background, so the text must not depend on it."""
    node = composite("Red")
    node.SetBackgroundVolumeID(enhanced.GetID())
    node.SetForegroundVolumeID(scan.GetID())
    node.SetForegroundOpacity(1.0)
    assert marked() == {"Red"}


def test_a_volume_marked_while_it_is_shown_gets_the_text(texts, scan):
    composite("Red").SetBackgroundVolumeID(scan.GetID())
    scan.SetAttribute(DERIVED_ATTRIBUTE, DERIVED)
    assert marked() == {"Red"}
    scan.RemoveAttribute(DERIVED_ATTRIBUTE)
    assert marked() == set()


def test_what_data_probe_writes_does_not_touch_the_text(texts, enhanced):
    composite("Red").SetBackgroundVolumeID(enhanced.GetID())
    annotation = slicer.app.layoutManager().sliceWidget("Red").sliceView().cornerAnnotation()
    for corner in range(4):
        annotation.SetText(corner, f"corner {corner}")
    assert DERIVED in drawn("Red")
    annotation.ClearAllTexts()
    assert drawn("Red") == [DERIVED]


def test_the_text_leaves_the_corner_that_dicom_volumes_fill(texts, enhanced):
    enhanced.SetAttribute("DICOM.instanceUIDs", "1.2.3")
    composite("Red").SetBackgroundVolumeID(enhanced.GetID())
    props = rendererOf("Red").GetViewProps()
    actors = [props.GetItemAsObject(n) for n in range(props.GetNumberOfItems())]
    places = {place for actor in actors for place in range(8) if actor.GetText(place)}
    assert places == {vtk.vtkCornerAnnotation.UpperEdge}


def test_views_made_later_are_marked_too(texts, application, enhanced):
    node = slicer.app.layoutManager().layoutLogic().GetLayoutNode()
    view = '<layout type="horizontal"><item><view class="vtkMRMLSliceNode" singletontag="Later"/></item></layout>'
    node.AddLayoutDescription(777, view)
    slicer.app.layoutManager().setLayout(777)
    slicer.app.processEvents()
    composite("Later").SetBackgroundVolumeID(enhanced.GetID())
    assert marked() == {"Later"}


def test_only_the_enhanced_side_is_marked(scan, enhanced):
    layout.showSideBySide(scan, enhanced)
    right = {view.tag for view in sliceViews(ENHANCED, axialOnly=False)}
    assert marked() == right
    layout.setCheckerboard(True)
    assert marked() == right
    layout.setBlink(True)
    assert marked() == right, "the enhanced volume comes first"
    for view in right:
        composite(view).SetForegroundOpacity(0.0)
    assert marked() == set(), "the input alone is shown"
    layout.setBlink(False)
    assert marked() == right
    assert not marked() & {view.tag for view in sliceViews(INPUT, axialOnly=False)}
    layout.close()
    assert marked() == set()


@pytest.fixture
def structures(scene, scan):
    """Derived structures on the scan's grid."""
    labels = LabelMap(np.full((4, 5, 6), 10, np.uint8), np.eye(4), {})
    colours = segmentations.addColourTable(scene, "colours")
    node = segmentations.addSegmentation(scene, labels, "Head structures", scan, colours)
    markOutput(node, scan, {})
    return node


def test_derived_structures_over_the_plain_scan_are_marked(application, texts, scan, structures):
    slicer.app.processEvents()
    everywhere = set(slicer.app.layoutManager().sliceViewNames())
    composite("Red").SetBackgroundVolumeID(scan.GetID())
    display = structures.GetDisplayNode()
    assert marked() == everywhere
    for hide, show in (
        (lambda: display.SetVisibility(False), lambda: display.SetVisibility(True)),
        (lambda: display.SetVisibility2D(False), lambda: display.SetVisibility2D(True)),
        (lambda: structures.RemoveAttribute(DERIVED_ATTRIBUTE), lambda: markOutput(structures, scan, {})),
    ):
        hide()
        assert marked() == set()
        show()
        assert marked() == everywhere
    display.SetVisibility2DFill(False)
    assert marked() == everywhere, "the outlines are left"
    display.SetVisibility2DOutline(False)
    assert marked() == set()


def test_structures_that_one_view_shows_mark_that_view_alone(application, texts, structures):
    slicer.app.processEvents()
    red = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode()
    structures.GetDisplayNode().SetViewNodeIDs([red.GetID()])
    assert marked() == {"Red"}


def test_what_the_user_drew_is_not_marked(application, texts, scan, structures):
    structures.RemoveAttribute(DERIVED_ATTRIBUTE)
    slicer.app.processEvents()
    assert marked() == set()


@pytest.mark.parametrize("gone", ["volume", "scene"])
def test_the_text_goes_with_the_volume(texts, scene, enhanced, gone):
    composite("Red").SetBackgroundVolumeID(enhanced.GetID())
    if gone == "volume":
        scene.RemoveNode(enhanced)
    else:
        scene.Clear(0)
    slicer.app.processEvents()
    assert marked() == set()


def test_removal_leaves_no_actor_and_no_observer(texts, scene, enhanced):
    composite("Red").SetBackgroundVolumeID(enhanced.GetID())
    corner_text.removeCornerText()
    assert marked() == set() and texts.Observations == []
    composite("Red").SetBackgroundVolumeID(None)
    composite("Red").SetBackgroundVolumeID(enhanced.GetID())
    scene.AddNewNodeByClass("vtkMRMLTextNode")
    slicer.app.processEvents()
    assert marked() == set()


def test_installing_twice_draws_once(texts, enhanced):
    assert corner_text.installCornerText() is texts
    composite("Red").SetBackgroundVolumeID(enhanced.GetID())
    assert drawn("Red") == [DERIVED]


def test_without_views_there_is_nothing_to_mark(application, monkeypatch):
    monkeypatch.setattr(slicer.app, "layoutManager", lambda: None)
    assert corner_text.installCornerText() is None
