"""What a person sees: bars at a terminal, lines in a log file, and the result on standard output."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest

from LowFieldEnhanceLib.cli import main
from LowFieldEnhanceLib.events import Events
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
