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

PREFIX = f"{FOLDER_PREFIX}pages-"
# Ubuntu's browsers are snaps. These see the user's own files, but neither the system's temporary folder, which is where
# Slicer's is, nor hidden ones (snapcraft.io/docs/home-interface).
SNAPS = Path("/snap/bin")
BROWSERS = ("brave", "chromium", "firefox", "opera", "vivaldi")  # those there are as snaps

_folder: Path | None = None


def placeOfPages() -> Path:
    """In which folder that of the pages is made: Slicer's temporary one, or one that such a browser can read."""
    if not any((SNAPS / name).exists() for name in BROWSERS):
        return Path(slicer.app.temporaryPath)
    downloads = Path.home() / "Downloads"
    return downloads if downloads.is_dir() else Path.home()


def openPage(page: slicer.vtkMRMLTextNode, openUrl: Callable[[Any], Any] | None = None) -> None:
    """Write the page into a new file and open it (by default with the system's browser).

    Pages show the head: their folder can be read by this user alone, and goes with the application. Each has a name of
    its own, because node ids are given again and a browser may still show the page of an earlier scene.
    """
    global _folder
    if _folder is None or not _folder.is_dir():
        place = placeOfPages()
        place.mkdir(parents=True, exist_ok=True)
        _folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
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
