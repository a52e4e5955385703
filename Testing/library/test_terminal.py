"""What a person sees: bars at a terminal, lines in a log file, and the result on standard output."""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from LowFieldEnhanceLib.cli import build_parser, main
from LowFieldEnhanceLib.events import Events
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.image_io import write_image
from LowFieldEnhanceLib.scan_options import read_others
from LowFieldEnhanceLib.terminal import ProgressBar

ROOT = Path(__file__).resolve().parents[2]


class Terminal(io.StringIO):
    """A stream that says it is one."""

    def isatty(self) -> bool:
        return True


def test_methods_are_listed_with_their_licences_on_standard_output(
    tiny_models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["methods"]) == 0
    written = capsys.readouterr()
    assert written.err == ""
    (bridged,) = [line for line in written.out.splitlines() if line.startswith("bridged (")]
    assert bridged.endswith("Weights: Apache-2.0.")  # of the random ones here


def test_a_table_is_a_line_for_each_entry() -> None:
    results = io.StringIO()
    Events(ProgressBar(io.StringIO(), results)).result(output="a.nii.gz", volumes_ml={"Left": 1.5, "Right": 2.0})
    assert results.getvalue().splitlines() == ["output: a.nii.gz", "volumes ml:", "  Left: 1.5", "  Right: 2.0"]


def test_a_terminal_gets_bars_and_a_log_file_a_line_a_stage_and_a_minute() -> None:
    seconds = iter([0, 10, 50, 61, 70, 80])
    for stream in (Terminal(), io.StringIO()):
        events = Events(ProgressBar(stream, clock=lambda: next(seconds)))
        for stage, done in [("segment", 0), ("enhance", 0), ("enhance", 1), ("enhance", 62), ("enhance", 63)]:
            events.progress(stage, done, 90)
        text = stream.getvalue()
        if stream.isatty():
            assert "\r" in text and "%|" in text
        else:
            assert text.splitlines() == ["segment", "enhance", "enhance: 63 of 90"]


def test_a_name_that_the_terminal_cannot_show_does_not_end_the_run() -> None:
    binary = io.BytesIO()
    stream = io.TextIOWrapper(binary, encoding="ascii")
    Events(ProgressBar(stream)).result(output="Jürgen.nii.gz")
    assert binary.getvalue() == b"output: J\\xfcrgen.nii.gz\n"


@pytest.mark.parametrize("extra", ["", "--json", "--json --seed 3"])
def test_a_pipe_that_is_closed_early_gives_no_traceback(extra: str) -> None:
    command = f"'{sys.executable}' -m LowFieldEnhanceLib methods {extra} | head -c 9"
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (len(done.stdout), done.stderr) == (9, "")


def options_of(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """All options of all commands."""
    (groups,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return [action for command in groups.choices.values() for action in command._actions]


def test_the_help_explains_every_option_and_says_its_default() -> None:
    actions = options_of(build_parser())
    assert [action.dest for action in actions if not action.help] == []
    silent = (None, False, True, [], argparse.SUPPRESS)
    assert [a.dest for a in actions if a.default not in silent and "default" not in a.help and a.default != 1] == []


def test_a_further_contrast_may_lie_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    array = np.random.default_rng(3).uniform(1, 9, (8, 8, 8))
    write_image(Image(array, np.diag([2.0, 2.0, 5.0, 1.0])), tmp_path / "scan.nii.gz", "a scan")
    scan = Image(array + 1, np.diag([2.0, 2.0, 5.0, 1.0]), "T1w")
    assert list(read_others(["T2w=~/scan.nii.gz"], scan)) == ["T2w"]


def test_a_folder_without_dicom_is_refused_with_one_sentence_alone(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["segment", str(tmp_path), "-o", str(tmp_path / "labels.nii.gz")]) == 2
    assert capfd.readouterr().err.splitlines() == [f"Error (BadInput): the folder {tmp_path} holds no DICOM series"]
