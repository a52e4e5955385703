"""What ends the writing of DICOM files, and what of a run outlives its scene."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from panel_tools import press, waitUntil  # noqa: E402
from slicer_host.properties import useSlicerProperties  # noqa: E402

from LowFieldEnhanceSlicer.dicom_delivery import DicomDelivery  # noqa: E402
from LowFieldEnhanceSlicer.job import JobState  # noqa: E402

pytest_plugins = ["panel_fixtures"]
useSlicerProperties(__name__, False)


@pytest.fixture
def delivering(person, stub, tmp_path, monkeypatch):
    """A run whose results are in the scene while its DICOM files wait for a share that does not answer."""
    stub.set(STUB_DICOM="1")
    answered = threading.Event()
    inherited = DicomDelivery._copyFile

    def slow(self, file, copy):
        while not answered.wait(0.02) and not self.stopping:
            pass
        inherited(self, file, copy)

    monkeypatch.setattr(DicomDelivery, "_copyFile", slow)
    chosen = tmp_path / "chosen"
    chosen.mkdir()
    person.ui.inputSelector.setCurrentNode(person.loadScan())
    person.ui.dicomPathLineEdit.setProperty("currentPath", str(chosen))
    press(person.ui.applyButton)
    job = person.panel.runView.job
    waitUntil(lambda: job.stage == "write the DICOM files", 20)
    yield job, chosen
    answered.set()


def test_cancel_ends_it_and_the_results_in_the_scene_stay(person, delivering):
    job, chosen = delivering
    waitUntil(lambda: "writing the DICOM files" in person.ui.statusLabel.text(), 5)
    waitUntil(lambda: (press(person.ui.applyButton), job.cancelRequested)[1], 5)
    waitUntil(lambda: job.done, 2)
    assert job.state is JobState.FINISHED and job.nodes.enhanced is not None
    assert any("broken off" in warning for warning in job.warnings) and job.dicomFolder is None
    assert list(chosen.iterdir()) == []


def test_after_the_scene_was_closed_meanwhile_no_other_volume_is_the_result(person, delivering):
    job, chosen = delivering
    person.application.scene.Clear(0)
    for number in range(4):  # they get the ids that the results had
        person.loadScan(f"Other patient {number}")
    waitUntil(lambda: job.done, 5)
    assert job.state is JobState.CANCELLED and job.nodes.enhanced is None
    assert person.parameters.resultVolume is None and list(chosen.iterdir()) == []


def test_a_finished_job_has_no_nodes_once_its_scene_is_closed(person, stub):
    job = person.logic.process(person.loadScan(), waitForCompletion=False)
    person.waitForEnd()
    assert job.nodes.enhanced is not None
    person.application.scene.Clear(0)
    for number in range(4):
        person.loadScan(f"Other patient {number}")
    assert job.nodes.enhanced is None


def test_a_choice_that_this_version_does_not_have_is_forgotten(person):
    scene, node = person.application.scene, person.parameters.parameterNode
    scene.InvokeEvent(scene.StartImportEvent)
    node.DisableModifiedEventOn()  # as a scene is read
    node.SetParameter("method", "METHOD_OF_ANOTHER_VERSION")
    node.SetParameter("sliceProfile", "SINC")
    node.DisableModifiedEventOff()
    scene.InvokeEvent(scene.EndImportEvent)
    person.widget.enter()
    person.ui.inputSelector.setCurrentNode(person.loadScan())
    assert person.parameters.method.value == "bridged" and person.parameters.sliceProfile.value == "gaussian"
    assert person.ui.applyButton.isEnabled()


def test_a_relative_displacement_is_one_of_the_folder_where_slicer_is(person, stub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "warp.nrrd").write_text("field")
    person.logic.process(
        person.loadScan(), method="latent", displacementFile="warp.nrrd", contrast="T1w", waitForCompletion=False
    )
    person.waitForEnd()
    line = stub.calls[-1]
    assert Path(line[line.index("--displacement") + 1]) == tmp_path / "warp.nrrd"


def test_clicks_that_an_installer_lets_through_start_nothing(person, stub, monkeypatch):
    begun = []

    def ensure(request):
        begun.append(request)
        if len(begun) == 1:
            assert person.panel.start(request) is None  # as Slicer 5.10 lets it happen, line by line of pip's output
        return True

    monkeypatch.setattr(person.logic, "ensureDependencies", ensure)
    person.ui.inputSelector.setCurrentNode(person.loadScan())
    press(person.ui.applyButton)
    person.waitForEnd()
    assert len(begun) == 1 and len(stub.calls) == 1


@pytest.mark.parametrize(
    ("method", "samples", "said"),
    [
        ("LATENT", 1, "three slice orientations"),
        ("LATENT", 2, "among the samples"),
        ("BRIDGED", 1, "expected to lie from a high-field scan"),
        ("DIFFDEUR", 1, "needs two samples"),
    ],
)
def test_the_map_of_uncertainty_says_what_it_is_the_spread_of(person, method, samples, said):
    person.ui.inputSelector.setCurrentNode(person.loadScan())
    person.parameters.method = type(person.parameters.method)[method]
    person.parameters.samples = samples
    assert said in person.ui.uncertaintyCheckBox.toolTip()


def test_one_card_is_open_at_a_time_and_none_is_kept(person):
    person.ui.inputSelector.setCurrentNode(person.loadScan())
    press(person.ui.cardButton)
    first = person.panel.methodView.card
    press(person.ui.cardButton)
    assert person.panel.methodView.card is not first
    person.panel.methodView.card.close()
    assert person.panel.methodView.card is None
