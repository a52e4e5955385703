"""When a batch may keep a scan's results: whatever they were made of and with must be the same, and nothing else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from phantoms import voxels

from LowFieldEnhanceLib.batch_command import EachScan
from LowFieldEnhanceLib.batch_results import Request
from LowFieldEnhanceLib.batch_scans import Scan
from LowFieldEnhanceLib.cli import build_parser
from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.image_io import write_image, write_labels
from LowFieldEnhanceLib.segmentation.labels import LabelMap

AFFINE = np.diag([2.0, 2.0, 3.0, 1.0])


@pytest.fixture
def scan(tmp_path: Path, tiny_models: Path) -> Scan:
    """With reference and lesions; beside it a file that stands for a displacement field."""
    for name, shift in (("scan_T1w", 0), ("reference_T1w", 1), ("other_T1w", 2)):
        write_image(Image(voxels() + shift, AFFINE), tmp_path / f"{name}.nii.gz", "a scan")
    for name, number in (("lesions", 1), ("more", 2)):
        write_labels(LabelMap(np.full((5, 7, 6), number), AFFINE, {}), tmp_path / f"{name}.nii.gz")
    (tmp_path / "field.tfm").write_text("a field")
    place = tmp_path / "scan_T1w.nii.gz"
    return Scan("s", place, None, tmp_path / "reference_T1w.nii.gz", tmp_path / "lesions.nii.gz")


def work(*given: str) -> EachScan:
    return EachScan(build_parser().parse_args(["batch", "x.nii", "-o", "out", *given]))


def asked(scan: Scan, *given: str) -> Request:
    return work(*given).request(scan)


@pytest.mark.parametrize(
    "given",
    [
        ("-m", "cubic"), ("-p", "standard"), ("--seed", "1"), ("--spacing", "2"), ("--brain-only",), ("--n4",),
        ("--sigma", "5"), ("--samples", "2"), ("--data-consistency",), ("--register",), ("--contrast", "T2w"),
        ("--maps",), ("--dicom",), ("--psf", "2", "2", "5"), ("--profile", "box"),
    ],
    ids=lambda given: given[0],
)  # fmt: skip
def test_another_setting_is_another_request(scan: Scan, given: tuple[str, ...]) -> None:
    assert asked(scan, *given) != asked(scan)
    assert asked(scan, *given) == asked(scan, *given)


def without_reference(scan: Scan) -> Scan:
    return replace(scan, reference=None)


def without_lesions(scan: Scan) -> Scan:
    return replace(scan, lesions=None)


def other_reference(scan: Scan) -> Scan:
    return replace(scan, reference=scan.input.with_name("other_T1w.nii.gz"))


def other_lesions(scan: Scan) -> Scan:
    return replace(scan, lesions=scan.input.with_name("more.nii.gz"))


def other_input(scan: Scan) -> Scan:
    return replace(scan, input=scan.input.with_name("other_T1w.nii.gz"))


def other_contrast(scan: Scan) -> Scan:
    return replace(scan, contrast="FLAIR")


@pytest.mark.parametrize(
    "changed",
    [without_reference, without_lesions, other_reference, other_lesions, other_input, other_contrast],
    ids=lambda changed: changed.__name__,
)
def test_another_file_or_contrast_is_another_request(scan: Scan, changed: Callable[[Scan], Scan]) -> None:
    assert asked(changed(scan)) != asked(scan)


def test_a_scan_named_as_a_map_is_asked_of_unless_the_contrast_was_said(scan: Scan) -> None:
    named = replace(scan, input=scan.input.rename(scan.input.with_name("T1map.nii.gz")))
    with pytest.raises(BadInput, match="T1map.nii.gz is a quantitative map"):
        asked(named)
    for said in ("T1w", "other"):
        assert asked(replace(named, contrast=said)) == asked(named, "--contrast", said)


def test_what_changes_no_result_is_the_same_request(scan: Scan) -> None:
    for path in (scan.input, scan.reference, scan.lesions):
        shutil.copy(path, path.with_name(f"same_{path.name}"))
    renamed = replace(
        scan, name="t", **{key: getattr(scan, key).with_name(f"same_{getattr(scan, key).name}")
                           for key in ("input", "reference", "lesions")}
    )  # fmt: skip
    assert asked(renamed, "--device", "cpu") == asked(scan)
    alone = without_reference(scan)
    assert asked(alone, "--register") == asked(alone)  # there is nothing to register


def test_another_displacement_field_of_the_same_name_is_another_request(scan: Scan) -> None:
    field = scan.input.with_name("field.tfm")
    before = asked(scan, "--displacement", str(field))
    assert before != asked(scan)
    moved = field.rename(field.with_name("moved.tfm"))
    assert asked(scan, "--displacement", str(moved)) == before
    moved.write_text("another field")
    assert asked(scan, "--displacement", str(moved)) != before


@pytest.mark.parametrize(("network", "counts"), [("bridged_bridge", True), ("segmenter", True), ("slice_prior", False)])
def test_other_weights_are_another_request_if_the_run_uses_them(
    scan: Scan, tiny_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: str, counts: bool
) -> None:
    before = asked(scan, "-m", "bridged")
    shutil.copytree(tiny_models, tmp_path / "models")
    registry = json.loads((tmp_path / "models" / "models.json").read_text())
    registry["models"][network]["sha256"] = "0" * 64
    (tmp_path / "models" / "models.json").write_text(json.dumps(registry))
    monkeypatch.setenv("LOWFIELDENHANCE_MODELS", str(tmp_path / "models"))
    assert (asked(scan, "-m", "bridged") != before) == counts


def test_a_scan_is_enhanced_with_its_own_files_and_writes_what_was_asked_for(scan: Scan, tmp_path: Path) -> None:
    plain = vars(work("--contrast", "T2w", "--seed", "3").of_one_scan(scan, tmp_path))
    assert (plain["input"], plain["reference"], plain["lesions"]) == tuple(
        str(path) for path in (scan.input, scan.reference, scan.lesions)
    )
    assert (plain["contrast"], plain["seed"], plain["register"]) == ("T2w", 3, False)
    outputs = ("fidelity", "added_detail", "uncertainty", "dicom")
    assert [plain[name] for name in outputs] == [None] * 4
    flair = replace(scan, contrast="FLAIR")
    full = vars(
        work("--contrast", "T2w", "--maps", "--dicom", "--samples", "2", "--register").of_one_scan(flair, tmp_path)
    )
    assert full["contrast"] == "FLAIR" and full["register"] is True
    assert [Path(full[name]).parent for name in outputs] == [tmp_path] * 4
    assert len({full[name] for name in outputs}) == 4
    single = vars(work("--maps").of_one_scan(scan, tmp_path))
    assert single["uncertainty"] == full["uncertainty"], "of a single result of the bridge it is known"
    one = vars(work("--maps", "--register", "-m", "cubic").of_one_scan(without_reference(scan), tmp_path))
    assert one["uncertainty"] is None and one["fidelity"] is not None and one["register"] is False
