"""Every option of a command reaches the work that it names, and every file that was given is safe from being replaced.

The work itself is replaced: what it does with its arguments is tested elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from phantoms import voxels

from LowFieldEnhanceLib import cli, image_io, pipeline
from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.ours import note_of
from LowFieldEnhanceLib.physics.simulate import Protocol
from LowFieldEnhanceLib.segmentation.labels import LabelMap

AFFINE = np.diag([2.0, 2.0, 3.0, 1.0])
FILES = ("scan_T1w", "other_T2w", "flair", "reference_T1w", "mask", "enhanced_of_it")


def voxels_of(name: str) -> np.ndarray:
    """Those of one of FILES; a mask must leave something out."""
    array = voxels() + FILES.index(name)
    if name == "mask":
        array[0] = 0
    return array


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Every kind of file that a command takes, each with voxels of its own."""
    for name in FILES:
        image_io.write_image(Image(voxels_of(name), AFFINE), tmp_path / f"{name}.nii.gz", "a scan")
    for number, name in enumerate(("reference_labels", "lesions"), start=2):
        array = np.zeros((5, 7, 6), np.uint8)
        array[2:4] = number
        image_io.write_labels(LabelMap(array, AFFINE, {}), tmp_path / f"{name}.nii.gz")
    image_io.write_image(Image(voxels(), AFFINE), tmp_path / "displacement.nii.gz", "not read")
    return tmp_path


class Reached(Exception):
    """The work was called."""


def called(
    monkeypatch: pytest.MonkeyPatch, name: str, command: Sequence[str], capsys: pytest.CaptureFixture[str]
) -> tuple[tuple[Any, ...], dict[str, Any], list[dict]]:
    """The arguments with which a command calls ``name``, and its events."""
    seen: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def work(*arguments: Any, **named: Any) -> None:
        seen.append((arguments, named))
        raise Reached

    monkeypatch.setattr(name, work)
    code = cli.main([*command, "--json"])
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert seen and code == 1, events
    return (*seen[0], events)


def path_in(folder: Path) -> Callable[[str], str]:
    return lambda name: str(folder / f"{name}.nii.gz")


@pytest.mark.parametrize(
    ("given", "name", "value"),
    [
        (["--device", "cpu"], "device", "cpu"),
        (["--seed", "7"], "seed", 7),
        (["--spacing", "1.5"], "spacing", 1.5),
        (["--brain-only"], "brain_only", True),
        (["--n4"], "n4", True),
        (["--mirrored"], "mirrored", True),
        (["--sigma", "12.5"], "sigma", 12.5),
        (["--psf", "1.6", "1.7", "5"], "fwhm", (1.6, 1.7, 5.0)),
        (["--profile", "box"], "profile", "box"),
        (["--samples", "3"], "samples", 3),
        (["--data-consistency"], "data_consistency", True),
        (["-m", "dps", "-p", "paper"], "preset", "paper"),
        (["-m", "latent"], "method", "latent"),
        (["--reference", "{reference_T1w}", "--register"], "register_reference", True),
        (["--reference", "{reference_T1w}", "--lpips", "weights.pth"], "lpips", "weights.pth"),
    ],
)
def test_a_setting_of_enhance_is_that_of_the_run_and_changes_no_other(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], given: list[str], name: str,
    value: Any,
) -> None:  # fmt: skip
    path = path_in(folder)
    monkeypatch.setattr("LowFieldEnhanceLib.evaluation.lpips.read_lpips", lambda _: None)
    given = [path(text[1:-1]) if text.startswith("{") else text for text in given]
    command = ["enhance", path("scan_T1w"), "-o", path("new"), *given]
    (_, settings), _, _ = called(monkeypatch, "LowFieldEnhanceLib.pipeline.enhance", command, capsys)
    expected = {**asdict(pipeline.Options()), name: value}
    if "-m" in given:
        expected |= {"method": given[1], "preset": settings.preset}
    assert getattr(settings, name) == value
    assert asdict(settings) == expected


def test_every_file_given_to_enhance_is_what_the_run_gets(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = path_in(folder)
    monkeypatch.setattr("LowFieldEnhanceLib.preprocess.unwarp.read_displacement", lambda name: f"read {name}")
    command = ["enhance", path("scan_T1w"), "-o", path("new"), "--with", f"T2w={path('other_T2w')}",
               "--with", f"FLAIR={path('flair')}", "--reference", path("reference_T1w"),
               "--reference-labels", path("reference_labels"), "--brain-mask", path("mask"),
               "--lesions", path("lesions"), "--displacement", path("displacement")]  # fmt: skip
    (scan, _), named, _ = called(monkeypatch, "LowFieldEnhanceLib.pipeline.enhance", command, capsys)
    images = {"scan_T1w": scan, "other_T2w": named["contrasts"]["T2w"], "flair": named["contrasts"]["FLAIR"],
              "reference_T1w": named["reference"], "mask": named["brain"]}  # fmt: skip
    for name, image in images.items():
        np.testing.assert_array_equal(image.array, voxels_of(name))
    assert (scan.contrast, named["reference"].contrast, named["brain"].contrast) == ("T1w", "T1w", "other")
    assert [contrast for contrast, image in named["contrasts"].items() if image.contrast == contrast] == [
        "T2w",
        "FLAIR",
    ]
    assert (named["reference_labels"].array.max(), named["lesions"].array.max()) == (2, 3)
    assert named["displacement"] == f"read {path('displacement')}"


def test_every_option_of_report_is_heeded(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = path_in(folder)
    command = ["report", path("scan_T1w"), path("enhanced_of_it"), "-o", str(folder / "r.html"), "--register",
               "--reference", path("reference_T1w"), "--reference-labels", path("reference_labels"),
               "--brain-mask", path("mask"), "--lesions", path("lesions"), "--spacing", "1.5",
               "--device", "cpu", "--lpips", "weights.pth", "--sigma", "9", "--psf", "2", "2", "6",
               "--profile", "box", "--mirrored"]  # fmt: skip
    monkeypatch.setattr("LowFieldEnhanceLib.evaluation.lpips.read_lpips", lambda _: None)
    images, named, _ = called(monkeypatch, "LowFieldEnhanceLib.pipeline.assess", command, capsys)
    for name, image in zip(("scan_T1w", "enhanced_of_it"), images, strict=True):
        np.testing.assert_array_equal(image.array, voxels_of(name))
    np.testing.assert_array_equal(named["reference"].array, voxels_of("reference_T1w"))
    np.testing.assert_array_equal(named["brain"].array, voxels_of("mask"))
    assert (named["reference_labels"].array.max(), named["lesions"].array.max()) == (2, 3)
    assert (named["spacing"], named["register_reference"], named["device"]) == (1.5, True, "cpu")
    assert named["lpips"] == "weights.pth"
    assert (named["sigma"], named["fwhm"], named["profile"]) == (9.0, (2.0, 2.0, 6.0), "box")
    assert named["mirrored"] is True


@pytest.mark.parametrize("mirrored", [True, False])
def test_segment_looks_at_the_mirror_image_if_told_to(
    folder: Path, monkeypatch: pytest.MonkeyPatch, mirrored: bool
) -> None:
    seen = []

    def begin(_: object, device: str, mirrored: bool) -> None:
        seen.append((device, mirrored))
        raise BadInput("that is enough")

    monkeypatch.setattr("LowFieldEnhanceLib.segmentation.segmenter.Segmenter.__init__", begin)
    command = ["segment", path_in(folder)("scan_T1w"), "-o", path_in(folder)("new"), "--device", "cpu"]
    assert cli.main([*command, *(["--mirrored"] if mirrored else [])]) == 2
    assert seen == [("cpu", mirrored)]


def test_every_option_of_simulate_is_heeded(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = path_in(folder)
    command = ["simulate", path("scan_T1w"), "-o", path("new"), "--spacing", "2", "3", "4", "--snr", "15",
               "--profile", "box", "--noise", "gaussian", "--filter", "1.5", "--bias", "0.2", "--field-contrast",
               "0.7", "--labels", path("reference_labels"), "--seed", "9"]  # fmt: skip
    (image, protocol, seed, labels), _, _ = called(
        monkeypatch, "LowFieldEnhanceLib.physics.simulate.simulate", command, capsys
    )
    assert protocol == Protocol((2, 3, 4), 15, "box", None, "gaussian", 0.2, 0.7, 1.5)
    assert seed == 9 and labels.array.max() == 2
    np.testing.assert_array_equal(image.array, voxels())


def test_every_option_of_compare_is_heeded(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = path_in(folder)
    command = ["compare", path("scan_T1w"), "-o", str(folder / "new"), "-m", "cubic,linear", "--no-segment",
               "--mirrored", "--seed", "4", "--spacing", "1.5", "--device", "cpu",
               "--reference", path("reference_T1w"), "--register", "--brain-mask", path("mask"),
               "--lesions", path("lesions"), "--lpips", "x.pth", "--with", f"T2w={path('other_T2w')}"]  # fmt: skip
    monkeypatch.setattr("LowFieldEnhanceLib.evaluation.lpips.read_lpips", lambda _: None)
    (_, choices, settings), named, _ = called(monkeypatch, "LowFieldEnhanceLib.compare.compare", command, capsys)
    assert [name for name, _ in choices] == ["cubic", "linear"]
    changed = {"segment": False, "mirrored": True, "seed": 4, "spacing": 1.5, "device": "cpu"}
    changed |= {"register_reference": True, "lpips": "x.pth"}
    assert asdict(settings) == {**asdict(pipeline.Options()), **changed}
    np.testing.assert_array_equal(named["reference"].array, voxels_of("reference_T1w"))
    np.testing.assert_array_equal(named["brain"].array, voxels_of("mask"))
    assert named["lesions"].array.max() == 3 and list(named["contrasts"]) == ["T2w"]


@pytest.mark.parametrize("option", ["-o", "--segmentation", "--fidelity", "--added-detail"])
@pytest.mark.parametrize(
    "name", ["scan_T1w", "other_T2w", "reference_T1w", "reference_labels", "mask", "lesions", "displacement"]
)
def test_no_output_of_enhance_takes_the_place_of_a_file_that_was_given(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str, option: str
) -> None:
    path = path_in(folder)
    before = {entry.name: entry.read_bytes() for entry in folder.iterdir()}
    outputs = ["-o", path("new"), option, path(name)] if option != "-o" else ["-o", path(name)]
    code = cli.main(
        ["enhance", path("scan_T1w"), *outputs, "--with", f"T2w={path('other_T2w')}",
         "--reference", path("reference_T1w"), "--reference-labels", path("reference_labels"),
         "--brain-mask", path("mask"), "--lesions", path("lesions"), "--displacement", path("displacement"),
         "--json"]
    )  # fmt: skip
    assert code == 2 and "never overwritten" in capsys.readouterr().out
    assert {entry.name: entry.read_bytes() for entry in folder.iterdir()} == before


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["--register"], "--register needs --reference"),
        (["--reference-labels", "{reference_labels}"], "--reference-labels needs --reference"),
        (["--with", "T1w={other_T2w}"], "T1w was given twice"),
        (["--with", "T2w={other_T2w}", "--with", "T2w={flair}"], "T2w was given twice"),
        (["--uncertainty", "{new2}", "-m", "cubic"], "needs --samples 2 or more"),
        (["--report-json", "r.csv"], "--report-json must end in .json, and r.csv does not"),
        (["--report-csv", "r.HTML"], "--report-csv must end in .csv, and r.HTML does not"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], given: list[str], sentence: str
) -> None:
    given = [text.replace("{", f"{folder}/").replace("}", ".nii.gz") for text in given]
    before = sorted(folder.iterdir())
    assert cli.main(["enhance", str(folder / "scan_T1w.nii.gz"), "-o", str(folder / "new.nii.gz"), *given]) == 2
    assert sentence in capsys.readouterr().err
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(
    ("description", "warned"), [("ENHANCED - not for diagnosis: T1w bridged", True), ("ax t1", False)]
)
def test_an_enhanced_dicom_series_is_not_taken_for_a_scan_without_a_word(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], description: str, warned: bool
) -> None:
    scan = Image(voxels(), AFFINE, "T1w", {"SeriesDescription": description})
    monkeypatch.setattr(image_io, "read_image", lambda *_, **__: scan)
    command = ["enhance", str(folder), "-o", str(folder / "new.nii.gz")]
    _, _, events = called(monkeypatch, "LowFieldEnhanceLib.pipeline.enhance", command, capsys)
    assert any("is an enhanced volume already" in event.get("message", "") for event in events) == warned


def test_whether_the_scan_was_moved_is_asked_before_dicom_files_are_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["enhance", path_in(folder)("scan_T1w"), "-o", path_in(folder)("new")]
    (_, scan, _), _, _ = called(monkeypatch, "LowFieldEnhanceLib.outputs.Wanted.in_frame_of", command, capsys)
    np.testing.assert_array_equal(scan.array, voxels())


@pytest.mark.parametrize("name", ["r.pdf", "absent/r.html", "mine.csv", "folder.html"])
def test_a_report_that_cannot_be_written_is_refused_before_the_work(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (folder / "mine.csv").write_text("my,numbers\n")
    (folder / "folder.html").mkdir()
    monkeypatch.setattr("LowFieldEnhanceLib.pipeline.assess", lambda *_, **__: 1 / 0)
    path = path_in(folder)
    assert cli.main(["report", path("scan_T1w"), path("enhanced_of_it"), "-o", str(folder / name), "--json"]) == 2
    assert "BadInput" in capsys.readouterr().out
    assert (folder / "mine.csv").read_text() == "my,numbers\n"


@pytest.mark.parametrize(("name", "contrast"), [("other_T2w", "T2w"), ("flair", "FLAIR"), ("mask", "T1w")])
def test_a_reference_has_the_contrast_of_its_name_and_else_that_of_the_scan(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, contrast: str
) -> None:
    path = path_in(folder)
    command = ["enhance", path("scan_T1w"), "-o", path("new"), "--reference", path(name)]
    _, named, _ = called(monkeypatch, "LowFieldEnhanceLib.pipeline.enhance", command, capsys)
    assert named["reference"].contrast == contrast


def test_a_simulated_scan_is_called_that_and_not_enhanced(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image_io.write_image(Image(np.abs(voxels((20, 20, 20))), np.eye(4)), folder / "head_T1w.nii.gz", "a scan")
    path = path_in(folder)
    assert cli.main(["simulate", path("head_T1w"), "-o", path("low"), "--spacing", "2", "2", "4", "--json"]) == 0
    assert note_of(folder / "low.nii.gz") == "SIMULATED low-field scan"
