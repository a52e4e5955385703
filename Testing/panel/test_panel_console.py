"""The console call and its asynchronous form: everything the panel can do, a script can do."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import slicer
from panel_support import MODULE, ROOT, STRUCTURES, head
from panel_tools import waitUntil
from slicer_host.properties import useSlicerProperties

from LowFieldEnhanceLib.image_io import read_labels
from LowFieldEnhanceLib.segmentation.labels import LabelMap
from LowFieldEnhanceSlicer import segmentations, volumes
from LowFieldEnhanceSlicer.dependencies import DependencyError
from LowFieldEnhanceSlicer.job import JobState
from LowFieldEnhanceSlicer.logic import RunFailed
from LowFieldEnhanceSlicer.reference_labels import SegmentationCopy

pytest_plugins = ["panel_fixtures"]
useSlicerProperties(__name__, False)


@pytest.fixture
def logic(person):
    """As it is reached from Slicer's Python console."""
    return slicer.util.getModuleLogic("LowFieldEnhance")


def test_the_console_call_returns_the_nodes(person, logic, stub):
    scan = person.loadScan()
    nodes = logic.process(scan, method="bridged", preset="fast", waitForCompletion=True).nodes
    assert nodes.enhanced.GetName() == "Head T1w bridged fast (ENHANCED - not for diagnosis)"
    assert nodes.segmentation.GetSegmentation().GetNumberOfSegments() == len(STRUCTURES)
    assert nodes.fidelity.GetScene() is nodes.chart.GetScene() is slicer.mrmlScene
    assert nodes.enhanced.GetAttribute("LowFieldEnhance.method") == "bridged"
    assert stub.calls[0][stub.calls[0].index("--contrast") + 1] == "T1w"


def test_the_asynchronous_form_tells_progress_and_end(person, logic, stub):
    stub.set(STUB_SECONDS="0.3")
    seen, ended = [], []
    job = logic.process(
        person.loadScan(), waitForCompletion=False, onProgress=lambda job: seen.append(job.progress()[0]),
        onFinished=ended.append,
    )  # fmt: skip
    assert job.state is JobState.PREPARING and job.nodes.enhanced is None
    person.waitForEnd()
    assert ended == [job] and job.state is JobState.FINISHED and job.progress() == (1.0, 0.0)
    assert (
        seen == sorted(seen) and max(seen) > 0.5 and job.warnings == ["the noise is higher than in the training data"]
    )


def test_a_failed_run_raises_one_sentence(person, logic, stub):
    stub.set(STUB_MODE="bad")
    with pytest.raises(RunFailed, match="12 voxels are NaN") as failure:
        logic.process(person.loadScan())
    assert failure.value.kind == "BadInput" and "expert" in failure.value.job.log


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"method": "magic"}, "no method 'magic'"),
        ({"method": "cubic", "preset": "paper"}, "no preset 'paper'"),
        ({"spacing": 9.0}, "between 0.3 and 5 mm"),
        ({"device": "tpu"}, "device of auto"),
        ({"contrast": "CT"}, "contrast of T1w"),
    ],
)
def test_settings_that_do_not_fit_start_nothing(person, logic, stub, settings, reason):
    with pytest.raises(ValueError, match=reason):
        logic.process(person.loadScan(), **settings)
    with pytest.raises(ValueError, match="Choose an input volume"):
        logic.process(None)
    assert stub.calls == [] and logic.jobs == [] and person.leftFolders() == []


def test_a_callback_that_waits_for_a_run_is_refused(person, logic, stub):
    scan, refused = person.loadScan(), []

    def again(job):
        with pytest.raises(RuntimeError, match="cannot wait"):
            logic.process(scan)
        refused.append(job)

    logic.process(scan, onFinished=again)
    assert len(refused) == 1
    person.logic.cancelAll()
    person.waitForEnd()


def test_a_declined_installation_raises(person, logic, monkeypatch):
    monkeypatch.setattr(logic, "ensureDependencies", lambda request=None: False)
    with pytest.raises(DependencyError, match="not installed"):
        logic.process(person.loadScan())


def test_cancel_while_the_scan_is_written_or_the_results_are_read(person, logic, stub):
    job = logic.process(person.loadScan(), waitForCompletion=False)
    logic.cancel(job)
    person.waitForEnd()
    assert job.state is JobState.CANCELLED and stub.calls == []
    job = logic.process(person.loadScan(), waitForCompletion=False)
    waitUntil(lambda: job.state is JobState.LOADING)
    waitUntil(lambda: person.outputs() or job.done)
    logic.cancel(job)
    person.waitForEnd()
    assert job.state is JobState.CANCELLED and person.outputs() == [] and person.leftFolders() == []


@pytest.mark.parametrize("layers", ["shared", "apart"])
def test_a_reference_segmentation_is_handed_over_as_label_ids(person, tmp_path, layers):
    """Whether its segments share a layer or not, and whatever their label values are."""
    image = head((4.0, 4.0, 4.0))
    labels = np.zeros(image.shape, np.uint8)
    for n, value in enumerate(STRUCTURES):
        labels[10 * n + 5 : 10 * n + 9, 10:-10, 12:-9] = value
    scan = volumes.addVolume(slicer.mrmlScene, image, "Reference")
    colours = segmentations.addColourTable(slicer.mrmlScene, "colours")
    labelMap = LabelMap(labels, image.affine, {})
    node = segmentations.addSegmentation(slicer.mrmlScene, labelMap, "Structures", scan, colours)
    if layers == "apart":
        node.GetSegmentation().SeparateSegmentLabelmap(node.GetSegmentation().GetNthSegmentID(1))
    SegmentationCopy(node, scan).write(tmp_path / "labels.nrrd")
    written = read_labels(tmp_path / "labels.nrrd")
    assert np.array_equal(written.array, labels) and np.allclose(written.affine, image.affine, atol=1e-9)


def test_the_module_loads_from_a_checkout_without_torch():
    """Slicer puts the module's folder on the path and no more; torch is not imported."""
    code = f"""
import os, sys
sys.path[:0] = [{str(MODULE.parent)!r}, {str(ROOT)!r}, {str(ROOT / "Testing" / "host")!r}]
from slicer_application import slicerApplication
with slicerApplication() as application:
    for name in [name for name in sys.modules if name.startswith("LowFieldEnhance")]:
        del sys.modules[name]
    removed = ({str(ROOT)!r}, {str(MODULE.parent)!r})
    sys.path[:] = [path for path in sys.path if os.path.realpath(path or ".") not in removed]
    application.loadModule({str(MODULE)!r})
    application.showModule("LowFieldEnhance")
    assert sys.path[-1] == {str(ROOT)!r}
    assert "LowFieldEnhanceLib.image_io" in sys.modules and "torch" not in sys.modules
"""
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT.parent, capture_output=True, text=True,
        env={"QT_QPA_PLATFORM": "offscreen", "PATH": "/usr/bin:/bin"}, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr


def test_one_logic_has_one_queue_and_one_watch_on_the_scene(application, person, monkeypatch):
    from LowFieldEnhanceSlicer import run_logic as module

    made = []
    monkeypatch.setattr(module, "RunQueue", lambda startTimer: made.append(startTimer))
    created = type(person.logic)()
    assert len(made) == 1 and len(created.Observations) == 1
    assert created.moduleName == "LowFieldEnhance" and created.isSingletonParameterNode
    created.removeObservers()
