"""``lowfield-enhance batch`` on tiny phantoms with a classical method: files, resuming, failures, cancel."""

from __future__ import annotations

import csv
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from batch_support import RegisteredAnatomy
from child_support import cancelled_within_two_seconds
from compare_support import labelled_by
from phantoms import phantom_head
from scipy.spatial.transform import Rotation

from LowFieldEnhanceLib import pipeline
from LowFieldEnhanceLib.cli import build_parser, main
from LowFieldEnhanceLib.evaluation.volumes import label_volumes_ml
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.image_io import read_image, read_labels, write_image, write_labels
from LowFieldEnhanceLib.physics.simulate import Protocol, simulate

FILES = {
    "batch.json", "enhanced.json", "enhanced.nii.gz", "report.csv", "report.html", "report.json", "report_values.csv",
    "segmentation.nii.gz",
}  # fmt: skip
SUMMARY = {"summary.csv", "summary.html", "summary.json"}
QUICK = ("-m", "cubic", "--spacing", "4", "--device", "cpu")


@pytest.fixture(scope="module")
def anatomy(tiny_models_folder: Path) -> Iterator[None]:
    """Every scan is labelled with the phantom's own anatomy; the registered weights are the tiny ones."""
    with labelled_by(RegisteredAnatomy, tiny_models_folder):
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scans of the phantom, a damaged one, the phantom itself, its thalami as lesions, and a table of all."""
    folder = tmp_path_factory.mktemp("data")
    head, labels = phantom_head()
    for n in (1, 2):
        write_image(
            simulate(head, Protocol(spacing=(4.0, 4.0, 6.0), snr=30), seed=n), folder / f"s{n}_T1w.nii.gz", "scan"
        )
    broken = np.where(head.array > 0, np.nan, 0)
    write_image(head.with_array(broken), folder / "nan_T1w.nii.gz", "scan")
    (folder / "extra").mkdir()
    write_image(head, folder / "extra" / "reference_T1w.nii.gz", "scan")
    thalami = np.where(np.isin(labels.array, (10, 49)), labels.array, 0)
    write_labels(type(labels)(thalami, labels.affine, {}), folder / "extra" / "lesions.nii.gz")
    (folder / "scans.tsv").write_text(
        "input\tcontrast\treference\tlesions\tname\n"
        "s1_T1w.nii.gz\tT2w\textra/reference_T1w.nii.gz\textra/lesions.nii.gz\tfirst\n"
        "nan_T1w.nii.gz\t\t\t\tbroken\n"
        "s2_T1w.nii.gz\t\t\t\tsecond\n"
    )
    return folder


@pytest.fixture(scope="module")
def finished(data: Path, anatomy: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[int, Path]:
    """Exit code and folder of a batch over the table."""
    out = tmp_path_factory.mktemp("batch") / "out"
    return main(["batch", str(data / "scans.tsv"), "-o", str(out), *QUICK, "--json"]), out


def run_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[dict]]:
    code = main([*arguments, "--json"])
    return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def report(out: Path, name: str) -> dict[str, Any]:
    return json.loads((out / name / "report.json").read_text(encoding="utf-8"))


def rows(out: Path) -> dict[str, dict[str, str]]:
    with (out / "summary.csv").open(newline="", encoding="utf-8") as stream:
        return {row["name"]: row for row in csv.DictReader(stream)}


def test_every_scan_gets_what_enhance_writes_and_a_failure_is_exit_code_2(finished: tuple[int, Path]) -> None:
    code, out = finished
    assert code == 2
    assert {p.name for p in out.iterdir()} == {"first", "second", *SUMMARY}
    assert all({p.name for p in (out / name).iterdir()} == FILES for name in ("first", "second"))
    assert rows(out)["broken"]["state"] == "failed"
    assert "NaN" in rows(out)["broken"]["message"]


def test_the_result_is_that_of_enhance(
    data: Path, finished: tuple[int, Path], anatomy: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    single = tmp_path / "single.nii.gz"
    assert main(["enhance", str(data / "s2_T1w.nii.gz"), "-o", str(single), *QUICK]) == 0
    assert np.array_equal(read_image(single).array, read_image(finished[1] / "second" / "enhanced.nii.gz").array)
    told, alone = (
        json.loads(p.read_text()) for p in (finished[1] / "second" / "enhanced.json", tmp_path / "single.json")
    )
    assert {**told, "seconds": 0} == {**alone, "seconds": 0}


def test_the_volumes_of_the_summary_are_those_of_the_segmentation(finished: tuple[int, Path]) -> None:
    row, out = rows(finished[1])["second"], finished[1]
    counted = label_volumes_ml(read_labels(out / "second" / "segmentation.nii.gz"))
    assert float(row["Left Thalamus volume_enhanced_ml"]) == pytest.approx(counted[10], rel=1e-5)
    assert float(row["Right Thalamus volume_enhanced_ml"]) == pytest.approx(counted[49], rel=1e-5)
    assert counted[49] > counted[10]  # as in the phantom


def test_contrast_reference_and_lesions_of_the_table_reach_the_scan_they_belong_to(finished: tuple[int, Path]) -> None:
    first, second = (report(finished[1], name) for name in ("first", "second"))
    assert (first["input"]["contrast"], second["input"]["contrast"]) == ("T2w", "T1w")
    assert (first["has_reference"], second["has_reference"]) == (True, False)
    assert len(first["lesions"]["regions"]) == 2 and second["lesions"] is None
    row = rows(finished[1])
    assert float(row["first"]["mean_absolute_error_enhanced_percent"]) == pytest.approx(
        first["summary"]["mean_absolute_error_enhanced_percent"], rel=1e-5, abs=1e-9
    )
    assert row["second"]["mean_absolute_error_enhanced_percent"] == ""
    assert "error" not in row["second"]["verdict"].lower()


def test_a_second_call_leaves_out_what_is_finished_and_does_what_is_different(
    data: Path, finished: tuple[int, Path], anatomy: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    code, events = run_json(capsys, "batch", str(data / "s1_T1w.nii.gz"), "-o", str(out), *QUICK)
    assert (code, events[-1]["done"], events[-1]["done_before"]) == (0, 1, 0)
    pattern = str(data / "s*_T1w.nii.gz")
    before = (out / "s1_T1w" / "enhanced.nii.gz").stat().st_mtime_ns
    code, events = run_json(capsys, "batch", pattern, "-o", str(out), *QUICK)
    assert (code, events[-1]["done"], events[-1]["done_before"]) == (0, 1, 1)
    assert (out / "s1_T1w" / "enhanced.nii.gz").stat().st_mtime_ns == before
    code, events = run_json(capsys, "batch", str(data / "s1_T1w.nii.gz"), "-o", str(out), *QUICK, "--brain-only")
    assert (code, events[-1]["done"], events[-1]["done_before"]) == (0, 1, 0)


def test_a_scan_that_was_moved_and_stored_in_another_format_is_known_again(
    data: Path, anatomy: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan = read_image(data / "s1_T1w.nii.gz")
    tilted = np.eye(4)
    tilted[:3, :3] = Rotation.from_euler("x", 7, degrees=True).as_matrix()
    oblique = Image(scan.array, tilted @ scan.affine)
    paths = [tmp_path / place for place in ("old/s_T1w.nrrd", "new/s_T1w.nii.gz", "other/s_T1w.nrrd")]
    for path, image in zip(paths, (oblique, oblique, Image(scan.array + 1, oblique.affine)), strict=True):
        path.parent.mkdir()
        write_image(image, path, "scan")
    old, new, other = (str(path) for path in paths)
    assert read_image(old).sha256() != read_image(new).sha256()  # the formats round the affine differently
    out = str(tmp_path / "out")
    assert run_json(capsys, "batch", old, "-o", out, *QUICK)[0] == 0
    code, events = run_json(capsys, "batch", new, "-o", out, *QUICK)
    assert (code, events[-1]["done"], events[-1]["done_before"]) == (0, 0, 1)
    code, events = run_json(capsys, "batch", new, "-o", out, *QUICK, "--brain-only")
    assert (code, events[-1]["done"], events[-1]["done_before"]) == (0, 1, 0)
    code, events = run_json(capsys, "batch", other, "-o", out, *QUICK)
    assert code == 2 and "holds the results of another scan" in str(events[-1])


def test_an_output_folder_inside_the_input_folder_is_not_picked_up_and_inputs_stay_as_they_were(
    data: Path, anatomy: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "scans"
    folder.mkdir()
    source = folder / "s1_T1w.nii.gz"
    source.write_bytes((data / "s1_T1w.nii.gz").read_bytes())
    for kept in (0, 1):
        code, events = run_json(capsys, "batch", str(folder), "-o", str(folder / "out"), *QUICK, "--maps")
        assert (code, events[-1]["scans"], events[-1]["done_before"]) == (0, 1, kept)
    assert {p.name for p in (folder / "out" / "s1_T1w").iterdir()} == {*FILES, "fidelity.nii.gz", "added_detail.nii.gz"}
    assert source.read_bytes() == (data / "s1_T1w.nii.gz").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["{data}", "-o", "{out}", "-m", "magic"], 2, "unknown method"),
        (["{data}", "-o", "{out}", "-p", "slow"], 2, "no preset"),
        (["{data}", "-o", "{out}", "--spacing", "90"], 2, "spacing"),
        (["{data}", "-o", "{out}", "--sigma", "inf"], 2, "noise level"),
        (["{data}", "-o", "{out}", "--psf", "0", "1", "1"], 2, "point-spread function"),
        (["{data}", "-o", "{out}", "--seed", "99999999999999999999"], 2, "the seed"),
        (["{data}", "-o", "{out}", "--displacement", "gone.nii"], 2, "does not exist"),
        (["{data}", "-o", "{out}", "--device", "abacus"], 2, "unknown device"),
        (["{data}", "-o", "{out}/no/such"], 2, "does not exist"),
        (["{data}", "-o", "{out}", "--reference", "x.nii"], 2, "unrecognized"),
        (["-o", "{out}"], 2, "required"),
    ],
)
def test_what_would_fail_for_every_scan_is_refused_before_any_work(
    data: Path, tiny_models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    arguments: list[str], code: int, sentence: str,
) -> None:  # fmt: skip
    given = [a.format(data=data, out=tmp_path / "out") for a in arguments]
    found, events = run_json(capsys, "batch", *given)
    assert found == code
    assert [e["event"] for e in events] == ["error"]
    assert sentence in events[0]["message"]
    assert list(tmp_path.iterdir()) == []


def test_missing_weights_are_exit_code_3_before_any_work(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("LowFieldEnhanceLib.weights.resource", lambda *_: tmp_path)
    monkeypatch.delenv("LOWFIELDENHANCE_MODELS", raising=False)
    code, events = run_json(capsys, "batch", str(data), "-o", str(tmp_path / "out"))
    assert (code, events[-1]["kind"]) == (3, "MissingModel")
    assert list(tmp_path.iterdir()) == []


def test_every_option_of_enhance_is_one_of_the_batch_or_of_a_single_scan() -> None:
    parser = build_parser()
    single = vars(parser.parse_args(["enhance", "x.nii", "-o", "y.nii"]))
    many = vars(parser.parse_args(["batch", "x.nii", "-o", "out"]))
    of_one = {
        "input", "others", "reference", "reference_labels", "lesions", "brain_mask", "segmentation", "fidelity",
        "added_detail", "uncertainty", "report", "report_json", "report_csv", "dicom_source", "dicom_patient",
    }  # fmt: skip
    assert single.keys() - many.keys() == of_one
    assert all(many[name] == single[name] for name in many["borrowed"])


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_the_batch_within_2_seconds_and_keeps_the_finished_scans(
    data: Path, tiny_models: Path, tmp_path: Path, how: signal.Signals
) -> None:
    """The slow second scan is interrupted in its work; the first one was done before."""
    out = tmp_path / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "Segmenter", RegisteredAnatomy)
        assert main(["batch", str(data / "s1_T1w.nii.gz"), "-o", str(out), *QUICK, "--json"]) == 0
    done = {p.name: p.read_bytes() for p in (out / "s1_T1w").iterdir()}
    slow = ["--samples", "8", "-m", "linear", "--spacing", "1", "--device", "cpu"]
    cancelled_within_two_seconds(
        ["batch", str(data / "s2_T1w.nii.gz"), "-o", str(out), *slow],
        how,
        lambda event: event.get("stage", "").startswith("s2_T1w (1 of 1): "),
    )
    assert {p.name for p in out.iterdir()} == {"s1_T1w", *SUMMARY}
    assert {p.name: p.read_bytes() for p in (out / "s1_T1w").iterdir()} == done
