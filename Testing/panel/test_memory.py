"""Nothing of the module keeps a volume in memory that has left the scene."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import slicer
import vtk
from panel_tools import press
from PySide6.QtWidgets import QApplication
from slicer_host.properties import useSlicerProperties

from LowFieldEnhanceSlicer import corner_text, loading
from LowFieldEnhanceSlicer.loading import ResultFiles

pytest_plugins = ["panel_fixtures"]
useSlicerProperties(__name__, False)


class Deletion:
    """Whether a VTK object has been deleted."""

    def __init__(self, item) -> None:
        self.seen = False
        item.AddObserver(vtk.vtkCommand.DeleteEvent, self._onDelete)

    def _onDelete(self, caller, event) -> None:
        self.seen = True


def assertDeleted(deletions: dict[str, Deletion]) -> None:
    for _ in range(5):
        QApplication.processEvents()
    gc.collect()
    assert [name for name, deletion in deletions.items() if not deletion.seen] == []


@pytest.fixture
def texts(application):
    yield corner_text.installCornerText()
    corner_text.removeCornerText()


def test_a_volume_that_a_slice_view_has_shown(application, scene, texts):
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Any")
    node.CreateDefaultDisplayNodes()
    deletion = Deletion(node)
    composite = application.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
    composite.SetBackgroundVolumeID(node.GetID())
    texts.update()
    scene.RemoveNode(node)
    del node
    assertDeleted({"volume": deletion})


@pytest.mark.parametrize("end", ["scene closed", "nodes removed"])
def test_volumes_of_a_run(person, stub, end):
    ui = person.ui
    ui.inputSelector.setCurrentNode(person.loadScan())
    press(ui.applyButton)
    person.waitForEnd()
    for button in (ui.sideBySideButton, ui.blinkButton, ui.checkerboardButton):
        press(button)
    nodes = [person.parameters.inputVolume, person.parameters.resultVolume]
    deletions = {node.GetName(): Deletion(node) for node in nodes}
    if end == "scene closed":
        slicer.mrmlScene.Clear(0)
    else:
        press(ui.removeButton)
        slicer.mrmlScene.RemoveNode(nodes[0])
    del nodes
    assertDeleted(deletions)


def test_what_was_read_of_the_results_of_a_run(person, stub):
    job = person.logic.process(person.loadScan(spacing=(8.0, 8.0, 8.0)))
    gc.collect()
    assert job.done and not [item for item in gc.get_objects() if type(item) is ResultFiles]


@pytest.mark.parametrize("shape", [(9, 10, 11), (150, 160, 170)])
def test_the_brightest_of_a_large_map_is_found_without_looking_at_all_of_it(shape):
    array = np.random.default_rng(0).gamma(2.0, 1.0, shape).astype(np.float32)
    array[: shape[0] // 2] = 0
    inside = array[array > 0]
    assert loading._brightest(array) == pytest.approx(float(np.percentile(inside, 99.5)), rel=0.01)
    assert loading._brightest(0 * array) == 0.0
