"""What a script may give that does not fit is refused before any work, in one sentence."""

from __future__ import annotations

import json

import numpy as np
import pytest
import slicer
from panel_support import optionsOf
from slicer_host.properties import useSlicerProperties

pytestmark = pytest.mark.usefixtures("stub")
pytest_plugins = ["panel_fixtures"]
useSlicerProperties(__name__, False)

VOLUME, SEGMENTATION, TABLE = "vtkMRMLScalarVolumeNode", "vtkMRMLSegmentationNode", "vtkMRMLTableNode"


def node(kind: str):
    return slicer.mrmlScene.AddNewNodeByClass(kind)


@pytest.fixture
def logic(person):
    return person.logic


def refusals(logic, scan, **settings) -> set[str]:
    """What each way to use these settings says; all must refuse them with ValueError."""
    said = set()
    for call in (logic.process, logic.compare, logic.estimate):
        with pytest.raises(ValueError, match=r"^[^\n]+\.$") as refused:
            call(scan, **settings)
        said.add(str(refused.value))
    return said


@pytest.mark.parametrize("given", [SEGMENTATION, TABLE, "Head T1w", 5])
def test_an_input_that_is_no_volume(logic, stub, given):
    wrong = node(given) if given in (SEGMENTATION, TABLE) else given
    kind = given if wrong is not given else type(given).__name__
    assert refusals(logic, wrong) == {f"The input volume must be a scalar volume node, not {kind}."}
    assert stub.calls == [] and logic.jobs == []


def test_other_nodes_of_the_wrong_kind(person, logic, stub):
    scan, reference, table = person.loadScan(), person.loadScan("Reference"), node(TABLE)
    for settings, said in (
        ({"referenceVolume": table}, "reference volume must be a scalar volume node"),
        ({"referenceVolume": reference, "referenceSegmentation": table},
         "reference segmentation must be a segmentation node"),
    ):  # fmt: skip
        assert refusals(logic, scan, **settings) == {f"The {said}, not {TABLE}."}
    for name, what in (("lesions", "map of lesions"), ("brainMask", "brain mask")):
        assert refusals(logic, scan, **{name: "Drawn"}) == {f"The {what} must be a node of the scene, not str."}
    for name in ("outputVolume", "outputSegmentation", "outputFidelity", "outputUncertainty", "outputAddedDetail"):
        with pytest.raises(ValueError, match="must be a node of the scene, not str"):
            logic.process(scan, **{name: "Mine"})
        with pytest.raises(ValueError, match="cannot hold the"):
            logic.process(scan, samples=2, **{name: node(TABLE)})
    assert stub.calls == []


def test_further_contrasts_that_do_not_fit(person, logic, stub):
    scan, other = person.loadScan(), person.loadScan("Head T2w")
    for given, said in (
        ({"PD": other}, "otherVolumes has no contrast 'PD'; choose T1w, T2w, FLAIR."),
        ({"T1w": other}, "The input volume is the T1w volume, so otherVolumes cannot have one; give another contrast."),
        ({"T2w": None}, "The T2w volume must be a scalar volume node, not NoneType."),
        ({"T2w": node(SEGMENTATION)}, f"The T2w volume must be a scalar volume node, not {SEGMENTATION}."),
        ([other], "otherVolumes must be a dict of volumes by contrast, such as {'T2w': node}, not list."),
    ):
        assert refusals(logic, scan, contrast="T1w", otherVolumes=given) == {said}
    assert stub.calls == []


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"spacing": "1.0"}, "The setting spacing must be a number, not str."),
        ({"seed": 1.5}, "The setting seed must be a whole number, not float."),
        ({"device": None}, "The setting device must be a text, not NoneType."),
    ],
)
def test_numbers_and_words_that_are_none(person, logic, settings, said):
    assert refusals(logic, person.loadScan(), **settings) == {said}


@pytest.mark.parametrize("given", ["no", "False", None, 2, 0.0])
def test_a_switch_that_is_neither_on_nor_off(person, logic, stub, given):
    """A text would switch it on, whatever it says."""
    scan = person.loadScan()
    for name in ("segmentMirrored", "registerReference"):
        with pytest.raises(ValueError) as refused:
            logic.compare(scan, "cubic", **{name: given})
        assert str(refused.value) == f"The setting {name} must be True or False, not {given!r}."
    for name in ("n4", "brainOnly", "dataConsistency", "makeSegmentation", "makeFidelity", "makeUncertainty",
                 "makeAddedDetail"):  # fmt: skip
        with pytest.raises(ValueError, match=f"The setting {name} must be True or False"):
            logic.process(scan, **{name: given})
    assert stub.calls == []


def test_a_switch_of_numbers_is_as_good_as_one_of_words(person, logic, stub):
    logic.process(person.loadScan(), n4=np.True_, brainOnly=1, makeFidelity=0, makeSegmentation=np.int64(0))
    options = optionsOf(stub)
    assert options.n4 and options.brain_only and options.fidelity is None and options.segmentation is None


def test_a_path_of_pathlib_is_as_good_as_its_text(person, logic, stub, tmp_path):
    field = tmp_path / "field.nii.gz"
    field.touch()
    nodes = logic.process(person.loadScan(), displacementFile=field).nodes
    assert str(optionsOf(stub).displacement) == str(field)
    assert json.loads(nodes.enhanced.GetAttribute("LowFieldEnhance.request"))["displacementFile"] == str(field)


def test_what_is_no_node_has_no_results(logic):
    calls = (
        logic.showSideBySide,
        logic.setBlink,
        lambda given: logic.showOverlay(given, "fidelity"),
        logic.showChart,
        logic.showSurfaces,
        logic.inputOf,
        logic.openReport,
        logic.removeRun,
        logic.runAgain,
        logic.parametersFromProvenance,
        logic.segmentationOf,
        lambda given: logic.jumpToStructure(given, "Left Thalamus"),
        lambda given: logic.jumpToPoint(given, [0.0] * 3),
    )
    for call in calls:
        with pytest.raises(ValueError, match="as a node of the scene, not str"):
            call("Head T1w bridged fast")


def test_a_node_that_was_removed_has_no_results(person, logic):
    removed = logic.process(person.loadScan()).nodes.enhanced
    logic.removeRun(removed)
    assert logic.outputsOf(removed) == [] and not logic.removeRun(removed)
    assert not logic.showOverlay(removed, "fidelity")
