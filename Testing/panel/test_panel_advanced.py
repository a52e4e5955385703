"""Samples, data consistency and what the user knows of the scan: from the panel to the command line and back."""

from __future__ import annotations

import importlib.util
import json

import pytest
import slicer
from panel_support import optionsOf, run
from panel_tools import choose, press
from slicer_host.properties import useSlicerProperties

from LowFieldEnhanceSlicer import parameters
from LowFieldEnhanceSlicer.catalogue import METHODS, MIRRORED, PROFILES
from LowFieldEnhanceSlicer.estimate import estimate
from LowFieldEnhanceSlicer.parameters import SliceProfile, requestOf
from LowFieldEnhanceSlicer.request import (
    ADDED,
    MOST_NOISE,
    NARROWEST_MM,
    REQUEST_ATTRIBUTE,
    WIDEST_MM,
    requestFromProvenance,
)
from LowFieldEnhanceSlicer.run_progress import stagesOf
from LowFieldEnhanceSlicer.scene import writeMrb

pytest_plugins = ["panel_fixtures"]
useSlicerProperties(__name__, False)


def test_one_sample_and_no_projection_unless_asked_for(person, stub):
    ui = person.ui
    ui.inputSelector.setCurrentNode(person.loadScan())
    assert ui.samplesSpinBox.value() == 1 and not ui.consistencyCheckBox.isChecked()
    run(person)
    options = optionsOf(stub)
    assert (options.samples, options.data_consistency, options.dicom) == (1, False, None)


def test_a_single_result_has_a_map_where_one_is_known(person, stub):
    """Of the bridge a network tells how far it may be off, of interpolation nothing does."""
    ui = person.ui
    ui.inputSelector.setCurrentNode(person.loadScan())
    for method, known in (("Bridged diffusion", True), ("Cubic interpolation", False)):
        choose(ui.methodComboBox, method)
        assert ui.uncertaintyCheckBox.isEnabled() == ui.outputUncertaintySelector.isEnabled() == known
        run(person)
        options = optionsOf(stub)
        assert (options.samples, bool(options.uncertainty)) == (1, known)


def test_samples_and_consistency_reach_the_command_line(person, stub):
    ui = person.ui
    ui.inputSelector.setCurrentNode(person.loadScan())
    ui.samplesSpinBox.setValue(8)
    ui.consistencyCheckBox.click()
    assert ui.uncertaintyCheckBox.isEnabled() and ui.outputUncertaintySelector.isEnabled()
    run(person)
    options = optionsOf(stub)
    assert options.samples == 8 and options.uncertainty and options.data_consistency
    assert any("uncertainty" in name for name in person.outputs())
    ui.uncertaintyCheckBox.click()
    run(person)
    assert optionsOf(stub).samples == 8 and optionsOf(stub).uncertainty is None


def test_samples_have_a_range(person):
    box = person.ui.samplesSpinBox
    assert (box.minimum(), box.maximum()) == (1, 32)
    for count in (0, 33):
        with pytest.raises(ValueError, match="between 1 and 32"):
            person.logic.process(person.loadScan(), samples=count)


def test_a_method_with_a_spread_of_its_own_gives_the_map_with_one_sample(person, stub):
    person.ui.inputSelector.setCurrentNode(person.loadScan())
    choose(person.ui.methodComboBox, "Distilled latent super-resolution")
    assert person.ui.uncertaintyCheckBox.isEnabled()
    run(person)
    options = optionsOf(stub)
    assert (options.samples, bool(options.uncertainty)) == (1, True)


def test_the_panel_says_what_samples_are_with_this_method(person):
    ui = person.ui
    assert "mirrored scan" in ui.samplesSpinBox.toolTip()
    choose(ui.presetComboBox, "Standard")
    assert "other seeds" in ui.samplesSpinBox.toolTip()


def test_the_catalogue_knows_which_presets_draw_and_in_how_many_ways_a_head_is_mirrored():
    from LowFieldEnhanceLib.methods.registry import get_method
    from LowFieldEnhanceLib.samples import FLIP_AXES

    for name, entry in METHODS.items():
        method = get_method(name)
        assert entry.draws == tuple(preset for preset in entry.presets if method.stochastic(preset))
        assert entry.spreads == getattr(method, "spreads", ())
        assert entry.expects == getattr(method, "expects", ())
    assert len(FLIP_AXES) == MIRRORED


def test_the_estimate_grows_with_the_samples(person):
    scan = person.loadScan()

    def seconds(preset: str, samples: int) -> float:
        return estimate(scan, "bridged", preset, "cpu", samples=samples).seconds["cpu"]

    segmented = [estimate(scan, "cssdiff", preset, "cpu").seconds["cpu"] for preset in ("fast", "paper")]
    plain = [estimate(scan, "cssdiff", preset, "cpu", segmentations=0).seconds["cpu"] for preset in ("fast", "paper")]
    # the labels of a single result with three orientations are five segmentations, of one with a single orientation two
    work = {preset: METHODS["cssdiff"].workOf(preset) for preset in ("fast", "paper")}
    each = (segmented[1] - plain[1]) / 2
    assert plain[0] - 3 * each - 8.0 == pytest.approx((plain[1] - 8.0) * work["fast"] / work["paper"])
    looked = [estimate(scan, "cssdiff", "fast", "cpu", looks=looks).seconds["cpu"] for looks in (1, 2)]
    assert looked[1] - looked[0] == pytest.approx(5 * each)
    once, fixed = seconds("paper", 1), 8.0
    assert seconds("paper", 8) - fixed == pytest.approx(8 * (once - fixed), rel=0.05)
    assert seconds("fast", 32) == seconds("fast", MIRRORED) > seconds("fast", 2) > seconds("fast", 1)
    person.ui.inputSelector.setCurrentNode(scan)
    before = person.ui.estimateLabel.text()
    person.ui.samplesSpinBox.setValue(32)
    assert person.ui.estimateLabel.text() != before


def test_samples_take_their_share_of_the_progress_bar():
    def share(*options: str) -> float:
        weights = dict(stagesOf(["enhance", "a.nii", "-o", "b.nii", *options]))
        return weights["enhance"] / sum(weights.values())

    assert share() < share("--samples", "8") < 1.0
    assert "data consistency" in dict(stagesOf(["enhance", "a.nii", "--data-consistency"]))
    assert "data consistency" not in dict(stagesOf(["enhance", "a.nii"]))


def test_the_settings_survive_saving_and_run_again(application, person, stub, tmp_path):
    ui = person.ui
    ui.inputSelector.setCurrentNode(person.loadScan())
    ui.samplesSpinBox.setValue(3)
    ui.uncertaintyCheckBox.click()
    ui.consistencyCheckBox.click()
    ui.dicomPathLineEdit.setProperty("currentPath", str(tmp_path))
    run(person)
    path = writeMrb(application.scene, tmp_path / "scene.mrb")
    application.scene.Clear(0)
    assert ui.samplesSpinBox.value() == 1 and ui.dicomPathLineEdit.property("currentPath") == ""
    assert application.scene.ReadFromMRB(str(path), False)
    found = requestOf(person.parameters)
    assert (found.samples, found.makeUncertainty, found.dataConsistency) == (3, False, True)
    assert found.dicomFolder == ui.dicomPathLineEdit.property("currentPath") == str(tmp_path)
    ui.samplesSpinBox.setValue(1)
    press(ui.againButton)
    found = requestOf(person.parameters)
    assert (found.samples, found.dataConsistency, found.dicomFolder) == (3, True, str(tmp_path))


FORWARD = {"noiseLevel": 12.5, "psfWidthI": 2.0, "psfWidthJ": 0.0, "psfWidthK": 6.25, "sliceProfile": "box"}


def knowTheScan(ui) -> None:
    """A noise level, two of three widths, and another profile."""
    ui.noiseSpinBox.setValue(12.5)
    ui.psfISpinBox.setValue(2.0)
    ui.psfKSpinBox.setValue(6.25)
    choose(ui.profileComboBox, "Box")


def test_noise_and_point_spread_are_measured_unless_the_user_knows_better(person, stub):
    ui = person.ui
    ui.inputSelector.setCurrentNode(person.loadScan())
    shown = [box.text() for box in (ui.noiseSpinBox, ui.psfISpinBox, ui.psfJSpinBox, ui.psfKSpinBox)]
    assert (*shown, ui.profileComboBox.currentText()) == ("Measured", "Voxel", "Voxel", "Voxel", "Gaussian")
    run(person)
    options = optionsOf(stub)
    assert (options.sigma, options.psf, options.profile) == (None, None, None)
    knowTheScan(ui)
    run(person)
    options = optionsOf(stub)
    assert (options.sigma, options.profile) == (12.5, "box")
    assert options.psf == pytest.approx([2.0, 1.6, 6.25])  # the voxel size along the axis that was left


def test_numbers_have_their_decimals_steps_and_ranges(person):
    """Ranges come from the parameters, all else from the .ui file."""
    expected = {"spacing": (2, 0.1, 0.3, 5.0), "noise": (4, 1.0, 0.0, MOST_NOISE)}
    expected |= {f"psf{axis}": (2, 0.1, 0.0, WIDEST_MM) for axis in "IJK"}
    for name, figures in expected.items():
        box = getattr(person.ui, f"{name}SpinBox")
        assert (box.decimals(), box.singleStep(), box.minimum(), box.maximum()) == pytest.approx(figures), name


def test_slicer_has_nothing_to_warn_of_when_it_reads_the_parameters(application, caplog):
    """It would, at every start, of annotations that are for widgets."""
    again = importlib.util.spec_from_file_location("LowFieldEnhanceSlicer.parametersAgain", parameters.__file__)
    again.loader.exec_module(importlib.util.module_from_spec(again))
    assert not caplog.records


def test_what_the_user_knew_of_the_scan_survives_saving_and_run_again(application, person, stub, tmp_path):
    ui = person.ui
    ui.inputSelector.setCurrentNode(person.loadScan())
    knowTheScan(ui)
    run(person)
    path = writeMrb(application.scene, tmp_path / "scene.mrb")
    application.scene.Clear(0)
    assert ui.noiseSpinBox.value() == 0 and ui.profileComboBox.currentText() == "Gaussian"
    assert application.scene.ReadFromMRB(str(path), False)
    assert {name: getattr(requestOf(person.parameters), name) for name in FORWARD} == FORWARD
    for box in (ui.noiseSpinBox, ui.psfISpinBox, ui.psfKSpinBox):
        box.setValue(0.0)
    choose(ui.profileComboBox, "Gaussian")
    press(ui.againButton)
    assert {name: getattr(requestOf(person.parameters), name) for name in FORWARD} == FORWARD


def test_a_displacement_field_reaches_the_run_and_the_next_one(person, stub, tmp_path):
    ui, field = person.ui, tmp_path / "unwarp.nii.gz"
    ui.inputSelector.setCurrentNode(person.loadScan())
    choose(ui.methodComboBox, "Distilled latent super-resolution")
    ui.displacementPathLineEdit.setProperty("currentPath", str(field))
    assert not ui.applyButton.isEnabled() and str(field) in ui.applyButton.toolTip()
    field.write_bytes(b"the child reads it")
    ui.seedSpinBox.setValue(1)
    run(person)
    assert optionsOf(stub).displacement == str(field)
    ui.displacementPathLineEdit.setProperty("currentPath", "")
    run(person)
    assert optionsOf(stub).displacement is None
    first = next(node for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
                 if str(field) in (node.GetAttribute(REQUEST_ATTRIBUTE) or ""))  # fmt: skip
    assert requestFromProvenance(first).displacementFile == str(field)


def test_a_result_of_a_version_without_them_can_still_be_repeated(person, stub):
    nodes = person.logic.process(person.loadScan()).nodes
    settings = json.loads(nodes.enhanced.GetAttribute(REQUEST_ATTRIBUTE))
    assert settings.keys() >= FORWARD.keys()
    earlier = {name: value for name, value in settings.items() if name not in ADDED}
    nodes.enhanced.SetAttribute(REQUEST_ATTRIBUTE, json.dumps(earlier))
    found = requestFromProvenance(nodes.enhanced)
    assert (found.noiseLevel, found.psfWidths, found.sliceProfile) == (0.0, (), "gaussian")
    assert found.displacementFile == ""


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"noiseLevel": -1.0}, "noise level -1 must be between 0 and 1000000; 0 measures it"),
        ({"noiseLevel": 2e6}, r"noise level 2e\+06 must be between 0 and 1000000; 0 measures it"),
        ({"noiseLevel": float("nan")}, "noise level nan"),
        ({"psfWidthJ": 31.0}, "between 0.1 and 30 mm"),
        ({"psfWidthJ": 0.05}, "between 0.1 and 30 mm"),
        ({"sliceProfile": "sinc"}, "no slice profile 'sinc'; choose gaussian, box, point"),
        ({"sliceProfile": "point", "psfWidthK": 5.0}, "'point' has no width"),
    ],
)
def test_what_no_scan_has_is_refused_before_the_run(person, stub, settings, sentence):
    for start in (person.logic.process, person.logic.compare):
        with pytest.raises(ValueError, match=sentence):
            start(person.loadScan(), **settings)
    assert stub.calls == []


def test_the_limits_of_the_panel_are_those_of_the_library():
    from LowFieldEnhanceLib.physics.separable import FWHM_LIMITS_MM

    assert (NARROWEST_MM, WIDEST_MM) == FWHM_LIMITS_MM
    assert [profile.value for profile in SliceProfile] == list(PROFILES)
