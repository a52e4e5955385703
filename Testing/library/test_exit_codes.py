"""However a command ends, a script can tell: the exit codes of the README, one event, one sentence."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from phantoms import voxels

from LowFieldEnhanceLib.cli import main
from LowFieldEnhanceLib.errors import BadInput, Cancelled, CorruptModel, MissingModel, OutOfMemory
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.image_io import write_image

ENDS = [
    (BadInput("the scan is empty"), 2, "BadInput", "the scan is empty"),
    (MissingModel("no weights"), 3, "MissingModel", "no weights"),
    (CorruptModel("bad weights"), 3, "CorruptModel", "bad weights"),
    (OutOfMemory("too large"), 4, "OutOfMemory", "too large"),
    (MemoryError(), 4, "OutOfMemory", "memory ran out"),
    (Cancelled("the run was cancelled"), 130, "Cancelled", "the run was cancelled"),
    (KeyboardInterrupt(), 130, "Cancelled", "nothing was written"),
    (PermissionError(13, "Permission denied", "r.html"), 2, "BadInput", "a file could not be read or written"),
    (OSError(28, "No space left on device"), 2, "BadInput", "No space left on device"),
    (ZeroDivisionError("division by zero"), 1, "Internal", "division by zero"),
    (AssertionError(), 1, "Internal", "AssertionError"),
]


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize(("error", "code", "kind", "sentence"), ENDS, ids=lambda value: str(value)[:20])
def test_a_failure_has_its_exit_code_its_kind_and_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException, code: int, kind: str,
    sentence: str, as_json: bool,
) -> None:  # fmt: skip
    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr("LowFieldEnhanceLib.commands.run_methods", fails)
    assert main(["methods", *(["--json"] if as_json else [])]) == code
    printed = capsys.readouterr()
    if as_json:
        event = json.loads(printed.out)  # nothing else is there
        assert (event["event"], event["kind"]) == ("error", kind) and sentence in event["message"]
    else:
        lines = [line for line in printed.err.splitlines() if line.startswith(f"Error ({kind}): ")]
        assert len(lines) == 1 and sentence in lines[0] and printed.out == ""


@pytest.mark.parametrize(("option", "sentence"), [("--lesions", "is not a lesion map"), ("--brain-mask", "no voxel")])
@pytest.mark.parametrize(
    "command", [("enhance", "scan.nii", "-m", "cubic"), ("report", "scan.nii", "scan.nii"), ("compare", "scan.nii")]
)
def test_a_map_of_probabilities_is_refused_for_what_it_was_meant_to_be(
    command: tuple[str, ...], option: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_image(Image(voxels(), np.eye(4)), tmp_path / "scan.nii")
    write_image(Image(voxels() / 10000, np.eye(4)), tmp_path / "map.nii")
    words = [str(tmp_path / word) if word == "scan.nii" else word for word in command]
    out = {"enhance": "new.nii.gz", "report": "new.json", "compare": "new"}[command[0]]
    assert main([*words, "-o", str(tmp_path / out), option, str(tmp_path / "map.nii")]) == 2
    assert sentence in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["map.nii", "scan.nii"]


def test_sigterm_does_afterwards_what_it_did_before(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    inside = []
    monkeypatch.setattr(
        "LowFieldEnhanceLib.commands.run_methods", lambda *_: inside.append(signal.getsignal(signal.SIGTERM)) or {}
    )
    before = signal.getsignal(signal.SIGTERM)
    assert main(["methods", "--json"]) == 0
    assert signal.getsignal(signal.SIGTERM) == before != inside[0]


def test_the_log_does_not_get_between_the_events() -> None:
    """In a process of its own: the log of a process is set up once."""
    program = (
        "import logging, sys\n"
        "from LowFieldEnhanceLib import cli, commands\n"
        "commands.run_methods = lambda *_: logging.getLogger('LowFieldEnhanceLib.x').info('a word') or {'said': 1}\n"
        "sys.exit(cli.main(['methods', '--json', '--verbose']))\n"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=root, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"event": "result", "said": 1}
    assert "a word" in done.stderr


@pytest.mark.parametrize("as_json", [True, False])
def test_an_interrupt_while_the_libraries_load_is_one_sentence_too(as_json: bool) -> None:
    program = (
        "import runpy, sys\n"
        "class Interrupted:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'LowFieldEnhanceLib.cli':\n"
        "            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupted())\n"
        f"sys.argv = ['lowfield-enhance', 'methods', *{['--json'] if as_json else []}]\n"
        "runpy.run_module('LowFieldEnhanceLib', run_name='__main__')\n"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=root, timeout=120)
    assert done.returncode == 130
    if as_json:
        assert json.loads(done.stdout) == {
            "event": "error",
            "kind": "Cancelled",
            "message": "cancelled; nothing was written",
        }
    else:
        assert done.stderr == "Error (Cancelled): cancelled; nothing was written\n"


def test_a_shortened_option_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods", "--js"]) == 2
    assert "unrecognized arguments: --js" in capsys.readouterr().err
