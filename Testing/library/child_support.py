"""The command line as a process of its own that is interrupted in the middle of its work."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def cancelled_within_two_seconds(arguments: Sequence[str], how: signal.Signals, begun: Callable[[dict], bool]) -> None:
    """Run with ``--json``, send the signal at the first event that ``begun`` takes; the end is exit code 130."""
    command = [sys.executable, "-m", "LowFieldEnhanceLib", *arguments, "--json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=environment) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if begun(json.loads(line)):
                break
        started = time.monotonic()
        child.send_signal(how)
        rest = child.stdout.read()
        assert child.wait(timeout=10) == 130
        assert time.monotonic() - started < 2.0
    assert json.loads(rest.splitlines()[-1])["kind"] == "Cancelled"
