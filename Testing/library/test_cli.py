"""The command line: exit codes, one sentence for each refusal, nothing left behind, cancel."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from child_support import cancelled_within_two_seconds
from cli_support import SAMPLE, run_json

from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.image_io import read_image, write_image
from LowFieldEnhanceLib.resources import resource


@pytest.fixture
def brain_mask(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A brain-sized ellipsoid in the middle of the sample, so that random networks have a brain to work on."""
    scan = read_image(SAMPLE)
    centre = (np.array(scan.shape) - 1) / 2
    places = (np.indices(scan.shape).T - centre) * scan.spacing
    inside = ((places / (65, 80, 60)) ** 2).sum(-1).T < 1
    path = tmp_path_factory.mktemp("mask") / "brain.nii.gz"
    write_image(scan.with_array(inside.astype(np.float32)), path, "mask")
    return str(path)


def test_methods_lists_every_method_with_its_licence(tiny_models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, events = run_json(capsys, "methods")
    assert code == 0
    methods = events[-1]["methods"]
    assert {"bridged", "regression", "cubic", "linear", "bm4d"} <= set(methods)
    assert methods["bridged"]["licences"] == ["Apache-2.0"]  # that of the registered (here: random) weights


def test_methods_says_which_weights_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("LowFieldEnhanceLib.weights.resource", lambda *_: tmp_path)
    monkeypatch.delenv("LOWFIELDENHANCE_MODELS", raising=False)
    code, events = run_json(capsys, "methods")
    assert code == 0
    methods = events[-1]["methods"]
    assert methods["bridged"]["missing_models"] == ["bridged_bridge", "bridged_companions", "bridged_prior"]
    assert methods["cubic"]["missing_models"] == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["enhance", "missing.nii.gz", "-o", "{out}/e.nii.gz"], "does not exist"),
        (["enhance", SAMPLE, "-o", "{out}/e.txt"], "must end in"),
        (["enhance", SAMPLE, "-o", "{out}/no/such/e.nii.gz"], "does not exist"),
        (["enhance", SAMPLE, "-o", "{out}/e.nii.gz", "-m", "magic"], "unknown method"),
        (["enhance", SAMPLE, "-o", "{out}/e.nii.gz", "-p", "slow"], "no preset"),
        (["enhance", SAMPLE, "-o", "{out}/e.nii.gz", "--report", "{out}/r.pdf"], "must end in"),
        (["enhance", SAMPLE, "-o", "{out}/e.nii.gz", "--segmentation", "{out}/e.nii.gz"], "same name"),
        (["enhance", SAMPLE, "-o", "{out}/e.nii.gz", "--with", "T9w=x"], "--with"),
        (["enhance", SAMPLE], "required"),
        (["simulate", SAMPLE, "-o", "{out}/s.nii.gz", "--snr", "-1"], "positive SNR"),
        (["report", SAMPLE, "missing.nii.gz", "-o", "{out}/r.html"], "does not exist"),
        (["simulate", SAMPLE, "--labels", SAMPLE, "-o", SAMPLE], "never overwritten"),
        (["train", "magic", "--out", "{out}/run", "--data", "{out}"], "unknown recipe"),
        (["train", "segmenter", "--out", "{out}/run", "--data", "{out}", "--minutes", "0"], "minutes above 0"),
        (["train", "segmenter", "--out", "{out}/run", "--data", "{out}", "--device", "abacus"], "unknown device"),
        (["train", "segmenter", "--out", "{out}/run", "--data", "{out}", "--seed", "-1"], "must not be below 0"),
        (["train", "segmenter", "--out", "{out}/run", "--data", "{out}", "--threads", "0"], "at least 1"),
        (["train", "segmenter", "--out", "{out}/run", "--data", "{out}", "--learning-rate", "0"], "must be above 0"),
        (["train", "segmenter", "--out", "{out}/run", "--data", "{out}", "--learning-rate", "inf"], "rate inf must"),
        (["train", "bridged_prior", "--out", "{out}/run", "--data", "{out}"], "no training heads"),
        (["batch", "{out}", "-o", ""], "the value of -o is empty"),
        (["demo", "--output="], "the value of --output is empty"),
        (["enhance", "", "-o", "{out}/e.nii.gz"], "the value is empty"),
        (
            ["train", "bridged_prior", "--out", "{out}/run", "--data", "{out}", "--loss-weights", "1", "-1", "1"],
            "1 -1 1",
        ),
        (["train", "segmenter", "--out", "{out}/run", "--data", "{out}", "--loss-weights", "1"], "no option 'loss-wei"),
    ],
)
def test_bad_input_is_one_sentence_exit_code_2_and_no_file(
    arguments: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, events = run_json(capsys, *(a.replace("{out}", str(tmp_path)) for a in arguments))
    assert code == 2
    assert events[-1]["event"] == "error"
    assert events[-1]["kind"] == "BadInput"
    assert sentence in events[-1]["message"]
    assert "\n" not in events[-1]["message"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        *(([f"--sigma={sigma}"], "noise level") for sigma in ("inf", "nan", "0", "-1")),
        (["--psf", "1", "1", "0"], "widths of the point-spread function"),
        (["--psf", "1", "1", "nan"], "widths of the point-spread function"),
        (["--psf", "1", "1", "5", "--profile", "point"], "has no width"),
        (["--profile", "sinc"], "invalid choice: 'sinc'"),
    ],
)
@pytest.mark.parametrize("command", ["enhance", "report", "compare"])
def test_noise_and_profile_that_no_scan_has_are_refused_before_any_work(
    command: str, given: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs = {"enhance": [SAMPLE, "-m", "cubic"], "report": [SAMPLE, SAMPLE], "compare": [SAMPLE, "-m", "cubic"]}
    output = {"enhance": "e.nii.gz", "report": "r.html", "compare": "folder"}[command]
    code, events = run_json(capsys, command, *inputs[command], "-o", str(tmp_path / output), *given)
    said = [event["event"] for event in events if event["event"] != "warning"]  # that the volume is the scan itself
    assert code == 2 and said == ["error"]
    assert sentence in events[-1]["message"]
    assert list(tmp_path.iterdir()) == []


def test_the_input_is_never_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "scan_T1w.nii.gz"
    copy.write_bytes(Path(SAMPLE).read_bytes())
    before = copy.read_bytes()
    code, events = run_json(capsys, "enhance", str(copy), "-o", str(copy))
    assert code == 2
    assert "never overwritten" in events[-1]["message"]
    assert copy.read_bytes() == before


def test_damaged_volumes_are_refused_before_any_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    array = np.random.default_rng(0).random((12, 12, 12)).astype(np.float32)
    array[3, 4, 5] = np.nan
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array), str(tmp_path / "nan_T1w.nii.gz"))
    code, events = run_json(capsys, "enhance", str(tmp_path / "nan_T1w.nii.gz"), "-o", str(tmp_path / "e.nii.gz"))
    assert (code, events[-1]["kind"]) == (2, "BadInput")
    assert "NaN" in events[-1]["message"]
    assert not (tmp_path / "e.nii.gz").exists()


def test_missing_and_corrupt_weights_are_exit_code_3(
    tmp_path: Path, tiny_models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken, out = tmp_path / "models", tmp_path / "out"
    broken.mkdir()
    out.mkdir()
    (broken / "models.json").write_bytes((tiny_models / "models.json").read_bytes())
    monkeypatch.setenv("LOWFIELDENHANCE_MODELS", str(broken))
    code, events = run_json(capsys, "enhance", SAMPLE, "-o", str(out / "e.nii.gz"))
    assert (code, events[-1]["kind"]) == (3, "MissingModel")
    shutil.copytree(tiny_models, broken, dirs_exist_ok=True)
    weights = bytearray((tiny_models / "segmenter.safetensors").read_bytes())
    weights[-1] ^= 1
    (broken / "segmenter.safetensors").write_bytes(weights)
    code, events = run_json(capsys, "enhance", SAMPLE, "-o", str(out / "e.nii.gz"))
    assert (code, events[-1]["kind"]) == (3, "CorruptModel")
    assert list(out.iterdir()) == []


def test_simulate_writes_the_protocols_grid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = str(resource("SampleData", "colin27_reference_T1w.nii.gz"))
    target = tmp_path / "low.nii.gz"
    code, events = run_json(capsys, "simulate", source, "-o", str(target), "--spacing", "2", "2", "6")
    assert code == 0
    assert events[-1]["output"] == str(target)
    assert read_image(target).spacing == pytest.approx((2, 2, 6), abs=1e-5)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_the_run_within_2_seconds_and_leaves_nothing(
    tmp_path: Path, tiny_models: Path, brain_mask: str, how: signal.Signals
) -> None:
    outputs = ["-o", str(tmp_path / "e.nii.gz"), "--report", str(tmp_path / "r.html")]
    cancelled_within_two_seconds(
        ["enhance", SAMPLE, "-p", "paper", "--spacing", "3", "--brain-mask", brain_mask, *outputs],
        how,
        lambda event: event.get("stage") == "enhance" and event["done"] > 1,
    )
    assert list(tmp_path.iterdir()) == []


def test_one_line_is_enough(
    tmp_path: Path, tiny_models: Path, brain_mask: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """``lowfield-enhance enhance scan.nii.gz -m bridged -o enhanced.nii.gz --report report.html``."""
    out, page = tmp_path / "enhanced.nii.gz", tmp_path / "report.html"
    code, events = run_json(capsys, "enhance", SAMPLE, "-m", "bridged", "-o", str(out), "--report", str(page),
                            "--brain-mask", brain_mask, "--spacing", "3")  # fmt: skip
    assert code == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["enhanced.json", "enhanced.nii.gz", "report.html"]
    assert read_image(out).spacing == pytest.approx((3, 3, 3))
    header = SimpleITK.ReadImage(str(out))
    assert "not for diagnosis" in header.GetMetaData("descrip")
    text = page.read_text(encoding="utf-8")
    assert "ENHANCED - not for diagnosis" in text
    assert "http://" not in text and "https://" not in text and 'src="data:image/png' in text
    assert events[-1]["event"] == "result"
    sidecar = json.loads((tmp_path / "enhanced.json").read_text(encoding="utf-8"))
    assert sidecar == events[-1]["provenance"]


def test_an_enhanced_volume_is_not_taken_for_a_scan_without_a_word(
    tmp_path: Path, tiny_models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("LowFieldEnhanceLib.pipeline.enhance", lambda *_, **__: 1 / 0)
    write_image(read_image(SAMPLE), tmp_path / "enhanced_T1w.nii.gz")
    for given, count in ((SAMPLE, 0), (str(tmp_path / "enhanced_T1w.nii.gz"), 1)):
        _, events = run_json(capsys, "enhance", given, "-m", "cubic", "-o", str(tmp_path / "again.nii.gz"))
        assert sum("is an enhanced volume already" in event.get("message", "") for event in events) == count


@pytest.mark.parametrize(("given", "said"), [([], "not in the file's name or header"), (["other"], "given as other")])
def test_a_contrast_that_nobody_said_is_not_claimed_by_the_report(
    given: list[str], said: str, tmp_path: Path, tiny_models: Path, brain_mask: str, capsys: pytest.CaptureFixture[str]
) -> None:
    scan = tmp_path / "scan.nii.gz"
    scan.write_bytes(Path(SAMPLE).read_bytes())
    code, events = run_json(capsys, "enhance", str(scan), "-m", "cubic", "-o", str(tmp_path / "e.nii.gz"), "--spacing",
                            "4", "--report-json", str(tmp_path / "r.json"), "--brain-mask", brain_mask,
                            *(["--contrast", *given] if given else []))  # fmt: skip
    assert code == 0
    assert any(said in event["message"] for event in events if event["event"] == "warning")
    report = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert report["input"]["contrast"] == "other"
    check = next(check for check in report["input_checks"] if check["name"] == "contrast")
    assert not check["ok"] and "treated as T1w" in check["text"]


@pytest.mark.parametrize("name", ["sub-01_T1map.nii.gz", "head_T2star.nii.gz"])
def test_of_a_scan_that_is_named_as_something_else_the_contrast_is_asked_for(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("LowFieldEnhanceLib.pipeline.enhance", lambda *_, **__: 1 / 0)
    (tmp_path / name).write_bytes(Path(SAMPLE).read_bytes())
    words = ["enhance", str(tmp_path / name), "-m", "cubic", "-o", str(tmp_path / "e.nii.gz")]
    code, events = run_json(capsys, *words)
    assert code == 2 and events[-1]["message"].startswith(f"by its name, {name} is a ")
    assert events[-1]["message"].endswith("say which (--contrast)")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    for contrast in ("T1w", "other"):  # whoever says it is believed
        assert run_json(capsys, *words, "--contrast", contrast)[0] == 1  # on to the work, which is not here


def test_a_mask_of_255_is_the_mask_of_1(
    tmp_path: Path, tiny_models: Path, brain_mask: str, capsys: pytest.CaptureFixture[str]
) -> None:
    mask = read_image(brain_mask, "other")
    write_image(mask.with_array(mask.array * 255), tmp_path / "white.nii.gz", "mask")
    volumes = []
    for path in (brain_mask, str(tmp_path / "white.nii.gz")):
        report = tmp_path / "r.json"
        run_json(capsys, "enhance", SAMPLE, "-m", "cubic", "-o", str(tmp_path / "e.nii.gz"), "--spacing", "4",
                 "--report-json", str(report), "--brain-mask", path)  # fmt: skip
        volumes.append(json.loads(report.read_text(encoding="utf-8"))["input"]["brain_ml"])
    assert volumes[0] == volumes[1]


def test_a_label_map_comes_with_what_is_doubtful_about_it(
    tiny_models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "scan_T1w.nii"
    write_image(Image(np.linspace(0, 100, 40**3).reshape(40, 40, 40), np.eye(4)), path, "tiny")
    header = bytearray(path.read_bytes())
    header[252:256] = bytes(4)  # no orientation
    path.write_bytes(bytes(header))
    for command in ("segment", "simulate"):
        code, events = run_json(capsys, command, str(path), "-o", str(tmp_path / f"{command}.nii.gz"))
        said = " ".join(e["message"] for e in events if e["event"] == "warning")
        assert code == 0 and "left and right cannot be trusted" in said
        assert ("the brain found measures" in said) == (command == "segment")


@pytest.mark.parametrize("command", [["segment", SAMPLE], ["simulate", SAMPLE], ["report", SAMPLE, SAMPLE]])
def test_no_command_replaces_a_file_that_it_did_not_write(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / ("participants.csv" if command[0] == "report" else "other_T1w.nii.gz")
    target.write_bytes(b"mine")
    code, events = run_json(capsys, *command, "-o", str(target))
    assert code == 2 and "was not written by LowFieldEnhance" in events[-1]["message"]
    assert target.read_bytes() == b"mine"


@pytest.mark.parametrize("wrong", [["--field-contrast", "nan"], ["--field-contrast", "1", "--filter", "9"]])
def test_a_protocol_that_no_scanner_has_is_refused_before_the_head_is_labelled(
    wrong: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("LowFieldEnhanceLib.segmentation.segmenter.Segmenter", lambda *_: 1 / 0)
    code, events = run_json(capsys, "simulate", SAMPLE, "-o", str(tmp_path / "low.nii.gz"), *wrong)
    assert code == 2 and [event["event"] for event in events] == ["error"]
    assert list(tmp_path.iterdir()) == []
