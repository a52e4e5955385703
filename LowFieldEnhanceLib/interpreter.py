"""Which Python a child process is started with."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path


def python_executable() -> str:
    """Slicer's Python: PythonSlicer on the path, else beside the running interpreter, else that interpreter."""
    name = "PythonSlicer.exe" if os.name == "nt" else "PythonSlicer"
    beside = Path(sys.executable).with_name(name)
    return shutil.which(name) or (str(beside) if beside.is_file() else sys.executable)
