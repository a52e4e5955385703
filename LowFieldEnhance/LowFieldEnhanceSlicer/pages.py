"""Pages of a run, which are text nodes of the scene, in the web browser."""

from __future__ import annotations

import atexit
import shutil
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
import slicer

from .run import FOLDER_PREFIX

_folder: Path | None = None


def openPage(page: slicer.vtkMRMLTextNode, openUrl: Callable[[Any], Any] | None = None) -> None:
    """Write the page into a new file and open it (by default with the system's browser).

    Pages show the head: their folder can be read by this user alone, and goes with the application. Each has a name of
    its own, because node ids are given again and a browser may still show the page of an earlier scene.
    """
    global _folder
    if _folder is None or not _folder.is_dir():
        Path(slicer.app.temporaryPath).mkdir(parents=True, exist_ok=True)
        _folder = Path(tempfile.mkdtemp(prefix=f"{FOLDER_PREFIX}pages-", dir=slicer.app.temporaryPath))
        atexit.register(removePages)
    path = _folder / f"{uuid.uuid4().hex}.html"
    path.write_text(page.GetText(), encoding="utf-8")
    (openUrl or qt.QDesktopServices.openUrl)(qt.QUrl.fromLocalFile(str(path)))


def removePages() -> None:
    """Delete all pages that were opened, when the application ends."""
    global _folder
    if _folder is not None:
        shutil.rmtree(_folder, ignore_errors=True)
        _folder = None
