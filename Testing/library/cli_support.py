"""The command line in this process, and the scan that most of its tests give it."""

from __future__ import annotations

import json

import pytest

from LowFieldEnhanceLib.cli import main
from LowFieldEnhanceLib.resources import resource

SAMPLE = str(resource("SampleData", "colin27_64mT_T1w.nii.gz"))


def run_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[dict]]:
    """Exit code and events of one command."""
    code = main([*arguments, "--json"])
    return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]
